"""Training data of the default network: batches that are simulated when they are needed, by number."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from maury.emulator import NetworkPixels
from maury.errors import ConfigError
from maury.labels import LabelSpace
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra

HELD_OUT = 2**40
"""Numbers of batches from here on are never trained on."""


class Source(Protocol):
    """Where simulated observations come from: `maury.simulation.Simulator`."""

    labels: tuple[str, ...]
    space: LabelSpace
    pixels: NetworkPixels
    device: torch.device

    @property
    def logg_edges(self) -> tuple[tuple[float, float, float], ...]:
        """Rows (Teff, lowest log g, highest log g) of its prior."""

    def batch(self, count: int, generator: torch.Generator) -> PixelSpectra:
        """``count`` stars of the prior."""


class Stream:
    """Batches by number: the same number, seed and size always give the same stars, whatever came before."""

    def __init__(self, source: Source, names: tuple[str, ...], seed: int) -> None:
        """Take the columns ``names`` of the source's labels.

        Raises:
            ConfigError: a label that the source does not know.
        """
        missing = [name for name in names if name not in source.labels]
        if missing:
            raise ConfigError(f"no label {', '.join(missing)} to learn; there are {', '.join(source.labels)}")
        self.source, self.seed = source, seed
        self.columns = [source.labels.index(name) for name in names]

    def batch(self, number: int, count: int) -> tuple[PixelSpectra, Tensor]:
        """``count`` spectra and their labels (count, k)."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])  # on CPUs torch takes 32 bits
        generator = torch.Generator(self.source.device).manual_seed(seed)
        stars = self.source.batch(count, generator)
        return stars, stars.labels[:, self.columns]


def transform_of(source: Source, names: tuple[str, ...]) -> LabelTransform:
    """The prior of a network for some labels of a source."""
    edges = source.logg_edges if {"teff", "logg"} <= set(names) else ()
    return LabelTransform(source.space.subset(names), edges)


def principal_components(spectra: PixelSpectra, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean spectrum (p,) and whitened principal components (count, p) of the less noisy half of some spectra.

    Components are divided by the standard deviation of a spectrum's coefficient with the noise of these spectra:
    features have unit variance where the signal is above the noise, and stay small where it is not.

    Args:
        spectra: (n, p), n at least 2 count.
        count: components.
        seed: of the randomised singular value decomposition.
    """
    typical = torch.where(spectra.good, spectra.sigma, torch.nan).nanmedian(1).values
    rows = typical.argsort()[: max(len(typical) // 2, count)]
    good, flux = spectra.good[rows].float(), spectra.flux[rows]
    mean = (flux * good).sum(0) / good.sum(0).clamp_min(1)
    mean = torch.where(good.sum(0) > 0, mean, 1.0)
    depth = (flux - mean) * good
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, values, vectors = torch.svd_lowrank(depth, min(count + 16, *depth.shape), niter=3)
    noise = typical[rows].square().mean()
    scale = (values[:count].square() / len(rows) + noise).sqrt()
    return mean, (vectors[:, :count] / scale).T
