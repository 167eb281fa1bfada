"""Random numbers of one batch, all drawn from one generator on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Draws:
    """Independent draws for each of ``count`` spectra."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        """Draw for ``count`` spectra from ``generator``, on its device."""
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, low: Tensor | float = 0.0, high: Tensor | float = 1.0, *shape: int) -> Tensor:
        """Uniform between two ends (n, *shape)."""
        u = torch.rand(self.count, *shape, generator=self.generator, device=self.device)
        return low + (high - low) * u

    def log_uniform(self, ends: tuple[float, float]) -> Tensor:
        """Uniform in the logarithm (n,)."""
        low, high = (math.log(end) for end in ends)
        return self.uniform(low, high).exp().clamp(*ends)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (n, *shape)."""
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def chance(self, share: float) -> Tensor:
        """True for about this share of the spectra (n,)."""
        return self.uniform() < share

    def truncated(self, mean: Tensor | float, sd: float, low: float, high: float) -> Tensor:
        """Normal between two ends (n,), by the inverse of its distribution function."""
        centre = torch.as_tensor(mean, dtype=torch.float64, device=self.device)
        first, last = (torch.special.ndtr((end - centre) / sd) for end in (low, high))
        drawn = centre + sd * torch.special.ndtri(first + (last - first) * self.uniform().double())
        return drawn.clamp(low, high).float()  # rounding only
