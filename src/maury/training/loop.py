"""Train a network on a source of spectra, resume an interrupted run, and write the best weights to a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from maury import __version__
from maury.checkpoints import read_header
from maury.files import write_text
from maury.memory import keep_freed_memory
from maury.networks import PosteriorNetwork, save
from maury.training.card import model_card
from maury.training.lightning_tools import quiet_lightning
from maury.training.recipes import TrainConfig
from maury.training.run_folder import Run, epochs_done, make_trainer, reason
from maury.training.sources import Network, Source
from maury.training.task import Task


def train(
    run: Run, source: Source, callbacks: Sequence[Callback] = (), dtype: torch.dtype | None = None
) -> dict[str, Any]:
    """Train until early stopping or a limit, then write the best weights; an interrupted run resumes.

    Args:
        run: from `maury.training.run_folder.open_run`.
        source: training data, a `maury.training.grid_source.GridSource` or
            `maury.training.simulated_source.SimulatedSource`.
        callbacks: more Lightning callbacks (a progress bar).
        dtype: type of the stored weights; None for ``source.stored``.

    Returns:
        The header of the trained network.

    Raises:
        ConfigError: the source does not have the labels or pixels in the settings, or a device does not exist.
        FormatError: a checkpoint is damaged.
        OutputError: the run directory cannot be written.
        KeyboardInterrupt: the process got an interrupt or a request to terminate.
    """
    keep_freed_memory()
    config, last = run.config, run.last if run.last.is_file() else None
    network = source.network(last is not None)
    stop = [EarlyStopping("val_loss", patience=config.patience)] if isinstance(config, TrainConfig) else []
    with quiet_lightning():
        trainer = make_trainer(run, [*stop, *callbacks])
        pin = trainer.strategy.root_device.type == "cuda"
        epoch = 0 if last is None else epochs_done(last)  # Lightning sets it for samplers after the first only
        loaders = source.loaders(trainer.global_rank, trainer.world_size, epoch, pin)
        try:
            trainer.fit(Task(network, source, config), *loaders, ckpt_path=last)
        except SystemExit as error:  # Lightning raises it for an interrupt or a request to terminate
            raise KeyboardInterrupt from error
    if trainer.is_global_zero:
        _write_best(run, source, network.cpu(), trainer, dtype or source.stored)
    trainer.strategy.barrier()
    return read_header(run.model, "network")


def _write_best(run: Run, source: Source, network: Network, trainer: lightning.Trainer, dtype: torch.dtype) -> None:
    """Round the weights of the best epoch to ``dtype``, compute their validation figures, and write them to a file."""
    state = torch.load(run.best, map_location="cpu", weights_only=True)
    weights = {key.removeprefix("network."): value for key, value in state["state_dict"].items()}
    network.load_state_dict({k: v.to(dtype).to(v.dtype) if v.is_floating_point() else v for k, v in weights.items()})
    header: dict[str, Any] = {
        **source.header(network),
        "preset": run.config.preset,
        "training": run.config.model_dump(mode="json", exclude={"network"}),
        "epochs": trainer.current_epoch,
        "best_epoch": int(state["epoch"]) + 1,
        "stopped": reason(trainer, run.config.epochs),
        "maury": __version__,
    }
    header |= source.figures(network.eval(), header)
    save(run.model, network, header, dtype)
    if isinstance(network, PosteriorNetwork):
        write_text(run.folder / "model-card.md", model_card(read_header(run.model, "network")))
