"""Noise per pixel, measured where neither the star nor an error of its model can be: beyond the instrument's cutoff.

An instrument profile of w pixels FWHM passes 8 % of a wave of 0.85/w cycles per pixel and less of shorter ones. What a
residual holds at such frequencies is noise, however wrong the model. White noise is the same at all frequencies; noise
of resampled pixels, whose neighbours are correlated, rises towards low ones, where lines are. Measured in two bands, it
is extrapolated to zero: the noise that counts for a line, as if the pixels were independent. For pixels resampled by a
factor of 1 to 2 the result is right to 35 %; for 3 to 4 it can be half of the truth.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from maury.wavelengths import Bools, Floats

_TAPS = 25
_WIDTH = 0.13
_HIGHEST = 0.36
_BLOCK = 500
_LEAST = 80
_LARGEST_FACTOR = 1.5
_CHANCE = 7.0
"""Times 1 / sqrt(pixels): what ln(ratio) of the noise in two bands of white noise hardly exceeds (2.7 standard
deviations, found by simulation)."""


@lru_cache(maxsize=32)
def _band(low: float) -> Floats:
    """Filter (taps,) that passes ``low`` to ``low`` + 0.13 cycles per pixel and keeps the sigma of white noise.

    The ideal filter's response to an impulse, 2 h sinc(2 h m) - 2 l sinc(2 l m), times Hamming's window.
    """
    high = low + _WIDTH if low + _WIDTH < 0.49 else 0.5
    m = np.arange(_TAPS) - _TAPS // 2
    taps = (high * np.sinc(2 * high * m) - low * np.sinc(2 * low * m)) * np.hamming(_TAPS)
    return np.asarray(taps / np.sqrt(np.sum(taps**2)))


def lowest_free(fwhm_pixels: float) -> float:
    """Lowest frequency (cycles per pixel) of which a Gaussian profile passes at most 8 %, at most 0.36."""
    return min(0.85 / fwhm_pixels, _HIGHEST)


def filtered(values: Floats, good: Bools, low: float) -> tuple[Floats, Bools]:
    """Values in a band (n,), and where they rest on good pixels (n,): at least 0.9 of the filter's power."""
    taps = _band(round(low, 3))
    same = slice(_TAPS // 2, _TAPS // 2 + values.size)
    result = np.convolve(np.where(good, values, 0.0), taps)[same]
    support = np.convolve(good.astype(float), taps**2)[same]
    return result, good & (support > 0.9)


def noise_of(values: Floats, good: Bools, low: float) -> float:
    """Standard deviation in a band, from the median of the absolute values; NaN with fewer than 80 pixels."""
    result, use = filtered(values, good, low)
    return float(1.4826 * np.median(np.abs(result[use]))) if use.sum() >= _LEAST else float("nan")


def correlation_factor(values: Floats, good: Bools, fwhm_pixels: float) -> float:
    """Noise at low frequency over that in the lowest band free of lines: 1 for white noise, at most 1.5.

    ln(power) is taken as linear in the square of the frequency, as for smoothing by any narrow kernel. 1 where the
    instrument profile is too few pixels wide for two bands, and where the two differ by no more than chance.
    """
    low = lowest_free(fwhm_pixels)
    if low > 0.3:
        return 1.0
    high = 0.37
    first, second = noise_of(values, good, low), noise_of(values, good, high)
    if not (np.isfinite(first) and second > 0) or np.log(first / second) < _CHANCE / np.sqrt(good.sum()):
        return 1.0
    f1, f2 = (low + _WIDTH / 2) ** 2, (high + _WIDTH / 2) ** 2
    slope = np.log(first / second) / (f2 - f1)
    return float(np.clip(np.exp(slope * f1), 1.0, _LARGEST_FACTOR))


def measured(values: Floats, good: Bools, shape: Floats, fwhm_pixels: float) -> Floats:
    """Noise (n,) of pixels in blocks of 500, varying inside a block as ``shape``.

    ``values`` are data minus model, or the data; ``shape`` (n,) is the expected relative noise, such as the root of the
    flux.
    """
    scaled, use = filtered(values / shape, good, lowest_free(fwhm_pixels))
    centres, levels = [], []
    for start in range(0, max(1, values.size - _BLOCK // 2), _BLOCK // 2):
        part = slice(start, start + _BLOCK)
        if use[part].sum() >= _LEAST:
            centres.append(start + min(_BLOCK, values.size - start) / 2)
            levels.append(1.4826 * np.median(np.abs(scaled[part][use[part]])))
    if not levels or not max(levels) > 0:
        spread = float(1.4826 * np.median(np.abs((values / shape)[good]))) if good.any() else 0.0
        return np.full(values.shape, max(spread, 1e-6)) * shape
    smooth = np.maximum(_median3(np.array(levels)), 1e-3 * max(levels))
    return np.interp(np.arange(values.size), centres, smooth) * shape


def _median3(values: Floats) -> Floats:
    if values.size < 3:
        return values
    padded = np.r_[values[:1], values, values[-1:]]
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
