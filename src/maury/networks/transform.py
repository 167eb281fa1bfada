"""Transform labels to the unconstrained coordinates of a flow, and back; ranges of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maury.labels import LabelSpace

_LEAST = 1e-6
"""Least distance of a label from the ends of its range, as a fraction of the range: unconstrained -4.75 and 4.75."""

_ROOT = ("vsini",)
"""Labels whose square root is scaled: equal steps of it change the spectrum of slow and fast rotators alike."""


class _Constants(NamedTuple):
    """Ends of the ranges (k,), rows of the edges of log g (3, t), and which columns (k,) are log g and are roots."""

    lower: Tensor
    upper: Tensor
    edges: Tensor
    logg: Tensor
    root: Tensor


@dataclass(frozen=True)
class LabelTransform:
    """Transform of labels to unit and unconstrained coordinates; the range of log g may depend on Teff.

    The unit coordinate of a label x is u = (x - lower) / (upper - lower), 0 and 1 at the ends of its range; for log g
    the ends are those at the star's Teff; for v sin i, u is the square root of this. The unconstrained coordinate is
    the probit of u, y = Phi^-1(u), any real number; it is standard normal if u is uniform.

    Attributes:
        space: labels and ranges.
        edges: rows (Teff, lowest log g, highest log g) by increasing Teff, linear in between; empty if the range of
            log g is the same for all Teff.
    """

    space: LabelSpace
    edges: tuple[tuple[float, float, float], ...] = ()

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> LabelTransform:
        """Make the transform from the entries ``labels`` and ``prior`` of a checkpoint's header."""
        return cls(LabelSpace.from_header(header), tuple((a, b, c) for a, b, c in header["prior"]["edges"]))

    def header(self) -> dict[str, Any]:
        """Entries of the transform in a checkpoint's header."""
        space = self.space
        return {
            "labels": {"names": space.names, "lower": space.lower, "upper": space.upper},
            "prior": {"edges": self.edges},
        }

    def ends(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (..., k) of the ranges of labels at the Teff of labels (..., k)."""
        constants = self._constants(labels)
        lower, upper = constants.lower.expand(labels.shape), constants.upper.expand(labels.shape)
        if not self.edges:
            return lower, upper
        teff, low, high = constants.edges
        at = labels[..., self.space.names.index("teff")].contiguous()
        right = torch.searchsorted(teff, at.detach()).clamp(1, len(teff) - 1)
        part = ((at - teff[right - 1]) / (teff[right] - teff[right - 1])).clamp(0, 1)
        column = constants.logg
        lower = torch.where(column, torch.lerp(low[right - 1], low[right], part)[..., None], lower)
        upper = torch.where(column, torch.lerp(high[right - 1], high[right], part)[..., None], upper)
        return lower, upper

    def unit(self, labels: Tensor) -> Tensor:
        """Unit coordinates (..., k) of labels (..., k); below 0 or above 1 if a label is outside its range."""
        lower, upper = self.ends(labels)
        unit = (labels - lower) / (upper - lower)
        return torch.where(self._constants(labels).root, unit.abs().sqrt() * unit.sign(), unit)

    def labels(self, unit: Tensor) -> Tensor:
        """Labels (..., k) of unit coordinates (..., k), the inverse of `unit`."""
        constants = self._constants(unit)
        unit = torch.where(constants.root, unit * unit.abs(), unit)
        plain = self.space.denormalise(unit)
        lower, upper = self.ends(plain)
        return torch.where(constants.logg, lower + (upper - lower) * unit, plain)

    def unconstrained(self, labels: Tensor) -> Tensor:
        """Unconstrained coordinates of labels; a label beyond its range counts as 1e-6 of the range inside it."""
        unit = self.unit(labels.double()).clamp(_LEAST, 1 - _LEAST)
        return torch.special.ndtri(unit).to(labels.dtype)

    def constrained(self, y: Tensor) -> Tensor:
        """Labels of unconstrained coordinates: always within the ranges."""
        return self.labels(torch.special.ndtr(y.double())).to(y.dtype)

    def log_abs_det_jacobian(self, labels: Tensor) -> Tensor:
        """Log |det dy / d(labels)| (...); added to the log density of y, it gives that of labels.

        It is the sum over labels of log |dy/dx| = log |du/dx| + y^2 / 2 + log(2 pi) / 2: as the range of log g depends
        on Teff only, the matrix is triangular.
        """
        lower, upper = self.ends(labels)
        unit = self.unit(labels).clamp_min(_LEAST)
        slope = -(upper - lower).log() - torch.where(self._constants(labels).root, (2 * unit).log(), 0.0)
        y = self.unconstrained(labels)
        return (slope + y.square() / 2 + 0.9189385332046727).sum(-1)

    @cached_property
    def _made(self) -> dict[tuple[torch.dtype, torch.device], _Constants]:
        """Constants made so far."""
        return {}

    def _constants(self, like: Tensor) -> _Constants:
        """The constants in the type and on the device of a tensor, made once, as this is called at every sample."""
        key = (like.dtype, like.device)
        if key not in self._made:
            names = self.space.names
            with torch.inference_mode(False):  # they serve gradients as well
                numbers = [like.new_tensor(x) for x in (self.space.lower, self.space.upper, self.edges)]
                which = [torch.tensor([n in kind for n in names], device=like.device) for kind in (("logg",), _ROOT)]
                lower, upper, edges = numbers
                self._made[key] = _Constants(lower, upper, edges.reshape(-1, 3).T.contiguous(), *which)
        return self._made[key]
