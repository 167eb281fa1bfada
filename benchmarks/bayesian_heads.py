"""Heads for `bayesian_variants.py`: mixtures of normals whose members differ by weights, and their training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

BATCH = 512
HIDDEN, PASSES = 256, 32

Data = dict[str, tuple[Tensor, Tensor]]
"""Features (n, f) and real coordinates (n, k) by set."""


class Mixture:
    """A mean of normals in real coordinates: means (m, b, k) and triangular factors (m, b, k, k)."""

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        self.mean, self.factor = mean, factor

    def log_prob(self, real: Tensor) -> Tensor:
        """(b,) for real coordinates (b, k)."""
        x = torch.linalg.solve_triangular(self.factor, (real - self.mean)[..., None], upper=False)[..., 0]
        logs = -0.5 * x.square().sum(-1) - self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        normal = 0.5 * real.shape[-1] * math.log(2 * math.pi)
        return torch.logsumexp(logs, 0) - math.log(len(logs)) - normal

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Real coordinates (b, count, k)."""
        members, stars, labels = self.mean.shape
        chosen = torch.randint(members, (stars, count), generator=generator)
        rows = torch.arange(stars)[:, None]
        z = torch.randn(stars, count, labels, generator=generator)
        return self.mean[chosen, rows] + (self.factor[chosen, rows] @ z[..., None])[..., 0]

    def disagreement(self) -> float:
        """Share of the variance that is between the members, mean over stars and labels."""
        between = self.mean.var(0, unbiased=False)
        within = self.factor.square().sum(-1).mean(0)
        return float((between / (between + within)).mean())


class GaussianHead(nn.Module):
    """A hidden layer, then mean and factor of one normal: of the kinds that differ in what is random in it.

    ``dropout`` drops features and hidden units, also when the head is used (Gal & Ghahramani 2016); ``bayesian`` makes
    the weights of the last layer independent normals, learnt by backpropagation (Blundell et al. 2015) with the noise
    drawn in its outputs (Kingma et al. 2015); ``diagonal`` leaves the correlations out.
    """

    def __init__(
        self, features: int, labels: int, seed: int, *, dropout: float = 0.0, bayesian: bool = False,
        diagonal: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.labels, self.bayesian, self.diagonal = labels, bayesian, diagonal
        outputs = 2 * labels + labels * (labels - 1) // 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Sequential(nn.Linear(features, HIDDEN), nn.SiLU())
            self.last = nn.Linear(HIDDEN, outputs)
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
        self.dropout = dropout
        if bayesian:
            self.log_width = nn.Parameter(torch.full_like(self.last.weight, -5.0))

    @property
    def passes(self) -> int:
        """Members of the mixture that it is used as."""
        return PASSES if self.dropout or self.bayesian else 1

    def forward(self, features: Tensor, passes: int) -> Mixture:
        """Normals for features (b, f)."""
        c = features.expand(passes, -1, -1)
        h = self.hidden(nn.functional.dropout(c, self.dropout))
        h = nn.functional.dropout(h, self.dropout)
        values = self.last(h)
        if self.bayesian:
            variance = h.square() @ self.log_width.exp().square().T
            values = values + variance.clamp_min(1e-12).sqrt() * torch.randn_like(values)
        k = self.labels
        mean, diagonal, below = values.split([k, k, k * (k - 1) // 2], -1)
        scale = torch.exp(7 * torch.tanh(diagonal / 7))
        factor = torch.diag_embed(scale)
        if not self.diagonal:
            rows, columns = torch.tril_indices(k, k, -1)
            factor[..., rows, columns] = below * scale[..., rows]
        return Mixture(mean, factor)

    def complexity(self) -> Tensor:
        """Kullback-Leibler divergence of the last layer's weights from normals of variance 1 / hidden units, nats."""
        if not self.bayesian:
            return torch.zeros(())
        ratio = self.log_width.exp().square() * HIDDEN
        return 0.5 * (ratio + self.last.weight.square() * HIDDEN - 1 - ratio.log()).sum()


def batches(train: tuple[Tensor, Tensor], steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the training stars, every star once before any comes again."""
    generator, order = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(train[0]), generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        yield train[0][rows], train[1][rows]


def fit(
    head: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    judge: Callable[[Tensor, Tensor], Tensor],
    data: Data,
    steps: int,
    seed: int,
    advance: Callable[[int], None],
) -> float:
    """Train with AdamW along a half cosine, keep the best weights on held-out stars; CPU seconds of the steps."""
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, state, used = math.inf, head.state_dict(), 0.0
    for step, (features, real) in enumerate(batches(data["train"], steps, seed), start=1):
        start = time.process_time()
        optimizer.zero_grad()
        loss(features, real).backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        used += time.process_time() - start
        if step % max(steps // 10, 1) == 0:
            with torch.no_grad():
                value = -float(judge(*data["held_out"]).mean())
            if value < best:
                best, state = value, {key: tensor.clone() for key, tensor in head.state_dict().items()}
        advance(1)
    head.load_state_dict(state)
    return used


class Variant:
    """A posterior of real coordinates from features: density, samples, disagreement of its members."""

    def __init__(self, heads: list[nn.Module], flow: bool) -> None:
        self.heads, self.flow, self.seconds = heads, flow, 0.0

    def mixture(self, features: Tensor) -> Mixture:
        """All members of the Gaussian heads."""
        parts = [head(features, head.passes) for head in self.heads]
        return Mixture(torch.cat([p.mean for p in parts]), torch.cat([p.factor for p in parts]))

    def log_prob(self, features: Tensor, real: Tensor) -> Tensor:
        """(b,)."""
        return self.heads[0].log_prob(features, real) if self.flow else self.mixture(features).log_prob(real)

    def sample(self, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """(b, count, k)."""
        if self.flow:
            return self.heads[0].sample(features, count, generator)
        return self.mixture(features).sample(count, generator)

    def train(self, data: Data, steps: int, seed: int, advance: Callable[[int], None]) -> None:
        """Train every head by itself."""
        stars = len(data["train"][0])
        for number, head in enumerate(self.heads):
            if self.flow:
                density = head.log_prob
                loss = lambda c, y, d=density: -d(c, y).mean()  # noqa: E731
            else:
                density = lambda c, y, h=head: h(c, h.passes).log_prob(y)  # noqa: E731
                loss = lambda c, y, h=head: h.complexity() / stars - h(c, 1).log_prob(y).mean()  # noqa: E731
            self.seconds += fit(head, loss, density, data, steps, seed + number, advance)
