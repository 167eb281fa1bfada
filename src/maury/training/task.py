"""The Lightning module that trains a network, and the log of its losses."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from maury.config import TrainConfig
from maury.networks import StarNet
from maury.training.data import Spectra

LOG_COLUMNS = ("epoch", "step", "train_loss", "train_mae", "val_loss", "val_mae")


class NetworkTask(lightning.LightningModule):
    """Adam on the mean squared error of the normalised labels."""

    def __init__(self, network: StarNet, spectra: Spectra, config: TrainConfig) -> None:
        """Keep what is trained, and the spectra, which know how they are normalised."""
        super().__init__()
        self.network, self.config = network, config
        self.normalise = spectra.normalise

    def _errors(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        counts, targets = batch
        residual = self.network(self.normalise(counts)).float() - targets
        return residual.square().mean(), residual.detach().abs().mean()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Mean squared error of a batch; it and the mean absolute error are logged at every step."""
        loss, mae = self._errors(batch)
        self.log_dict({"train_loss": loss.detach(), "train_mae": mae}, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Mean squared and mean absolute error over the validation part, logged once an epoch."""
        loss, mae = self._errors(batch)
        values = {"val_loss": loss, "val_mae": mae}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at the founding project's constant learning rate."""
        return torch.optim.Adam(self.network.parameters(), self.config.learning_rate, fused=True)


class CurveLogger(Logger):
    """Append losses to a CSV file, a line per step and one per validation, cells that do not apply left blank.

    Lightning's own CSV logger deletes the file when a run is resumed; here a step that is made again after a resume is
    a second line, and the later line counts.
    """

    def __init__(self, path: Path) -> None:
        """Write to ``path``; its folder exists."""
        super().__init__()
        self.path = path
        self._waiting: list[list[Any]] = []

    @property
    def name(self) -> str:
        """Lightning asks for a name."""
        return "curve"

    @property
    def version(self) -> str:
        """Lightning asks for a version; a run has one log."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The settings of a run are in its config.toml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep a line; every hundredth writes."""
        if set(metrics) & set(LOG_COLUMNS[2:]):
            values = {**metrics, "step": step}
            self._waiting.append([values.get(name, "") for name in LOG_COLUMNS])
        if len(self._waiting) >= 100 or "val_loss" in metrics:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the lines that wait."""
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(LOG_COLUMNS)
            writer.writerows(self._waiting)
        self._waiting.clear()
