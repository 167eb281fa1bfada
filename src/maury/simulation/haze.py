"""Haze: light missing between the lines of cool stars, the opacity of weak lines that no list has."""

from __future__ import annotations

import torch
from torch import Tensor

from maury.simulation.conditions import HazeSettings
from maury.simulation.draws import Draws


class Haze:
    """flux = model + h (1 - model) with h(Teff), before or after broadening alike, since it is linear."""

    def __init__(self, settings: HazeSettings, names: tuple[str, ...], device: torch.device) -> None:
        """Keep the relation on a device; ``names`` are the labels of which the columns given later are made."""
        self.scatter = settings.scatter
        self._column = names.index("teff") if "teff" in names and max(settings.size) > 0 else None
        self._teff = torch.tensor(settings.teff_k, device=device)
        self._size = torch.tensor(settings.size, device=device)

    def usual(self, labels: Tensor) -> Tensor:
        """Mean h (n,) of labels (n, k)."""
        if self._column is None:
            return labels.new_zeros(len(labels))
        teff = labels[:, self._column].contiguous()
        right = torch.bucketize(teff, self._teff.to(teff)).clamp(1, len(self._teff) - 1)
        low, high = self._teff[right - 1].to(teff), self._teff[right].to(teff)
        part = ((teff - low) / (high - low)).clamp(0, 1)
        return torch.lerp(self._size[right - 1].to(teff), self._size[right].to(teff), part)

    def draw(self, labels: Tensor, draws: Draws) -> Tensor:
        """Values of h (n,) of stars of labels (n, k), with its scatter."""
        return self.usual(labels) * (1 + self.scatter * draws.normal())


def hazy(modes: Tensor, h: Tensor, size: int) -> Tensor:
    """Fourier modes (n, m) of flux + h (1 - flux) from those of a flux on ``size`` pixels, for h (n,); in place."""
    modes *= (1 - h)[:, None]
    modes[:, 0] += h * size
    return modes
