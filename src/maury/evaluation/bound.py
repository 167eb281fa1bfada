"""The Cramer-Rao bound: the smallest error that spectra allow, from the emulator's own derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from maury.errors import DomainError
from maury.labels import ALPHA
from maury.likelihood import free_labels
from maury.simulation import Simulator
from maury.wavelengths import Floats

STEP_KMS = 2.3
"""S/N is given for the continuum in a pixel of this width (km/s), whatever the pixels of the spectra."""

_STEPS = {"teff": 20.0, "logg": 0.02, "mh": 0.01, "vmic": 0.02, "vmac": 0.1}
_ABUNDANCE_STEP = 0.02


def derivatives(simulator: Simulator, labels: Tensor, resolution: float) -> Tensor:
    """Derivatives (n, k, p) of the flux with respect to the labels (n, k), by central differences.

    Rows of [alpha/M] are 0 where it is the mean of single elements that are labels too.
    """
    r = torch.full((len(labels),), resolution)
    free = set(free_columns(simulator))
    rows = []
    for column, name in enumerate(simulator.labels):
        if column not in free:
            rows.append(torch.zeros(len(labels), simulator.pixels.count))
            continue
        step, least = _step(name, labels[:, column]), 0.0 if name in ("vsini", "vmac") else -torch.inf
        (below, low), (above, high) = (_moved(simulator, labels, column, sign * step, least, r) for sign in (-1, 1))
        rows.append((high - low) / (above - below)[:, None])
    return torch.stack(rows, 1)


def free_columns(simulator: Simulator, fixed: Sequence[str] = ()) -> list[int]:
    """Columns of the independent labels: without [alpha/M] if it is the mean of others, and without fixed labels.

    Raises:
        DomainError: a fixed label is unknown to the simulator or the mean of others, or no label is free.
    """
    names, allowed = simulator.labels, free_labels(simulator)
    for name in fixed:
        if name in names and name not in allowed:
            raise DomainError(f"label alpha is the mean of {', '.join(ALPHA)}: hold these fixed instead")
        if name not in allowed:
            raise DomainError(f"no label {name} to hold; there are {', '.join(allowed)}")
    free = [i for i, name in enumerate(names) if name in allowed and name not in fixed]
    if not free:
        raise DomainError("all labels are held: nothing is left to be measured")
    return free


def pixel_sigma(simulator: Simulator, snr: float) -> float:
    """Standard deviation of white noise in a pixel for a S/N per `STEP_KMS`.

    Raises:
        DomainError: a S/N that is not positive and finite.
    """
    if not 0 < snr < np.inf:
        raise DomainError(f"snr = {snr:g} is outside the allowed range: positive and finite")
    return float((STEP_KMS / simulator.pixels.grid.step_kms) ** 0.5 / snr)


def fisher(slopes: Floats, weight: Floats | float, projector: Floats | None = None) -> Floats:
    """Fisher information (..., k, k) of labels: J C^-1 J^T, the covariance C of the pixels being D + B^T B.

    D is diagonal; the rows of B are nuisances whose amplitudes are standard normal and integrated out, so that the
    inverse of C is W (1 - Q Q^T) W by Woodbury's identity.

    Args:
        slopes: J, derivatives of the flux (..., k, p).
        weight: W = D^-1/2, 1 / standard deviation (p,).
        projector: Q (p, q), such as that of `maury.likelihood.NoiseModel`.
    """
    weighted = slopes * weight
    information = weighted @ np.swapaxes(weighted, -1, -2)
    if projector is not None:
        slow = weighted @ projector
        information = information - slow @ np.swapaxes(slow, -1, -2)
    return np.asarray(information)


def smallest_errors(information: Floats, precision: Floats, combinations: Floats) -> Floats:
    """Standard deviations (..., w) of sums of labels by (F + P)^-1 (van Trees 1968).

    With the prior's precision P, labels that the spectrum does not constrain have the uncertainty of the prior instead
    of an infinite one, which would spread to labels correlated with them.

    Args:
        information: F (..., k, k).
        precision: P (k, k), inverse covariance of the prior.
        combinations: weights (w, k) of the labels in each sum.
    """
    covariance = np.linalg.inv(information + precision)
    return np.asarray(np.sqrt(np.einsum("wi,...ij,wj->...w", combinations, covariance, combinations)))


def prior_precision(prior: Tensor, columns: Sequence[int]) -> Floats:
    """Inverse covariance (k, k) of some columns of labels (m, all) drawn from a prior."""
    return np.asarray(np.linalg.inv(np.atleast_2d(np.cov(prior[:, list(columns)].double().numpy(), rowvar=False))))


def combination(name: str, names: Sequence[str]) -> list[float]:
    """A label as weights of free labels: itself, or the mean of those of Mg, Ca and Ti that are free."""
    if name == "alpha" and name not in names:
        return [1 / len(ALPHA) if other in ALPHA else 0.0 for other in names]
    return [float(other == name) for other in names]


def bound(
    simulator: Simulator, labels: Tensor, prior: Tensor, resolution: float, sigma: Sequence[float], names: Sequence[str]
) -> Floats:
    """Smallest standard deviations (len(sigma), n, len(names)) of labels when all of a star's labels are free.

    Continuum, velocity, zero level and resolution are assumed known; `maury.evaluation.limits` marginalises over them.

    Args:
        simulator: the physics and its labels.
        labels: stars (n, k).
        prior: labels (m, k) drawn from the prior, to compute its covariance.
        resolution: R = lambda / FWHM.
        sigma: standard deviations of white noise per pixel.
        names: labels whose standard deviations are returned.
    """
    free = free_columns(simulator)
    information = fisher(derivatives(simulator, labels, resolution)[:, free].double().numpy(), 1.0)
    precision = prior_precision(prior, free)
    weights = np.array([combination(name, [simulator.labels[i] for i in free]) for name in names])
    return np.array([smallest_errors(information / noise**2, precision, weights) for noise in sigma])


def _moved(
    simulator: Simulator, labels: Tensor, column: int, by: Tensor, least: float, resolution: Tensor
) -> tuple[Tensor, Tensor]:
    """Values (n,) of a label moved, but not below ``least``, and the flux (n, p)."""
    moved = labels.clone()
    moved[:, column] = (moved[:, column] + by).clamp_min(least)
    return moved[:, column], simulator.spectra(moved, resolution).cpu()


def _step(name: str, values: Tensor) -> Tensor:
    if name == "vsini":
        return 0.1 + 0.01 * values
    return torch.full_like(values, _STEPS.get(name, _ABUNDANCE_STEP))
