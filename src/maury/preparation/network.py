"""From a prepared spectrum to the default network's pixels: degraded to its resolution, with the noise propagated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maury.broadening import instrument_sigma
from maury.emulator import NetworkPixels
from maury.errors import DomainError
from maury.preparation.pixels import require_overlap, require_resolution
from maury.preparation.prepare import Preparation
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS, LogGrid, pixel_edges, rebin

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_SHARE = 0.75
"""Least part of what a pixel averages over that has to have been observed."""

_FINE = 4
_REACH = 4.5
_PADDING = 30


@dataclass(frozen=True)
class NetworkInput:
    """One observed spectrum as the default network sees it; the arrays of `maury.simulation.Batch` without batch.

    Attributes:
        flux: continuum-normalised flux (p,), float32; 1 where not good.
        sigma: noise (p,), float32, as if the pixels were independent: sums over several pixels have the right error,
            also where neighbours are correlated by degrading; 1 where not good.
        good: where enough was observed (p,).
        resolution: R = lambda / FWHM of ``flux``.
    """

    flux: NDArray[np.float32]
    sigma: NDArray[np.float32]
    good: Bools
    resolution: float


def to_network(star: Preparation | Spectrum, pixels: NetworkPixels) -> NetworkInput:
    """Bring a prepared spectrum to a network's pixels.

    A new pixel is a mean over the old ones, weighted by a Gaussian and a box of its own width, whose variances add
    up to the difference between the instrument's profile and that of the network; for spectra less sharp than the
    network's by the box alone, and R is a little lower afterwards. Masked pixels are bridged linearly; where more than
    a quarter of the weight falls on them, the new pixel is not good. The noise of a new pixel keeps the information
    of the old ones, sigma^2 x width.

    Args:
        star: what `maury.prepare` returns, or its spectrum read back from a file.
        pixels: of the network.

    Raises:
        DomainError: resolution or noise unknown, not normalised, not at rest, or too little of the window observed.
    """
    spectrum = star.spectrum if isinstance(star, Preparation) else star
    name = str(spectrum.provenance.get("file", "spectrum"))
    resolution = _require_prepared(spectrum, name)
    taps, resulting = _profile(resolution, pixels)
    fine = _fine_grid(pixels)
    flux, share, variance = _on_fine_pixels(spectrum, fine)

    def average(values: Floats) -> Floats:
        return np.convolve(values, taps, mode="same")[_PADDING * _FINE + _FINE // 2 :: _FINE][: pixels.count]

    seen = average(share)
    good = seen > LEAST_SHARE
    wavelength = pixels.wavelength_aa
    low, high = (float(x) for x in wavelength[[0, -1]])
    require_overlap(name, float(np.gradient(wavelength)[good].sum()), low, high)
    safe = np.where(good, seen, 1.0)
    sigma = np.sqrt(np.maximum(average(variance), 0.0)) / safe / np.sqrt(pixels.grid.step_kms)
    return NetworkInput(
        np.where(good, average(flux), 1.0).astype(np.float32),
        np.where(good, sigma, 1.0).astype(np.float32),
        good,
        resulting,
    )


def _require_prepared(spectrum: Spectrum, name: str) -> float:
    """R of a spectrum that may go to a network."""
    resolution = require_resolution(name, spectrum.resolution)
    if not spectrum.normalised or spectrum.frame != "rest" or spectrum.sigma is None:
        state = "at rest" if spectrum.frame == "rest" else f"in the {spectrum.frame} frame"
        noise = "without noise" if spectrum.sigma is None else "with noise"
        raise DomainError(
            f"{name}: {'normalised' if spectrum.normalised else 'not normalised'}, {state}, {noise}; "
            "it has to be prepared"
        )
    return float(resolution)


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
