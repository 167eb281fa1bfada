"""Errors of the emulator on spectra that it was not trained on: rms per star, and a map by pixel and label region."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.broadening import cutoff, instrument, remaining_resolution
from maury.emulator.errormap import MH_EDGES, TEFF_EDGES, ErrorMap, regions
from maury.emulator.model import Emulator
from maury.wavelengths import LogGrid, fast_size


def residuals(
    emulator: Emulator, labels: Tensor, modes: Tensor, resolution: float, batch: int = 256
) -> tuple[LogGrid, Tensor]:
    """Emulated minus true flux (n, pixels) at resolving power R, and the grid that samples it without loss."""
    grid = emulator.grid
    count = min(int(np.ceil(cutoff(resolution) * grid.size * grid.step_kms)) + 1, len(emulator.frequency))
    size = fast_size(2 * count)
    remaining = remaining_resolution(torch.tensor(resolution), emulator.native_resolution)
    profile = instrument(emulator.frequency[:count], remaining)
    parts = []
    for rows in torch.arange(len(labels)).split(batch):
        difference = emulator.modes(labels[rows], count) - modes[rows, :count]
        parts.append(torch.fft.irfft(difference * profile * (size / grid.size), n=size))
    return grid.with_size(size), torch.cat(parts)


def window(grid: LogGrid, window_aa: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels of a grid inside a window (Å)."""
    wavelength = grid.wavelength_aa
    return (wavelength >= window_aa[0]) & (wavelength <= window_aa[1])


def rms_per_star(
    emulator: Emulator, labels: Tensor, modes: Tensor, resolution: float = 42_000.0
) -> NDArray[np.float64]:
    """Rms of emulated minus true flux over the emulator's window, for each star (n,)."""
    grid, difference = residuals(emulator, labels, modes, resolution)
    inside = torch.from_numpy(window(grid, emulator.window_aa))
    return difference[:, inside].square().mean(1).sqrt().double().numpy()


def measure_errors(emulator: Emulator, labels: Tensor, modes: Tensor, resolution: float = 42_000.0) -> ErrorMap:
    """Measure the error map on stars that the emulator was not trained on.

    A region without stars gets, in each pixel, the largest error of its Teff row, or of the whole map if the row is
    empty.
    """
    grid, difference = residuals(emulator, labels, modes, resolution)
    square = difference.square()
    teff, mh = regions(labels, emulator.space.names)
    rms = torch.full((len(TEFF_EDGES) - 1, len(MH_EDGES) - 1, grid.size), torch.nan)
    stars = torch.zeros(rms.shape[:2], dtype=torch.int64)
    for i in range(rms.shape[0]):
        for j in range(rms.shape[1]):
            chosen = (teff == i) & (mh == j)
            stars[i, j] = int(chosen.sum())
            if stars[i, j]:
                rms[i, j] = square[chosen].mean(0).sqrt()
        filled = rms[i].nan_to_num(-1.0).amax(0)
        rms[i] = torch.where(rms[i].isnan() & (filled >= 0), filled, rms[i])
    rms = torch.where(rms.isnan(), rms.nan_to_num(-1.0).amax((0, 1)), rms)
    return ErrorMap(grid, resolution, rms, stars, emulator.space.names)
