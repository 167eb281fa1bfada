"""Bad pixels and noise of an order, found in the residuals of the fitted model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maury.preparation.merge import OrderRecord
from maury.preparation.noise_level import correlation_factor, measured
from maury.preparation.segments import OrderSegment, with_neighbours
from maury.wavelengths import Bools, Floats

_SPIKE = 6.0
_ABOVE = 5.0
_DEAD = 8.0
_SHARP, _FAR, _OFTEN = 0.05, 0.1, 0.08
"""In 43 observed stars 0.4 % of the pixels at most stand out by the first, 6 % are as far from the model as the second;
in more than the third of the pixels they are damage."""
_SAMPLED = 2.5
_CORE = 4.0
_FEW = 50
_UNDERSTATED = 1.25
_CHANCE = 5.5
"""Times 1 / sqrt(pixels): three standard deviations of a noise that is measured."""
_QUIET = 0.95
_SMOOTHED = 2.5
_CONFIRMED = 0.8
"""A sigma of the file is confirmed by noise measured above this part of it: the spectrum was not smoothed."""


def first_sigma(segment: OrderSegment, fwhm_pixels: float) -> Floats:
    """Noise to start from (n,): of the file, else measured in the flux itself."""
    if segment.sigma is not None:
        return segment.sigma
    return measured(segment.flux, segment.good, photon_shape(segment.flux), fwhm_pixels)


def photon_shape(flux: Floats) -> Floats:
    """Relative noise (n,) of photons: the root of the flux, 0.2 at the least for the detector's part."""
    return np.sqrt(np.clip(flux, 0.04, None))


def spikes(flux: Floats, model: Floats, sigma: Floats, good: Bools, fwhm_pixels: float) -> Bools:
    """Pixels (n,) hit by cosmic rays and hot or dead pixels.

    Above the continuum by 5 and above the model by 6 standard deviations, in a run as short as a cosmic ray's; or far
    from the model, above or below, and sharper than the instrument profile lets a line be. The standard deviation is
    that of the noise or the scatter of all residuals, whichever is larger. The pixels on both sides are taken too.
    ``flux`` and ``sigma`` are over the continuum, ``model`` is normalised; features wider than twice ``fwhm_pixels``
    are not cosmic rays.
    """
    if not good.any():
        return good.copy()
    difference = flux - model
    total = np.maximum(np.where(good, sigma, np.inf), 1.4826 * np.median(np.abs(difference[good])))
    residual = np.where(good, difference / total, 0.0)
    high = good & (residual > _SPIKE) & (flux > 1 + _ABOVE * total)
    hit = _short(high, round(2 * fwhm_pixels) + 3) | _sharp(residual, good, fwhm_pixels)
    return with_neighbours(hit) & good


def _sharp(residual: Floats, good: Bools, fwhm_pixels: float) -> Bools:
    """Pixels (n,) that stand out from their neighbours by more than the peak of any instrument profile does.

    Beside the peak of a Gaussian of FWHM w pixels lies the part e = 2^(-4 / w^2) of it, or more; so the residual minus
    the mean of its two neighbours over e is noise for every line, and the height of the peak for a single bad pixel.
    """
    part = 2 ** (-4 / fwhm_pixels**2)
    excess, between = _excess(residual, good, part)
    limit = _SPIKE * np.sqrt(1 + 0.5 / part**2)
    return between & (np.abs(residual) > _DEAD) & (excess > limit)


def _excess(residual: Floats, good: Bools, part: float) -> tuple[Floats, Bools]:
    """How much a residual (n,) stands out from the mean of its neighbours over ``part``; and where these are good."""
    between = np.zeros(good.shape, bool)
    between[1:-1] = good[1:-1] & good[:-2] & good[2:]
    excess = residual.copy()
    excess[1:-1] -= (residual[:-2] + residual[2:]) / (2 * part)
    return excess * np.sign(residual), between


