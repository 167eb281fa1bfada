"""Simulated observations as training data: each batch has a number, which seeds its simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from maury.errors import ConfigError
from maury.networks import load_posterior
from maury.networks.posterior_network import PosteriorNetwork
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator
from maury.training.recipes import PosteriorTrainConfig
from maury.training.sources import error_figures

HELD_OUT = 2**40
"""First number of a validation batch; training uses smaller numbers."""


_START = HELD_OUT * 2
"""Number of the batch from which principal components are computed."""

_DRAWS = 256
"""Posterior samples per validation star."""


class Stream:
    """Simulates batches by number: the same number, seed and size always give the same stars."""

    def __init__(self, simulator: Simulator, names: tuple[str, ...], seed: int) -> None:
        """Choose the labels ``names`` among those of the simulator.

        Raises:
            ConfigError: the simulator does not have a label.
        """
        missing = [name for name in names if name not in simulator.labels]
        if missing:
            raise ConfigError(
                f"the simulator has no label {', '.join(missing)}; there are {', '.join(simulator.labels)}"
            )
        self.simulator, self.seed = simulator, seed
        self.columns = [simulator.labels.index(name) for name in names]

    def batch(self, number: int, count: int) -> tuple[PixelSpectra, Tensor]:
        """Simulate ``count`` spectra and return them with their labels (count, k)."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])  # torch: 32 bits on CPUs
        generator = torch.Generator(self.simulator.device).manual_seed(seed)
        stars = self.simulator.batch(count, generator)
        return stars, stars.labels[:, self.columns]


def transform_of(simulator: Simulator, names: tuple[str, ...]) -> LabelTransform:
    """Label transform of a network for labels of a simulator; ranges are those of the simulator's prior."""
    edges = simulator.logg_edges if {"teff", "logg"} <= set(names) else ()
    return LabelTransform(simulator.space.subset(names), edges)


def principal_components(spectra: PixelSpectra, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean spectrum (p,) and whitened principal components (count, p) of the half of the spectra with the least noise.

    Each component is divided by the standard deviation of its coefficient, noise added in quadrature: coefficients
    above the noise get unit variance, those below it stay small.

    Args:
        spectra: spectra (n, p), n at least 2 ``count``.
        count: number of components.
        seed: seed of the randomised singular value decomposition.
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


class Numbers(Sampler[int]):
    """Numbers of the batches of an epoch on one device; no number occurs twice in a run."""

    def __init__(self, steps: int, rank: int, devices: int, epoch: int) -> None:
        self.steps, self.rank, self.devices, self.epoch = steps, rank, devices, epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.steps
        return iter(range(first * self.devices + self.rank, (first + self.steps) * self.devices, self.devices))


class SimulatedSource:
    """Training data simulated during training, for a network that gives a posterior."""

    stored = torch.float16

    def __init__(self, config: PosteriorTrainConfig, make: Callable[[torch.device], Simulator]) -> None:
        """Keep settings and the function ``make``, which returns a simulator on a device.

        Raises:
            ConfigError: the simulator does not have the labels or the number of pixels in the settings.
        """
        simulator, pixels = make(torch.device("cpu")), config.network.pixels
        if pixels != simulator.pixels.count:
            raise ConfigError(
                f"spectra of the emulator have {simulator.pixels.count} pixels, but network.pixels = {pixels}"
            )
        self.config, self._make = config, make
        self.stream = self._near = Stream(simulator, config.network.labels, config.seed)

    def network(self, resumed: bool) -> PosteriorNetwork:
        """Make the network, with the weights of ``config.start`` or principal components of simulated spectra.

        Raises:
            ConfigError: the architecture of ``config.start`` differs (its label ranges may differ).
            FormatError: ``config.start`` does not exist.
        """
        config = self.config
        labels = config.network.labels
        network = PosteriorNetwork(config.network, transform_of(self.stream.simulator, labels), config.seed)
        if resumed:
            return network
        if config.start is None:
            spectra, _ = self.stream.batch(_START, config.components_from)
            network.start_from(*principal_components(spectra, config.network.components, config.seed))
            return network
        given, _ = load_posterior(config.start)
        if given.config != config.network:
            other = [k for k, v in config.network.model_dump().items() if given.config.model_dump()[k] != v]
            raise ConfigError(f"start: {config.start} has another architecture; other settings: {', '.join(other)}")
        network.load_state_dict(given.state_dict())
        return network

    def loaders(self, rank: int, devices: int, epoch: int, pin: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Loaders of batch numbers; `training` and `held_out` simulate the spectra on the device."""
        numbers: Any = range(HELD_OUT)
        held_out: Any = range(rank, max(-(-self.config.validation // self.config.batch_size), devices), devices)
        sampler = Numbers(self.config.steps, rank, devices, epoch)
        return DataLoader(numbers, None, sampler=sampler), DataLoader(held_out, None)

    def to(self, device: torch.device) -> None:
        """Simulate on this device."""
        if device.type != "cpu":
            self._near = Stream(self._make(device), self.config.network.labels, self.config.seed)

    def training(self, batch: int, step: int) -> tuple[PixelSpectra, Tensor]:
        """Simulate spectra and labels of a batch number."""
        return self._near.batch(batch, self.config.batch_size)

    def held_out(self, batch: int) -> tuple[PixelSpectra, Tensor]:
        """Simulate validation spectra and labels, the same in every epoch."""
        return self._near.batch(HELD_OUT + batch, self.config.batch_size)

    def header(self, network: PosteriorNetwork) -> dict[str, Any]:
        """Header entries: labels and their prior, pixels, SHA-256 of the emulator."""
        pixels = self.stream.simulator.pixels
        return {
            **network.transform.header(),
            "pixels": asdict(pixels),
            "wavelength": [float(pixels.wavelength_aa[0]), float(pixels.wavelength_aa[-1])],
            "sampling": "log",
            "resolution": pixels.resolution,
            "emulator": self.config.emulator_digest,
        }

    def figures(self, network: PosteriorNetwork, header: Mapping[str, Any]) -> dict[str, Any]:
        """Figures of the validation set (`posterior_figures`)."""
        return posterior_figures(network, self.stream, self.config)


@torch.inference_mode()
def posterior_figures(network: PosteriorNetwork, stream: Stream, config: PosteriorTrainConfig) -> dict[str, Any]:
    """Negative log density, error of medians and coverage over the validation set, with the network on the CPU.

    Returns:
        Entries of `maury.training.sources.error_figures`, with ``nll`` (negative log density of the unconstrained
        labels, nats per star) and ``coverage`` (fraction of true labels inside the central 68.3 %, by label).
    """
    density, error, inside = [], [], []
    generator = torch.Generator().manual_seed(config.seed)
    for number in range(-(-config.validation // config.batch_size)):
        inputs, labels = stream.batch(HELD_OUT + number, config.batch_size)
        features = network(inputs)
        density.append(network.log_prob_unconstrained(features, labels))
        samples = network.sample(features, _DRAWS, generator)
        error.append(samples.median(1).values - labels)
        rank = (samples < labels[:, None]).float().mean(1)
        inside.append((rank - 0.5).abs() < 0.3413)
    space = network.transform.space
    covered = torch.cat(inside).double().mean(0)
    return error_figures(
        space,
        torch.cat(error).double().numpy() / np.subtract(space.upper, space.lower),
        nll=-float(torch.cat(density).double().mean()),
        coverage=dict(zip(space.names, map(float, covered), strict=True)),
    )
