"""From a normalised spectrum at rest to a network's pixels: resolution matched, resampled, gaps filled and counted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from maury.broadening import gaussian, instrument_sigma
from maury.emulator import Sampler
from maury.errors import DomainError
from maury.pixelspectra import PixelSpectra
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS, LogGrid, fast_size, pixel_points

MIN_OVERLAP_AA = 60.0
"""Least good coverage of a network's window; half of a window narrower than twice that."""

_BOX_FWHM = np.sqrt(12) / np.sqrt(8 * np.log(2))
"""Width of a pixel over the FWHM of the Gaussian of the same variance."""
_STEP_KMS = 0.5
_PADDING_KMS = 150.0
_BAND_LIMIT = 0.6  # cycles per km/s: a profile of R = 44,000 passes nothing above 0.3


def least_overlap(low_aa: float, high_aa: float) -> float:
    """Least good coverage of a window, Å."""
    return min(MIN_OVERLAP_AA, 0.5 * (high_aa - low_aa))


def require_resolution(name: str, resolution: float | None) -> float:
    """R itself.

    Raises:
        DomainError: it is not known.
    """
    if resolution is None:
        raise DomainError(
            f"{name}: its resolution is not in the file; give the nominal R = lambda / FWHM", parameter="resolution"
        )
    return resolution


def require_overlap(name: str, covered_aa: float, low_aa: float, high_aa: float) -> None:
    """Check how much of a window was observed.

    Raises:
        DomainError: less than `least_overlap`.
    """
    least = least_overlap(low_aa, high_aa)
    if covered_aa < least:
        raise DomainError(
            f"{name}: covers {covered_aa:.1f} Å of the window {low_aa:.0f} to {high_aa:.0f} Å; "
            f"at least {least:g} Å are needed"
        )


def require_prepared(spectrum: Spectrum, noise: bool) -> float:
    """Resolving power of a spectrum that is normalised, at rest and, if ``noise``, has a noise.

    Raises:
        DomainError: it is not, its resolving power is unknown, or its pixels are wider than a resolution element.
    """
    resolution = require_resolution(spectrum.name, spectrum.resolution)
    if not spectrum.normalised or spectrum.frame != "rest" or (noise and spectrum.sigma is None):
        state = "normalised" if spectrum.normalised else "not normalised"
        frame = "at rest" if spectrum.frame == "rest" else f"in the {spectrum.frame} frame"
        known = f", {'without' if spectrum.sigma is None else 'with'} noise" if noise else ""
        raise DomainError(f"{spectrum.name}: {state}, {frame}{known}; it has to be prepared")
    require_sampled(spectrum, float(resolution))
    return float(resolution)


def require_sampled(spectrum: Spectrum, resolution: float) -> None:
    """Check that pixels are not wider than the instrument's profile: they, not it, would set the resolution.

    Raises:
        DomainError: the typical pixel is wider than the FWHM lambda / R.
    """
    wave = spectrum.wavelength_aa
    pixel = float(np.median(np.diff(wave))) if wave.size > 1 else 0.0
    width = float(np.median(wave)) / resolution
    if pixel > 1.02 * width:
        both = max(np.hypot(width, pixel / _BOX_FWHM), pixel)
        raise DomainError(
            f"{spectrum.name}: pixels of {pixel:.3g} Å are wider than a resolution element at R = {resolution:,.0f}, "
            f"{width:.3g} Å; give the R that its pixels leave, at most {float(np.median(wave)) / both:,.0f}",
            parameter="resolution",
            value=resolution,
        )


