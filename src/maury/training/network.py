"""Train a network on a grid: run directory, resume, best weights, the file that comes out."""

from __future__ import annotations

import ctypes
import datetime
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray

from maury import __version__
from maury.checkpoints import read_header
from maury.config import TrainConfig, load_config, save_config
from maury.errors import ConfigError, FormatError, OutputError
from maury.files import check_writable
from maury.grids import Grid
from maury.networks import StarNet, predict, save
from maury.training.data import Batches, Spectra, loader
from maury.training.lightning_tools import AtomicCheckpoints, quiet_lightning
from maury.training.task import CurveLogger, NetworkTask

FREE = ("epochs", "max_time", "accelerator", "devices")
"""Settings that may change when a run goes on."""


@dataclass(frozen=True)
class Run:
    """A run directory: config.toml, metrics.csv, tensorboard/, last.ckpt, best.ckpt and in the end model.safetensors.

    Attributes:
        folder: the directory.
        config: settings of the run.
    """

    folder: Path
    config: TrainConfig

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.folder / "model.safetensors"

    @property
    def last(self) -> Path:
        """The state after the last finished epoch, to go on from."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """The state with the lowest validation loss."""
        return self.folder / "best.ckpt"

    def finished(self) -> dict[str, Any] | None:
        """Header of the trained network if the run met a limit that still holds, else None."""
        if not self.model.is_file():
            return None
        header = read_header(self.model, "network")
        stopped, training = header["stopped"], header["training"]
        if stopped == "epochs" and self.config.epochs > training["epochs"]:
            return None
        longer = (self.config.max_time or np.inf) > (training.get("max_time") or np.inf)
        return None if stopped == "max_time" and longer else header


def open_run(folder: str | os.PathLike[str], config: TrainConfig, fresh: bool = False) -> Run:
    """Prepare a run directory, or find the run in it to go on with.

    Args:
        folder: the directory; it is made.
        config: settings, with the grid's path and digest.
        fresh: throw away an earlier run there.

    Raises:
        ConfigError: the directory holds a run with other settings or another grid, or something else than a run.
        OutputError: it cannot be written.
    """
    run = Run(Path(folder), config)
    settings = run.folder / "config.toml"
    if settings.is_file():
        if fresh:
            _clear(run)
        else:
            _check_same(settings, config)
    elif run.folder.is_dir() and any(run.folder.iterdir()):
        raise ConfigError(f"{folder}: neither empty nor a run of maury's; name another folder with --out")
    check_writable(settings)
    save_config(settings, config)
    return run


def _check_same(settings: Path, config: TrainConfig) -> None:
    """Refuse to go on with a run whose settings were others."""
    before, now = (c.model_dump(mode="json") for c in (load_config(settings, TrainConfig), config))
    for key in now:
        if before[key] != now[key] and key not in (*FREE, "grid"):
            raise ConfigError(
                f"{settings}: this run was started with {key} = {before[key]!r}, now it is {now[key]!r}; "
                "start anew with --fresh or name another folder with --out"
            )


def _clear(run: Run) -> None:
    """Remove an earlier run, and nothing else that may lie in the folder."""
    try:
        for path in (run.model, run.last, run.best, run.folder / "metrics.csv", run.folder / "config.toml"):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.folder / "tensorboard", ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{run.folder}: cannot be cleared: {error.strerror}") from error


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of handing it back and faulting it in again at every step.

    With glibc a training step in float32 is 10 to 15 % faster on a CPU; other C libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        trim_threshold, mmap_threshold = -1, -3
        ctypes.CDLL(None).mallopt(mmap_threshold, 32 << 20)
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)


def train(
    run: Run,
    grid: Grid,
    callbacks: Sequence[Callback] = (),
    advance: Callable[[int], None] | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Train until early stopping or a limit, then write the best weights; goes on where the run was interrupted.

    Args:
        run: from `open_run`.
        grid: spectra and split.
        callbacks: further Lightning callbacks (a progress bar).
        advance: called with the number of spectra read.
        dtype: of the stored weights.

    Returns:
        The header of the trained network.

    Raises:
        ConfigError: grid and settings contradict each other, or a device is not there.
        FormatError: a checkpoint or the grid is damaged.
        OutputError: the run directory cannot be written.
    """
    config = run.config
    if config.network.pixels != len(grid.wavelength_aa):
        raise ConfigError(f"{grid.path}: {len(grid.wavelength_aa)} pixels; network.pixels = {config.network.pixels}")
    keep_freed_memory()
    spectra = Spectra(grid, config, advance)
    task = NetworkTask(StarNet(config.network, config.seed), spectra, config)
    with quiet_lightning():
        trainer = _trainer(run, callbacks)
        try:
            _fit(trainer, task, spectra, run)
        except SystemExit as error:  # what Lightning makes of an interrupt or a request to terminate
            raise KeyboardInterrupt from error
    if trainer.is_global_zero:
        _write_best(run, grid, spectra, task.network.cpu(), trainer, dtype)
    trainer.strategy.barrier()
    return read_header(run.model, "network")


