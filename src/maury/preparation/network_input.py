"""From a prepared spectrum to the default network's pixels: degraded to its resolution, with the noise propagated."""

from __future__ import annotations

import numpy as np
import torch

from maury.broadening import instrument_sigma
from maury.emulator import NetworkPixels
from maury.pixelspectra import PixelSpectra
from maury.preparation.pipeline import Preparation
from maury.preparation.resample import require_overlap, require_prepared
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS, Floats, LogGrid, pixel_edges, rebin

LEAST_SHARE = 0.75
"""Least observed share of the range that a pixel averages over."""

_LARGEST = 1e30
"""Largest absolute flux and noise (of the continuum): damaged files hold values beyond the range of float32."""

_FINE = 4
_REACH = 4.5
_PADDING = 30


def to_network(star: Preparation | Spectrum, pixels: NetworkPixels) -> PixelSpectra:
    """Bring a prepared spectrum to a network's pixels.

    A new pixel is a mean over the old ones, weighted by a Gaussian and a box of its own width, whose variances add
    up to the difference between the instrument's profile and that of the network; for spectra less sharp than the
    network's by the box alone, and R is a little lower afterwards. Masked pixels are bridged linearly; where more than
    a quarter of the weight falls on them, the new pixel is not good. The noise of a new pixel keeps the information
    of the old ones, sigma^2 x width.

    Args:
        star: as returned by `maury.prepare`, or its spectrum read back from a file.
        pixels: of the network.

    Returns:
        One spectrum (p,): float32, flux and sigma 1 where masked, the resolving power after degrading.

    Raises:
        DomainError: resolution or noise unknown, not normalised, not at rest, or too little of the window observed.
    """
    spectrum = star.spectrum if isinstance(star, Preparation) else star
    resolution = require_prepared(spectrum, noise=True)
    taps, resulting = _profile(resolution, pixels)
    fine = _fine_grid(pixels)
    flux, share, variance = _on_fine_pixels(spectrum, fine)

    def average(values: Floats) -> Floats:
        return np.convolve(values, taps, mode="same")[_PADDING * _FINE + _FINE // 2 :: _FINE][: pixels.count]

    seen = average(share)
    good = seen > LEAST_SHARE
    wavelength = pixels.wavelength_aa
    low, high = (float(x) for x in wavelength[[0, -1]])
    require_overlap(spectrum.name, float(np.gradient(wavelength)[good].sum()), low, high)
    safe = np.where(good, seen, 1.0)
    sigma = np.sqrt(np.maximum(average(variance), 0.0)) / safe / np.sqrt(pixels.grid.step_kms)
    level = np.clip(np.where(good, average(flux), 1.0), -_LARGEST, _LARGEST)
    sigma = np.minimum(np.where(good, sigma, 1.0), _LARGEST)
    return PixelSpectra(
        flux=level.astype(np.float32), sigma=sigma.astype(np.float32), mask=~good,
        resolution=torch.tensor(resulting, dtype=torch.float64),
    )  # fmt: skip


def _profile(resolution: float, pixels: NetworkPixels) -> tuple[Floats, float]:
    """Weights on fine pixels, which sum to 1, of the Gaussian and the box; and R afterwards."""
    own, wanted = (float(instrument_sigma(r)) ** 2 for r in (resolution, pixels.resolution))
    step = pixels.grid.step_kms / _FINE
    box = np.full(_FINE + 1, 1 / _FINE)
    box[[0, -1]] /= 2  # centred on a fine pixel: the box ends halfway through the outermost
    width = _variance(box, step) + step**2 / 12  # fine pixels are means themselves
    rest = max(wanted - own - width, 0.0)
    reach = int(np.ceil(_REACH * np.sqrt(rest) / step))
    offset = np.arange(-reach, reach + 1) * step
    gaussian = np.exp(-(offset**2) / (2 * rest)) if rest else np.ones(1)
    gaussian /= gaussian.sum()
    total = own + width + _variance(gaussian, step)
    return np.convolve(box, gaussian), float(instrument_sigma(1.0)) / np.sqrt(total)


def _variance(taps: Floats, step: float) -> float:
    """Variance of symmetric weights (n,) that sum to 1, at distances of ``step``."""
    return float(taps @ (np.arange(taps.size) - taps.size // 2) ** 2) * step**2


def _fine_grid(pixels: NetworkPixels) -> Floats:
    """Centres of pixels `_FINE` times smaller, one of them on each centre of a network's pixel, with padding."""
    start = float(pixels.wavelength_aa[0])
    step = pixels.grid.step_kms / _FINE
    before = _PADDING * _FINE + _FINE // 2
    grid = LogGrid(start * np.exp(-before * step / C_KMS), step, (pixels.count + 2 * _PADDING) * _FINE + _FINE)
    return grid.wavelength_aa


def _on_fine_pixels(spectrum: Spectrum, wavelength_aa: Floats) -> tuple[Floats, Floats, Floats]:
    """Flux, observed share, and variance x width (km/s) of fine pixels; 1, 0 and 0 where nothing was observed."""
    edges = pixel_edges(wavelength_aa)
    wave, mask = spectrum.wavelength_aa, np.asarray(spectrum.mask, bool)
    near = (wave > edges[0] * (1 - 1e-3)) & (wave < edges[-1] * (1 + 1e-3))
    wave, good = wave[near], ~mask[near]
    if good.sum() < 2:
        nothing = np.zeros(wavelength_aa.shape)
        return nothing + 1, nothing, nothing
    flux = np.interp(wave, wave[good], spectrum.flux[near][good])
    old = pixel_edges(wave)
    width = np.diff(old) / wave * C_KMS
    sigma = np.asarray(spectrum.sigma, float)[near]
    density = np.where(good, sigma, 0.0) ** 2 * width
    inside = (wavelength_aa > old[0]) & (wavelength_aa < old[-1])
    share = np.where(inside, rebin(old, good.astype(float), edges, smooth=False), 0.0)
    variance = np.where(inside, rebin(old, np.where(good, density, 0.0), edges, smooth=False), 0.0)
    return np.where(inside, rebin(old, flux, edges), 1.0), share, variance
