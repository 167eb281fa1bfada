"""Adaptive importance sampling with mixtures of all proposals so far, and Pareto-smoothed weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from scipy.special import boxcox1p, softmax
from torch import Tensor

_FREEDOM, _FREEDOM_ADAPTED = 5, 12
"""Degrees of freedom of Student's t, fewer (heavier tails) in the first round, before any sample is weighted."""
_SHARES = (0.003, 0.02, 0.08, 0.2, 0.35, 0.5, 0.65, 0.8, 0.92, 0.98, 0.997)
"""Quantiles between which marginal distributions are approximated by pieces of normal distributions."""
_KNOWN = 150.0
"""Least number of effective samples for a proposal with their marginal distributions (`Copula`)."""
DEPENDABLE_K = 0.7
"""Pareto shape above which weights are not to be trusted (Vehtari et al. 2024, JMLR 25, 72)."""


class Proposal(Protocol):
    """Distribution with a density, from which samples are drawn."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, k)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,) of points (n, k)."""


class StudentT:
    """Multivariate Student's t."""

    def __init__(self, mean: Tensor, covariance: Tensor, wider: float = 1.0, freedom: int = _FREEDOM) -> None:
        """Set mean (k,), shape matrix ``covariance`` (k, k) times ``wider``^2, and degrees of freedom."""
        self.mean, self.freedom = mean, freedom
        jitter = 1e-10 * covariance.diagonal().mean() * torch.eye(len(mean), dtype=mean.dtype)
        self.factor = wider * torch.linalg.cholesky(covariance + jitter)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, k)."""
        k = len(self.mean)
        z = torch.randn(count, k, generator=generator, dtype=self.mean.dtype)
        squares = torch.randn(count, self.freedom, generator=generator, dtype=self.mean.dtype).square().sum(1)
        return self.mean + (z * (self.freedom / squares).sqrt()[:, None]) @ self.factor.mT

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,)."""
        k, nu = len(self.mean), float(self.freedom)
        z = torch.linalg.solve_triangular(self.factor, (x - self.mean).mT, upper=False)
        constant = math.lgamma((nu + k) / 2) - math.lgamma(nu / 2) - k / 2 * math.log(nu * math.pi)
        return constant - self.factor.diagonal().log().sum() - (nu + k) / 2 * torch.log1p(z.square().sum(0) / nu)


class Copula:
    """Student's t in coordinates in which each marginal distribution of weighted points is normal.

    Posteriors of labels are skewed: v sin i ends at 0, abundances at their priors. Student's t gives the correlations,
    the points give the shape of each marginal. The coordinates are linear between quantiles, and beyond the last.
    """

    def __init__(self, points: Tensor, weights: Tensor) -> None:
        """From points (n, k) and weights (n,) that sum to 1."""
        self._levels = torch.special.ndtri(torch.tensor(_SHARES, dtype=points.dtype))
        self._knots = _quantiles(points, weights)
        z = self._normal(points)[0]
        mean = weights @ z
        centred = z - mean
        self._t = StudentT(mean, (centred * weights[:, None]).mT @ centred, freedom=_FREEDOM_ADAPTED)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, k)."""
        z = self._t.sample(count, generator)
        piece = torch.searchsorted(self._levels[1:-1], z)
        low, slope = self._piece(piece)
        return low + (z - self._levels[piece]) / slope

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,)."""
        z, log_abs_det_jacobian = self._normal(x)
        return self._t.log_prob(z) + log_abs_det_jacobian

    def _normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normal coordinates (n, k) of points (n, k), and log |det Jacobian| (n,) of that change of coordinates."""
        piece = torch.searchsorted(self._knots[1:-1].mT.contiguous(), x.mT.contiguous()).mT
        low, slope = self._piece(piece)
        return self._levels[piece] + (x - low) * slope, slope.log().sum(1)

    def _piece(self, piece: Tensor) -> tuple[Tensor, Tensor]:
        """Lower ends of pieces (n, k), and normal coordinates per unit there."""
        low, high = self._knots.gather(0, piece), self._knots.gather(0, piece + 1)
        return low, (self._levels[piece + 1] - self._levels[piece]) / (high - low)


def _quantiles(points: Tensor, weights: Tensor) -> Tensor:
    """Quantiles (q, k) of weighted points (n, k) at the `_SHARES`, strictly ascending."""
    columns = []
    for column in points.unbind(1):
        order = column.argsort()
        below = weights[order].cumsum(0) - 0.5 * weights[order]
        columns.append(np.interp(_SHARES, below.numpy(), column[order].numpy()))
    knots = np.array(columns).T
    least = 1e-3 * (knots[-1] - knots[0]) + 1e-12
    steps = np.maximum(np.diff(knots, axis=0), least)
    return torch.from_numpy(np.vstack([knots[:1], knots[0] + steps.cumsum(0)]))


@dataclass(frozen=True)
class ImportanceSamples:
    """Points and their weights.

    Attributes:
        points: (n, k).
        weights: (n,), smoothed, sum to 1.
        effective: effective number of samples, 1 / sum w^2.
        pareto_k: shape of the tail of the raw weights; below 0.7 they can be trusted.
        log_evidence: log of the mean raw weight.
    """

    points: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)
    effective: float
    pareto_k: float
    log_evidence: float

    @property
    def efficiency(self) -> float:
        """Effective samples for each one drawn."""
        return self.effective / len(self.points)

    @property
    def dependable(self) -> bool:
        """Whether the weights can be trusted."""
        return self.pareto_k < DEPENDABLE_K

    def resampled(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count,) of points of equal weight, by systematic resampling, in random order."""
        start = torch.rand(1, generator=generator, dtype=torch.float64)
        positions = (torch.arange(count, dtype=torch.float64) + start) / count
        rows = torch.searchsorted(self.weights.cumsum(0).contiguous(), positions).clamp_max(len(self.weights) - 1)
        return rows[torch.randperm(count, generator=generator)]


