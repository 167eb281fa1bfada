"""Small libraries for tests: spectra that are known functions of their labels, in the layout of the real one."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from maury.designs import sobol_labels
from maury.library import OFF_NODE, SCALE, Library
from maury.wavelengths import C_KMS

WAVELENGTH = 5050 + 300 / 29787 * (np.arange(29788 + 1000) - 500)


def line_library(count: int, seed: int = 1, lines: int = 60) -> Library:
    """Gaussian lines whose depths and widths are smooth functions of Teff, log g, [M/H] and microturbulence."""
    labels = sobol_labels(count, seed)
    generator = np.random.default_rng(5)
    centres = generator.uniform(5048, 5352, lines)
    weights = generator.normal(size=(lines, 4))
    unit = (labels[:, :4] - [6500, 2.5, -1, 2]) / [2000, 1.5, 1, 1]
    depth = 0.6 / (1 + np.exp(1 - 0.5 * unit @ weights.T))
    width = 0.06 + 0.02 * np.tanh(unit[:, 3:4] * np.ones(lines))
    flux = np.ones((count, len(WAVELENGTH)))
    for k, centre in enumerate(centres):
        near = np.abs(WAVELENGTH - centre) < 0.6
        offset = WAVELENGTH[near] - centre
        flux[:, near] -= depth[:, k : k + 1] * np.exp(-0.5 * (offset / width[:, k : k + 1]) ** 2)
    counts = np.round(flux.clip(0) / SCALE).astype(np.uint16)
    return Library(WAVELENGTH, labels, counts, SCALE, np.full(count, OFF_NODE, np.uint8), ("lines",), {"code": "test"})


def other_library(count: int, window: tuple[float, float] = (6100.0, 6180.0), seed: int = 4) -> Library:
    """Other physics: a red window, four labels and a microturbulence that never varies, in a small box."""
    lower, upper = np.array([5000.0, 3.5, -0.5, -0.1]), np.array([6000.0, 5.0, 0.3, 0.4])
    unit = qmc.Sobol(4, scramble=True, seed=seed).random(count)
    low, high = window[0] * (1 - 300 / C_KMS), window[1] * (1 + 300 / C_KMS)
    wavelength = np.arange(low, high, 0.02)
    generator = np.random.default_rng(6)
    flux = np.ones((count, len(wavelength)))
    for centre in generator.uniform(low, high, 60):
        depth = 0.5 / (1 + np.exp(1 - (unit - 0.5) @ generator.normal(size=4) * 2))
        flux -= depth[:, None] * np.exp(-0.5 * ((wavelength - centre) / 0.08) ** 2)
    labels = np.column_stack([lower + (upper - lower) * unit, np.full(count, 1.5)])[:, [0, 1, 2, 4, 3]]
    counts = np.round(flux.clip(0) / SCALE).astype(np.uint16)
    names = ("teff", "logg", "mh", "vmic", "alpha")
    kind = np.full(count, OFF_NODE, np.uint8)
    return Library(wavelength, labels, counts, SCALE, kind, ("other",), {"code": "other"}, names)
