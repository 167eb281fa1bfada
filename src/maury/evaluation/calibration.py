"""Calibration of posteriors: coverage of intervals and uniformity of ranks (simulation-based calibration)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, kstest

LEVELS = (0.5, 0.68, 0.95)
"""Central shares of the posterior whose coverage is reported."""

BINS = 20


def ranks(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Rank (n, k) of the truth (n, k) among samples (n, s, k) as a fraction: uniform in 0..1 if calibrated.

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


def tarp(samples: NDArray[np.float64], truth: NDArray[np.float64], seed: int) -> float:
    """Share of samples (s, k) nearer than the truth (k,) to a random point: uniform over many stars if calibrated.

    Tests of accuracy with random points (Lemos et al. 2023, arXiv:2302.03026) are sensitive to wrong correlations,
    unlike ranks of single labels. The point is drawn from a normal distribution about the samples' mean, twice as wide.

    Args:
        samples: of the posterior, in coordinates of similar scale.
        truth: the true values.
        seed: of the random point.
    """
    scale = samples.std(0) + 1e-12
    point = np.random.default_rng(seed).standard_normal(len(truth)) * 2 * scale + samples.mean(0)
    distance = np.linalg.norm((samples - point) / scale, axis=1)
    own = float(np.linalg.norm((truth - point) / scale))
    return float((distance < own).mean())


def tarp_curve(shares: NDArray[np.float64]) -> dict[str, Any]:
    """Share of stars (n,) whose truth lies within each credible level about random points, and a test of uniformity.

    Returns:
        ``coverage`` by level as text, ``distance`` (Kolmogorov-Smirnov) and ``p``.
    """
    test = kstest(shares, "uniform")
    within = {f"{level:g}": float((shares < level).mean()) for level in LEVELS}
    return {"coverage": within, "distance": float(test.statistic), "p": float(test.pvalue)}
