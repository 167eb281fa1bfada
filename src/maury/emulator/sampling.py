"""Compute flux at given wavelengths from Fourier modes on a ln-wavelength grid."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from maury.errors import DomainError
from maury.wavelengths import LogGrid, average_pixels, fast_size, sinc_weights


class Sampler(nn.Module):
    """Evaluate band-limited spectra at fixed wavelengths: one short inverse FFT and one sparse product.

    Modes above ``band_limit``, which the instrument profile suppresses, are dropped; the others are transformed to an
    oversampled grid and interpolated with windowed-sinc weights. Differentiable.
    """

    weights: Tensor

    def __init__(self, grid: LogGrid, wavelength_aa: ArrayLike, band_limit: float, average: int = 1) -> None:
        """Prepare the weights.

        Args:
            grid: the grid on which the modes are the `rfft` of the flux.
            wavelength_aa: wavelengths in Å (p * average,).
            band_limit: frequency (cycles per km/s) above which the flux has no signal.
            average: number of neighbouring wavelengths averaged into one output pixel.

        Raises:
            DomainError: a wavelength outside the grid.
        """
        super().__init__()
        wavelength = np.asarray(wavelength_aa, float)
        inside = grid.wavelength_aa[[0, -1]]
        if not (wavelength.min() >= inside[0] and wavelength.max() <= inside[1]):
            raise DomainError(
                f"wavelengths {wavelength.min():.2f} to {wavelength.max():.2f} Å exceed the emulator's range "
                f"{inside[0]:.2f} to {inside[1]:.2f} Å"
            )
        period = grid.size * grid.step_kms
        below_nyquist = (grid.size + 1) // 2
        self.modes = min(int(np.ceil(band_limit * period)) + 1, below_nyquist)
        self.size = fast_size(int(2 * self.modes / 0.6))
        self.scale = self.size / grid.size
        matrix = sinc_weights(grid.with_size(self.size).position(wavelength), self.size)
        if average != 1:
            matrix = (average_pixels(wavelength.size, average) @ matrix).tocsr()
            matrix.sum_duplicates()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            weights = torch.sparse_csr_tensor(
                torch.from_numpy(matrix.indptr.astype(np.int64)),
                torch.from_numpy(matrix.indices.astype(np.int64)),
                torch.from_numpy(matrix.data.astype(np.float32)),
                size=matrix.shape,
                check_invariants=True,
            )
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, modes: Tensor) -> Tensor:
        """Flux (..., p) from modes (..., m); m must be at least ``self.modes``."""
        flux = torch.fft.irfft(modes[..., : self.modes] * self.scale, n=self.size)
        flat = flux.reshape(-1, self.size)
        return (self.weights @ flat.T).T.reshape(*modes.shape[:-1], -1)
