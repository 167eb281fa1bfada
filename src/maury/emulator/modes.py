"""Library spectra as Fourier modes on the emulator's ln-wavelength grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from maury.errors import DomainError
from maury.wavelengths import C_KMS, LogGrid, fast_size

_OVERSAMPLING = 4
"""Pixels of the spline's grid per pixel of the emulator's grid."""
_GAP_KMS = 100.0
"""Least gap between the last wavelength and the end of the period, km/s."""


def grid_for(wavelength_aa: NDArray[np.float64], step_kms: float = 1.0) -> LogGrid:
    """Periodic grid over ``wavelength_aa`` and a gap of at least 100 km/s that joins the last pixel to the first."""
    start, end = wavelength_aa[0] + 0.01, wavelength_aa[-1]
    return LogGrid(start, step_kms, fast_size(int((np.log(end / start) * C_KMS + _GAP_KMS) / step_kms)))


def to_modes(
    flux: NDArray[np.float32],
    wavelength_aa: NDArray[np.float64],
    grid: LogGrid,
) -> NDArray[np.complex64]:
    """Fourier modes (n, grid.size // 2 + 1) of spectra given on a finer wavelength grid.

    A cubic spline interpolates the flux to a grid four times finer than ``grid``; modes above the Nyquist frequency of
    ``grid`` are dropped, so that nothing is aliased. A cosine bridges the gap between the ends of the periodic grid.
    Memory: several arrays of the finer grid per spectrum, so pass a few dozen spectra per call.

    Args:
        flux: continuum-normalised flux (n, p).
        wavelength_aa: wavelengths (p,) in Å.
        grid: a grid that starts inside ``wavelength_aa`` and ends beyond it.

    Raises:
        DomainError: the grid starts before the first wavelength.
    """
    fine = grid.with_size(grid.size * _OVERSAMPLING)
    x = fine.wavelength_aa
    if x[0] < wavelength_aa[0]:
        raise DomainError(f"the grid starts at {x[0]:.2f} Å, before the spectra at {wavelength_aa[0]:.2f} Å")
    inside = x <= wavelength_aa[-1]
    gap = int((~inside).sum())
    rise = (1 - np.cos(np.pi * np.arange(1, gap + 1) / (gap + 1))) / 2
    values = make_interp_spline(wavelength_aa, flux.astype(float), k=3, axis=1)(x[inside])
    bridge = values[:, -1:] * (1 - rise) + values[:, :1] * rise
    full = np.concatenate([values, bridge], axis=1)
    modes = np.fft.rfft(full, axis=1)[:, : grid.size // 2 + 1] / _OVERSAMPLING
    return modes.astype(np.complex64)
