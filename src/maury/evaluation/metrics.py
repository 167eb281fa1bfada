"""How far predictions are from the truth: on normalised labels, in each label's unit, and in bins of every label."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from maury.errors import FormatError
from maury.labels import LABELS, LabelSpace
from maury.wavelengths import Floats

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""

BINS = 13
FEWEST = 10
"""Least number of spectra in a bin: with fewer, its robust scatter and 95th percentile would be too uncertain."""


def error_summary(error: ArrayLike) -> dict[str, float]:
    """Bias, scatter, robust scatter and 95 % of errors (n,), in their unit.

    With e = predicted - true: bias = mean(e), scatter = sqrt(mean((e - bias)^2)),
    robust_scatter = 1.4826 median(|e - median(e)|), p95 = 95th percentile of |e|.
    """
    e = np.asarray(error, float)
    return {
        "bias": float(e.mean()),
        "scatter": float(e.std()),
        "robust_scatter": float(MAD_TO_SIGMA * np.median(np.abs(e - np.median(e)))),
        "p95": float(np.quantile(np.abs(e), 0.95)),
    }


def bin_edges(values: ArrayLike, bins: int = BINS) -> Floats:
    """Edges between at most ``bins`` groups of equally many distinct values; the outermost are infinite.

    The nodes of a grid are never cut apart, so that spectra on nodes and between them fall into the same bins.
    """
    nodes = np.unique(np.asarray(values, float))
    groups = np.array_split(nodes, min(bins, len(nodes)))
    inner = [(left[-1] + right[0]) / 2 for left, right in pairwise(groups)]
    return np.array([-np.inf, *inner, np.inf])


def binned_errors(error: ArrayLike, values: ArrayLike, edges: ArrayLike) -> dict[str, list[Any]]:
    """Columns ``centre`` (mean value), ``n``, ``bias``, ``scatter``, ``robust_scatter``, ``p95``, one row per bin.

    Args:
        error: predicted - true (n,).
        values: the label that is binned (n,).
        edges: edges of the bins (m + 1,), increasing.
    """
    e, x = np.asarray(error, float), np.asarray(values, float)
    bins = np.searchsorted(np.asarray(edges, float), x, side="right") - 1
    rows = []
    for index in np.unique(bins):
        inside = bins == index
        if inside.sum() >= FEWEST:
            rows.append({"centre": float(x[inside].mean()), "n": int(inside.sum()), **error_summary(e[inside])})
    keys = ("centre", "n", "bias", "scatter", "robust_scatter", "p95")
    return {key: [row[key] for row in rows] for key in keys}


def score(
    true: Floats, predicted: Floats, space: LabelSpace, against: Mapping[str, tuple[Floats, Floats]]
) -> dict[str, Any]:
    """All figures of one set of predictions.

    Args:
        true: true labels (n, k) in their units.
        predicted: predicted labels (n, k).
        space: the k labels with the ranges that normalise them.
        against: for each label of the grid its values (n,) and the edges of its bins.

    Returns:
        ``n``, ``mse``, ``mae`` on normalised labels over all labels, and for each label under ``labels``: ``unit``,
        ``mse``, ``mae``, the columns of `error_summary` in that unit, and `binned_errors` under ``by``.

    Raises:
        FormatError: shapes differ, there are no rows, or a prediction is not finite.
    """
    if true.shape != predicted.shape or true.ndim != 2 or not len(true):
        raise FormatError(f"predictions {predicted.shape} and true labels {true.shape} must be tables of one shape")
    if not np.isfinite(predicted).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(predicted))[0])
        raise FormatError(f"the network's {space.names[column]} for row {row + 1} is not finite")
    normalised = space.normalise(predicted) - space.normalise(true)
    labels: dict[str, Any] = {}
    for k, name in enumerate(space.names):
        error = predicted[:, k] - true[:, k]
        labels[name] = {
            "unit": error_unit(name),
            "mse": float((normalised[:, k] ** 2).mean()),
            "mae": float(np.abs(normalised[:, k]).mean()),
            **error_summary(error),
            "by": {other: binned_errors(error, values, edges) for other, (values, edges) in against.items()},
        }
    return {
        "n": len(true),
        "mse": float((normalised**2).mean()),
        "mae": float(np.abs(normalised).mean()),
        "labels": labels,
    }


def error_unit(name: str) -> str:
    """Unit of an error in a label: K, km/s, or dex, also for log g."""
    return "dex" if name == "logg" else LABELS[name].unit
