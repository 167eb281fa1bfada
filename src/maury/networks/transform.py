"""The box that bounds a posterior, and the coordinates in which a flow sees the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maury.labels import LabelSpace

_LEAST = 1e-6
"""How near to an end of its range a label may come, in units of the range; there the coordinate is 4.75."""

_ROOT = ("vsini",)
"""Labels that are uniform in their square root: equal steps where slow rotators differ as much as fast ones."""


@dataclass(frozen=True)
class LabelTransform:
    """Ranges of labels, the lowest and highest log g as functions of Teff.

    Unit coordinates are 0 and 1 at the ends: (x - lower) / (upper - lower), for log g with the ends at the star's Teff,
    for v sin i the square root of it. Unconstrained coordinates are their probits, y = Phi^-1(u): the whole line, and
    standard normal where u is uniform.

    Attributes:
        space: labels and ranges.
        edges: rows (Teff, lowest log g, highest log g) by increasing Teff, between which the ends are linear; empty
            where the range of log g is the same for all Teff.
    """

    space: LabelSpace
    edges: tuple[tuple[float, float, float], ...] = ()

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> LabelTransform:
        """The transform that a checkpoint's header holds under ``labels`` and ``prior``."""
        return cls(LabelSpace.from_header(header), tuple((a, b, c) for a, b, c in header["prior"]["edges"]))

    def header(self) -> dict[str, Any]:
        """Entries of the transform in a checkpoint's header."""
        space = self.space
        return {
            "labels": {"names": space.names, "lower": space.lower, "upper": space.upper},
            "prior": {"edges": self.edges},
        }

    def ends(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (..., k) of the ranges of labels (..., k); only their Teff is looked at."""
        lower = labels.new_tensor(self.space.lower).expand(labels.shape)
        upper = labels.new_tensor(self.space.upper).expand(labels.shape)
        if not self.edges:
            return lower, upper
        teff, low, high = labels.new_tensor(self.edges).T.contiguous()
        at = labels[..., self.space.names.index("teff")].contiguous()
        right = torch.searchsorted(teff, at.detach()).clamp(1, len(teff) - 1)
        part = ((at - teff[right - 1]) / (teff[right] - teff[right - 1])).clamp(0, 1)
        column = self._is("logg", labels)
        lower = torch.where(column, torch.lerp(low[right - 1], low[right], part)[..., None], lower)
        upper = torch.where(column, torch.lerp(high[right - 1], high[right], part)[..., None], upper)
        return lower, upper

    def unit(self, labels: Tensor) -> Tensor:
        """Unit coordinates (..., k) of labels (..., k); outside 0..1 where labels are outside the ranges."""
        lower, upper = self.ends(labels)
        unit = (labels - lower) / (upper - lower)
        return torch.where(self._is(_ROOT, labels), unit.abs().sqrt() * unit.sign(), unit)

    def labels(self, unit: Tensor) -> Tensor:
        """Inverse of `unit`."""
        unit = torch.where(self._is(_ROOT, unit), unit * unit.abs(), unit)
        plain = self.space.denormalise(unit)
        lower, upper = self.ends(plain)
        return torch.where(self._is("logg", unit), lower + (upper - lower) * unit, plain)

    def unconstrained(self, labels: Tensor) -> Tensor:
        """Unconstrained coordinates of labels; those at or outside the ends are taken 1e-6 of the range inside."""
        unit = self.unit(labels.double()).clamp(_LEAST, 1 - _LEAST)
        return torch.special.ndtri(unit).to(labels.dtype)

    def constrained(self, y: Tensor) -> Tensor:
        """Labels of unconstrained coordinates: always within the ranges."""
        return self.labels(torch.special.ndtr(y.double())).to(y.dtype)

    def log_abs_det_jacobian(self, labels: Tensor) -> Tensor:
        """Log of the Jacobian determinant d(y) / d(labels) (...): adds to a density of unconstrained coordinates.

        log |dy/dx| = log |du/dx| + y^2 / 2 + log(2 pi) / 2, summed over the labels. As the ends of log g depend on Teff
        alone the matrix is triangular and its determinant the product of the diagonal.
        """
        lower, upper = self.ends(labels)
        unit = self.unit(labels).clamp_min(_LEAST)
        slope = -(upper - lower).log() - torch.where(self._is(_ROOT, labels), (2 * unit).log(), 0.0)
        y = self.unconstrained(labels)
        return (slope + y.square() / 2 + 0.9189385332046727).sum(-1)

    def _is(self, names: str | tuple[str, ...], like: Tensor) -> Tensor:
        """Which columns (k,) have one of some names."""
        names = (names,) if isinstance(names, str) else names
        return torch.tensor([name in names for name in self.space.names], device=like.device)
