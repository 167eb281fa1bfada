"""The search for a star's velocity in a range of any width, in steps of what the templates can be moved by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maury.preparation.merge import OrderRecord
from maury.preparation.segments import REACH_KMS, OrderSegment, cut
from maury.preparation.template_fit import Fit
from maury.preparation.templates import Bank
from maury.preparation.velocity import LINE_SHIFT_KMS, NEAR_KMS, Correlation, correlate
from maury.spectra import Observation
from maury.wavelengths import C_KMS, add_velocities, doppler, subtract_velocities

FASTEST_KMS = 1500.0
"""Largest velocity that is accepted: the fastest stars known have about 1,200 km/s."""


@dataclass(frozen=True)
class Found:
    """A rough velocity, and the orders in a frame in which it is small."""

    segments: list[OrderSegment]  # the orders; wavelengths divided by 1 + ``centre_kms`` / c
    correlation: Correlation  # in that frame
    guess_kms: float  # velocity in that frame
    centre_kms: float  # velocity of that frame, 0 unless the star is faster than 500 km/s


def zero_point(observation: Observation) -> float:
    """Velocity (km/s) of the lines of a star whose velocity is 0."""
    return 0.0 if observation.frame == "rest" else LINE_SHIFT_KMS


def search(
    observation: Observation,
    window_aa: tuple[float, float],
    templates: Bank,
    velocity_kms: float | None = None,
    range_kms: tuple[float, float] | None = None,
) -> Found:
    """Velocity of an observation, near one that is known or in a range, by default -500 to 500 km/s.

    Raises:
        DomainError: no order has enough pixels with light in the window, at any of these velocities.
    """
    zero = zero_point(observation)
    if velocity_kms is not None:
        given = velocity_kms + zero
        centre = 0.0 if abs(velocity_kms) <= REACH_KMS else velocity_kms
        segments = _cut(observation, window_aa, centre)
        guess = subtract_velocities(given, centre)
        return Found(segments, correlate(segments, templates, (guess - NEAR_KMS, guess + NEAR_KMS)), guess, centre)
    low, high = range_kms or (-np.inf, np.inf)
    found = []
    for centre in _centres(low, high):
        segments = _cut(observation, window_aa, centre)
        correlation = correlate(
            segments, templates, (subtract_velocities(low, centre), subtract_velocities(high, centre))
        )
        found.append(Found(segments, correlation, correlation.peak_kms, centre))
    best = max(found, key=lambda one: one.correlation.height)
    others = [one.correlation.height for one in found if abs(_apart(one, best)) > 2 * NEAR_KMS]
    second = max([best.correlation.second, *others])
    return replace(best, correlation=replace(best.correlation, second=second))


def _centres(low_kms: float, high_kms: float) -> list[float]:
    """Centres of pieces of a range none of which reaches further than 500 km/s; 0 where one is enough about it."""
    if np.isinf(low_kms) or (low_kms >= -REACH_KMS and high_kms <= REACH_KMS):
        return [0.0]
    count = int(np.ceil((high_kms - low_kms) / (2 * REACH_KMS)))
    edges = np.linspace(low_kms, high_kms, count + 1)
    return [float(x) for x in (edges[1:] + edges[:-1]) / 2]


def _apart(one: Found, other: Found) -> float:
    return add_velocities(one.guess_kms, one.centre_kms) - add_velocities(other.guess_kms, other.centre_kms)


def _cut(observation: Observation, window_aa: tuple[float, float], centre_kms: float) -> list[OrderSegment]:
    if not centre_kms:
        return cut(observation, window_aa)
    factor = 1 + centre_kms / C_KMS
    moved = [order.with_(wavelength_aa=order.wavelength_aa / factor) for order in observation.orders]
    return cut(replace(observation, orders=tuple(moved)), window_aa)


def in_frame(
    centre_kms: float,
    fit: Fit,
    correlation: Correlation,
    records: tuple[OrderRecord, ...],
    second: tuple[float, float],
) -> tuple[Fit, Correlation, tuple[OrderRecord, ...], tuple[float, float]]:
    """What was found in a frame of velocity ``centre_kms``, in that of the file's wavelengths."""
    if not centre_kms:
        return fit, correlation, records, second
    moved = [
        replace(r, segment=replace(r.segment, wavelength_aa=doppler(r.segment.wavelength_aa, centre_kms)))
        for r in records
    ]
    correlation = replace(
        correlation,
        velocity_kms=add_velocities(correlation.velocity_kms, centre_kms),
        peak_kms=add_velocities(correlation.peak_kms, centre_kms),
    )
    fit = replace(fit, velocity_kms=add_velocities(fit.velocity_kms, centre_kms))
    return fit, correlation, tuple(moved), (add_velocities(second[0], centre_kms), second[1])
