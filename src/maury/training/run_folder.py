"""Run folders: settings, logs and checkpoints of a training, from which an interrupted run resumes."""

from __future__ import annotations

import datetime
import os
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from maury.checkpoints import read_header
from maury.cluster import lightning_parts
from maury.config import load_config, save_config
from maury.errors import ConfigError, FormatError, OutputError
from maury.files import check_writable
from maury.training.lightning_tools import AtomicCheckpoints, CurveLogger
from maury.training.recipes import AnyTrainConfig

FREE = ("epochs", "max_time", "accelerator", "devices")
"""Settings that may change when a run resumes."""


@dataclass(frozen=True)
class Run:
    """A run folder: config.toml, metrics.csv, tensorboard/, last.ckpt, best.ckpt, and finally model.safetensors."""

    folder: Path  # path of the folder
    config: AnyTrainConfig  # settings of the run
    on_cluster: bool = False  # the run trains in processes of a Ray cluster (`maury.training.distributed`)

    @property
    def model(self) -> Path:
        """File of the trained network."""
        return self.folder / "model.safetensors"

    @property
    def last(self) -> Path:
        """Checkpoint after the last finished epoch, from which a run resumes."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """Checkpoint with the lowest validation loss."""
        return self.folder / "best.ckpt"

    def finished(self) -> dict[str, Any] | None:
        """Header of the trained network if the run is finished, None if its limits now allow more epochs."""
        if not self.model.is_file():
            return None
        header = read_header(self.model, "network")
        stopped, training = header["stopped"], header["training"]
        if stopped == "epochs" and self.config.epochs > training["epochs"]:
            return None
        longer = (self.config.max_time or np.inf) > (training.get("max_time") or np.inf)
        return None if stopped == "max_time" and longer else header


def open_run(folder: str | os.PathLike[str], config: AnyTrainConfig, fresh: bool = False) -> Run:
    """Prepare a run folder, or open the run in it to resume.

    ``config`` has the SHA-256 of the grid or the emulator; ``fresh`` deletes an earlier run.

    Raises:
        ConfigError: the folder holds a run with other settings or training data, or other files than those of a run.
        OutputError: the folder cannot be written.
    """
    run = Run(Path(folder), config)
    settings = run.folder / "config.toml"
    if settings.is_file():
        if fresh:
            _clear(run)
        else:
            _check_same(settings, config)
    elif run.folder.is_dir() and any(run.folder.iterdir()):
        raise ConfigError(f"{folder}: not empty, but not a training run; choose another folder", parameter="folder")
    check_writable(settings)
    save_config(settings, config)
    return run


def _check_same(settings: Path, config: AnyTrainConfig) -> None:
    """Refuse to resume a run with other settings."""
    before, now = (c.model_dump(mode="json") for c in (load_config(settings, type(config)), config))
    for key in now:
        if before[key] != now[key] and key not in (*FREE, "grid", "emulator"):
            raise ConfigError(
                f"{settings}: this run was started with {key} = {before[key]!r}, now it is {now[key]!r}; "
                "choose another folder, or delete this run to start again",
                parameter="fresh",
                value=now[key],
            )


def _clear(run: Run) -> None:
    """Delete the files of an earlier run and keep all other files."""
    try:
        for path in (run.model, run.last, run.best, run.folder / "metrics.csv", run.folder / "config.toml"):
            path.unlink(missing_ok=True)
        shutil.rmtree(run.folder / "tensorboard", ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{run.folder}: cannot be cleared: {error.strerror}") from error


def make_trainer(run: Run, callbacks: Sequence[Callback]) -> lightning.Trainer:
    """Make a Lightning trainer that logs, stops at the run's limits, and keeps the best and the last checkpoint.

    Raises:
        ConfigError: the device does not exist.
    """
    config = run.config
    limit = None if config.max_time is None else datetime.timedelta(minutes=config.max_time)
    states: dict[str, Any] = {"dirpath": run.folder, "save_on_train_epoch_end": True, "enable_version_counter": False}
    own: list[Callback] = [
        Timer(limit),
        ModelCheckpoint(filename="best", monitor="val_loss", **states),
        ModelCheckpoint(filename="last", **states),
    ]
    plugins: list[Any] = [AtomicCheckpoints()]
    strategy, devices = "ddp" if config.devices > 1 else "auto", config.devices
    if run.on_cluster:  # each process has one device; Ray connects the processes
        strategy, environment = lightning_parts()
        plugins.append(environment)
        devices = 1
    try:
        return lightning.Trainer(
            accelerator=config.accelerator,
            devices=devices,
            strategy=strategy,
            precision=config.precision,
            max_epochs=config.epochs,
            logger=[CurveLogger(run.folder / "metrics.csv"), TensorBoardLogger(run.folder, "", "tensorboard")],
            callbacks=[*own, *callbacks],
            plugins=plugins,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"accelerator = {config.accelerator!r}, devices = {config.devices}: {error}") from error


def epochs_done(checkpoint: Path) -> int:
    """Number of finished epochs of a checkpoint.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["epoch"]) + 1
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise FormatError(f"{checkpoint}: damaged ({error}); start anew", parameter="fresh") from error


def reason(trainer: lightning.Trainer, epochs: int) -> str:
    """Which limit ended the run: "early stopping", "max_time" or "epochs"."""
    if trainer.early_stopping_callback is not None and trainer.early_stopping_callback.stopped_epoch:
        return "early stopping"
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    out_of_time = any((timer.time_remaining() or 1) <= 0 for timer in timers)
    return "max_time" if out_of_time and trainer.current_epoch < epochs else "epochs"
