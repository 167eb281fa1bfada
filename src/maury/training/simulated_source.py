"""Simulated observations as a source of training: batches that are simulated when they are needed, by number."""

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
"""Numbers of batches from here on are never trained on."""


_START = HELD_OUT * 2
"""Number of the batch of which the principal components are taken."""

_DRAWS = 256


class Stream:
    """Batches by number: the same number, seed and size always give the same stars, whatever came before."""

    def __init__(self, simulator: Simulator, names: tuple[str, ...], seed: int) -> None:
        """Take the columns ``names`` of the simulator's labels.

        Raises:
            ConfigError: a label that the simulator does not know.
        """
        missing = [name for name in names if name not in simulator.labels]
        if missing:
            raise ConfigError(f"no label {', '.join(missing)} to learn; there are {', '.join(simulator.labels)}")
        self.simulator, self.seed = simulator, seed
        self.columns = [simulator.labels.index(name) for name in names]

    def batch(self, number: int, count: int) -> tuple[PixelSpectra, Tensor]:
        """``count`` spectra and their labels (count, k)."""
        seed = int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])  # on CPUs torch takes 32 bits
        generator = torch.Generator(self.simulator.device).manual_seed(seed)
        stars = self.simulator.batch(count, generator)
        return stars, stars.labels[:, self.columns]


def transform_of(simulator: Simulator, names: tuple[str, ...]) -> LabelTransform:
    """The transform of a network for some labels of a simulator, whose prior gives the ranges."""
    edges = simulator.logg_edges if {"teff", "logg"} <= set(names) else ()
    return LabelTransform(simulator.space.subset(names), edges)


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


class Numbers(Sampler[int]):
    """Numbers of the batches of an epoch, of which no other step, epoch or device has any."""

    def __init__(self, steps: int, rank: int, devices: int, epoch: int) -> None:
        """Those of one of several devices."""
        self.steps, self.rank, self.devices, self.epoch = steps, rank, devices, epoch

    def set_epoch(self, epoch: int) -> None:
        """Set which epoch comes next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.steps
        return iter(range(first * self.devices + self.rank, (first + self.steps) * self.devices, self.devices))


class SimulatedSource:
    """Observations simulated as the training goes, for a network that gives a posterior."""

    stored = torch.float16

    def __init__(self, config: PosteriorTrainConfig, make: Callable[[torch.device], Simulator]) -> None:
        """Keep how to make a simulator on a device.

        Raises:
            ConfigError: simulation and settings contradict each other.
        """
        simulator, pixels = make(torch.device("cpu")), config.network.pixels
        if pixels != simulator.pixels.count:
            raise ConfigError(f"the emulator makes {simulator.pixels.count} pixels; network.pixels = {pixels}")
        self.config, self._make = config, make
        self.stream = self._near = Stream(simulator, config.network.labels, config.seed)

    def network(self, resumed: bool) -> PosteriorNetwork:
        """A network that starts from ``config.start``, or from principal components of spectra.

        Raises:
            ConfigError: the network to start from has other settings; its ranges of labels may be others.
            FormatError: it is not there.
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
            raise ConfigError(f"start: {config.start} has other settings of the network: {', '.join(other)}")
        network.load_state_dict(given.state_dict())
        return network

    def loaders(self, rank: int, devices: int, epoch: int, pin: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Numbers of batches; spectra are made on the device."""
        numbers: Any = range(HELD_OUT)
        held_out: Any = range(rank, max(-(-self.config.validation // self.config.batch_size), devices), devices)
        sampler = Numbers(self.config.steps, rank, devices, epoch)
        return DataLoader(numbers, None, sampler=sampler), DataLoader(held_out, None)

    def to(self, device: torch.device) -> None:
        """Simulate on this device."""
        if device.type != "cpu":
            self._near = Stream(self._make(device), self.config.network.labels, self.config.seed)

    def training(self, batch: int, step: int) -> tuple[PixelSpectra, Tensor]:
        """Spectra and labels of a number."""
        return self._near.batch(batch, self.config.batch_size)

    def held_out(self, batch: int) -> tuple[PixelSpectra, Tensor]:
        """Spectra and labels that are not trained on, the same in every epoch."""
        return self._near.batch(HELD_OUT + batch, self.config.batch_size)

    def header(self, network: PosteriorNetwork) -> dict[str, Any]:
        """Labels and their prior, pixels and the emulator."""
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
        """As `posterior_figures`."""
        return posterior_figures(network, self.stream, self.config)


@torch.inference_mode()
def posterior_figures(network: PosteriorNetwork, stream: Stream, config: PosteriorTrainConfig) -> dict[str, Any]:
    """Negative log density, error of medians and coverage over the held-out set, with the network on the CPU.

    Returns:
        As `maury.training.sources.error_figures`, with ``nll`` (of the unconstrained labels, nats a star) and
        ``coverage`` (share of true labels within the central 68.3 %, by label).
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
