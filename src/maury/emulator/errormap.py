"""The emulator's error per pixel and region of label space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maury.wavelengths import LogGrid

TEFF_EDGES = (3500.0, 4000.0, 4500.0, 5250.0, 6000.0, 7000.0, 8000.0, 9750.0)
MH_EDGES = (-2.5, -1.0, 0.5)


def regions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (b,) of the Teff and [M/H] regions in which labels (b, 10) fall."""
    teff = torch.bucketize(labels[:, 0].contiguous(), labels.new_tensor(TEFF_EDGES[1:-1]))
    mh = torch.bucketize(labels[:, 2].contiguous(), labels.new_tensor(MH_EDGES[1:-1]))
    return teff, mh


@dataclass(frozen=True)
class ErrorMap:
    """Root-mean-square error of the emulator per pixel, by region of Teff and [M/H].

    Attributes:
        grid: pixels (uniform in ln wavelength).
        resolution: R at which it was measured, without rotation.
        rms: (teff regions, mh regions, grid.size); NaN where no star fell.
        stars: number of stars in each region (teff regions, mh regions).
    """

    grid: LogGrid
    resolution: float
    rms: Tensor
    stars: Tensor

    def at(self, labels: Tensor) -> Tensor:
        """Error per pixel (b, grid.size) for labels (b, 10)."""
        return self.rms[regions(labels)]
