"""Haze of simulated spectra (`maury.haze`)."""

from __future__ import annotations

from torch import Tensor

from maury.haze import haze_of
from maury.simulation.conditions import HazeSettings
from maury.simulation.draws import Draws


class Haze:
    """Haze of stars by their labels, the same before and after broadening, since it is linear in the flux."""

    def __init__(self, settings: HazeSettings, names: tuple[str, ...]) -> None:
        """Keep the relation; ``names`` are the labels of which the columns given later are made."""
        self.settings, self.names = settings, names

    def usual(self, labels: Tensor) -> Tensor:
        """Mean h (n,) of labels (n, k); 0 where Teff is none of them."""
        return haze_of(labels, self.names, self.settings.teff_k, self.settings.size)

    def draw(self, labels: Tensor, draws: Draws) -> Tensor:
        """Values of h (n,) of stars of labels (n, k), with its scatter."""
        return self.usual(labels) * (1 + self.settings.scatter * draws.normal())


def hazy(modes: Tensor, h: Tensor, size: int) -> Tensor:
    """Fourier modes (n, m) of flux + h (1 - flux) from those of a flux on ``size`` pixels, for h (n,); in place."""
    modes *= (1 - h)[:, None]
    modes[:, 0] += h * size
    return modes
