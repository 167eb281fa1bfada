"""How far labels of real stars are off, beyond what noise and random errors of lines explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from maury.labels import LABELS
from maury.likelihood.priors import LabelPrior

_TEFF_K = (3500.0, 4000.0, 4500.0, 5000.0, 7000.0, 9750.0)
_SIZES = {
    "teff": (250.0, 120.0, 70.0, 50.0, 50.0, 150.0),
    "logg": (1.0, 0.5, 0.25, 0.12, 0.12, 0.15),
    "mh": (1.5, 0.5, 0.1, 0.05, 0.05, 0.1),
    "vmic": (0.5, 0.3, 0.15, 0.1, 0.1, 0.3),
    "c": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
    "mg": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
    "ca": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
    "ti": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
    "cr": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
    "ni": (0.3, 0.2, 0.1, 0.05, 0.05, 0.1),
}
"""Standard deviations at the temperatures above, [M/H] = -1 and more.

From the differences to the literature of the benchmark stars (`benchmarks/benchmark_stars.py`): one-dimensional
atmospheres in LTE, line data that are wrong in common, no TiO below 4500 K. Few stars, so round numbers.
"""

_VSINI_KMS, _VSINI_SHARE = 1.5, 0.03
"""Systematic error of v sin i, km/s, and as a share of it: macroturbulence is told from rotation by little."""

_REPEATS = 8
"""Systematic errors drawn for each sample of the fit."""

_POOR, _GROWTH = -1.0, 2.0
"""Below that [M/H] the sizes grow by the factor 1 + growth x dex: fewer lines. Those of shifted labels do not."""

_SHIFT = {"teff": 230.0, "logg": 0.55, "mh": 0.2}
"""By how much metal-poor stars are taken for too cool, too large and too metal-poor, in the labels' units.

Mean of HD 106038, HD 140283 and HD 122563 (`benchmarks/benchmark_stars.py`, which also shifts each by what the others
tell). Neutral iron is overionised in their thin atmospheres, so that its lines are weaker than in LTE; Ruchti et al.
(2013, MNRAS 429, 126) find the like in other spectra.
"""
_SHIFT_SCATTER = 0.5
"""Standard deviation of the share of the shift from star to star, common to all labels."""
_SHIFT_MH, _SHIFT_TEFF_K = (-1.5, -0.5), (4000.0, 4500.0)
"""The shift is whole below the first [M/H] and above the second Teff, and none beyond the other two."""
_SHIFT_EDGE = 0.15
"""Within so many dex of the lowest [M/H] of the model it fades: the edge keeps stars from being taken for poorer."""


def metal_poor(labels: Mapping[str, float], reference: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Share of the shift of metal-poor stars that a star gets, and its standard deviation.

    Args:
        labels: of the fit by name; ``teff`` and ``mh`` count.
        reference: labels of a star whose own shift has been taken out of the spectrum already.
    """
    teff, mh = labels.get("teff", 5750.0), labels.get("mh", 0.0)
    share = float(np.interp(mh, _SHIFT_MH, (1.0, 0.0)) * np.interp(teff, _SHIFT_TEFF_K, (0.0, 1.0)))
    inside = float(np.clip((mh - LABELS["mh"].lower) / _SHIFT_EDGE, 0.0, 1.0))
    scatter = share * (1 - (1 - _SHIFT_SCATTER) * inside)
    return share * inside - (0.0 if reference is None else metal_poor(reference)[0]), scatter


def metal_poor_shift(share: float) -> dict[str, float]:
    """What a share of the shift of metal-poor stars adds to labels, in their units."""
    return {name: share * size for name, size in _SHIFT.items()}


def systematic(labels: Mapping[str, float]) -> dict[str, float]:
    """Standard deviation by label, in its unit, of the systematic error of a star, beside that of the shift.

    Args:
        labels: of the fit by name; ``teff`` and ``mh`` count.
    """
    teff, mh = labels.get("teff", 5750.0), labels.get("mh", 0.0)
    growth = _GROWTH * max(0.0, _POOR - mh)
    cool = float(np.interp(teff, _SHIFT_TEFF_K, (1.0, 0.0)))
    sizes = {name: float(np.interp(teff, _TEFF_K, values)) for name, values in _SIZES.items()}
    sizes = {name: size * (1 + growth * (cool if name in _SHIFT else 1)) for name, size in sizes.items()}
    return sizes | {"vsini": float(np.hypot(_VSINI_KMS, _VSINI_SHARE * labels.get("vsini", 0.0)))}


def with_systematics(
    samples: Tensor,
    names: Sequence[str],
    generator: torch.Generator,
    priors: Sequence[LabelPrior] = (),
    real: bool = True,
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[Tensor, float]:
    """Samples of the true labels: those of the fit, shifted and widened by systematic errors, with what is known.

    Information from elsewhere is on the true labels, so that it tells of the systematic error as much as of the fit.
    True labels may lie outside the ranges of the model.

    Args:
        samples: labels of the fit (n, k), of equal weight.
        names: the k labels.
        generator: of random numbers.
        priors: what is known of the true labels.
        real: whether a star is real; simulated ones have no systematic error.
        shift: share of that of metal-poor stars and its standard deviation, as `metal_poor` tells them.

    Returns:
        Samples (n, k) of equal weight, and the efficiency of the weighing: effective share of those drawn.
    """
    count = len(samples)
    if not real and not priors:
        return samples, 1.0
    many = samples.repeat(_REPEATS, 1)
    if real:
        sizes = systematic(dict(zip(names, samples.median(0).values.tolist(), strict=True)))
        width, direction = (
            torch.tensor([x.get(name, 0.0) for name in names], dtype=many.dtype) for x in (sizes, metal_poor_shift(1.0))
        )
        many = many + width * torch.randn(many.shape, generator=generator, dtype=many.dtype)
        share, scatter = shift
        many = many + direction * (share + scatter * torch.randn(len(many), 1, generator=generator, dtype=many.dtype))
        if "vsini" in names:
            many[:, names.index("vsini")].abs_()
    columns = dict(zip(names, many.unbind(1), strict=True))
    log = torch.zeros(len(many), dtype=many.dtype)
    for prior in priors:
        log = log + prior.log_density(columns)
    if not bool(torch.isfinite(log).any()):
        return many[:count], 0.0
    weights = (log - log.logsumexp(0)).exp()
    positions = (torch.arange(count, dtype=many.dtype) + torch.rand(1, generator=generator, dtype=many.dtype)) / count
    rows = torch.searchsorted(weights.cumsum(0), positions).clamp_max(len(many) - 1)
    chosen = many[rows[torch.randperm(count, generator=generator)]]
    return chosen, float(1 / weights.square().sum() / len(weights))
