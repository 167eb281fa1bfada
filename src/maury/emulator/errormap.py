"""Error map of the emulator: rms error by pixel and region of Teff and [M/H]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maury.labels import INTRINSIC, LABELS
from maury.wavelengths import LogGrid

TEFF_EDGES = (LABELS["teff"].lower, 4000.0, 4500.0, 5250.0, 6000.0, 7000.0, 8000.0, LABELS["teff"].upper)
MH_EDGES = (LABELS["mh"].lower, -1.0, LABELS["mh"].upper)


def regions(labels: Tensor, names: Sequence[str] = INTRINSIC) -> tuple[Tensor, Tensor]:
    """Indices (b,) of the Teff region and of the [M/H] region of labels (b, k).

    Values beyond the edges belong to the outermost regions. If Teff or [M/H] is not a label, its index is 0.
    """
    return _region(labels, names, "teff", TEFF_EDGES), _region(labels, names, "mh", MH_EDGES)


def _region(labels: Tensor, names: Sequence[str], name: str, edges: tuple[float, ...]) -> Tensor:
    if name not in names:
        return torch.zeros(len(labels), dtype=torch.int64)
    column = labels[:, list(names).index(name)].contiguous()
    return torch.bucketize(column, labels.new_tensor(edges[1:-1]))


@dataclass(frozen=True)
class ErrorMap:
    """Root-mean-square error of the emulator per pixel, by region of Teff and [M/H].

    Attributes:
        grid: pixels (uniform in ln wavelength).
        resolution: R at which it was measured, without rotation.
        rms: error per unit of the continuum (teff regions, mh regions, grid.size); filled in regions without stars.
        stars: number of stars in each region (teff regions, mh regions).
        names: labels of the emulator.
    """

    grid: LogGrid
    resolution: float
    rms: Tensor
    stars: Tensor
    names: tuple[str, ...] = INTRINSIC

    def at(self, labels: Tensor) -> Tensor:
        """Error per pixel (b, grid.size) for labels (b, k)."""
        return self.rms[regions(labels, self.names)]
