"""The most probable labels and the curvature about them, by Gauss-Newton steps on the emulator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maury.likelihood.errors import ErrorModel, NoiseModel
from maury.likelihood.priors import LabelPrior
from maury.likelihood.target import Coordinates, Target
from maury.likelihood.together import Together
from maury.pixelspectra import PixelSpectra

_STEP = 0.02
"""Difference of unconstrained coordinates by which derivatives are taken."""
_PRIOR_STEP = 1e-4
"""The same for priors, which are in double precision."""
_LARGEST = 0.7
"""Longest step in any unconstrained coordinate."""
_FARTHEST = 3.5
"""Largest absolute value of an unconstrained coordinate: 2e-4 of a label's range from its ends."""
_DONE = 0.05
"""The search ends where the next step is shorter than so many standard deviations in each coordinate."""
_TRIES = 5


@dataclass(frozen=True)
class Mode:
    """A maximum of the posterior density in unconstrained coordinates, and the Gaussian there.

    Attributes:
        theta: coordinates (k,).
        covariance: inverse of the curvature (k, k).
        labels: the simulator's labels there (all,).
        noise: covariance of the errors about the model spectrum there.
        model: that spectrum (p,).
        slopes: its derivatives by the coordinates (k, p).
        log_density: log density of the target there.
        steps: number of steps taken.
    """

    theta: Tensor = field(repr=False)
    covariance: Tensor = field(repr=False)
    labels: Tensor
    noise: NoiseModel = field(repr=False)
    model: Tensor = field(repr=False)
    slopes: Tensor = field(repr=False)
    log_density: float
    steps: int

    def squared_distance(self, theta: Tensor) -> Tensor:
        """Squared distance of coordinates (k,) from the mode, in units of the covariance: k is usual for samples."""
        away = theta - self.theta
        return away @ torch.linalg.solve(self.covariance, away)

    @property
    def log_evidence(self) -> float:
        """Log of the integral of the Gaussian (Laplace's approximation)."""
        return self.log_density + 0.5 * float(torch.logdet(2 * math.pi * self.covariance))


def find_mode(
    coordinates: Coordinates,
    errors: ErrorModel | Together | NoiseModel,
    star: PixelSpectra,
    start: Tensor,
    label_priors: Sequence[LabelPrior] = (),
    fit_errors: bool = True,
    iterations: int = 15,
    known: Sequence[Mode] = (),
) -> Mode:
    """Climb from unconstrained coordinates (k,) to a maximum.

    With an error model, the covariance of the errors is computed again at every step; a given `NoiseModel` stays fixed.

    Args:
        coordinates: labels and prior.
        errors: model of the errors, or their covariance, which then stays fixed.
        star: the data; exposures (n, p) with `Together`.
        start: unconstrained coordinates (k,).
        label_priors: further information.
        fit_errors: measure the size of the errors from the residuals (`ErrorModel.whiten`).
        iterations: most steps.
        known: maxima found before. One of them is returned when the climb comes as near to it as samples of its
            Gaussian usually are: at a distance d with d^T C^-1 d < k.
    """
    theta = start.double().clamp(-_FARTHEST, _FARTHEST)
    damping, steps = 0.0, 0
    while True:
        for mode in known:
            if float(mode.squared_distance(theta)) < len(theta):
                return mode
        target, model, slopes = _linear(coordinates, errors, star, theta, label_priors, fit_errors)
        gradient, curvature = _slopes(target, theta, model, slopes)
        covariance = torch.linalg.inv(curvature)
        if steps == iterations:
            break
        steps += 1
        moved, damping = _climb(target, theta, gradient, curvature, damping)
        if float(((moved - theta).abs() / covariance.diagonal().clamp_min(1e-24).sqrt()).max()) < _DONE:
            break
        theta = moved
    labels = coordinates.full(coordinates.labels(theta))
    density = float(target.log_density(theta[None]))
    return Mode(theta, covariance, labels, target.noise, model, slopes, density, steps)