def sample(
    log_density: Callable[[Tensor], Tensor],
    proposals: list[tuple[Proposal, int]],
    generator: torch.Generator,
    target_ess: float,
    rounds: int,
    per_round: int,
) -> ImportanceSamples:
    """Adaptive multiple importance sampling (Cornuet et al. 2012, Scand. J. Stat. 39, 798).

    The weight of a point is the target's density over that of the mixture of all proposals used so far, each with its
    share of the points, so that one bad proposal does no harm. Each further round draws from a proposal fitted to all
    weighted points (`Copula`; Student's t while they are few), until the effective number of samples is reached.

    Args:
        log_density: of the target, not normalised, of points (n, k).
        proposals: first ones, and how many points of each.
        generator: of the random numbers.
        target_ess: effective number of samples to reach.
        rounds: most rounds after the first.
        per_round: points of a round.
    """
    used = [(proposal, count) for proposal, count in proposals if count]
    points = torch.cat([proposal.sample(count, generator) for proposal, count in used])
    target = log_density(points)
    mixture = [proposal.log_prob(points) for proposal, _ in used]
    result = _weighted(points, target, mixture, [count for _, count in used])
    for _ in range(rounds):
        if result.effective >= target_ess and result.dependable:
            break
        proposal = _adapted(result)
        new = proposal.sample(per_round, generator)
        mixture = [torch.cat([old, p.log_prob(new)]) for old, (p, _) in zip(mixture, used, strict=True)]
        points = torch.cat([points, new])
        mixture.append(proposal.log_prob(points))
        used.append((proposal, per_round))
        target = torch.cat([target, log_density(new)])
        result = _weighted(points, target, mixture, [count for _, count in used])
    return result


def _adapted(result: ImportanceSamples) -> Proposal:
    """Proposal fitted to weighted points; where few are effective, a Student's t by tempered weights."""
    if result.effective >= _KNOWN:
        return Copula(result.points, result.weights)
    weights = result.weights
    k = result.points.shape[1]
    power = 1.0
    while 1 / float(weights.square().sum()) < 3 * k and power > 0.05:
        power *= 0.7
        weights = result.weights.clamp_min(1e-300) ** power
        weights = weights / weights.sum()
    mean = weights @ result.points
    centred = result.points - mean
    covariance = (centred * weights[:, None]).mT @ centred
    return StudentT(mean, covariance + 1e-8 * torch.eye(k, dtype=mean.dtype))


def _weighted(points: Tensor, target: Tensor, mixture: list[Tensor], counts: list[int]) -> ImportanceSamples:
    shares = torch.tensor(counts, dtype=points.dtype).log() - math.log(sum(counts))
    density = (torch.stack(mixture) + shares[:, None]).logsumexp(0)
    log = torch.nan_to_num(target - density, nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
    if not bool(torch.isfinite(log).any()):
        count = len(points)
        return ImportanceSamples(points, torch.full((count,), 1 / count, dtype=points.dtype), 0.0, math.inf, -math.inf)
    evidence = float(log.logsumexp(0)) - math.log(len(log))
    smooth, shape = smoothed(log)
    weights = (smooth - smooth.logsumexp(0)).exp()
    return ImportanceSamples(points, weights, 1 / float(weights.square().sum()), shape, evidence)


def smoothed(log: Tensor) -> tuple[Tensor, float]:
    """Log weights (n,) with the largest replaced by quantiles of a fitted Pareto tail, and the tail's shape.

    Pareto-smoothed importance sampling (Vehtari et al. 2024): the tail has min(n / 5, 3 sqrt(n)) points.
    """
    n = len(log)
    tail = int(min(0.2 * n, 3 * math.sqrt(n)))
    if tail < 5:
        return log, math.inf
    scaled = (log - log.max()).numpy()
    order = np.argsort(scaled)
    rows = order[-tail:]
    cut = np.exp(scaled[order[-tail - 1]])
    excess = np.exp(scaled[rows]) - cut
    if not excess[-1] > 0:
        return log, 0.0
    shape, scale = fit_pareto(np.maximum(excess, 1e-300))
    quantiles = cut - scale * boxcox1p(-(np.arange(tail) + 0.5) / tail, -shape)
    result = scaled.copy()
    result[rows] = np.log(np.minimum(np.maximum(quantiles, 1e-300), 1.0))
    return torch.from_numpy(result) + log.max(), float(shape)


def fit_pareto(x: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution for sorted excesses (n,), by Zhang & Stephens (2009).

    A weak prior shrinks the shape towards 0.5, with the weight of ten points (Vehtari et al. 2024, appendix).
    """
    n = len(x)
    points = 30 + int(math.sqrt(n))
    quarter = max(x[int(n / 4 + 0.5) - 1], 1e-300)
    theta = 1 / x[-1] + (1 - np.sqrt(points / (np.arange(points) + 0.5))) / (3 * quarter)
    shapes = np.log1p(-theta[:, None] * x).mean(1)
    likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    best = float((theta * softmax(likelihood)).sum())
    shape = float(np.log1p(-best * x).mean())
    scale = -shape / best
    return (n * shape + 5) / (n + 10), float(scale)
