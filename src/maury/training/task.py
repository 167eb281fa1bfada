"""The Lightning module that trains a network; optimiser, learning rate and losses, which `maury.search` uses, too."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from maury.networks import PosteriorNetwork
from maury.training.recipes import NetworkRecipe
from maury.training.sources import Network, Source

_LARGEST_GRADIENT = 1.0
"""Largest norm of the gradient of a posterior network; longer gradients are scaled to it."""


def make_optimizer(network: nn.Module, config: NetworkRecipe) -> torch.optim.Optimizer:
    """Make the optimiser of the settings, Adam or AdamW."""
    if config.optimiser == "adamw":
        return torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.Adam(network.parameters(), config.learning_rate, fused=True)


def rate(config: NetworkRecipe, step: int, done: float) -> float:
    """Factor on the highest learning rate at a step, when the fraction ``done`` of the run is over."""
    rising = min(1.0, (step + 1) / (config.warmup + 1))
    return rising if config.schedule == "constant" else rising * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def losses(network: Network, inputs: Any, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of a batch.

    Returns:
        The loss to minimise; the loss to log, which chooses the best epoch; the mean absolute error of normalised
        labels. For point estimates both losses are the mean squared error. For a posterior, the second is the negative
        log density of the true labels, and the first adds the pinball loss of the quantiles.
    """
    if not isinstance(network, PosteriorNetwork):
        residual = network(inputs).float() - labels
        square = residual.square().mean()
        return square, square, residual.detach().abs().mean()
    features = network(inputs)
    density = -network.log_prob_unconstrained(features, labels).mean()
    pinball = network.quantile_loss(features, labels)
    with torch.no_grad():
        error = network.quantiles(features)[:, 1] - labels
        space = network.transform.space
        width = error.new_tensor(space.upper) - error.new_tensor(space.lower)
    return density + pinball, density, (error / width).abs().mean()


class Task(lightning.LightningModule):
    """Trains a network on the batches of a source."""

    def __init__(self, network: Network, source: Source, config: NetworkRecipe) -> None:
        super().__init__()
        self.network, self.source, self.config = network, source, config

    def on_fit_start(self) -> None:
        """Let the source compute inputs on the network's device."""
        self.source.to(self.device)

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The loss to minimise; loss and mean absolute error are logged at every step."""
        total, loss, mae = losses(self.network, *self.source.training(batch, self.global_step))
        self.log_dict({"train_loss": loss.detach(), "train_mae": mae}, on_step=True, on_epoch=False)
        return total

    def validation_step(self, batch: Any, _: int) -> None:
        """Loss and mean absolute error over the validation part, logged once an epoch."""
        inputs, labels = self.source.held_out(batch)
        _total, loss, mae = losses(self.network, inputs, labels)
        values = {"val_loss": loss, "val_mae": mae}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(labels))

    def configure_optimizers(self) -> Any:
        """Optimiser, with a schedule of the learning rate if it is not constant."""
        optimizer = make_optimizer(self.network, self.config)
        if self.config.schedule == "constant" and not self.config.warmup:
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Limit the norm of the gradient of a posterior network: a single outlier must not spoil the weights."""
        if isinstance(self.network, PosteriorNetwork):
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)

    def _rate(self, step: int) -> float:
        """Factor on the learning rate at a step; the end of the run is set by ``epochs`` or ``max_time``."""
        done = step / float(self.trainer.estimated_stepping_batches)
        if self.config.max_time is not None:
            timer = next(c for c in self.trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
            done = max(done, timer.time_elapsed() / (60 * self.config.max_time))
        return rate(self.config, step, done)
