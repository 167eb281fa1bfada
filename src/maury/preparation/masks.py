"""Ranges of wavelength at rest that a fit leaves out: `Mask`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from maury.errors import ConfigError, DomainError
from maury.preparation.resample import least_overlap
from maury.preparation.segments import OrderSegment
from maury.wavelengths import C_KMS

Mask = tuple[tuple[float, float], ...]
"""First and last wavelength of each range, Å in air, at rest; in the order of wavelengths, none overlapping another."""


def parse_range(text: str) -> tuple[float, float]:
    """Both ends of a range written as "5183-5184.2".

    Raises:
        ConfigError: it is written otherwise, or the ends are not in order.
    """
    low, _, high = text.partition("-")
    try:
        ends = float(low), float(high)
    except ValueError:
        raise ConfigError(f"mask {text!r}: must be two wavelengths in Å, such as 5183-5184.2") from None
    return ordered([ends])[0]


def ordered(ranges: Iterable[tuple[float, float]]) -> Mask:
    """Ranges in the order of wavelengths, those that overlap or touch joined.

    Raises:
        ConfigError: an end is not finite, or the first is not below the last.
    """
    joined: list[tuple[float, float]] = []
    for low, high in sorted((float(low), float(high)) for low, high in ranges):
        if not (np.isfinite([low, high]).all() and low < high):
            raise ConfigError(f"mask {low:.10g}-{high:.10g}: both ends must be finite, in Å, the lower first")
        if joined and low <= joined[-1][1]:
            low, high = joined[-1][0], max(high, joined.pop()[1])
        joined.append((low, high))
    return tuple(joined)


def require_rest(mask: Mask, window_aa: tuple[float, float]) -> None:
    """Check that each range lies in a window, at least in part, and that the mask leaves enough of it.

    Raises:
        ConfigError: a range outside of the window.
        DomainError: less is left of the window than a fit needs.
    """
    first, last = window_aa
    for low, high in mask:
        if high <= first or low >= last:
            raise ConfigError(
                f"mask {low:.10g}-{high:.10g}: outside of the window {first:.0f} to {last:.0f} Å (air, at rest)"
            )
    left = last - first - sum(min(high, last) - max(low, first) for low, high in mask)
    least = least_overlap(first, last)
    if left < least:
        raise DomainError(
            f"mask: leaves {left:.1f} Å of the window {first:.0f} to {last:.0f} Å; at least {least:g} Å are needed"
        )


def inside(wavelength_aa: NDArray[np.float64], mask: Mask) -> NDArray[np.bool_]:
    """Which wavelengths (n,), Å at rest, lie in a range (n,)."""
    ends = np.array(mask, float).reshape(-1, 2)
    begun = np.searchsorted(ends[:, 0], wavelength_aa, "right")
    return np.asarray(begun > np.searchsorted(ends[:, 1], wavelength_aa), bool)


def without(segments: list[OrderSegment], mask: Mask, velocity_kms: float) -> list[OrderSegment]:
    """Segments of a star with that radial velocity (km/s) whose pixels in the ranges are not used."""
    if not mask:
        return segments
    masked = []
    for segment in segments:
        hidden = segment.good & inside(segment.wavelength_aa / (1 + velocity_kms / C_KMS), mask)
        counts = {**segment.masked, "asked": int(hidden.sum())}
        masked.append(replace(segment, mask=segment.mask | hidden, masked=counts))
    return masked


def texts(mask: Mask) -> tuple[str, ...]:
    """Each range as `parse_range` reads it."""
    return tuple(f"{low:.10g}-{high:.10g}" for low, high in mask)
