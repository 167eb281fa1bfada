"""The Lightning module that trains a network on a grid, and the parts of it that a search trains with as well."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from maury.networks import StarNet
from maury.training.data import Spectra
from maury.training.recipes import TrainConfig


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW, as the settings say."""
    if config.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.Adam(network.parameters(), config.learning_rate, fused=True)


def rate(config: TrainConfig, step: int, done: float) -> float:
    """Share of the learning rate at a step, when a share ``done`` of the run is over."""
    rising = min(1.0, (step + 1) / (config.warmup + 1))
    return rising if config.schedule == "constant" else rising * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Noise:
    """White noise for spectra in training; each step has its own, which depends on the seed and the step alone."""

    def __init__(self, config: TrainConfig, std: float) -> None:
        """Noise of ``config.noise`` continua on flux that was divided by ``std``."""
        self._size, self._seed = config.noise / std, config.seed

    def __call__(self, flux: Tensor, step: int) -> Tensor:
        """Add noise to normalised spectra (b, pixels), in place."""
        if self._size:
            generator = torch.Generator(flux.device).manual_seed(self._seed * 1_000_003 + step)
            flux.add_(torch.randn(flux.shape, generator=generator, device=flux.device), alpha=self._size)
        return flux


class NetworkTask(lightning.LightningModule):
    """Mean squared error of the normalised labels."""

    def __init__(self, network: StarNet, spectra: Spectra, config: TrainConfig) -> None:
        """Keep what is trained, and the spectra, which know how they are normalised."""
        super().__init__()
        self.network, self.config = network, config
        self.normalise, self.noise = spectra.normalise, Noise(config, spectra.std)

    def _errors(self, flux: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        residual = self.network(flux).float() - targets
        return residual.square().mean(), residual.detach().abs().mean()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Mean squared error of a batch; it and the mean absolute error are logged at every step."""
        counts, targets = batch
        loss, mae = self._errors(self.noise(self.normalise(counts), self.global_step), targets)
        self.log_dict({"train_loss": loss.detach(), "train_mae": mae}, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Mean squared and mean absolute error over the validation part, logged once an epoch."""
        loss, mae = self._errors(self.normalise(batch[0]), batch[1])
        values = {"val_loss": loss, "val_mae": mae}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """The optimiser; where the settings ask for it, with a learning rate that changes from step to step."""
        optimizer = make_optimizer(self.network, self.config)
        if self.config.schedule == "constant" and not self.config.warmup:
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Share of the learning rate at a step; the run ends by epochs or by time."""
        done = step / float(self.trainer.estimated_stepping_batches)
        if self.config.max_time is not None:
            timer = next(c for c in self.trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
            done = max(done, timer.time_elapsed() / (60 * self.config.max_time))
        return rate(self.config, step, done)