def damaged(residual: Floats, sigma: Floats, good: Bools, fwhm_pixels: float) -> int:
    """Number of pixels that cannot be of the star, whatever their stated noise.

    They stand out from their neighbours more than lines do (`_sharp`), by 5 % of the continuum (15 % where the profile
    is hardly sampled) and four times the scatter of the densest quarter of the residuals, which is that of good pixels
    with up to a third damaged. Where residuals above 10 % are more frequent than in any star, these are counted.
    ``residual`` (n,) is flux minus model, or minus 1, per unit of the continuum; of ``sigma`` the shape alone is used.
    """
    excess, between = _excess(np.where(good, residual, 0.0), good, max(2 ** (-4 / fwhm_pixels**2), 0.7))
    sharp_least = _SHARP if fwhm_pixels > _SAMPLED else 3 * _SHARP
    counts = []
    for values, use, least in ((excess, between, sharp_least), (residual, good, _FAR)):
        if use.sum() < _FEW:
            continue
        centre, core = _core((values / sigma)[use])
        counts.append(int((np.abs(values - centre * sigma)[use] > np.maximum(_CORE * core * sigma[use], least)).sum()))
    sharp, far = [*counts, 0, 0][:2]
    return max(sharp, far if far > _OFTEN * good.sum() else 0)


def damaged_part(records: Sequence[OrderRecord], fwhm_pixels: Sequence[float], hit: int) -> float:
    """Part of the pixels that hold neither star nor noise: those masked as such and those still found."""
    count, total = hit, 0
    for record, width in zip(records, fwhm_pixels, strict=True):
        segment, continuum = record.segment, np.maximum(record.continuum, 0.03)
        gross = segment.masked.get("gross", 0)
        residual = segment.flux / continuum - record.model
        count += gross + damaged(residual, record.sigma / continuum, segment.good, width)
        total += gross + int(segment.good.sum())
    return count / max(total + hit, 1)


def _core(values: Floats) -> tuple[float, float]:
    """Centre and standard deviation of the densest quarter of values (n,), as if it were that of a Gaussian."""
    ordered = np.sort(values)
    count = ordered.size // 4
    widths = ordered[count:] - ordered[:-count]
    start = int(widths.argmin())
    return float(ordered[start] + ordered[start + count]) / 2, float(widths[start]) / 0.637


def _short(flagged: Bools, longest: int) -> Bools:
    """Flagged pixels (n,) in runs of at most ``longest``."""
    change = np.flatnonzero(np.diff(flagged, prepend=False, append=False))
    result = np.zeros(flagged.shape, bool)
    for start, end in change.reshape(-1, 2):
        result[start:end] = end - start <= longest
    return result


def final_sigma(
    segment: OrderSegment, model: Floats, continuum: Floats, good: Bools, fwhm_pixels: float, sparse: bool
) -> tuple[Floats, str]:
    """Noise of a segment (n,) in its unit, as if its pixels were independent, and where it came from.

    ``continuum`` (n,) is in the unit of the segment; a ``sparse`` star is hot enough for pixels without lines.
    """
    if not good.any():
        return np.full(good.shape, np.nan), "none: no good pixel"
    shape = photon_shape(continuum * model)
    residual = segment.flux - continuum * model
    factor = correlation_factor(residual / shape, good, fwhm_pixels)
    noise = measured(residual, good, shape, fwhm_pixels) * factor
    source = "measured" + (f", raised {factor:.1f} times for correlated neighbours" if factor > 1.1 else "")
    confirmed = segment.sigma is not None and _ratio(noise, segment.sigma, good) > _CONFIRMED
    quiet = good & (model > _QUIET)
    if sparse and not confirmed and quiet.sum() > 0.2 * good.sum():
        scatter = 1.4826 * float(np.median(np.abs((residual / shape)[quiet])))
        if scatter > max(_SMOOTHED * float(np.median((noise / shape)[quiet])), 0.02):
            noise, source = scatter * shape, "from the scatter between lines: the spectrum was smoothed"
    if segment.sigma is None:
        return noise, source
    ratio = _ratio(noise, segment.sigma, good)
    if ratio > max(_UNDERSTATED, 1 + _CHANCE / np.sqrt(good.sum())):
        return segment.sigma * ratio, "of the file, raised: less than what is measured"
    return segment.sigma, "of the file"


def _ratio(noise: Floats, sigma: Floats, good: Bools) -> float:
    return float(np.median(noise[good] / sigma[good]))
