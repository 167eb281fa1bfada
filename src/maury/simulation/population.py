"""The prior of the labels: the emulator's whole domain, rotation and macroturbulence."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.emulator import Emulator
from maury.emulator.domain import atmosphere_exists
from maury.labels import ALPHA, FURTHER_ELEMENTS, LabelSpace, usual_vmic
from maury.simulation.conditions import PriorSettings
from maury.simulation.draws import Draws

_NODES = (251, 501)
"""Temperatures, and gravities at each, at which the existence of an atmosphere is tabulated."""
_COMMON = 64
"""Nodes of the integral over the common [alpha/M]."""


class Prior:
    """Draws labels of stars and gives their probability density.

    Attributes:
        space: names and ranges of the emulator's labels, ``vsini`` and ``vmac``, and ``alpha`` as the mean of [Mg/M],
            [Ca/M] and [Ti/M] if these are labels.
    """

    def __init__(self, emulator: Emulator, settings: PriorSettings) -> None:
        """Tabulate the range of log g with model atmospheres at each Teff."""
        self.settings, self._own = settings, emulator.space
        lower, upper = [*emulator.space.lower], [*emulator.space.upper]
        names = [*emulator.space.names, "vsini", "vmac"]
        for ends in (settings.vsini_kms, settings.vmac_kms):
            lower.append(ends[0])
            upper.append(max(ends[1], ends[0] + 1e-6))
        if set(ALPHA) <= set(names) and "alpha" not in names:
            rows = [names.index(name) for name in ALPHA]
            names.append("alpha")
            lower.append(float(np.mean([lower[i] for i in rows])))
            upper.append(float(np.mean([upper[i] for i in rows])))
        self.space = LabelSpace(tuple(names), tuple(lower), tuple(upper))
        self._gravities = torch.from_numpy(_allowed_logg(emulator)).float() if "logg" in self._own.names else None

    @property
    def logg_edges(self) -> tuple[tuple[float, float, float], ...]:
        """Rows (Teff, lowest log g, highest log g), linear in between; empty if the range of log g is constant."""
        if self._gravities is None or "teff" not in self._own.names:
            return ()
        row = self._own.names.index("teff")
        teff = np.linspace(self._own.lower[row], self._own.upper[row], len(self._gravities))
        return tuple((float(t), float(low), float(high)) for t, (low, high) in zip(teff, self._gravities, strict=True))

    def draw(self, draws: Draws) -> Tensor:
        """Draw labels (n, k), float32, in the order of ``space``."""
        ranges = dict(zip(self._own.names, zip(self._own.lower, self._own.upper, strict=True), strict=True))
        drawn = {name: draws.uniform(*ends) for name, ends in ranges.items() if name in ("teff", "mh", "alpha")}
        if "logg" in ranges:
            drawn["logg"] = draws.uniform(*self._gravity_ends(drawn.get("teff")))
        alpha = draws.uniform(*self.settings.alpha)
        for name, ends in ranges.items():
            if name not in drawn:
                drawn[name] = draws.truncated(*self._usual(name, drawn, alpha, ends), *ends)
        drawn["vsini"] = self._vsini(draws)
        drawn["vmac"] = draws.uniform(*self.settings.vmac_kms)
        if "alpha" not in drawn and set(ALPHA) <= set(drawn):
            drawn["alpha"] = torch.stack([drawn[name] for name in ALPHA]).mean(0)
        return torch.stack([drawn[name] for name in self.space.names], 1)

    def log_density(self, labels: Tensor) -> Tensor:
        """Log density (n,) of the distribution of `draw` at labels (n, k), per unit of each label; -inf out of range.

        The common [alpha/M] of Mg, Ca and Ti is integrated out; a column with their mean is ignored.
        """
        drawn = dict(zip(self.space.names, labels.double().unbind(1), strict=True))
        ranges = dict(zip(self.space.names, zip(self.space.lower, self.space.upper, strict=True), strict=True))
        if set(ALPHA) <= set(drawn):
            drawn.pop("alpha", None)
        total, inside = torch.zeros_like(drawn["vsini"]), torch.ones_like(drawn["vsini"], dtype=torch.bool)
        for name, x in drawn.items():
            low, high = self._gravity_ends(drawn.get("teff")) if name == "logg" else ranges[name]
            inside &= (x >= low) & (x <= high)
            if name == "vsini":
                total += self._log_vsini(x)
            elif name in ("teff", "logg", "mh", "alpha", "vmac"):
                total -= torch.as_tensor(high - low, dtype=x.dtype).log()
            elif name not in ALPHA:
                mean, sd = self._usual(name, drawn, x, ranges[name])
                total += _log_truncated(x, mean, sd, low, high)
        total += self._log_alpha(drawn, ranges)
        return torch.where(inside, total, -torch.inf)

    def _log_alpha(self, drawn: dict[str, Tensor], ranges: dict[str, tuple[float, float]]) -> Tensor | float:
        """Log density of the single alpha elements, the common one integrated over its uniform distribution."""
        single = [name for name in ALPHA if name in drawn]
        if not single:
            return 0.0
        low, high = self.settings.alpha
        common = low + (high - low) * (torch.arange(_COMMON, dtype=torch.float64) + 0.5) / _COMMON
        parts = [
            _log_truncated(drawn[n][:, None], common.to(drawn[n].device), self.settings.alpha_scatter, *ranges[n])
            for n in single
        ]
        return torch.stack(parts).sum(0).logsumexp(1) - math.log(_COMMON)

    def _log_vsini(self, x: Tensor) -> Tensor:
        low, high = self.settings.vsini_kms
        share, span = self.settings.vsini_low_share, max(high - low, 1e-6)
        logs = max(math.log1p(high) - math.log1p(low), 1e-9)
        return (share / (1 + x) / logs + (1 - share) / span).log()

    def _usual(
        self, name: str, drawn: dict[str, Tensor], alpha: Tensor, ends: tuple[float, float]
    ) -> tuple[Tensor | float, float]:
        """Mean and standard deviation of a label given those drawn before."""
        if name in ALPHA:
            return alpha, self.settings.alpha_scatter
        s = self.settings
        if name != "vmic":
            groups = {"c": s.carbon_scatter, "y": s.neutron_capture_scatter, "nd": s.neutron_capture_scatter}
            return 0.0, groups.get(name, s.further_scatter if name in FURTHER_ELEMENTS else s.iron_peak_scatter)
        teff, logg = (drawn.get(key, torch.full_like(alpha, usual)) for key, usual in (("teff", 5500.0), ("logg", 4.5)))
        return usual_vmic(teff, logg).clamp(*ends), s.vmic_kms

    def _vsini(self, draws: Draws) -> Tensor:
        low, high = self.settings.vsini_kms
        slow = draws.uniform(np.log1p(low), np.log1p(high)).expm1().clamp(low, high)
        return torch.where(draws.chance(self.settings.vsini_low_share), slow, draws.uniform(low, high))

    def _gravity_ends(self, teff: Tensor | None) -> tuple[Tensor, Tensor]:
        """Lowest and highest log g (n,) of model atmospheres at Teff (n,)."""
        assert self._gravities is not None
        if teff is None:
            return self._gravities[:, 0].min(), self._gravities[:, 1].max()
        table = self._gravities.to(teff)
        row = self._own.names.index("teff")
        first, last = self._own.lower[row], self._own.upper[row]
        position = ((teff - first) / (last - first) * (len(table) - 1)).clamp(0, len(table) - 1.001)
        low = position.long()
        ends = torch.lerp(table[low], table[low + 1], (position - low)[:, None])
        return ends[:, 0], ends[:, 1]


def _log_truncated(x: Tensor, mean: Tensor | float, sd: float, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Log density at x of a normal distribution truncated at two ends; x must lie between them."""
    share = _log_share(mean, sd, low, high) if isinstance(mean, float) else _share(mean.double(), sd, low, high).log()
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi)) - share


def _share(mean: Tensor, sd: float, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Part of a normal distribution that lies between two ends."""
    first, last = (torch.special.ndtr((end - mean) / sd) for end in (low, high))
    return last - first


@cache
def _log_share(mean: float, sd: float, low: float, high: float) -> float:
    """Logarithm of `_share` for plain numbers, which are few: those of the settings."""
    return float(_share(torch.tensor(mean, dtype=torch.float64), sd, low, high).log())


def _allowed_logg(emulator: Emulator) -> NDArray[np.float64]:
    """Lowest and highest log g (t, 2) of model atmospheres, at equidistant Teff over the range."""
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
    """Rows (t, 2), those of temperatures without atmospheres filled from the nearest temperature with one."""
    known = np.flatnonzero(np.isfinite(ends[:, 0]))
    nearest = np.abs(np.arange(len(ends))[:, None] - known).argmin(1)
    return np.asarray(ends[known[nearest]], np.float64)
