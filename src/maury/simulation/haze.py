"""Haze of simulated spectra (`maury.haze`)."""

from __future__ import annotations

from torch import Tensor

from maury.haze import haze_of
from maury.simulation.conditions import HazeSettings
from maury.simulation.draws import Draws


class Haze:
    """Size h of the haze of stars; haze is linear in the flux and may be added before or after broadening."""

    def __init__(self, settings: HazeSettings, names: tuple[str, ...]) -> None:
        """Keep the relation of h with Teff, and the ``names`` of the label columns that `usual` and `draw` take."""
        self.settings, self.names = settings, names

    def usual(self, labels: Tensor) -> Tensor:
        """Mean h (n,) for labels (n, k); 0 if Teff is not a label."""
        return haze_of(labels, self.names, self.settings.teff_k, self.settings.size)

    def draw(self, labels: Tensor, draws: Draws) -> Tensor:
        """Draw h (n,) for labels (n, k), scattered about its mean."""
        return self.usual(labels) * (1 + self.settings.scatter * draws.normal())


def hazy(modes: Tensor, h: Tensor, size: int) -> Tensor:
    """Add haze h (n,) to Fourier modes (n, m) of a flux on ``size`` pixels, in place: flux + h (1 - flux)."""
    modes *= (1 - h)[:, None]
    modes[:, 0] += h * size
    return modes
