"""One trial: a configuration trained for a given time, with its validation error at each rung."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch import Tensor

from maury.config import TrainConfig
from maury.networks import StarNet
from maury.training.data import Batches, Spectra
from maury.training.task import Noise, make_optimizer, rate

Report = Callable[[int, float], bool]
"""Told the number of the rung and the error there; returns whether to stop."""

_WORST = 1e6


def train_for(
    config: TrainConfig, spectra: Spectra, ends: list[float], clock: Callable[[], float], report: Report
) -> tuple[float, int]:
    """Train until the last of some times, or until a report says to stop.

    Args:
        config: settings.
        spectra: to train on and to validate with.
        ends: seconds of training after which the network is validated, increasing.
        clock: seconds.
        report: told each of them.

    Returns:
        Mean squared error of the normalised labels over the validation part, and steps made.
    """
    network = StarNet(config.network, config.seed)
    optimizer = make_optimizer(network, config)
    noise, batches = Noise(config, spectra.std), _batches(spectra, config)
    used, step, error, due = 0.0, 0, _WORST, list(ends)
    while due:
        begun = clock()
        while used + clock() - begun < due[0]:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate(config, step, (used + clock() - begun) / ends[-1])
            counts, targets = spectra[next(batches)]
            with _precision(config):
                output = network(noise(spectra.normalise(counts), step))
            loss = (output.float() - targets).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
        used += clock() - begun
        due.pop(0)
        error = validate(network, spectra)
        if report(len(ends) - len(due), error):
            break
    return error, step


def _batches(spectra: Spectra, config: TrainConfig) -> Iterator[Tensor]:
    """Rows of one batch after the other, epoch after epoch."""
    batches = Batches(spectra.training, config.batch_size, config.seed)
    for epoch in count():
        batches.set_epoch(epoch)
        yield from batches


def _precision(config: TrainConfig) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if config.precision == "bf16-mixed" else contextlib.nullcontext()


@torch.no_grad()
def validate(network: StarNet, spectra: Spectra) -> float:
    """Mean squared error of the normalised labels over the validation part; a large number if it is not finite."""
    total = 0.0
    for rows in spectra.validation.split(256):
        counts, targets = spectra[rows]
        total += float((network(spectra.normalise(counts)) - targets).square().mean(1).sum())
    error = total / len(spectra.validation)
    return error if error < _WORST else _WORST


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}
"""Clocks by name."""
