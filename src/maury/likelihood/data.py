"""`Star`: one spectrum on a network's pixels, in double precision."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from maury.errors import DomainError
from maury.simulation import Batch

FEWEST_PIXELS = 200
"""Good pixels without which there is no fit; 400 km/s or 7 Å."""


@dataclass(frozen=True)
class Star:
    """What a likelihood is about.

    Attributes:
        flux: continuum-normalised (p,), at rest.
        sigma: noise (p,) as if the pixels were independent; anything where not good.
        good: which pixels count (p,), bool.
        resolution: R = lambda / FWHM.
        name: for messages.
    """

    flux: Tensor = field(repr=False)
    sigma: Tensor = field(repr=False)
    good: Tensor = field(repr=False)
    resolution: float
    name: str = "spectrum"

    @classmethod
    def of(cls, batch: Batch, row: int) -> Star:
        """One of simulated observations."""
        flux, sigma = batch.flux[row].double(), batch.sigma[row].double()
        return cls(flux, sigma, batch.good[row], float(batch.resolution[row]))

    def __post_init__(self) -> None:
        """Check.

        Raises:
            DomainError: shapes differ, too few good pixels, flux not finite or noise not positive in a good one.
        """
        if not self.flux.shape == self.sigma.shape == self.good.shape or self.flux.ndim != 1:
            shapes = ", ".join(str(tuple(x.shape)) for x in (self.flux, self.sigma, self.good))
            raise DomainError(f"{self.name}: flux, sigma and good must be vectors of one length; got {shapes}")
        count = int(self.good.sum())
        if count < FEWEST_PIXELS:
            raise DomainError(f"{self.name}: {count} good pixels; at least {FEWEST_PIXELS} are needed for a fit")
        if not bool(torch.isfinite(self.flux[self.good]).all()):
            raise DomainError(f"{self.name}: flux that is not finite in good pixels")
        sigma = self.sigma[self.good]
        if not bool((torch.isfinite(sigma) & (sigma > 0)).all()):
            raise DomainError(f"{self.name}: noise must be finite and above 0 in good pixels")
