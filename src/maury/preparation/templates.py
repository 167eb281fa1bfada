"""Emulator spectra that radial velocities are looked for with, ready for cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.broadening import gaussian, transfer
from maury.emulator import Emulator
from maury.labels import INTRINSIC, lowest_logg
from maury.preparation.strips import REACH_KMS
from maury.wavelengths import C_KMS, LogGrid, fast_size

_TEFF_K = (3600.0, 4000.0, 4500.0, 5000.0, 5500.0, 6000.0, 6600.0, 7300.0, 8300.0, 9500.0)
_LOGG = (1.5, 3.0, 4.5)
_MH = (-2.2, -1.0, 0.0)
VSINI_KMS = (5.0, 30.0, 100.0)
RESOLUTION = 40_000.0
SMOOTH_KMS = 250.0
"""Standard deviation of the Gaussian that is subtracted: structure wider than 10 Å is continuum."""
MARGIN_KMS = REACH_KMS + 100.0


def usual_vmic(logg: float) -> float:
    """Microturbulence (km/s) to start from: 1 in dwarfs, rising to 2 in giants."""
    return float(np.clip(1.0 + 0.25 * (4.5 - logg), 1.0, 2.0))


def usable_aa(emulator: Emulator) -> tuple[float, float]:
    """First and last wavelength (Å) of an emulator's spectra; beyond lies the gap that joins their ends."""
    grid = emulator.grid
    return grid.start_aa, float(grid.start_aa * np.exp((grid.size * grid.step_kms - 200) / C_KMS))


@dataclass(frozen=True)
class Bank:
    """Templates on one grid, padded so that they can be moved by `MARGIN_KMS`.

    Attributes:
        labels: intrinsic labels (t, 10).
        vsini_kms: (t,).
        grid: grid of the data, which starts `MARGIN_KMS` before the templates, step 1 km/s.
        lines: conjugate Fourier transform of the templates' depth 1 - flux without its slow part (t, m).
        squares: the same of its square (t, m).
        support: the same of where templates are defined (m,).
    """

    labels: NDArray[np.float64]
    vsini_kms: NDArray[np.float64]
    grid: LogGrid
    lines: Tensor
    squares: Tensor
    support: Tensor


def without_slow_part(depth: Tensor, step_kms: float) -> Tensor:
    """Depth (..., n) minus itself smoothed by a Gaussian of `SMOOTH_KMS`."""
    modes = torch.fft.rfft(depth)
    frequency = torch.fft.rfftfreq(depth.shape[-1], step_kms, dtype=depth.dtype)
    return torch.fft.irfft(modes * (1 - gaussian(frequency, torch.tensor(SMOOTH_KMS))), n=depth.shape[-1])


@lru_cache(maxsize=2)
def bank(emulator: Emulator) -> Bank:
    """The templates of an emulator within its own label ranges; made once for each emulator."""
    rows, rotations = _rows(emulator)
    labels, vsini = torch.tensor(rows, dtype=torch.float32), torch.tensor(rotations)
    kernel = transfer(emulator.frequency, vsini_kms=vsini, resolution=torch.full_like(vsini, RESOLUTION))
    grid = emulator.grid
    flux = torch.fft.irfft(emulator.modes(labels) * kernel, n=grid.size)
    depth = without_slow_part(1 - flux, grid.step_kms)
    inside = torch.from_numpy(grid.wavelength_aa <= usable_aa(emulator)[1])
    margin = round(MARGIN_KMS / grid.step_kms)
    size = fast_size(grid.size + 2 * margin)
    padded = torch.where(inside, depth, torch.zeros(()))
    start = grid.start_aa * np.exp(-margin * grid.step_kms / C_KMS)
    return Bank(
        np.array(rows),
        np.array(rotations),
        LogGrid(float(start), grid.step_kms, size),
        torch.fft.rfft(padded, n=size).conj(),
        torch.fft.rfft(padded**2, n=size).conj(),
        torch.fft.rfft(inside.float(), n=size).conj(),
    )


def _rows(emulator: Emulator) -> tuple[list[list[float]], list[float]]:
    lower = dict(zip(emulator.space.names, emulator.space.lower, strict=True))
    upper = dict(zip(emulator.space.names, emulator.space.upper, strict=True))

    def axis(name: str, nodes: tuple[float, ...]) -> list[float]:
        inside = [x for x in nodes if lower[name] <= x <= upper[name]]
        return inside or [(lower[name] + upper[name]) / 2]

    rows, rotations = [], []
    for vsini, teff, logg, mh in product(VSINI_KMS, axis("teff", _TEFF_K), axis("logg", _LOGG), axis("mh", _MH)):
        if logg < float(lowest_logg(teff)):
            continue
        values = {"teff": teff, "logg": logg, "mh": mh, "vmic": usual_vmic(logg)}
        rows.append([float(np.clip(values.get(name, 0.0), lower[name], upper[name])) for name in INTRINSIC])
        rotations.append(vsini)
    return rows, rotations
