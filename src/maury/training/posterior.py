"""Train the default network: start from principal components, resume, best weights, the file and its model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from maury import __version__
from maury.checkpoints import read_header
from maury.errors import ConfigError
from maury.files import atomic_path
from maury.memory import keep_freed_memory
from maury.networks import load_posterior, save
from maury.networks.posterior_network import PosteriorNetwork
from maury.training.card import model_card
from maury.training.posterior_task import PosteriorTask
from maury.training.recipes import PosteriorTrainConfig
from maury.training.run_folder import Run, fit, reason
from maury.training.simulated import HELD_OUT, Source, Stream, principal_components, transform_of

_START = HELD_OUT * 2
"""Number of the batch of which the principal components are taken."""

_DRAWS = 256


def train(
    run: Run[PosteriorTrainConfig],
    source: Callable[[torch.device], Source],
    callbacks: Sequence[Callback] = (),
    dtype: torch.dtype = torch.float16,
) -> dict[str, Any]:
    """Train until the run's limit, then write the best weights; goes on where the run was interrupted.

    Args:
        run: from `maury.training.run_folder.open_run`.
        source: makes a source of simulated observations on a device.
        callbacks: further Lightning callbacks (a progress bar).
        dtype: of the stored weights.

    Returns:
        The header of the trained network.

    Raises:
        ConfigError: simulation and settings contradict each other, or a device is not there.
        FormatError: a checkpoint is damaged.
        OutputError: the run directory cannot be written.
    """
    config = run.config
    keep_freed_memory()
    local = source(torch.device("cpu"))
    if config.network.pixels != local.pixels.count:
        raise ConfigError(f"the emulator makes {local.pixels.count} pixels; network.pixels = {config.network.pixels}")
    stream = Stream(local, config.network.labels, config.seed)
    network = PosteriorNetwork(config.network, transform_of(local, config.network.labels), config.seed)
    if not run.last.is_file():
        _first_weights(network, stream, config)
    task = PosteriorTask(network, config, source)
    trainer = fit(run, callbacks, lambda trainer, last: _fit(trainer, last, task))
    if trainer.is_global_zero:
        _write_best(run, stream, network.cpu(), trainer, dtype)
    trainer.strategy.barrier()
    return read_header(run.model, "network")


def _first_weights(network: PosteriorNetwork, stream: Stream, config: PosteriorTrainConfig) -> None:
    """Weights of the network that the run goes on from, or principal components of spectra.

    Raises:
        ConfigError: that network has other settings; its ranges of labels may be others.
        FormatError: it is not there.
    """
    if config.start is None:
        spectra, _ = stream.batch(_START, config.components_from)
        network.start_from(*principal_components(spectra, config.network.components, config.seed))
        return
    given, _ = load_posterior(config.start)
    if given.config != config.network:
        other = [k for k, v in config.network.model_dump().items() if given.config.model_dump()[k] != v]
        raise ConfigError(f"start: {config.start} has other settings of the network: {', '.join(other)}")
    network.load_state_dict(given.state_dict())


def _fit(trainer: lightning.Trainer, last: Path | None, task: PosteriorTask) -> None:
    config = task.config
    batches = -(-config.validation // config.batch_size)
    held_out = range(trainer.global_rank, max(batches, trainer.world_size), trainer.world_size)
    numbers: list[Any] = [DataLoader(part, batch_size=None) for part in (range(config.steps), held_out)]  # type: ignore[arg-type]
    trainer.fit(task, numbers[0], numbers[1], ckpt_path=last)


def _write_best(
    run: Run[PosteriorTrainConfig],
    stream: Stream,
    network: PosteriorNetwork,
    trainer: lightning.Trainer,
    dtype: torch.dtype,
) -> None:
    """Measure the best weights as they are stored and write them with all that is known of them, and a model card."""
    state = torch.load(run.best, map_location="cpu", weights_only=True)
    weights = {key.removeprefix("network."): value for key, value in state["state_dict"].items()}
    network.load_state_dict({k: v.to(dtype).to(v.dtype) if v.is_floating_point() else v for k, v in weights.items()})
    config, source = run.config, stream.source
    wavelength = source.pixels.wavelength_aa
    header: dict[str, Any] = {
        "preset": config.preset,
        **network.transform.header(),
        "pixels": asdict(source.pixels),
        "wavelength": [float(wavelength[0]), float(wavelength[-1])],
        "sampling": "log",
        "resolution": source.pixels.resolution,
        "emulator": config.emulator_digest,
        "training": config.model_dump(mode="json", exclude={"network"}),
        "epochs": trainer.current_epoch,
        "best_epoch": int(state["epoch"]) + 1,
        "stopped": reason(trainer, config.epochs),
        "maury": __version__,
    }
    header |= figures(network.eval(), stream, config)
    save(run.model, network, header, dtype)
    with atomic_path(run.folder / "model-card.md") as temporary:
        temporary.write_text(model_card(read_header(run.model, "network")), encoding="utf-8")


@torch.inference_mode()
def figures(network: PosteriorNetwork, stream: Stream, config: PosteriorTrainConfig) -> dict[str, Any]:
    """Negative log density, error and coverage over the held-out set, with the network on the CPU.

    Returns:
        ``validation``: ``nll`` (of the real coordinates, nats a star), ``mae`` (of medians, on normalised labels),
        ``coverage`` (share of true labels within the central 68.3 %, by label), ``spectra``; and ``typical_errors``,
        the 68th percentile of |median - true| in each label's unit.
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
    off = torch.cat(error).double().numpy()
    width = np.subtract(space.upper, space.lower)
    covered = torch.cat(inside).double().mean(0)
    return {
        "validation": {
            "nll": -float(torch.cat(density).double().mean()),
            "mae": float(np.abs(off / width).mean()),
            "coverage": dict(zip(space.names, map(float, covered), strict=True)),
            "spectra": len(off),
        },
        "typical_errors": dict(zip(space.names, map(float, np.percentile(np.abs(off), 68.3, axis=0)), strict=True)),
    }
