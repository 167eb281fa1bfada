"""The default network: flux, noise, mask and resolution of a spectrum -> posterior of its labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maury.errors import DomainError
from maury.networks.architectures import PosteriorConfig
from maury.networks.embeddings import EMBEDDINGS, ResidualEmbedding
from maury.networks.flow import PosteriorFlow
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra

LEVELS = (0.1587, 0.5, 0.8413, 0.95)
"""Quantiles of each label by itself that the network gives without sampling."""

_DEEPEST = 2.0
"""Depths beyond this, which no star has, are clipped: remains of cosmic rays in bad data."""


class PosteriorNetwork(nn.Module):
    """Embedding network, flow, and quantiles of each label by itself where sampling would take too long.

    The quantiles are learnt from the embedding's features without changing them.
    """

    mean: Tensor

    def __init__(self, config: PosteriorConfig, transform: LabelTransform, seed: int = 0) -> None:
        """Draw the first weights with ``seed``; the global random state is not touched.

        Raises:
            DomainError: the transform has other labels than the network.
        """
        super().__init__()
        if transform.space.names != config.labels:
            raise DomainError(
                f"a transform of {', '.join(transform.space.names)}; the network has {', '.join(config.labels)}"
            )
        self.config, self.transform = config, transform
        labels = len(config.labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = EMBEDDINGS[config.embedding](config, 2 * config.bins + 2)
            self.points = nn.Sequential(nn.Linear(config.width, 128), nn.SiLU(), nn.Linear(128, len(LEVELS) * labels))
        self.flow = PosteriorFlow(
            labels, config.width, config.context, config.transforms, config.knots, config.hidden, seed
        )
        self.pool: nn.Module = nn.AdaptiveAvgPool1d(config.bins)
        self.register_buffer("mean", torch.ones(config.pixels))

    def start_from(self, mean: Tensor, directions: Tensor) -> None:
        """Start from the mean (p,) and the whitened principal components (components, p) of spectra."""
        self.mean.copy_(mean)
        if isinstance(self.embedding, ResidualEmbedding):
            self.embedding.start_from(directions)

    def forward(self, spectra: PixelSpectra) -> Tensor:
        """Features (b, width) of spectra (b, p), from which flow and quantiles follow."""
        depth = torch.where(spectra.mask, 0.0, spectra.flux - self.mean).clamp(-_DEEPEST, _DEEPEST)
        return self.embedding(depth, self._side(spectra))

    def _side(self, spectra: PixelSpectra) -> Tensor:
        """Per part of the window mean log10 of 1 / sigma and share of good pixels; resolution (b, 2 bins + 2)."""
        good = spectra.good.float()
        weight = torch.where(spectra.mask, 0.0, -torch.log10(spectra.sigma))
        share, total = (self.pool(x[:, None])[:, 0] for x in (good, weight))
        quality = torch.where(share > 0, total / share.clamp_min(1e-3), 0.0)
        r = spectra.resolution[:, None].to(good.dtype) / 30_000
        return torch.cat([quality - 1.5, share - 0.95, r.log(), 1 / r - 1], -1)

    def log_prob_unconstrained(self, features: Tensor, labels: Tensor) -> Tensor:
        """Log density (b,) of the real coordinates of labels (b, k): what is trained."""
        with torch.autocast(features.device.type, enabled=False):
            return self.flow.log_prob(features.float(), self.transform.unconstrained(labels))

    def log_prob(self, features: Tensor, labels: Tensor) -> Tensor:
        """Log of the posterior density (b,) of labels (b, k), per unit of each label; -inf outside the prior."""
        unit = self.transform.unit(labels)
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        density = self.log_prob_unconstrained(features, labels) + self.transform.log_abs_det_jacobian(labels)
        return torch.where(inside, density, -torch.inf)

    def sample(self, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Labels (b, count, k) drawn from the posterior, all within the prior."""
        with torch.autocast(features.device.type, enabled=False):
            return self.transform.constrained(self.flow.sample(features.float(), count, generator))

    def unconstrained_quantiles(self, features: Tensor) -> Tensor:
        """Quantiles (b, k, levels) of each label by itself, in the probit of its range; they increase."""
        with torch.autocast(features.device.type, enabled=False):
            values = self.points(features.detach().float()).unflatten(-1, (-1, len(LEVELS)))
            steps = nn.functional.softplus(values[..., 1:])
            return torch.cat([values[..., :1], values[..., :1] + steps.cumsum(-1)], -1)

    def quantiles(self, features: Tensor) -> Tensor:
        """Quantiles `LEVELS` (b, levels, k) of each label by itself, within its range."""
        return LabelTransform(self.transform.space).constrained(self.unconstrained_quantiles(features).mT)

    def quantile_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean pinball loss of the quantiles: smallest where a share q of labels lies below quantile q."""
        target = LabelTransform(self.transform.space).unconstrained(labels)[..., None]
        excess = target - self.unconstrained_quantiles(features)
        level = excess.new_tensor(LEVELS)
        return torch.maximum(level * excess, (level - 1) * excess).mean()
