"""Differential analysis: what the model gets wrong in a reference star's spectrum is taken out of others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from maury.errors import DomainError
from maury.inference.refinement import Physics
from maury.likelihood import Star
from maury.preparation.network import NetworkInput

SUN = {"teff": 5772.0, "logg": 4.438, "mh": 0.0, "vmic": 1.0, "vsini": 1.6, "vmac": 3.2}
"""The Sun's labels (IAU 2015 nominal values); all abundance ratios are 0 by the definition of the scale."""

_DIFFERENT_R = 0.1
_LARGEST = 0.3
"""The largest correction, ln of a ratio: beyond lie cosmic rays and telluric lines."""


@dataclass(frozen=True)
class Reference:
    """Corrections on the network's pixels.

    Attributes:
        name: of the reference spectrum.
        resolution: R of it there.
        ratio: model over observed flux (p,), 1 where nothing is known.
        sigma: noise of the ratio (p,).
        labels: of the reference by name.
    """

    name: str
    resolution: float
    labels: dict[str, float]
    ratio: NDArray[np.float64] = field(repr=False)
    sigma: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, physics: Physics, star: NetworkInput, labels: dict[str, float], name: str) -> Reference:
        """Compare a reference spectrum with the model of its labels, continuum and velocity fitted.

        Args:
            physics: of the network.
            star: the reference on the network's pixels.
            labels: its labels by name; what is left out is 0.
            name: for messages.

        Raises:
            DomainError: a label outside the model's range.
        """
        simulator = physics.coordinates.simulator
        row = torch.tensor([labels.get(label, 0.0) for label in simulator.labels], dtype=torch.float64)
        if not bool(torch.isfinite(simulator.log_prior(row[None]))[0]):
            given = ", ".join(f"{key}={value:g}" for key, value in labels.items())
            raise DomainError(f"{name}: labels of the reference outside the ranges of the model: {given}")
        flux, own = (torch.from_numpy(x).double() for x in (star.flux, star.sigma))
        data = Star(flux, own, torch.from_numpy(star.good), float(star.resolution), name)
        noise = physics.errors.whiten(data, row)
        model, _ = physics.errors.adjusted(data, row, noise)
        observed = np.maximum(star.flux.astype(float), 0.02)
        ratio = model.numpy() / observed
        known = star.good & (np.abs(np.log(np.maximum(ratio, 1e-3))) < _LARGEST)
        sigma = np.where(known, ratio * star.sigma / observed, 0.0)
        return cls(name, float(star.resolution), labels, np.where(known, ratio, 1.0), sigma)

    def applied(self, star: NetworkInput, name: str) -> NetworkInput:
        """A spectrum with the model's errors of the reference taken out, the reference's noise added.

        Raises:
            DomainError: another resolution than the reference's.
        """
        if abs(np.log(star.resolution / self.resolution)) > _DIFFERENT_R:
            raise DomainError(
                f"{name}: R = {star.resolution:.0f} on the network's pixels, but R = {self.resolution:.0f} of the "
                f"reference {self.name}: they must be the same within 10 %"
            )
        flux = np.where(star.good, star.flux * self.ratio, star.flux)
        sigma = np.hypot(star.sigma * self.ratio, np.where(star.good, star.flux, 0.0) * self.sigma)
        return replace(star, flux=flux.astype(np.float32), sigma=sigma.astype(np.float32))
