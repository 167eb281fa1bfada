"""Regularised, robust linear least squares with sparse derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from maury.wavelengths import Floats

STUDENT_NU = 4.0
"""Degrees of freedom of Student's t distribution of the residuals, which limits the effect of missing lines."""

_ITERATIONS = 12
_CONVERGED = 0.05


@dataclass(frozen=True)
class Solution:
    """Steps (parameters,), residuals after them (pixels,), and the last robust weights (pixels,)."""

    step: Floats
    residual: Floats
    weight: Floats


def robust_steps(
    derivatives: sparse.csc_array, residual: Floats, sigma: Floats, width: Floats, centre: Floats, exact: int = 0
) -> Solution:
    r"""Minimise a Student likelihood of the residuals with Gaussian priors on the steps.

    $$ \sum_p \tfrac{\nu + 1}{2} \ln\left(1 + \frac{(r - A x)_p^2}{\nu \sigma_p^2}\right)
       + \sum_k \frac{(x_k - c_k)^2}{2 w_k^2}, $$

    up to the scale of its first term, by iteratively reweighted least squares with weights 1 / (1 + z^2 / nu)
    (Lange, Little & Taylor 1989).

    Args:
        derivatives: A (pixels, parameters).
        residual: observed minus model (pixels,).
        sigma: standard deviation of the pixels (pixels,).
        width: standard deviation of the priors (parameters,).
        centre: centre of the priors (parameters,), relative to the parameters of the model.
        exact: number of rows at the end with Gaussian errors: they are never down-weighted.
    """
    scaled = sparse.csc_array(sparse.diags_array(1 / sigma) @ derivatives)
    z0 = residual / sigma
    step = np.zeros(scaled.shape[1])
    weight = _weights(np.clip(z0, -50, 50), exact)
    for _ in range(_ITERATIONS):
        hessian = (scaled.T @ (sparse.diags_array(weight) @ scaled)).toarray()
        hessian[np.diag_indices_from(hessian)] += 1 / width**2
        gradient = scaled.T @ (weight * z0) + centre / width**2
        new = cho_solve(cho_factor(hessian, overwrite_a=True, check_finite=False), gradient)
        moved = np.abs((new - step) / width).max()
        step = new
        weight = _weights(z0 - scaled @ step, exact)
        if moved < _CONVERGED:
            break
    return Solution(step, residual - derivatives @ step, weight)


def _weights(z: Floats, exact: int) -> Floats:
    weight = 1 / (1 + z**2 / STUDENT_NU)
    weight[len(z) - exact :] = 1.0
    return weight