def highest_mode(
    coordinates: Coordinates,
    errors: ErrorModel | Together,
    star: PixelSpectra,
    starts: Tensor,
    label_priors: Sequence[LabelPrior] = (),
    fit_errors: bool = True,
    iterations: int = 15,
) -> Mode:
    """The highest maximum to which a climb from unconstrained coordinates (s, k) leads; arguments as `find_mode`."""
    modes: list[Mode] = []
    for start in starts:
        modes.append(find_mode(coordinates, errors, star, start, label_priors, fit_errors, iterations, modes))
    return max(modes, key=lambda mode: mode.log_density)


def _linear(
    coordinates: Coordinates,
    errors: ErrorModel | Together | NoiseModel,
    star: PixelSpectra,
    theta: Tensor,
    label_priors: Sequence[LabelPrior],
    fit_errors: bool,
) -> tuple[Target, Tensor, Tensor]:
    """The target with the errors at coordinates (k,), the model spectrum (p,) there, and its derivatives (k, p)."""
    model, slopes = jacobian(coordinates, theta, star.resolution)
    if not isinstance(errors, NoiseModel):
        labels = coordinates.full(coordinates.labels(theta))
        errors = errors.whiten(star, labels, fit_errors, coordinates.spread @ slopes)
    return Target(coordinates, star, errors, label_priors), model, slopes


def jacobian(coordinates: Coordinates, theta: Tensor, resolution: Tensor) -> tuple[Tensor, Tensor]:
    """Model spectrum (p,), and its derivatives (k, p) by unconstrained coordinates (k,)."""
    offsets = _STEP * torch.eye(len(theta), dtype=theta.dtype)
    rows = coordinates.spectra(torch.cat([theta[None], theta + offsets, theta - offsets]), resolution).double()
    above, below = rows[1:].chunk(2)
    return rows[0], (above - below) / (2 * _STEP)


def _slopes(target: Target, theta: Tensor, model: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (k,) of the log density, and Gauss-Newton curvature (k, k) of its negative."""
    coordinates, noise = target.coordinates, target.noise
    r, columns = noise.residual(model), noise.weighted(slopes)
    projected, slow = columns @ noise.projector, r @ noise.projector
    gradient = columns @ r - projected @ slow
    curvature = columns @ columns.mT - projected @ projected.mT
    prior_gradient, label_prior_curvature = _prior_slopes(target, theta)
    return gradient + prior_gradient, curvature + coordinates.precision + label_prior_curvature


def _prior_slopes(target: Target, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (k,) of the log of prior and label priors, and curvature (k, k) of minus the log of the latter."""
    offsets = _PRIOR_STEP * torch.eye(len(theta), dtype=theta.dtype)
    rows = torch.cat([theta + offsets, theta - offsets])
    labels = dict(zip(target.coordinates.names, target.coordinates.labels(rows).unbind(-1), strict=True))
    kept = [label_prior.deviation(labels) for label_prior in target.label_priors if not label_prior.uniform]
    values = torch.stack([target.coordinates.log_prior(rows) + target.log_label_priors(rows), *kept])
    above, below = values.chunk(2, 1)
    gradient, *slopes = torch.nan_to_num((above - below) / (2 * _PRIOR_STEP), 0.0, 0.0, 0.0)
    curvature = torch.zeros_like(offsets)
    for slope in slopes:
        curvature += torch.outer(slope, slope)
    return gradient, curvature


def _climb(target: Target, theta: Tensor, gradient: Tensor, curvature: Tensor, damping: float) -> tuple[Tensor, float]:
    """Take the damped step to the highest density; return the new coordinates, or the old ones, and the damping."""
    scale = curvature.diagonal()
    tries = [damping, *(max(damping, 1e-2) * 10.0**i for i in range(_TRIES))]
    steps = [torch.linalg.solve(curvature + torch.diag(d * scale), gradient) for d in tries]
    steps = [step * min(1.0, _LARGEST / max(float(step.abs().max()), 1e-9)) for step in steps]
    points = torch.stack([theta, *((theta + step).clamp(-_FARTHEST, _FARTHEST) for step in steps)])
    here, *densities = torch.nan_to_num(target.log_density(points), nan=-torch.inf).tolist()
    best = densities.index(max(densities))
    if densities[best] < here:
        return theta, tries[-1]
    return points[1 + best], tries[best] / 10 if best else 0.0
