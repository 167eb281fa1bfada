"""Training data of a network: what a grid and simulated observations have in common."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from maury.labels import LabelSpace
from maury.networks import PosteriorNetwork, StarNet

Network = StarNet | PosteriorNetwork


class Source(Protocol):
    """Where the spectra of a training come from.

    Attributes:
        stored: data type in which weights are stored, unless another is asked for.
    """

    stored: torch.dtype

    def network(self, resumed: bool) -> Network:
        """The network with its first weights, which a resumed run replaces."""

    def loaders(self, rank: int, devices: int, epoch: int, pin: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Batches to train on and to validate with.

        Args:
            rank: number of this device.
            devices: number of devices that share an epoch.
            epoch: the first epoch to come.
            pin: pin memory for a copy to a GPU.
        """

    def to(self, device: torch.device) -> None:
        """Make inputs on this device."""

    def training(self, batch: Any, step: int) -> tuple[Any, Tensor]:
        """Inputs of the network and labels for a batch of the first loader."""

    def held_out(self, batch: Any) -> tuple[Any, Tensor]:
        """Inputs of the network and labels for a batch of the second loader."""

    def header(self, network: Any) -> dict[str, Any]:
        """Entries of the network's file on labels, pixels and training data."""

    def figures(self, network: Any, header: dict[str, Any]) -> dict[str, Any]:
        """``validation`` and ``typical_errors`` of a trained network, on the CPU."""


def error_figures(space: LabelSpace, residual: NDArray[np.float64], **others: Any) -> dict[str, Any]:
    """Figures of a validation.

    Args:
        space: the labels.
        residual: inferred less true normalised labels (n, labels).
        others: further figures.

    Returns:
        ``validation``: ``others``, ``mae`` (mean absolute error on normalised labels) and ``spectra``; and
        ``typical_errors``, the 68th percentile of the absolute error in each label's unit.
    """
    typical = np.percentile(np.abs(residual), 68.3, axis=0) * np.subtract(space.upper, space.lower)
    return {
        "validation": {**others, "mae": float(np.mean(np.abs(residual))), "spectra": len(residual)},
        "typical_errors": dict(zip(space.names, map(float, typical), strict=True)),
    }
