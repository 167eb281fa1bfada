"""Emulator spectra as templates for the cross-correlation that finds radial velocities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from maury.broadening import gaussian, remaining_resolution, transfer
from maury.emulator import Emulator
from maury.emulator.domain import atmosphere_exists
from maury.labels import LabelSpace, usual_vmic
from maury.preparation.segments import REACH_KMS
from maury.wavelengths import C_KMS, Floats, LogGrid, fast_size

_TEFF_K = (3600.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 6600.0, 7300.0, 8300.0, 9500.0)
_LOGG = (1.5, 3.0, 4.5)
_MH = (-2.2, -1.0, 0.0)
VSINI_KMS = (5.0, 30.0, 100.0)
RESOLUTION = 40_000.0
SMOOTH_KMS = 250.0
"""Standard deviation of the Gaussian that is subtracted: structure wider than 10 Å is continuum."""
MARGIN_KMS = REACH_KMS + 100.0
GAP_KMS = 100.0


def usable_aa(emulator: Emulator) -> tuple[float, float]:
    """First and last wavelength (Å) of an emulator's spectra: its window with equal margins on both sides.

    Beyond them lies the gap of the periodic grid, in which the ends are joined.
    """
    grid, (low, high) = emulator.grid, emulator.window_aa
    end = grid.start_aa * np.exp((grid.size * grid.step_kms - GAP_KMS) / C_KMS)
    return grid.start_aa, float(min(high * low / grid.start_aa, end))


@dataclass(frozen=True)
class Bank:
    """Templates on one grid, padded so that they can be moved by `MARGIN_KMS`."""

    labels: Floats  # the emulator's labels (t, k)
    vsini_kms: Floats  # (t,)
    grid: LogGrid  # grid of the data, which starts `MARGIN_KMS` before the templates, step 1 km/s
    lines: Tensor  # conjugate Fourier transform of the templates' depth 1 - flux without its slow part (t, m)
    squares: Tensor  # the same of its square (t, m)
    support: Tensor  # the same of where templates are defined (m,)


def without_slow_part(depth: Tensor, step_kms: float) -> Tensor:
    """Depth (..., n) minus itself smoothed by a Gaussian of `SMOOTH_KMS`."""
    modes = torch.fft.rfft(depth)
    frequency = torch.fft.rfftfreq(depth.shape[-1], step_kms, dtype=depth.dtype)
    return torch.fft.irfft(modes * (1 - gaussian(frequency, torch.tensor(SMOOTH_KMS))), n=depth.shape[-1])


@lru_cache(maxsize=2)
def bank(emulator: Emulator) -> Bank:
    """The templates of an emulator within its own label ranges; made once for each emulator."""
    rows, rotations = _rows(emulator)
    labels, vsini = torch.from_numpy(rows).float(), torch.from_numpy(rotations).float()
    kernel = transfer(emulator.frequency, vsini_kms=vsini, resolution=_profile(emulator, len(vsini)))
    grid = emulator.grid
    flux = torch.fft.irfft(emulator.modes(labels) * kernel, n=grid.size)
    depth = without_slow_part(1 - flux, grid.step_kms)
    inside = torch.from_numpy(grid.wavelength_aa <= usable_aa(emulator)[1])
    margin = round(MARGIN_KMS / grid.step_kms)
    size = fast_size(grid.size + 2 * margin)
    padded = torch.where(inside, depth, torch.zeros(()))
    start = grid.start_aa * np.exp(-margin * grid.step_kms / C_KMS)
    return Bank(
        rows,
        rotations,
        LogGrid(float(start), grid.step_kms, size),
        torch.fft.rfft(padded, n=size).conj(),
        torch.fft.rfft(padded**2, n=size).conj(),
        torch.fft.rfft(inside.float(), n=size).conj(),
    )


def _profile(emulator: Emulator, count: int) -> Tensor:
    """Resolving power (t,) of the templates' instrument profile beyond that of the library's spectra."""
    return remaining_resolution(
        torch.full((count,), min(RESOLUTION, emulator.native_resolution)), emulator.native_resolution
    )


def usual_labels(space: LabelSpace, given: dict[str, float]) -> Floats:
    """Labels (k,) of a star: those given, the usual microturbulence, else 0; moved into the ranges."""
    values = {"vmic": usual_vmic(given.get("teff", 5500.0), given.get("logg", 4.5)), **given}
    return np.clip([values.get(name, 0.0) for name in space.names], space.lower, space.upper)


def _rows(emulator: Emulator) -> tuple[Floats, Floats]:
    """Labels (t, k) and rotations (t,) of the templates: those nodes that lie in the emulator's domain."""
    space = emulator.space
    axes = {"teff": _TEFF_K, "logg": _LOGG, "mh": _MH}
    ranges = dict(zip(space.names, zip(space.lower, space.upper, strict=True), strict=True))
    nodes = []
    for name in axes.keys() & ranges.keys():
        low, high = ranges[name]
        nodes.append([(name, x) for x in axes[name] if low <= x <= high] or [(name, (low + high) / 2)])
    stars = np.array([usual_labels(space, dict(values)) for values in product(*nodes)])
    stars = stars[atmosphere_exists(emulator, stars)]
    if not len(stars):
        stars = usual_labels(space, {})[None]
    return np.tile(stars, (len(VSINI_KMS), 1)), np.repeat(VSINI_KMS, len(stars))
