"""The default network: posterior of labels from flux, noise, mask and resolving power of a spectrum."""

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
"""Levels of the marginal quantiles of each label that the network estimates without sampling."""

_DEEPEST = 2.0
"""Differences from the mean spectrum are clipped to this size; larger ones are cosmic rays in bad data."""


class PosteriorNetwork(nn.Module):
    """Infers a posterior: embedding network, flow, and a network for marginal quantiles, faster than samples.

    Training the quantiles does not change the embedding network.
    """

    mean: Tensor

    def __init__(self, config: PosteriorConfig, transform: LabelTransform, seed: int = 0) -> None:
        """Draw initial weights with ``seed``; the global random state does not change.

        Raises:
            DomainError: labels of ``transform`` and ``config`` differ.
        """
        super().__init__()
        if transform.space.names != config.labels:
            raise DomainError(
                f"labels of the transform, {', '.join(transform.space.names)}, differ from labels of the network, "
                f"{', '.join(config.labels)}"
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
        """Initialise with the mean (p,) and the whitened principal components (components, p) of spectra."""
        self.mean.copy_(mean)
        if isinstance(self.embedding, ResidualEmbedding):
            self.embedding.start_from(directions)

    def forward(self, spectra: PixelSpectra) -> Tensor:
        """Features (b, width) of spectra (b, p), the inputs of flow and quantiles."""
        depth = torch.where(spectra.mask, 0.0, spectra.flux - self.mean).clamp(-_DEEPEST, _DEEPEST)
        return self.embedding(depth, self._side(spectra))

    def _side(self, spectra: PixelSpectra) -> Tensor:
        """Inputs (b, 2 bins + 2): mean log10(1 / sigma) and good fraction per bin, ln R and 1 / R, shifted."""
        good = spectra.good.float()
        weight = torch.where(spectra.mask, 0.0, -torch.log10(spectra.sigma))
        share, total = (self.pool(x[:, None])[:, 0] for x in (good, weight))
        quality = torch.where(share > 0, total / share.clamp_min(1e-3), 0.0)
        r = spectra.resolution[:, None].to(good.dtype) / 30_000
        return torch.cat([quality - 1.5, share - 0.95, r.log(), 1 / r - 1], -1)

    def log_prob_unconstrained(self, features: Tensor, labels: Tensor) -> Tensor:
        """Log posterior density (b,) of the unconstrained coordinates of labels (b, k); training maximises it."""
        with torch.autocast(features.device.type, enabled=False):
            return self.flow.log_prob(features.float(), self.transform.unconstrained(labels))

    def log_prob(self, features: Tensor, labels: Tensor) -> Tensor:
        """Log of the posterior density (b,) of labels (b, k), per unit of each label; -inf outside the prior."""
        unit = self.transform.unit(labels)
        inside = ((unit >= 0) & (unit <= 1)).all(-1)
        density = self.log_prob_unconstrained(features, labels) + self.transform.log_abs_det_jacobian(labels)
        return torch.where(inside, density, -torch.inf)

    def sample(self, features: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw labels (b, count, k) from the posterior, all within the prior."""
        with torch.autocast(features.device.type, enabled=False):
            return self.transform.constrained(self.flow.sample(features.float(), count, generator))

    def unconstrained_quantiles(self, features: Tensor) -> Tensor:
        """Marginal quantiles (b, k, levels) as probits of the scaled label, increasing with the level."""
        with torch.autocast(features.device.type, enabled=False):
            values = self.points(features.detach().float()).unflatten(-1, (-1, len(LEVELS)))
            steps = nn.functional.softplus(values[..., 1:])
            return torch.cat([values[..., :1], values[..., :1] + steps.cumsum(-1)], -1)

    def quantiles(self, features: Tensor) -> Tensor:
        """Marginal quantiles (b, levels, k) of each label at `LEVELS`, within its range."""
        return LabelTransform(self.transform.space).constrained(self.unconstrained_quantiles(features).mT)

    def quantile_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean pinball loss of the quantiles; it is smallest if a fraction q of labels lies below the quantile of q."""
        target = LabelTransform(self.transform.space).unconstrained(labels)[..., None]
        excess = target - self.unconstrained_quantiles(features)
        level = excess.new_tensor(LEVELS)
        return torch.maximum(level * excess, (level - 1) * excess).mean()