def to_pixels(
    spectrum: Spectrum, wavelength_aa: NDArray[np.float64], resolution: float, average: int = 4
) -> tuple[PixelSpectra, tuple[str, ...]]:
    """Bring a normalised rest-frame spectrum to the pixels and the resolution of a network.

    The flux is degraded by a Gaussian of the difference of the two profiles' variances, and averaged over ``average``
    points in each pixel, as the grid's pixels are.

    Args:
        spectrum: normalised, at rest; its ``resolution`` must be known.
        wavelength_aa: centres of the network's pixels (p,), Å air.
        resolution: R of the network's training spectra.
        average: points per pixel.

    Returns:
        One spectrum (p,) without noise, flux 1 where masked; and flags: ``short_coverage``, ``resolution_below_model``.

    Raises:
        DomainError: resolution unknown, not normalised, not at rest, or too little overlap.
    """
    own_resolution = require_prepared(spectrum, noise=False)
    low, high = (float(x) for x in wavelength_aa[[0, -1]])
    near = (spectrum.wavelength_aa >= low - 5) & (spectrum.wavelength_aa <= high + 5)
    good = near & np.logical_not(np.asarray(spectrum.mask, bool))
    covered = _covered(spectrum.wavelength_aa[good], wavelength_aa)
    overlap = float(np.gradient(wavelength_aa)[covered].sum())
    require_overlap(spectrum.name, overlap, low, high)
    flags = []
    if overlap < 0.98 * (high - low):
        flags.append("short_coverage")
    if own_resolution < 0.98 * resolution:
        flags.append("resolution_below_model")
    flux = _degrade(spectrum, good, wavelength_aa, (own_resolution, resolution), average)
    spectra = PixelSpectra(
        flux=np.where(covered, flux, 1.0), sigma=np.nan, mask=~covered, resolution=min(own_resolution, resolution)
    )
    return spectra, tuple(flags)


def _covered(observed_aa: NDArray[np.float64], wavelength_aa: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels with an observed point nearer than 1.5 of the larger of both steps."""
    if observed_aa.size < 2:
        return np.zeros(wavelength_aa.shape, bool)
    right = np.clip(np.searchsorted(observed_aa, wavelength_aa), 1, observed_aa.size - 1)
    nearest = np.minimum(np.abs(observed_aa[right] - wavelength_aa), np.abs(wavelength_aa - observed_aa[right - 1]))
    limit = 1.5 * max(float(np.median(np.diff(observed_aa))), float(wavelength_aa[1] - wavelength_aa[0]))
    return nearest < limit


def _interpolated(spectrum: Spectrum, good: NDArray[np.bool_], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Flux at wavelengths (n,): a cubic spline through the good pixels, 1 beyond them and in gaps of over 5 pixels."""
    wave, flux = spectrum.wavelength_aa[good], spectrum.flux[good]
    step = float(np.median(np.diff(wave)))
    gaps = np.flatnonzero(np.diff(wave) > 5 * step)
    fillers = np.concatenate([[], *(np.arange(wave[i] + step, wave[i + 1] - step / 2, step) for i in gaps)])
    order = np.argsort(np.r_[wave, fillers])
    spline = make_interp_spline(np.r_[wave, fillers][order], np.r_[flux, np.ones(fillers.size)][order], k=3)
    inside = (x >= wave[0]) & (x <= wave[-1])
    return np.asarray(np.where(inside, spline(np.clip(x, wave[0], wave[-1])), 1.0))


def _degrade(
    spectrum: Spectrum,
    good: NDArray[np.bool_],
    wavelength_aa: NDArray[np.float64],
    resolutions: tuple[float, float],
    average: int,
) -> NDArray[np.float64]:
    """Flux on a network's pixels (p,), from the first resolution to the second."""
    own, target = resolutions
    start = float(wavelength_aa[0]) * (1 - _PADDING_KMS / C_KMS)
    length = np.log(wavelength_aa[-1] / start) * C_KMS + _PADDING_KMS
    grid = LogGrid(start, _STEP_KMS, fast_size(int(length / _STEP_KMS)))
    modes = torch.fft.rfft(torch.from_numpy(_interpolated(spectrum, good, grid.wavelength_aa)))
    variance = instrument_sigma(target) ** 2 - instrument_sigma(own) ** 2
    if variance > 0:
        modes = modes * gaussian(torch.from_numpy(grid.frequency), variance.sqrt())
    sampler = Sampler(grid, pixel_points(wavelength_aa, average), _BAND_LIMIT, average)
    sampled: NDArray[np.float64] = sampler(modes.to(torch.complex64)).double().numpy()
    return sampled
