"""Orders divided by their continua and averaged on one grid at rest, weighted by their signal-to-noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maury.preparation.segments import OrderSegment
from maury.wavelengths import C_KMS, Floats, pixel_edges, rebin

_LEAST_STEP_KMS = 0.3
_DISCORD = 5.0
_DISCORD_FLUX = 0.03


@dataclass(frozen=True)
class OrderRecord:
    """One order with its continuum, template and noise.

    Attributes:
        segment: as cut from the file; its ``good`` are the pixels that were used.
        continuum: in the unit of the segment (n,).
        continuum_error: its standard deviation over the continuum (n,).
        model: normalised template (n,).
        sigma: noise in the unit of the segment (n,).
    """

    segment: OrderSegment
    continuum: Floats
    continuum_error: Floats
    model: Floats
    sigma: Floats


@dataclass(frozen=True)
class Merged:
    """Normalised flux on a grid uniform in ln(wavelength)."""

    wavelength_aa: Floats  # centres (n,), Å air, at rest
    flux: Floats  # over continuum (n,), NaN where nothing good was observed
    sigma: Floats  # noise (n,), NaN there
    continuum_error: Floats  # standard deviation of the continuum over the continuum (n,)
    model: Floats  # normalised template (n,), NaN there
    discordant: int  # pixels where orders disagreed, so that only the best was kept


def step_of(segments: list[OrderSegment]) -> float:
    """Median pixel of all segments, km/s, rounded to 0.1, at least 0.3."""
    steps = np.concatenate([np.diff(s.wavelength_aa) / s.wavelength_aa[1:] for s in segments])
    return max(_LEAST_STEP_KMS, round(float(np.median(steps)) * C_KMS, 1))


def log_pixels(window_aa: tuple[float, float], step_kms: float, margin_aa: float = 0.0) -> Floats:
    """Centres (n,) of pixels uniform in ln(wavelength) that fill a window and a margin; one is its first wavelength."""
    low, high = window_aa
    before = int(margin_aa / low * C_KMS / step_kms)
    after = int(np.log((high + margin_aa) / low) * C_KMS / step_kms)
    return np.asarray(low * np.exp(np.arange(-before, after + 1) * step_kms / C_KMS), np.float64)


def merge(orders: Sequence[OrderRecord], velocity_kms: float, wavelength_aa: Floats) -> Merged:
    """Average the orders.

    Each order is rebinned with its integral conserved; masked pixels are filled with the model for that purpose alone,
    and a new pixel more than half of which was masked is not used. The noise of a new pixel keeps the information of
    the old ones: it is smaller for wider pixels and larger for narrower ones, so that the correlation which those get
    does not make the spectrum look better than it is. ``velocity_kms`` is in the frame of the orders; the pixels of the
    result (m,) are at rest.
    """
    edges = pixel_edges(wavelength_aa)
    planes = [_plane(order, velocity_kms, edges) for order in orders]
    flux, variance, error, model = (np.stack([plane[i] for plane in planes]) for i in range(4))
    use = np.isfinite(variance)
    best = np.where(use, variance, np.inf).argmin(0)
    pick = np.arange(wavelength_aa.size)
    difference = np.abs(flux - flux[best, pick])
    limit = _DISCORD * np.sqrt(variance + variance[best, pick]) + _DISCORD_FLUX
    discord = use & (difference > limit)
    use &= ~discord
    weight = np.where(use, 1 / np.where(use, variance, 1.0), 0.0)
    total = weight.sum(0)
    seen = total > 0
    safe = np.where(seen, total, 1.0)

    def mean(values: Floats) -> Floats:
        return np.where(seen, np.where(use, weight * values, 0.0).sum(0) / safe, np.nan)

    sigma = np.where(seen, 1 / np.sqrt(safe), np.nan)
    return Merged(wavelength_aa, mean(flux), sigma, mean(error), mean(model), int(discord.any(0).sum()))


def _plane(order: OrderRecord, velocity_kms: float, edges: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Normalised flux, variance (NaN where not usable), continuum error and model of one order on new pixels."""
    old = pixel_edges(order.segment.wavelength_aa / (1 + velocity_kms / C_KMS))
    good = order.segment.good
    continuum = np.where(good, order.continuum, 1.0)
    flux = np.where(good, order.segment.flux / continuum, order.model)
    variance = np.where(good, (order.sigma / continuum) ** 2, 0.0)
    share = rebin(old, good.astype(float), edges, smooth=False)
    width = np.interp((edges[1:] + edges[:-1]) / 2, (old[1:] + old[:-1]) / 2, np.diff(old))
    usable = (share > 0.5) & (edges[1:] > old[0]) & (edges[:-1] < old[-1])
    share = np.where(usable, share, 1.0)
    new_variance = rebin(old, variance, edges, smooth=False) / share**2 * width / np.diff(edges)
    error = rebin(old, np.where(good, order.continuum_error, 0.0), edges, smooth=False) / share
    blank = np.where(usable & (new_variance > 0), 0.0, np.nan)
    return rebin(old, flux, edges), new_variance + blank, error, rebin(old, order.model, edges)
