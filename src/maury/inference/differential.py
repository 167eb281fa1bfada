"""Differential analysis: spectra are corrected by model / observed flux of a reference star with known labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from maury.errors import DomainError
from maury.inference.refinement import RefinementModel
from maury.likelihood import usable
from maury.pixelspectra import PixelSpectra

SUN = {"teff": 5772.0, "logg": 4.438, "mh": 0.0, "vmic": 1.0, "vsini": 1.6, "vmac": 3.2}
"""The Sun's labels (IAU 2015 nominal values); all abundance ratios are 0 by the definition of the scale."""

_DIFFERENT_R = 0.1

LARGEST = 0.3
"""The largest correction, ln of a ratio: beyond lie cosmic rays and telluric lines."""


@dataclass(frozen=True)
class Reference:
    """Corrections on the network's pixels.

    Attributes:
        name: of the reference spectrum.
        resolution: R of the reference spectrum on these pixels.
        ratio: model over observed flux (p,), 1 where nothing is known.
        sigma: noise of the ratio (p,).
    """

    name: str
    resolution: float
    ratio: NDArray[np.float64] = field(repr=False)
    sigma: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(
        cls,
        physics: RefinementModel,
        star: PixelSpectra,
        labels: dict[str, float],
        name: str,
        largest: float = LARGEST,
    ) -> Reference:
        """Compare a reference spectrum with the model of its labels, continuum and velocity fitted.

        Args:
            physics: of the network.
            star: the reference on the network's pixels.
            labels: its labels by name; what is left out is 0.
            name: for messages.
            largest: the largest correction, ln of a ratio; there is none where it would be larger.

        Raises:
            DomainError: a label outside the model's range.
        """
        simulator = physics.coordinates.simulator
        row = torch.tensor([labels.get(label, 0.0) for label in simulator.labels], dtype=torch.float64)
        if not bool(torch.isfinite(simulator.log_prior(row[None]))[0]):
            given = ", ".join(f"{key}={value:g}" for key, value in labels.items())
            raise DomainError(f"{name}: labels of the reference outside the ranges of the model: {given}")
        data = usable(star, name)
        whitened = physics.errors.whiten(data, row)
        model, _ = physics.errors.adjusted(data, row, whitened)
        observed = np.maximum(data.flux.numpy(), 0.02)
        ratio = model.numpy() / observed
        known = star.good.numpy() & (np.abs(np.log(np.maximum(ratio, 1e-3))) < largest)
        noise = np.where(known, ratio * star.sigma.numpy() / observed, 0.0)
        return cls(name, float(star.resolution), np.where(known, ratio, 1.0), noise)

    def applied(self, star: PixelSpectra, name: str) -> PixelSpectra:
        """Multiply a spectrum by the corrections, and add their noise to its noise in quadrature.

        Raises:
            DomainError: another resolution than the reference's.
        """
        resolution = float(star.resolution)
        if abs(np.log(resolution / self.resolution)) > _DIFFERENT_R:
            raise DomainError(
                f"{name}: R = {resolution:.0f} on the network's pixels, while the reference {self.name} has "
                f"R = {self.resolution:.0f}: they must be the same within 10 %"
            )
        flux, good = star.flux.numpy(), star.good.numpy()
        sigma = np.hypot(star.sigma.numpy() * self.ratio, np.where(good, flux, 0.0) * self.sigma)
        corrected = np.where(good, flux * self.ratio, flux)
        return star.with_(flux=torch.from_numpy(corrected).float(), sigma=torch.from_numpy(sigma).float())
