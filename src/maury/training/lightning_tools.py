"""Tools for Lightning: checkpoints written atomically, losses as CSV, no advertisements on the screen."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from maury.files import atomic_path

LOG_COLUMNS = ("epoch", "step", "train_loss", "train_mae", "val_loss", "val_mae")


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints to a temporary file and renames it, such that an interruption leaves the last one intact."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save as `TorchCheckpointIO` does, then rename."""
        with atomic_path(path) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on hardware, loaders and deprecations of its own while a block runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class CurveLogger(Logger):
    """Appends losses to a CSV file, a line per step and one per validation; other cells of the line are empty.

    Lightning's CSV logger deletes the file when a run resumes. Here a step repeated after a resume adds a second line,
    which replaces the first one for readers.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._waiting: list[list[Any]] = []

    @property
    def name(self) -> str:
        """Name of the logger, which Lightning requires."""
        return "curve"

    @property
    def version(self) -> str:
        """Version, which Lightning requires; empty, as a run has one log."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: config.toml holds the settings of a run."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep a line in memory; write all lines at every hundredth and after each validation."""
        if set(metrics) & set(LOG_COLUMNS[2:]):
            values = {**metrics, "step": step}
            self._waiting.append([values.get(name, "") for name in LOG_COLUMNS])
        if len(self._waiting) >= 100 or "val_loss" in metrics:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Append the lines in memory to the file."""
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(LOG_COLUMNS)
            writer.writerows(self._waiting)
        self._waiting.clear()
