"""`OrderSegment`: the part of an observed order that the window needs, pixels without light masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maury.errors import DomainError
from maury.spectra import Observation, Spectrum
from maury.wavelengths import C_KMS, Bools, Floats

REACH_KMS = 500.0
"""Radial velocities are looked for up to this."""

_DEAD_RUN = 5
"""Pixels of one and the same flux in a row that no detector gives: gaps filled with a constant, saturation."""
_EDGE = 0.08
"""An order is used where its continuum is above this part of its highest."""
_BLOCK_AA = 10.0
_GROSS = 3.0
"""No line, wave or noise makes a flux this many times the median around it, nor its negative."""
_GROSS_SPREAD = 10.0
"""Times the scatter around the median, in standard deviations: what noise does not reach."""
_LEVELS = 5.0
"""Largest median of a piece over that of all pieces; a higher one is the level of damaged pixels."""
_LEAST_PIXELS = 40


@dataclass(frozen=True, kw_only=True)
class OrderSegment:
    """One order, or a part of it, in the observed frame."""

    name: str  # of the order in its file
    wavelength_aa: Floats  # observed wavelengths (n,), Å air
    flux: Floats  # in units of ``scale`` (n,), 0 where not finite
    sigma: Floats | None  # noise as the file has it, in the same unit (n,), or None
    mask: Bools  # True where the flux must not be used (n,)
    envelope: Floats  # rough upper envelope of the flux (n,), a first guess of the continuum
    scale: float  # flux of the file per unit
    masked: dict[str, int]  # number of pixels that each rule masked

    @property
    def good(self) -> Bools:
        """Pixels that may be used (n,): the complement of ``mask``."""
        return ~self.mask


def cut(observation: Observation, window_aa: tuple[float, float], reach_kms: float = REACH_KMS) -> list[OrderSegment]:
    """Segments of all orders that reach into the window at any velocity up to ``reach_kms``.

    Raises:
        DomainError: no order has enough good pixels with light there.
    """
    low, high = window_aa[0] * (1 - reach_kms / C_KMS), window_aa[1] * (1 + reach_kms / C_KMS)
    several = len(observation.orders) > 1
    segments = [_segment(order, low, high, several, i) for i, order in enumerate(observation.overlapping(low, high))]
    kept = [segment for segment in segments if segment is not None]
    if not kept:
        raise DomainError(
            f"{observation.name}: fewer than {_LEAST_PIXELS} pixels with light (finite, positive, not of one value) in "
            f"any order between {low:.0f} and {high:.0f} Å"
        )
    return kept


def dead_runs(flux: Floats, length: int = _DEAD_RUN) -> Bools:
    """Pixels in runs of at least ``length`` equal values, and one pixel on both sides of each run (n,)."""
    change = np.flatnonzero(np.r_[True, flux[1:] != flux[:-1], True])
    runs = np.diff(change)
    return with_neighbours(np.repeat(runs >= length, runs))


def with_neighbours(flagged: Bools) -> Bools:
    """Flagged pixels (n,) and one pixel on both sides of each."""
    grown = flagged.copy()
    grown[1:] |= flagged[:-1]
    grown[:-1] |= flagged[1:]
    return grown


def envelope(wavelength_aa: Floats, flux: Floats, good: Bools, width_aa: float = _BLOCK_AA) -> Floats:
    """Running 90th percentile of the good flux in pieces of ``width_aa``, joined linearly (n,)."""
    return _running(wavelength_aa, flux, good, 0.9, width_aa)


def _running(wavelength_aa: Floats, flux: Floats, good: Bools, share: float, width_aa: float = _BLOCK_AA) -> Floats:
    """Quantile of the good flux in pieces of ``width_aa``, joined linearly (n,); at most five times their median."""
    first, last = wavelength_aa[0], wavelength_aa[-1]
    centres = np.linspace(first, last, max(2, round((last - first) / width_aa * 2) + 1))
    wave, values = wavelength_aa[good], flux[good]
    left = np.searchsorted(wave, centres - width_aa / 2)
    right = np.searchsorted(wave, centres + width_aa / 2)
    pieces = [values[a:b] for a, b in zip(left, right, strict=True)]
    levels = np.array([np.quantile(piece, share) if piece.size >= 15 else np.nan for piece in pieces])
    known = np.isfinite(levels) & (levels > 0)
    if not known.any():
        return np.full(wavelength_aa.shape, max(float(np.quantile(values, share)), 0.0))
    levels = np.minimum(levels, _LEVELS * np.median(levels[known]))
    return np.interp(wavelength_aa, centres[known], levels[known])


def gross_errors(wavelength_aa: Floats, flux: Floats, good: Bools) -> Bools:
    """Good pixels (n,) whose flux is above three times the median around them, or below its negative, and not by noise.

    The scatter is the median distance from the median, so that it holds with up to half of the pixels damaged.
    """
    middle = _running(wavelength_aa, np.where(good, flux, 0.0), good, 0.5)
    distance = np.abs(np.where(good, flux, middle) - middle)
    spread = _GROSS_SPREAD * 1.4826 * _running(wavelength_aa, distance, good, 0.5)
    high = flux > np.maximum(_GROSS * middle, middle + spread)
    return np.asarray(good & (high | (flux < -np.maximum(0.3 * middle, spread - middle))), bool)


def has_light(flux: Floats) -> bool:
    """Whether the median of a flux (n,) lies above 0 by more than five of its standard errors."""
    middle = float(np.median(flux))
    error = 1.2533 * 1.4826 * float(np.median(np.abs(flux - middle))) / np.sqrt(flux.size)
    return middle > 5 * error


def _segment(order: Spectrum, low: float, high: float, several: bool, index: int) -> OrderSegment | None:
    keep = (order.wavelength_aa >= low) & (order.wavelength_aa <= high)
    raw = order.flux[keep]
    rules = {
        "file": np.asarray(order.mask, bool)[keep] | _absurd_sigma(order)[keep],
        "zero": raw == 0,
        "constant": dead_runs(raw),
    }
    good = np.logical_not(np.any(list(rules.values()), axis=0))
    if good.sum() < _LEAST_PIXELS:
        return None
    rules["gross"] = gross_errors(order.wavelength_aa[keep], raw, good)
    good &= ~rules["gross"]
    if good.sum() < _LEAST_PIXELS or not has_light(raw[good]):
        return None
    scale = float(np.quantile(raw[good], 0.95))
    wavelength, flux = order.wavelength_aa[keep], np.where(good, raw, 0.0) / scale
    level = envelope(wavelength, flux, good)
    rules["edge"] = level < _EDGE * level.max()
    if several:
        rules["edge"] = rules["edge"] | _ends(order, keep)
    counts, taken = {}, np.zeros(flux.shape, bool)
    for rule, mask in rules.items():
        counts[rule] = int((mask & ~taken).sum())
        taken |= mask
    if (~taken).sum() < _LEAST_PIXELS:
        return None
    sigma = None if order.sigma is None else order.sigma[keep] / scale
    name = str(order.provenance.get("order") or index + 1)
    return OrderSegment(
        name=name, wavelength_aa=wavelength, flux=flux, sigma=sigma, mask=taken, envelope=level, scale=scale,
        masked=counts,
    )  # fmt: skip


def _absurd_sigma(order: Spectrum) -> Bools:
    """Pixels (n,) whose noise is a million times smaller or larger than that of most."""
    if order.sigma is None:
        return np.zeros(order.flux.shape, bool)
    known = order.sigma[np.isfinite(order.sigma) & (order.sigma > 0)]
    usual = float(np.median(known)) if known.size else 1.0
    return np.asarray((order.sigma < 1e-6 * usual) | (order.sigma > 1e6 * usual), bool)


def _ends(order: Spectrum, keep: Bools, pixels: int = 8) -> Bools:
    """The first and last pixels of a whole order, where extractions go wrong (n,)."""
    ends = np.zeros(order.wavelength_aa.shape, bool)
    ends[:pixels] = ends[-pixels:] = True
    return ends[keep]


def fwhm_pixels(segment: OrderSegment, resolution: float) -> float:
    """Width (FWHM) of the instrument profile in pixels, at least 1."""
    step = float(np.median(np.diff(segment.wavelength_aa)))
    return max(1.0, float(segment.wavelength_aa.mean()) / resolution / step)
