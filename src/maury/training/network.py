"""Train a network on a grid: resume, best weights, the file that comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from numpy.typing import NDArray

from maury import __version__
from maury.checkpoints import read_header
from maury.errors import ConfigError
from maury.grids import Grid
from maury.memory import keep_freed_memory
from maury.networks import StarNet, predict, save
from maury.training.data import Batches, Spectra, loader
from maury.training.recipes import TrainConfig
from maury.training.run_folder import Run, epochs_done, fit, open_run, reason
from maury.training.task import NetworkTask

__all__ = ["Run", "open_run", "train", "validation_figures"]


def train(
    run: Run[TrainConfig],
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
    stop = EarlyStopping("val_loss", patience=config.patience)
    trainer = fit(run, [stop, *callbacks], lambda trainer, last: _fit(trainer, last, task, spectra))
    if trainer.is_global_zero:
        _write_best(run, grid, spectra, task.network.cpu(), trainer, dtype)
    trainer.strategy.barrier()
    return read_header(run.model, "network")


def _fit(trainer: lightning.Trainer, last: Path | None, task: NetworkTask, spectra: Spectra) -> None:
    config = task.config
    rank, devices = trainer.global_rank, trainer.world_size
    shuffled = Batches(spectra.training, config.batch_size, config.seed, rank, devices)
    ordered = Batches(spectra.validation, 256, None, rank, devices)
    pin = trainer.strategy.root_device.type == "cuda"
    if last is not None:
        shuffled.set_epoch(epochs_done(last))  # Lightning tells it only from the second epoch after a resume on
    trainer.fit(task, loader(spectra, shuffled, pin), loader(spectra, ordered, pin), ckpt_path=last)


def _write_best(
    run: Run[TrainConfig],
    grid: Grid,
    spectra: Spectra,
    network: StarNet,
    trainer: lightning.Trainer,
    dtype: torch.dtype,
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
        "stopped": reason(trainer, config.epochs),
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
