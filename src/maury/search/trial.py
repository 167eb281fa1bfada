"""One trial: a configuration trained for a given time, with its validation error at each rung."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from maury.grids import Grid
from maury.networks import StarNet
from maury.progress import Advance, silent
from maury.search.space import StudyConfig
from maury.training.grid_source import Batches, Noise, Spectra
from maury.training.recipes import TrainConfig
from maury.training.task import make_optimizer, rate

Report = Callable[[int, float], bool]
"""Called with the number of a rung and the error there; returns whether to stop."""

_WORST = 1e6


@dataclass(frozen=True)
class Outcome:
    """Error and length of a trial's training."""

    error: float  # mean squared error of the normalised labels over the validation part, at the last rung it reached
    steps: int  # number of training steps
    stopped: bool  # whether it was stopped before the last rung


def spectra_of(grid: Grid, study: StudyConfig, base: TrainConfig, advance: Advance = silent) -> Spectra:
    """The spectra that all trials of a study train on and validate with; ``advance`` is called as they are read."""
    limits = (study.training, study.validation)
    return Spectra(grid, base.model_copy(update={"seed": study.seed}), advance, limits)


def run_trial(study: StudyConfig, settings: TrainConfig, spectra: Spectra, report: Report) -> Outcome:
    """Train for the time set in a study; ``report`` gets the error at each rung and returns whether to stop."""
    stopped = False

    def reported(rung: int, error: float) -> bool:
        nonlocal stopped
        stopped = report(rung, error)
        return stopped

    ends = [study.seconds / study.reduction ** (study.rungs - 1 - k) for k in range(study.rungs)]
    error, steps = train_for(settings, spectra, ends, CLOCKS[study.clock], reported)
    return Outcome(error, steps, stopped)


def train_for(
    config: TrainConfig, spectra: Spectra, ends: list[float], clock: Callable[[], float], report: Report
) -> tuple[float, int]:
    """Train until the last time in ``ends``, or until ``report`` returns True.

    ``ends`` are seconds of training after which the network is validated and ``report`` is called, increasing.

    Returns:
        Mean squared error of the normalised labels over the validation part, and steps made.
    """
    device = device_for(config)
    network = StarNet(config.network, config.seed).to(device)
    optimizer = make_optimizer(network, config)
    noise, batches = Noise(config, spectra.std), _batches(spectra, config)
    used, step, error, due = 0.0, 0, _WORST, list(ends)
    while due:
        begun = clock()
        while used + clock() - begun < due[0]:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate(config, step, (used + clock() - begun) / ends[-1])
            counts, targets = (part.to(device) for part in spectra[next(batches)])
            with _precision(config, device):
                output = network(noise(spectra.normalise(counts), step))
            loss = (output.float() - targets).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
        _wait_for(device)
        used += clock() - begun
        due.pop(0)
        error = validate(network, spectra)
        if report(len(ends) - len(due), error):
            break
    return error, step


def _batches(spectra: Spectra, config: TrainConfig) -> Iterator[Tensor]:
    """Yield the rows of each batch, in a new random order every epoch, without end."""
    batches = Batches(spectra.training, config.batch_size, config.seed)
    for epoch in count():
        batches.set_epoch(epoch)
        yield from batches


def device_for(config: TrainConfig) -> torch.device:
    """The GPU that this process sees, unless the settings say cpu; under Ray it sees those of its task alone."""
    return torch.device("cuda" if config.accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its queue, so that this time counts as training."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _precision(config: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager[object]:
    mixed = config.precision == "bf16-mixed"
    return torch.autocast(device.type, torch.bfloat16) if mixed else contextlib.nullcontext()


@torch.no_grad()
def validate(network: StarNet, spectra: Spectra) -> float:
    """Mean squared error of the normalised labels over the validation part; a large number if it is not finite."""
    total, device = 0.0, next(network.parameters()).device
    for rows in spectra.validation.split(256):
        counts, targets = (part.to(device) for part in spectra[rows])
        total += float((network(spectra.normalise(counts)) - targets).square().mean(1).sum())
    error = total / len(spectra.validation)
    return error if error < _WORST else _WORST


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}
"""Clocks by name."""
