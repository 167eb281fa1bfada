"""A small emulator whose spectra are known in closed form: Gaussian lines with depths linear in a few coefficients."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from maury.emulator import Emulator, LabelNetworks
from maury.wavelengths import LogGrid

GRID = LogGrid(5044.98, 1.0, 18_000)
_COMPONENTS, _LINES = 3, 250


def line_profiles(velocity_kms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean spectrum and components (4, n) at velocities c ln(lambda / 5044.98 Å) within the grid."""
    generator = np.random.default_rng(11)
    profiles = np.empty((_COMPONENTS + 1, len(velocity_kms)))
    for k, profile in enumerate(profiles):
        profile[:] = k == 0
        centres = generator.uniform(100, GRID.size - 100, _LINES)
        depths = generator.uniform(0.05, 0.4, _LINES) * (1.0 if k == 0 else 0.3)
        widths = generator.uniform(4, 9, _LINES)
        for centre, depth, width in zip(centres, depths, widths, strict=True):
            near = np.abs(velocity_kms - centre) < 9 * width
            profile[near] -= depth * np.exp(-0.5 * ((velocity_kms[near] - centre) / width) ** 2)
    return profiles


def tiny_emulator() -> Emulator:
    """A real `Emulator` with random networks and the lines of `line_profiles`; saves and loads as any other."""
    modes = torch.fft.rfft(torch.from_numpy(line_profiles(np.arange(GRID.size, dtype=float))))
    mean, basis = modes[0].to(torch.complex64), modes[1:].to(torch.complex64)
    feature_mean = torch.tensor([6.0, 0.8, 2.5, -1.0, 0.5, 2.0] + [0.0] * 8)
    feature_std = torch.tensor([2.0, 0.2, 1.5, 1.0, 0.5, 1.0] + [0.3] * 8)
    emulator = Emulator(
        LabelNetworks(2, 14, 8, 1, _COMPONENTS, seed=3),
        GRID,
        mean,
        basis,
        (feature_mean, feature_std),
        torch.full((_COMPONENTS,), 0.3),
        {"note": "Gaussian lines for tests"},
    )
    return emulator.eval().requires_grad_(False)
