"""A source of simulated observations whose posterior is known: flux linear in the labels' real coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from maury.emulator import NetworkPixels
from maury.labels import LabelSpace
from maury.networks import LabelTransform
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import LogGrid

PIXELS = NetworkPixels(LogGrid(5100.0, 2.0, 100), 10, 64, 50_000.0)


class LinearStars:
    """flux = 1 + A y + noise, y the real coordinates of labels that are uniform in their unit coordinates.

    With white noise of standard deviation s the posterior of y is normal, with covariance C = (1 + A^T A / s^2)^-1 and
    mean C A^T (flux - 1) / s^2.
    """

    def __init__(self, names: tuple[str, ...] = ("teff", "mh"), sigma: float = 0.15) -> None:
        self.labels, self.space, self.pixels = names, LabelSpace.of(names), PIXELS
        self.device = torch.device("cpu")
        self.transform, self.sigma = LabelTransform(self.space), sigma
        x = torch.linspace(0, 1, PIXELS.count)
        self.matrix = torch.stack([torch.exp(-(((x - 0.3 - 0.2 * k) / 0.15) ** 2)) for k in range(len(names))], 1) * 0.1
        self.logg_edges: tuple[tuple[float, float, float], ...] = ()

    def batch(self, count: int, generator: torch.Generator) -> PixelSpectra:
        real = torch.randn(count, len(self.labels), generator=generator)
        noise = self.sigma * torch.randn(count, PIXELS.count, generator=generator)
        flux = 1 + real @ self.matrix.T + noise
        return PixelSpectra(flux=flux, sigma=self.sigma, resolution=42_000.0, labels=self.transform.constrained(real))

    def posterior(self, flux: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (n, k) and covariance (k, k) of the real coordinates."""
        precision = torch.eye(len(self.labels)) + self.matrix.T @ self.matrix / self.sigma**2
        covariance = torch.linalg.inv(precision)
        return (flux - 1) @ self.matrix / self.sigma**2 @ covariance, covariance
