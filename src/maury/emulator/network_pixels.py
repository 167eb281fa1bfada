"""The pixels of the default network: uniform in ln(wavelength), cut from the emulator's own periodic grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maury.emulator.model import MAX_RESOLUTION, Emulator
from maury.errors import DomainError
from maury.wavelengths import LogGrid

STEP_KMS = 2.0
"""Width of a pixel, km/s: three pixels per resolution element at `REFERENCE_RESOLUTION`."""

REFERENCE_RESOLUTION = 50_000.0
"""R = lambda / FWHM to which spectra of higher R are degraded; the profile's transfer function at the Nyquist frequency
of `STEP_KMS` is 3e-4."""


@dataclass(frozen=True)
class NetworkPixels:
    """Pixels of the spectra that a network takes.

    Simulated spectra need no interpolation to these pixels: they are the inverse FFT of the emulator's first
    ``grid.size // 2`` modes, cut to the window.

    Attributes:
        grid: the emulator's period with larger steps.
        first: index in ``grid`` of the first pixel.
        count: number of pixels.
        resolution: highest R of spectra on these pixels; spectra of higher R are degraded to it.
    """

    grid: LogGrid
    first: int
    count: int
    resolution: float

    @classmethod
    def of(
        cls, emulator: Emulator, step_kms: float = STEP_KMS, resolution: float = REFERENCE_RESOLUTION
    ) -> NetworkPixels:
        """Pixels inside the window of an emulator.

        Args:
            emulator: gives window and period.
            step_kms: width of a pixel, km/s; changed such that the period has an even number of pixels.
            resolution: highest R of spectra on these pixels; at most that of the emulator's library.

        Raises:
            DomainError: the step is below that of the emulator's grid, or no two pixels lie in the window.
        """
        own = emulator.grid
        if not own.step_kms <= step_kms <= 20:
            raise DomainError(f"step {step_kms:g} km/s is outside the allowed range {own.step_kms:g} to 20 km/s")
        size = 2 * round(own.size * own.step_kms / step_kms / 2)
        grid = own.with_size(size)
        wavelength = grid.wavelength_aa
        inside = np.flatnonzero((wavelength >= emulator.window_aa[0]) & (wavelength <= emulator.window_aa[1]))
        if inside.size < 2:
            raise DomainError(f"no two pixels of {step_kms:g} km/s lie in the emulator's window")
        sharpest = min(resolution, MAX_RESOLUTION, emulator.native_resolution)
        return cls(grid, int(inside[0]), int(inside.size), float(sharpest))

    @property
    def wavelength_aa(self) -> NDArray[np.float64]:
        """Centres (p,) in Å, air."""
        return self.grid.wavelength_aa[self.window]

    @property
    def window(self) -> slice:
        """Slice of ``grid`` that holds the pixels."""
        return slice(self.first, self.first + self.count)
