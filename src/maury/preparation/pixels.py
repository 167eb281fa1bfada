"""From a normalised spectrum at rest to a network's pixels: resolution matched, resampled, gaps filled and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from maury.broadening import gaussian, instrument_sigma
from maury.emulator import Sampler
from maury.errors import DomainError
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS, LogGrid, fast_size

MIN_OVERLAP_AA = 60.0
"""Least good coverage of the network's window."""

_STEP_KMS = 0.5
_PADDING_KMS = 150.0
_BAND_LIMIT = 0.6  # cycles per km/s: a profile of R = 44,000 passes nothing above 0.3


@dataclass(frozen=True)
class Prepared:
    """A spectrum on a network's pixels.

    Attributes:
        wavelength_aa: pixels of the network (p,) in Å.
        flux: continuum-normalised flux (p,); 1 where nothing was observed.
        covered: True where the flux was observed (p,).
        flags: what limits the trust in it, by name.
    """

    wavelength_aa: NDArray[np.float64]
    flux: NDArray[np.float64]
    covered: NDArray[np.bool_]
    flags: tuple[str, ...]


def to_pixels(spectrum: Spectrum, wavelength_aa: NDArray[np.float64], resolution: float, average: int = 4) -> Prepared:
    """Bring a normalised rest-frame spectrum to the pixels and the resolution of a network.

    The flux is degraded by a Gaussian of the difference of the two profiles' variances, and averaged over ``average``
    points in each pixel, as the grid's pixels are.

    Args:
        spectrum: normalised, at rest; its ``resolution`` must be known.
        wavelength_aa: centres of the network's pixels (p,), Å air, linear.
        resolution: R of the network's training spectra.
        average: points per pixel.

    Raises:
        DomainError: resolution unknown, flux that is not continuum-normalised, or too little overlap.
    """
    name = spectrum.provenance.get("file", "spectrum")
    if spectrum.resolution is None:
        raise DomainError(f"{name}: its resolution is not in the file; give R = lambda / FWHM with --resolution")
    low, high = wavelength_aa[[0, -1]]
    near = (spectrum.wavelength_aa >= low - 5) & (spectrum.wavelength_aa <= high + 5)
    good = near & np.logical_not(np.asarray(spectrum.mask, bool))
    covered = _covered(spectrum.wavelength_aa[good], wavelength_aa)
    step = float(wavelength_aa[1] - wavelength_aa[0])
    overlap = covered.sum() * step
    if overlap < MIN_OVERLAP_AA:
        raise DomainError(
            f"{name}: covers {overlap:.1f} Å of the window {low:.0f} to {high:.0f} Å; "
            f"at least {MIN_OVERLAP_AA:g} Å are needed"
        )
    flux = spectrum.flux[good]
    continuum = float(np.quantile(flux, 0.95))
    if not 0.7 < continuum < 1.3:
        raise DomainError(
            f"{name}: not continuum-normalised: the 95th percentile of its flux in the window is {continuum:.3g}, "
            "allowed 0.7 to 1.3"
        )
    flags = []
    if overlap < 0.98 * (high - low):
        flags.append("short_coverage")
    if not spectrum.normalised:
        flags.append("normalisation_assumed")
    if spectrum.frame != "rest":
        flags.append("rest_frame_assumed")
    if spectrum.resolution < 0.98 * resolution:
        flags.append("resolution_below_model")
    values = _degrade(spectrum.wavelength_aa[good], flux, wavelength_aa, spectrum.resolution, resolution, average)
    return Prepared(wavelength_aa, np.where(covered, values, 1.0), covered, tuple(flags))


def _covered(observed_aa: NDArray[np.float64], wavelength_aa: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels with an observed point nearer than 1.5 of the larger of both steps."""
    if observed_aa.size < 2:
        return np.zeros(wavelength_aa.shape, bool)
    right = np.clip(np.searchsorted(observed_aa, wavelength_aa), 1, observed_aa.size - 1)
    nearest = np.minimum(np.abs(observed_aa[right] - wavelength_aa), np.abs(wavelength_aa - observed_aa[right - 1]))
    limit = 1.5 * max(float(np.median(np.diff(observed_aa))), float(wavelength_aa[1] - wavelength_aa[0]))
    return nearest < limit


def _degrade(
    observed_aa: NDArray[np.float64],
    flux: NDArray[np.float64],
    wavelength_aa: NDArray[np.float64],
    resolution: float,
    target: float,
    average: int,
) -> NDArray[np.float64]:
    start = wavelength_aa[0] * (1 - _PADDING_KMS / C_KMS)
    length = np.log(wavelength_aa[-1] / start) * C_KMS + _PADDING_KMS
    grid = LogGrid(start, _STEP_KMS, fast_size(int(length / _STEP_KMS)))
    values = np.interp(grid.wavelength_aa, observed_aa, flux, left=1.0, right=1.0)
    modes = torch.fft.rfft(torch.from_numpy(values))
    variance = instrument_sigma(target) ** 2 - instrument_sigma(resolution) ** 2
    if variance > 0:
        modes = modes * gaussian(torch.from_numpy(grid.frequency), variance.sqrt())
    half = (wavelength_aa[1] - wavelength_aa[0]) / 2
    inside = (np.arange(average) + 0.5) / average * 2 - 1
    fine = (wavelength_aa[:, None] + half * inside).ravel()
    sampled: NDArray[np.float64] = Sampler(grid, fine, _BAND_LIMIT, average)(modes.to(torch.complex64)).double().numpy()
    return sampled
