"""The Lightning module that trains the default network on simulated observations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from maury.networks.posterior_network import PosteriorNetwork
from maury.training.recipes import PosteriorTrainConfig
from maury.training.simulated import HELD_OUT, Source, Stream

_LARGEST_GRADIENT = 1.0


class PosteriorTask(lightning.LightningModule):
    """AdamW on the negative log posterior density of the true labels."""

    def __init__(
        self, network: PosteriorNetwork, config: PosteriorTrainConfig, source: Callable[[torch.device], Source]
    ) -> None:
        """Keep what is trained, and how to make a source of spectra on a device."""
        super().__init__()
        self.network, self.config, self._source = network, config, source

    def on_fit_start(self) -> None:
        """Make the source of spectra where the network is."""
        self._stream = Stream(self._source(self.device), self.config.network.labels, self.config.seed)

    def _losses(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Negative log density and pinball loss, mean absolute error of the medians on normalised labels."""
        inputs, labels = self._stream.batch(number, self.config.batch_size)
        features = self.network(inputs)
        density, pinball = (
            self.network.log_prob_unconstrained(features, labels),
            self.network.quantile_loss(features, labels),
        )
        with torch.no_grad():
            error = self.network.quantiles(features)[:, 1] - labels
            space = self.network.transform.space
            scale = error.new_tensor(space.upper) - error.new_tensor(space.lower)
        return -density.mean(), pinball, (error / scale).abs().mean()

    def training_step(self, _: int, index: int) -> Tensor:
        """Loss of a batch that no other step or device sees; density and error are logged at every step."""
        step = self.current_epoch * self.config.steps + index
        density, pinball, error = self._losses(step * self.trainer.world_size + self.global_rank)
        self.log_dict({"train_loss": density.detach(), "train_mae": error}, on_step=True, on_epoch=False)
        return density + pinball

    def validation_step(self, number: int, _: int) -> None:
        """Loss over the held-out set, which is the same in every epoch."""
        density, _pinball, error = self._losses(HELD_OUT + number)
        values = {"val_loss": density, "val_mae": error}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=self.config.batch_size)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises over the first steps and falls along a half cosine to the end of the run."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Limit the norm of the gradient: a single odd spectrum must not throw the weights away."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)

    def _rate(self, step: int) -> float:
        """Share of the learning rate at a step; the run ends by epochs or by time."""
        done = step / (self.config.epochs * self.config.steps)
        if self.config.max_time is not None:
            timer = next(c for c in self.trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
            done = max(done, timer.time_elapsed() / (60 * self.config.max_time))
        return min(1.0, (step + 1) / (self.config.warmup + 1)) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
