"""Library spectra as Fourier modes on the emulator's ln-wavelength grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from maury.errors import DomainError
from maury.wavelengths import C_KMS, LogGrid, fast_size

_OVERSAMPLING = 4
_GAP_KMS = 100.0


def grid_for(wavelength_aa: NDArray[np.float64], step_kms: float = 1.0) -> LogGrid:
    """The periodic grid that covers ``wavelength_aa`` plus a gap of at least 100 km/s in which the ends are joined."""
    start, end = wavelength_aa[0] + 0.01, wavelength_aa[-1]
    return LogGrid(start, step_kms, fast_size(int((np.log(end / start) * C_KMS + _GAP_KMS) / step_kms)))


def to_modes(
    flux: NDArray[np.float32],
    wavelength_aa: NDArray[np.float64],
    grid: LogGrid,
) -> NDArray[np.complex64]:
    """Fourier modes (n, grid.size // 2 + 1) of spectra given on a finer wavelength grid.

    A cubic spline puts the flux on a grid four times finer than ``grid``; the transform is cut at the Nyquist frequency
    of ``grid``, so that nothing is aliased. The gap between the two ends of the periodic grid is bridged by a cosine.
    Several arrays of that finer grid are held for each spectrum: hand over some dozens at a time.

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
