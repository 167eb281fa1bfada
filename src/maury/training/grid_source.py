"""A grid as training data: its spectra in memory, the order of batches, white noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from maury.errors import ConfigError
from maury.grids import Grid
from maury.networks import StarNet, predict
from maury.progress import Advance, silent
from maury.training.recipes import TrainConfig
from maury.training.sources import error_figures


class Spectra(Dataset[tuple[Tensor, Tensor]]):
    """All spectra of a grid as 16-bit counts with normalised labels; indexing with row numbers returns a batch.

    Attributes:
        counts: uint16 counts, viewed as int16 because torch can index that (n, pixels).
        targets: normalised labels (n, labels), float32.
        space: the labels and the ranges that normalise them.
        training: row numbers of the training part.
        validation: row numbers of the validation part.
        mean: mean flux over the training part.
        std: standard deviation of the flux over the training part.
        scale: flux per count.
    """

    def __init__(
        self,
        grid: Grid,
        config: TrainConfig,
        advance: Advance = silent,
        limits: tuple[int, int] | None = None,
    ) -> None:
        """Read a grid.

        ``limits`` are largest numbers of training and of validation spectra, drawn with the seed; None for all.

        Raises:
            ConfigError: the grid lacks a label or the split, a label is constant, or a part of the split is empty.
            FormatError: a spectrum is damaged.
        """
        labels = np.stack([grid.column(name) for name in config.network.labels], axis=-1)
        self.space = grid.space.subset(config.network.labels)
        held_out = torch.from_numpy(grid.split(config.split))
        self.training, self.validation = (torch.nonzero(part)[:, 0] for part in (~held_out, held_out))
        if not len(self.training) or not len(self.validation):
            raise ConfigError(f"{grid.path}: the {config.split} split has no row to train on or none to validate with")
        rows = None
        if limits is not None:
            parts = [_some(p, n, config.seed) for p, n in zip((self.training, self.validation), limits, strict=True)]
            rows, labels = torch.cat(parts).numpy(), labels[torch.cat(parts).numpy()]
            self.training, self.validation = torch.arange(len(rows)).split([len(part) for part in parts])
        counts = grid.read_flux(rows, progress=advance)
        self.counts = torch.from_numpy(counts.view(np.int16))
        self.targets = torch.from_numpy(self.space.normalise(labels)).float()
        self.scale = grid.scale
        mean, std = _moments(counts, self.training.numpy())
        self.mean, self.std = mean * grid.scale, std * grid.scale

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.counts[rows], self.targets[rows]

    def __len__(self) -> int:
        return len(self.targets)

    def normalise(self, counts: Tensor) -> Tensor:
        """Convert rows of ``counts`` to (flux - mean) / std, float32, on their device."""
        return (counts.view(torch.uint16).float() * (self.scale / self.std)).sub_(self.mean / self.std)


def _some(rows: Tensor, count: int, seed: int) -> Tensor:
    """Draw ``count`` rows, or all if there are fewer, and keep their order."""
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:count]
    return rows[chosen.sort().values]


def _moments(counts: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of counts over rows, computed in blocks to limit memory."""
    total = square = 0.0
    for first in range(0, len(rows), 256):
        block = counts[rows[first : first + 256]].astype(np.float32)
        total += float(block.sum(dtype=np.float64))
        square += float(np.square(block, dtype=np.float64).sum())
    size = len(rows) * counts.shape[1]
    mean = total / size
    return mean, float(np.sqrt(max(square / size - mean**2, 1e-12)))


