"""Whether errors can be believed: coverage of intervals and uniformity of ranks (simulation-based calibration)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

LEVELS = (0.5, 0.68, 0.95)
"""Central shares of the posterior whose coverage is reported."""

BINS = 20


def ranks(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Share of samples (n, s, k) below the truth (n, k), in the middle of its step: uniform in 0..1 if calibrated.

    (number below + 1/2) / (s + 1), Talts et al. (2018, arXiv:1804.06788).
    """
    drawn, true = np.asarray(samples, float), np.asarray(truth, float)
    return ((drawn < true[:, None]).sum(1) + 0.5) / (drawn.shape[1] + 1)


def coverage(rank: ArrayLike, levels: tuple[float, ...] = LEVELS) -> dict[str, float]:
    """Share of ranks (n,) inside each central interval, by level as text."""
    distance = np.abs(np.asarray(rank, float) - 0.5)
    return {f"{level:g}": float((distance <= level / 2).mean()) for level in levels}


def uniformity(rank: ArrayLike, bins: int = BINS) -> dict[str, Any]:
    """Counts of ranks (n,) in equal bins, chi-square about equal counts, and the probability of a larger one.

    Returns:
        ``counts``, ``chi2``, ``degrees``, ``p``.
    """
    counts, _ = np.histogram(np.asarray(rank, float), bins, (0, 1))
    expected = counts.sum() / bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return {
        "counts": counts.tolist(),
        "chi2": statistic,
        "degrees": bins - 1,
        "p": float(chi2.sf(statistic, bins - 1)),
    }
