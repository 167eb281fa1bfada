"""The Lightning module that trains a network on a grid."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor

from maury.config import TrainConfig
from maury.networks import StarNet
from maury.training.data import Spectra


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