def _trainer(run: Run, callbacks: Sequence[Callback]) -> lightning.Trainer:
    config = run.config
    limit = None if config.max_time is None else datetime.timedelta(minutes=config.max_time)
    states: dict[str, Any] = {"dirpath": run.folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    own: list[Callback] = [
        EarlyStopping("val_loss", patience=config.patience),
        Timer(limit),
        ModelCheckpoint(filename="best", monitor="val_loss", **states),
        ModelCheckpoint(filename="last", **states),
    ]
    try:
        return lightning.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="ddp" if config.devices > 1 else "auto",
            precision=config.precision,
            max_epochs=config.epochs,
            logger=[CurveLogger(run.folder / "metrics.csv"), TensorBoardLogger(run.folder, "", "tensorboard")],
            callbacks=[*own, *callbacks],
            plugins=[AtomicCheckpoints()],
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"accelerator = {config.accelerator!r}, devices = {config.devices}: {error}") from error


def _fit(trainer: lightning.Trainer, task: NetworkTask, spectra: Spectra, run: Run) -> None:
    config = run.config
    rank, devices = trainer.global_rank, trainer.world_size
    shuffled = Batches(spectra.training, config.batch_size, config.seed, rank, devices)
    ordered = Batches(spectra.validation, 256, None, rank, devices)
    pin = trainer.strategy.root_device.type == "cuda"
    last = run.last if run.last.is_file() else None
    if last is not None:
        shuffled.set_epoch(_epochs_done(last))  # Lightning tells it only from the second epoch after a resume on
    trainer.fit(task, loader(spectra, shuffled, pin), loader(spectra, ordered, pin), ckpt_path=last)


def _epochs_done(checkpoint: Path) -> int:
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["epoch"]) + 1
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise FormatError(f"{checkpoint}: damaged ({error}); start anew with --fresh") from error


def _write_best(
    run: Run, grid: Grid, spectra: Spectra, network: StarNet, trainer: lightning.Trainer, dtype: torch.dtype
) -> None:
    """Measure the weights of the best epoch in float32 and write them with all that is known of them."""
    state = torch.load(run.best, map_location="cpu", weights_only=True)
    network.load_state_dict({key.removeprefix("network."): value for key, value in state["state_dict"].items()})
    config = run.config
    names = spectra.space.names
    header: dict[str, Any] = {
        "preset": config.preset,
        "labels": {"names": names, "lower": spectra.space.lower, "upper": spectra.space.upper},
        "flux": {"mean": spectra.mean, "std": spectra.std},
        "wavelength": [float(grid.wavelength_aa[0]), float(grid.wavelength_aa[-1])],
        "sampling": grid.sampling,
        "fixed": dict(grid.fixed),
        "resolution": float(grid.resolution),
        "grid": grid.digest,
        "split": config.split,
        "training": config.model_dump(mode="json", exclude={"network"}),
        "epochs": trainer.current_epoch,
        "best_epoch": int(state["epoch"]) + 1,
        "stopped": _reason(trainer, config),
        "maury": __version__,
    }
    network.eval()
    rows = spectra.validation.numpy()
    header |= validation_figures(network, header, spectra, rows)
    save(run.model, network, header, dtype)


def validation_figures(
    network: StarNet, header: Mapping[str, Any], spectra: Spectra, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """MSE and MAE of normalised labels over the validation part, and the 68th percentile of |error| per label."""
    unit = []
    for first in range(0, len(rows), 1024):
        counts = spectra.counts[rows[first : first + 1024]].numpy().view(np.uint16)
        labels = predict(network, header, counts * np.float32(spectra.scale))
        unit.append(spectra.space.normalise(labels))
    residual = np.concatenate(unit) - spectra.targets[rows].double().numpy()
    width = np.subtract(spectra.space.upper, spectra.space.lower)
    typical = np.percentile(np.abs(residual), 68.3, axis=0) * width
    return {
        "validation": {
            "mse": float(np.mean(residual**2)),
            "mae": float(np.mean(np.abs(residual))),
            "spectra": len(rows),
        },
        "typical_errors": dict(zip(spectra.space.names, map(float, typical), strict=True)),
    }


def _reason(trainer: lightning.Trainer, config: TrainConfig) -> str:
    """Which limit ended the run: "early stopping", "max_time" or "epochs"."""
    if trainer.early_stopping_callback is not None and trainer.early_stopping_callback.stopped_epoch:
        return "early stopping"
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    out_of_time = any((timer.time_remaining() or 1) <= 0 for timer in timers)
    return "max_time" if out_of_time and trainer.current_epoch < config.epochs else "epochs"
