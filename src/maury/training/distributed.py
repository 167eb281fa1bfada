"""Distributed data parallel training on a Ray cluster; if a process dies, training resumes from the last epoch."""

from __future__ import annotations

import csv
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from maury.checkpoints import read_header
from maury.cluster import RayWorkers
from maury.config import make_config
from maury.emulator import load
from maury.grids import open_grid
from maury.grids.build import emulator_of
from maury.simulation import SimulationSettings, Simulator
from maury.training.grid_source import GridSource
from maury.training.loop import train
from maury.training.recipes import AnyTrainConfig, TrainConfig
from maury.training.run_folder import Run
from maury.training.simulated_source import SimulatedSource

_LOOK_S = 0.5
"""Seconds between two readings of the log."""

Epochs = Callable[[int, float], None]
"""Called with the number of finished epochs and the validation loss of the last."""


def train_on_cluster(run: Run, cluster: RayWorkers, half: bool = False, epochs: Epochs | None = None) -> dict[str, Any]:
    """Train as `maury.training.loop.train` does, on ``config.devices`` processes.

    Folder, grid and emulator of the run must have the same paths on all machines; ``epochs`` is called after each
    epoch.

    Returns:
        The header of the trained network.

    Raises:
        VersionMismatchError: a machine has another grid or emulator.
        LostError: processes died more than three times.
        MauryError: raised by the training.
    """
    config, folder = run.config, run.folder.absolute()
    if isinstance(config, TrainConfig):
        source = str(Path(config.grid).absolute())
        cluster.require_same(grid_of, Path(source))
    else:
        source = config.emulator if config.emulator == "packaged" else str(Path(config.emulator).absolute())
        cluster.require_same(emulator_of, source)
    there = Run(folder, config, on_cluster=True)
    stop = threading.Event()
    watch = threading.Thread(target=_follow, args=(folder / "metrics.csv", stop, epochs), daemon=True)
    watch.start()
    try:
        with tempfile.TemporaryDirectory(prefix="maury-") as notes:
            cluster.train(train_here, (there, source, half), config.devices, notes)
    finally:
        stop.set()
        watch.join()
    return read_header(run.model, "network")


def train_here(run: Run, where: str, half: bool) -> None:
    """Train in one process of the cluster."""
    train(run, source_of(run.config, where), dtype=torch.float16 if half else None)


def source_of(config: AnyTrainConfig, where: str) -> GridSource | SimulatedSource:
    """Open the training data: the grid in a file, or a simulator with the emulator in a file."""
    if isinstance(config, TrainConfig):
        return GridSource(config, open_grid(where))
    emulator, settings = load(where), make_config(config.simulation, SimulationSettings, "simulation")
    return SimulatedSource(config, lambda device: Simulator(emulator, settings, device))


def grid_of(grid: Path) -> dict[str, str]:
    """SHA-256 of a grid on this machine, to compare machines of a cluster."""
    return {f"grid {grid}": open_grid(grid).digest if grid.is_file() else "missing"}


def _follow(log: Path, stop: threading.Event, epochs: Epochs | None) -> None:
    """Read the log of the run every `_LOOK_S` seconds and report new epochs until ``stop`` is set."""
    reported = 0
    while epochs is not None and not stop.wait(_LOOK_S):
        if log.is_file():
            with open(log, newline="", encoding="utf-8") as stream:
                losses = [float(row["val_loss"]) for row in csv.DictReader(stream) if row.get("val_loss")]
            if len(losses) > reported:
                reported = len(losses)
                epochs(reported, losses[-1])
