"""The prior of the labels: the emulator's whole domain, rotation and macroturbulence."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.emulator import Emulator
from maury.emulator.domain import atmosphere_exists
from maury.labels import LabelSpace
from maury.observations.draws import Draws
from maury.observations.settings import PriorSettings

_ALPHA = ("mg", "ca", "ti")
_NODES = (251, 501)


class Prior:
    """Draws labels; ``space`` names them, with their ranges.

    Attributes:
        space: the emulator's labels, ``vsini``, ``zeta``, and where Mg, Ca and Ti are labels their mean as ``alpha``.
    """

    def __init__(self, emulator: Emulator, settings: PriorSettings) -> None:
        """Tabulate which log g has spectra at each Teff."""
        self.settings, self._own = settings, emulator.space
        lower, upper = [*emulator.space.lower], [*emulator.space.upper]
        names = [*emulator.space.names, "vsini", "zeta"]
        for ends in (settings.vsini_kms, settings.zeta_kms):
            lower.append(ends[0])
            upper.append(max(ends[1], ends[0] + 1e-6))
        if set(_ALPHA) <= set(names) and "alpha" not in names:
            rows = [names.index(name) for name in _ALPHA]
            names.append("alpha")
            lower.append(float(np.mean([lower[i] for i in rows])))
            upper.append(float(np.mean([upper[i] for i in rows])))
        self.space = LabelSpace(tuple(names), tuple(lower), tuple(upper))
        self._gravities = torch.from_numpy(_allowed_logg(emulator)).float() if "logg" in self._own.names else None

    @property
    def logg_edges(self) -> tuple[tuple[float, float, float], ...]:
        """Rows (Teff, lowest log g, highest log g) between which the ends are linear; empty if they are constant."""
        if self._gravities is None or "teff" not in self._own.names:
            return ()
        row = self._own.names.index("teff")
        teff = np.linspace(self._own.lower[row], self._own.upper[row], len(self._gravities))
        return tuple((float(t), float(low), float(high)) for t, (low, high) in zip(teff, self._gravities, strict=True))

    def draw(self, draws: Draws) -> Tensor:
        """Labels (n, k) float32 in the order of ``space``."""
        ranges = dict(zip(self._own.names, zip(self._own.lower, self._own.upper, strict=True), strict=True))
        drawn = {name: draws.uniform(*ends) for name, ends in ranges.items() if name in ("teff", "mh", "alpha")}
        if "logg" in ranges:
            drawn["logg"] = self._logg(drawn.get("teff"), draws)
        alpha = draws.uniform(*self.settings.alpha)
        for name, ends in ranges.items():
            if name not in drawn:
                drawn[name] = draws.truncated(*self._usual(name, drawn, alpha, ends), *ends)
        drawn["vsini"] = self._vsini(draws)
        drawn["zeta"] = draws.uniform(*self.settings.zeta_kms)
        if "alpha" not in drawn and set(_ALPHA) <= set(drawn):
            drawn["alpha"] = torch.stack([drawn[name] for name in _ALPHA]).mean(0)
        return torch.stack([drawn[name] for name in self.space.names], 1)

    def _usual(
        self, name: str, drawn: dict[str, Tensor], alpha: Tensor, ends: tuple[float, float]
    ) -> tuple[Tensor | float, float]:
        """Mean and standard deviation of a label given those drawn before."""
        if name in _ALPHA:
            return alpha, self.settings.alpha_scatter
        if name != "vmic":
            return 0.0, self.settings.carbon_scatter if name == "c" else self.settings.iron_peak_scatter
        mean = torch.ones_like(alpha)
        if "logg" in drawn:
            mean = mean + 0.25 * (4.5 - drawn["logg"])
        if "teff" in drawn:
            mean = mean + 0.35 * (drawn["teff"] / 1000 - 5.5).clamp_min(0)
        return mean.clamp(*ends), self.settings.vmic_kms

    def _vsini(self, draws: Draws) -> Tensor:
        low, high = self.settings.vsini_kms
        slow = draws.uniform(np.log1p(low), np.log1p(high)).expm1().clamp(low, high)
        return torch.where(draws.chance(self.settings.vsini_low_share), slow, draws.uniform(low, high))

    def _logg(self, teff: Tensor | None, draws: Draws) -> Tensor:
        """Uniform between the lowest and the highest log g of spectra at that Teff (n,)."""
        assert self._gravities is not None
        table = self._gravities.to(draws.device)
        if teff is None:
            return draws.uniform(table[:, 0].min(), table[:, 1].max())
        row = self._own.names.index("teff")
        first, last = self._own.lower[row], self._own.upper[row]
        position = ((teff - first) / (last - first) * (len(table) - 1)).clamp(0, len(table) - 1.001)
        low = position.long()
        ends = torch.lerp(table[low], table[low + 1], (position - low)[:, None])
        return draws.uniform(ends[:, 0], ends[:, 1])


def _allowed_logg(emulator: Emulator) -> NDArray[np.float64]:
    """Lowest and highest log g (t, 2) with spectra at equidistant Teff over the range."""
    space = emulator.space
    column = space.names.index("logg")
    gravity = np.linspace(space.lower[column], space.upper[column], _NODES[1])
    if "teff" not in space.names:
        return np.array([[gravity[0], gravity[-1]]])
    row = space.names.index("teff")
    middle = (np.array(space.lower) + np.array(space.upper)) / 2
    result = []
    for teff in np.linspace(space.lower[row], space.upper[row], _NODES[0]):
        labels = np.tile(middle, (gravity.size, 1))
        labels[:, row], labels[:, column] = teff, gravity
        inside = gravity[atmosphere_exists(emulator, labels)]
        result.append([inside[0], inside[-1]] if inside.size else [np.nan, np.nan])
    return _filled(np.array(result))


def _filled(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (t, 2) of temperatures without any spectra take those of the nearest with some."""
    known = np.flatnonzero(np.isfinite(ends[:, 0]))
    nearest = np.abs(np.arange(len(ends))[:, None] - known).argmin(1)
    return np.asarray(ends[known[nearest]], np.float64)