class Batches(Sampler[Tensor]):
    """Batches of row numbers.

    The order of shuffled rows depends on the seed and the epoch only: a resumed run uses the same batches as one
    without interruption. Each of n devices gets every n-th row of this order. Up to n - 1 rows of a shuffled epoch are
    left out, different ones in each epoch, such that all devices make the same number of steps.
    """

    def __init__(self, rows: Tensor, size: int, seed: int | None = None, rank: int = 0, devices: int = 1) -> None:
        """Keep the rows; they are shuffled with ``seed``, or stay in order if it is None."""
        self.rows, self.size, self.seed, self.rank, self.devices, self.epoch = rows, size, seed, rank, devices, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; Lightning calls this."""
        self.epoch = epoch

    def _own(self) -> Tensor:
        if self.seed is None:
            return self.rows[self.rank :: self.devices]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = self.rows[torch.randperm(len(self.rows), generator=generator)]
        return order[: len(order) // self.devices * self.devices][self.rank :: self.devices]

    def __len__(self) -> int:
        own = len(range(self.rank, len(self.rows), self.devices))
        return -(-(own if self.seed is None else len(self.rows) // self.devices) // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._own().split(self.size))


class Noise:
    """White noise for training spectra; it depends on the seed and the number of the step only."""

    def __init__(self, config: TrainConfig, std: float) -> None:
        """Noise of standard deviation ``config.noise``, per unit of the continuum, for flux divided by ``std``."""
        self._size, self._seed = config.noise / std, config.seed

    def __call__(self, flux: Tensor, step: int) -> Tensor:
        """Add noise to normalised spectra (b, pixels), in place."""
        if self._size:
            generator = torch.Generator(flux.device).manual_seed(self._seed * 1_000_003 + step)
            flux.add_(torch.randn(flux.shape, generator=generator, device=flux.device), alpha=self._size)
        return flux


class GridSource:
    """Training data from a grid, for a network that gives point estimates."""

    stored = torch.float32

    def __init__(self, config: TrainConfig, grid: Grid, advance: Advance = silent) -> None:
        """Read a grid; ``advance`` is called with the number of spectra read.

        Raises:
            ConfigError: the grid does not have the pixels, labels or split in the settings.
            FormatError: a spectrum is damaged.
        """
        pixels = len(grid.wavelength_aa)
        if config.network.pixels != pixels:
            raise ConfigError(f"{grid.path}: {pixels} pixels in the grid, but network.pixels = {config.network.pixels}")
        self.config, self.grid, self.spectra = config, grid, Spectra(grid, config, advance)
        self._noise = Noise(config, self.spectra.std)

    def network(self, resumed: bool) -> StarNet:
        """The founding network with random weights."""
        return StarNet(self.config.network, self.config.seed)

    def loaders(self, rank: int, devices: int, epoch: int, pin: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Loaders of shuffled batches of the training part and of batches in order of the validation part."""
        shuffled = Batches(self.spectra.training, self.config.batch_size, self.config.seed, rank, devices)
        shuffled.set_epoch(epoch)
        ordered = Batches(self.spectra.validation, 256, None, rank, devices)
        first, second = (DataLoader(self.spectra, None, sampler=s, pin_memory=pin) for s in (shuffled, ordered))
        return first, second

    def to(self, device: torch.device) -> None:
        """Nothing to do: Lightning moves batches."""

    def training(self, batch: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, Tensor]:
        """Normalised flux with noise, and normalised labels."""
        return self._noise(self.spectra.normalise(batch[0]), step), batch[1]

    def held_out(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Normalised flux and labels."""
        return self.spectra.normalise(batch[0]), batch[1]

    def header(self, network: StarNet) -> dict[str, Any]:
        """Header entries: labels, normalisation of the flux, pixels, SHA-256 of the grid."""
        spectra, grid = self.spectra, self.grid
        return {
            "labels": {"names": spectra.space.names, "lower": spectra.space.lower, "upper": spectra.space.upper},
            "flux": {"mean": spectra.mean, "std": spectra.std},
            "wavelength": [float(grid.wavelength_aa[0]), float(grid.wavelength_aa[-1])],
            "sampling": grid.sampling,
            "fixed": dict(grid.fixed),
            "resolution": float(grid.resolution),
            "grid": grid.digest,
            "split": self.config.split,
        }

    def figures(self, network: StarNet, header: Mapping[str, Any]) -> dict[str, Any]:
        """Errors over the validation part; ``mse`` is the mean squared error of normalised labels."""
        spectra, unit = self.spectra, []
        for rows in spectra.validation.split(1024):
            counts = spectra.counts[rows].numpy().view(np.uint16)
            unit.append(spectra.space.normalise(predict(network, header, counts * np.float32(spectra.scale))))
        residual = np.concatenate(unit) - spectra.targets[spectra.validation].double().numpy()
        return error_figures(spectra.space, residual, mse=float(np.mean(residual**2)))
