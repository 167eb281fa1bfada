"""The continuum of an order as a cubic B-spline, stiff enough not to follow lines."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline

from maury.wavelengths import Floats

KNOT_AA = 12.0
"""Largest distance of the knots in a slow rotator: waves down to some 25 Å are followed, lines and wings are not."""

CURVATURE = 0.1
"""Prior standard deviation of the second difference of neighbouring coefficients, per unit of the continuum; it only
matters where nothing was observed."""


def knot_distance(vsini_kms: float) -> float:
    """Distance of the knots, Å: wider in fast rotators, whose blends are as wide as waves of the continuum."""
    return KNOT_AA * (1 + vsini_kms / 100)


def spline_basis(wavelength_aa: Floats, first_aa: float, last_aa: float, knot_aa: float) -> Floats:
    """Cubic B-splines (n, k) with equidistant knots at most ``knot_aa`` apart between two wavelengths (Å).

    The basis is a partition of unity: coefficients of 1 are a continuum of 1.
    """
    pieces = max(1, int(np.ceil((last_aa - first_aa) / knot_aa)))
    inner = np.linspace(first_aa, last_aa, pieces + 1)
    knots = np.r_[[first_aa] * 3, inner, [last_aa] * 3]
    inside = np.clip(wavelength_aa, first_aa, last_aa)
    return np.asarray(BSpline.design_matrix(inside, knots, 3).toarray(), float)


def curvature_penalty(count: int) -> Floats:
    """Inverse covariance (count, count) of the prior on second differences of coefficients about 1."""
    if count < 3:
        return np.zeros((count, count))
    difference = np.diff(np.eye(count), n=2, axis=0) / CURVATURE
    return difference.T @ difference
