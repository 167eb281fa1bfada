"""A conditional neural spline flow on standardised labels (Durkan et al. 2019, arXiv:1906.04032), by zuko."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform

_checks = Distribution._validate_args
from zuko.flows.coupling import GeneralCouplingTransform  # noqa: E402
from zuko.lazy import LazyComposedTransform  # noqa: E402
from zuko.transforms import DependentTransform, MonotonicRQSTransform  # noqa: E402
from zuko.utils import unpack  # noqa: E402

_CACHED = 8192
"""Samples computed together on a CPU: with more, splines exceed its cache (256,000 took twice the time per sample)."""

Distribution.set_default_validate_args(_checks)  # importing zuko switches torch's argument checks off globally


def _kept(labels: int, i: int) -> Tensor:
    """Mask (k,) of the labels that transformation ``i`` does not change: even, odd, first or second half, in turn."""
    index = torch.arange(labels)
    return (index % 2 == i % 2) if i % 4 < 2 else ((index < labels // 2) == (i % 2 == 0))


class _Spline(MonotonicRQSTransform):
    """zuko's spline without `torch.broadcast_shapes`, whose first call imports symbolic algebra (0.4 s)."""

    def bin(self, k: Tensor) -> tuple[Tensor, ...]:
        """Whether a bin k (...) exists, its two ends in x and y, the slopes at the ends, and the mean slope."""
        inside, k = (k >= 0) & (k < self.bins), k % self.bins
        ends = torch.stack([k, k + 1], -1)
        knots = (self.horizontal, self.vertical, self.derivatives)
        (x0, x1), (y0, y1), (d0, d1) = (t.expand(*k.shape, -1).gather(-1, ends).unbind(-1) for t in knots)
        return inside, x0, x1, y0, y1, d0, d1, (y1 - y0) / (x1 - x0)


class _Coupling(GeneralCouplingTransform):
    """zuko's coupling transform, also without `torch.broadcast_shapes`."""

    def meta(self, c: Tensor, x: Tensor) -> Transform:
        """Splines of the labels to change, given the context (..., c) and the unchanged labels (..., k)."""
        numbers = self.hyper(torch.cat([x, c.expand(*x.shape[:-1], -1)], -1)).unflatten(-1, (-1, self.total))
        return DependentTransform(self.univariate(*unpack(numbers, self.shapes)), 1)


class PosteriorFlow(nn.Module):
    """Density p(y | c) of labels: y = m(c) + L(c) x; coupled rational-quadratic splines map x to a standard normal.

    Mean m and the logarithm of the diagonal of the lower-triangular factor L are linear in the features: position,
    width and correlations, which vary most from star to star, need no splines. Splines model the shape of the density;
    beyond 5 standard deviations they are the identity.
    """

    def __init__(
        self, labels: int, features: int, context: int, transforms: int, knots: int, hidden: tuple[int, ...], seed: int
    ) -> None:
        """Draw initial weights such that m = 0, L = 1 and splines are near the identity.

        The splines, of ``knots`` bins, are conditioned on a vector of length ``context``, linear in the f features.
        """
        super().__init__()
        self.count = labels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gaussian = nn.Linear(features, labels + labels * (labels + 1) // 2)
            self.context = nn.Linear(features, context)
            self.splines = LazyComposedTransform(
                *(
                    _Coupling(
                        labels,
                        context,
                        mask=_kept(labels, i),
                        univariate=partial(_Spline, slope=1e-3),
                        shapes=[(knots,), (knots,), (knots - 1,)],
                        hidden_features=hidden,
                        activation=nn.SiLU,
                    )
                    for i in range(transforms)
                )
            )
        nn.init.zeros_(self.gaussian.weight)
        nn.init.zeros_(self.gaussian.bias)
        for transform in self.splines.transforms:
            last = transform.hyper[-1]
            with torch.no_grad():
                last.weight.mul_(0.1)
                last.bias.zero_()

    def mean_and_factor(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean m (b, k) and factor L (b, k, k) for features (b, f); diagonal elements of L are within e^-7 to e^7."""
        k = self.count
        mean, diagonal, below = self.gaussian(features).split([k, k, k * (k - 1) // 2], -1)
        scale = torch.exp(7 * torch.tanh(diagonal / 7))
        rows, columns = torch.tril_indices(k, k, -1, device=features.device)
        factor = torch.diag_embed(scale)
        factor[:, rows, columns] = below * scale[:, rows]
        return mean, factor

    def log_prob(self, features: Tensor, y: Tensor) -> Tensor:
        """Log p(y | c) (b,) for features (b, f) and unconstrained coordinates y (b, k) of labels."""
        mean, factor = self.mean_and_factor(features)
        x = torch.linalg.solve_triangular(factor, (y - mean)[..., None], upper=False)[..., 0]
        z, slope = self.splines(self.context(features)).call_and_ladj(x)
        normal = -0.5 * z.square().sum(-1) - 0.5 * self.count * math.log(2 * math.pi)
        return normal + slope - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def sample(self, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw unconstrained coordinates y (b, count, k) from p(y | c) for features (b, f)."""
        mean, factor = self.mean_and_factor(features)
        z = torch.randn(len(features), count, self.count, generator=generator, device=features.device)
        rows = max(1, _CACHED // count) if features.device.type == "cpu" else len(features)
        parts = zip(self.context(features)[:, None].split(rows), z.split(rows), strict=True)
        x = torch.cat([self.splines(context).inv(part) for context, part in parts])
        return mean[:, None] + x @ factor.mT
