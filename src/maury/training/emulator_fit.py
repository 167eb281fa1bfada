"""Fit an emulator: split the library by stars, find a basis, train the ensemble, measure its errors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from rich.progress import Progress, TaskID
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from maury.broadening import instrument
from maury.emulator import (
    Emulator,
    LabelNetworks,
    features,
    grid_for,
    measure_errors,
    rms_per_star,
    to_modes,
)
from maury.errors import ConfigError, FormatError
from maury.files import write_text
from maury.library import Library
from maury.progress import Advance, silent
from maury.training.emulator_range import Domain, find_domain
from maury.training.emulator_start import Basis, in_metric, start_from
from maury.training.lightning_tools import AtomicCheckpoints, quiet_lightning
from maury.training.recipes import EmulatorConfig
from maury.wavelengths import LogGrid

TRAIN, VALIDATION, TEST = 0, 1, 2


def split(labels: NDArray[np.float64], validation: float, test: float) -> NDArray[np.uint8]:
    """Assign each star to training (0), validation (1) or test (2) by a hash of its labels.

    The assignment does not change if stars are added to the library: test stars of one fit are never training stars of
    the next.
    """
    rows = np.ascontiguousarray(np.round(labels, 6), "<f8") + 0.0  # -0.0 becomes 0.0
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    u = np.array([int.from_bytes(digest, "little") for digest in digests]) / 2**64
    return np.where(u < test, TEST, np.where(u < test + validation, VALIDATION, TRAIN)).astype(np.uint8)


def find_basis(modes: Tensor, training: Tensor, count: int, weight: Tensor, size: int) -> Basis:
    """Principal components (Karhunen-Loeve) of the training modes by the eigenvectors of their Gram matrix.

    ``modes`` (n, m) are the `rfft` of spectra of ``size`` pixels; ``weight`` (m,) of each frequency is the transfer
    function of an instrument of R `metric_resolution`; ``training`` are indices of stars.
    """
    mean = modes[training].mean(0)
    weighted = in_metric(modes - mean, weight, size)
    part = weighted[training]
    values, vectors = torch.linalg.eigh((part @ part.T).double())
    vectors = vectors[:, -count:].flip(1) / values[-count:].flip(0).clamp_min(1e-30).sqrt()
    components = vectors.T.to(torch.complex64) @ (modes[training] - mean)
    projector = vectors.T.float() @ part
    return Basis(mean, components, weighted @ projector.T)


class _Steps(IterableDataset):
    """Batches of row indices (members, batch), shuffled for each member; the epoch seeds the shuffle."""

    def __init__(self, rows: Tensor, members: int, batch: int, seed: int) -> None:
        self.rows, self.members, self.batch, self.seed, self.epoch = rows, members, min(batch, len(rows)), seed, 0

    def __len__(self) -> int:
        return len(self.rows) // self.batch

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order = torch.stack(
            [self.rows[torch.randperm(len(self.rows), generator=generator)] for _ in range(self.members)]
        )
        for first in range(0, len(self) * self.batch, self.batch):
            yield order[:, first : first + self.batch]


class _SetEpoch(Callback):
    """Set the epoch of the shuffle, also after a resume."""

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.steps.epoch = trainer.current_epoch


class EmulatorTask(lightning.LightningModule):
    """Trains the ensemble on standardised features; the loss is the weighted flux error per star."""

    inputs: Tensor
    targets: Tensor
    scale: Tensor

    def __init__(
        self,
        networks: LabelNetworks,
        inputs: Tensor,
        targets: Tensor,
        training: Tensor,
        pixels: int,
        config: EmulatorConfig,
    ) -> None:
        """Keep the data on the module's device.

        ``inputs`` (n, f) are standardised features, ``targets`` (n, k) coefficients in flux units; outputs of the
        networks are in units of the standard deviation of the training stars' targets.
        """
        super().__init__()
        self.networks, self.config, self.pixels = networks, config, pixels
        self.register_buffer("inputs", inputs, persistent=False)
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("scale", targets[training].std(0), persistent=False)

    def training_step(self, rows: Tensor, _: int) -> Tensor:
        """Mean over stars of the rms flux error, with ``loss_floor`` added in quadrature."""
        residual = self.networks(self.inputs[rows]) * self.scale - self.targets[rows]
        mean_square = residual.square().sum(-1) / self.pixels
        loss = (mean_square + self.config.loss_floor**2).sqrt().mean()
        self.log("rms", mean_square.mean(1).sqrt().mean().detach(), on_step=False, on_epoch=True, prog_bar=True)
        return loss * len(rows)

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle learning rate."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self.config.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.1,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@dataclass(frozen=True)
class FitData:
    """Training data of an emulator, computed from a library."""

    part: Tensor  # training, validation or test (0, 1, 2) of each star (n,)
    training: Tensor  # indices of the training stars
    labels: Tensor  # the labels that vary (n, k)
    modes: Tensor  # Fourier modes of the spectra (n, m), complex
    basis: Basis  # principal components
    digest: str  # SHA-256 of labels and flux
    domain: Domain  # ranges of labels and wavelengths


def prepare(library: Library, config: EmulatorConfig, advance: Advance = silent) -> FitData:
    """Fourier transform a library, split it by stars and find the basis from the training stars only.

    Raises:
        FormatError: there are too few spectra, or no label varies.
        ConfigError: ``config.ranges`` exceed those of the library.
    """
    part = torch.from_numpy(split(library.labels, config.validation_fraction, config.test_fraction))
    training = torch.nonzero(part == TRAIN)[: config.training_limit, 0]
    if len(training) < 2 or not (part == VALIDATION).any():
        raise FormatError(f"{len(library)} spectra are too few to split into training and validation stars")
    domain = find_domain(library, config.ranges)
    grid = grid_for(library.wavelength_aa)
    modes = torch.from_numpy(to_modes_of(library, advance))
    weight = _metric(grid, config)
    count = min(config.components, len(training) - 1)
    basis = find_basis(modes, training, count, weight, grid.size)
    digest = hashlib.sha256(library.labels.tobytes() + library.counts.tobytes()).hexdigest()
    labels = torch.from_numpy(np.stack([library.column(name) for name in domain.space.names], axis=-1)).float()
    return FitData(part, training, labels, modes, basis, digest, domain)


def _metric(grid: LogGrid, config: EmulatorConfig) -> Tensor:
    """Weight (m,) of each frequency: the transfer function of an instrument of R ``config.metric_resolution``."""
    return instrument(torch.from_numpy(grid.frequency).float(), torch.tensor(config.metric_resolution))


def to_modes_of(library: Library, advance: Advance = silent) -> NDArray[np.complex64]:
    """Fourier modes of a library, computed in batches to limit memory."""
    grid = grid_for(library.wavelength_aa)
    modes = np.empty((len(library), grid.size // 2 + 1), np.complex64)
    for first in range(0, len(library), 64):
        rows = slice(first, min(first + 64, len(library)))
        modes[rows] = to_modes(library.flux(rows), library.wavelength_aa, grid)
        advance(rows.stop - rows.start)
    return modes


def fit_and_measure(
    library: Library, config: EmulatorConfig, run: str | os.PathLike[str], bar: Progress | None = None
) -> Emulator:
    """Fit an emulator and measure its errors; an interrupted run resumes from its last checkpoint in ``run``.

    Returns:
        The emulator with its error map and a header with settings, training data and validation figures.

    Raises:
        ConfigError: the folder holds a run with other settings or another library.
        FormatError: too few spectra to split into training and validation, or no label that varies.
    """
    task = bar.add_task("transforming spectra", total=len(library)) if bar else None
    data = prepare(library, config, (lambda n: bar.advance(task, n)) if bar and task is not None else silent)
    check_run(Path(run), config, data.digest)
    grid, space = grid_for(library.wavelength_aa), data.domain.space
    x = features(data.labels, space.names)
    scale = (x[data.training].mean(0), x[data.training].std(0).clamp_min(1e-6))
    targets = data.basis.coefficients
    networks = LabelNetworks(config.members, x.shape[1], config.width, config.depth, targets.shape[1], config.seed)
    module = EmulatorTask(networks, (x - scale[0]) / scale[1], targets, data.training, grid.size, config)
    known = data.domain.header()
    if config.start is not None:
        weight = _metric(grid, config)
        known["started_from"] = start_from(config.start, networks, data.basis, weight, grid, space, scale, module.scale)
    train(module, data.training, config, Path(run), bar)
    mean, components = data.basis.mean, data.basis.components
    emulator = Emulator(networks, grid, mean, components, scale, module.scale, known, space=space)
    emulator.eval().requires_grad_(False)
    held_out = torch.nonzero(data.part == VALIDATION)[:, 0]
    labels, modes = data.labels[held_out], data.modes[held_out]
    emulator.errors = measure_errors(emulator, labels, modes)
    emulator.header = known | {
        "settings": config.model_dump(mode="json", exclude={"libraries"}),
        "training": {
            "stars": len(data.training),
            "validation_stars": len(held_out),
            "test_stars": int((data.part == TEST).sum()),
            "validation_fraction": config.validation_fraction,
            "test_fraction": config.test_fraction,
            "library_sha256": data.digest,
        },
        "library": {k: v for k, v in library.attributes.items() if k != "sources"},
        "figures": figures(rms_per_star(emulator, labels, modes), library, held_out.numpy()),
    }
    return emulator


def figures(rms: NDArray[np.float64], library: Library, rows: NDArray[np.int64]) -> dict[str, float]:
    """Median and 90th percentile of the flux error (n,) below and above 4500 K; of all stars if Teff is not a label."""
    groups = {"of all": np.ones(len(rms), bool)}
    if "teff" in library.names:
        cool = library.column("teff")[rows] < 4500
        groups = {"below 4500 K": cool, "above 4500 K": ~cool}
    report = {}
    for name, chosen in groups.items():
        if chosen.any():
            report[f"median rms {name}"] = float(np.median(rms[chosen]))
            report[f"90th percentile {name}"] = float(np.quantile(rms[chosen], 0.9))
    return report


def check_run(run: Path, config: EmulatorConfig, digest: str) -> None:
    """Write settings and SHA-256 of the library to the run's folder, or compare them with those of a run to resume.

    Raises:
        ConfigError: the folder holds a run with other settings or another library.
    """
    identity = {"settings": config.model_dump(mode="json", exclude={"libraries"}), "library_sha256": digest}
    path = run / "run.json"
    if path.exists() and json.loads(path.read_text()) != identity:
        raise ConfigError(
            f"{run}: holds a fit with other settings or another library; remove it or choose another folder",
            parameter="run",
        )
    write_text(path, json.dumps(identity, indent=1))


class _ShowEpochs(Callback):
    """Advance a rich progress bar by epochs."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task = TaskID(0)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.task = self.bar.add_task("training", total=trainer.max_epochs, completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        rms = trainer.callback_metrics["rms"].item()
        self.bar.update(self.task, advance=1, description=f"training, rms {rms:.5f}")


def train(task: EmulatorTask, training: Tensor, config: EmulatorConfig, run: Path, bar: Progress | None) -> None:
    """Train for ``config.epochs``; resume from ``run/last.ckpt`` if it exists."""
    steps = _Steps(training, config.members, config.batch_size, config.seed)
    saver = ModelCheckpoint(
        dirpath=run, filename="last", every_n_epochs=config.checkpoint_every, enable_version_counter=False
    )
    last = run / "last.ckpt"
    with quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=config.accelerator,
            devices=1,
            logger=CSVLogger(run, name="", version="logs"),
            plugins=[AtomicCheckpoints()],
            callbacks=[_SetEpoch(steps), saver, *([_ShowEpochs(bar)] if bar else [])],
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=max(len(steps), 1),
        )
        trainer.fit(task, DataLoader(steps, batch_size=None), ckpt_path=last if last.exists() else None)
    task.cpu()
