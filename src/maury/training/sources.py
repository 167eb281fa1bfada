"""Interface of training data of a network, for grids and simulated observations."""

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
    """Training data: makes the network, and batches of spectra and labels for it.

    Attributes:
        stored: default type of the stored weights.
    """

    stored: torch.dtype

    def network(self, resumed: bool) -> Network:
        """Make the network with initial weights; a resumed run replaces them, so that they need not be computed."""

    def loaders(self, rank: int, devices: int, epoch: int, pin: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Loaders of training batches and of validation batches.

        Args:
            rank: index of this device.
            devices: number of devices that share an epoch.
            epoch: number of the next epoch.
            pin: pin memory for copies to a GPU.
        """

    def to(self, device: torch.device) -> None:
        """Compute the inputs of the network on this device from now on."""

    def training(self, batch: Any, step: int) -> tuple[Any, Tensor]:
        """Inputs of the network and labels for a batch of the first loader."""

    def held_out(self, batch: Any) -> tuple[Any, Tensor]:
        """Inputs of the network and labels for a batch of the second loader."""

    def header(self, network: Any) -> dict[str, Any]:
        """Entries for the header of the network's file: labels, pixels, training data."""

    def figures(self, network: Any, header: dict[str, Any]) -> dict[str, Any]:
        """``validation`` and ``typical_errors`` of a trained network, on the CPU."""


def error_figures(space: LabelSpace, residual: NDArray[np.float64], **others: Any) -> dict[str, Any]:
    """Errors over a validation set, for the header of a network.

    ``residual`` is inferred minus true normalised labels (n, labels); ``others`` are more entries of ``validation``.

    Returns:
        ``validation``: ``others``, ``mae`` (mean absolute error on normalised labels) and ``spectra``; and
        ``typical_errors``, the 68th percentile of the absolute error in each label's unit.
    """
    typical = np.percentile(np.abs(residual), 68.3, axis=0) * np.subtract(space.upper, space.lower)
    return {
        "validation": {**others, "mae": float(np.mean(np.abs(residual))), "spectra": len(residual)},
        "typical_errors": dict(zip(space.names, map(float, typical), strict=True)),
    }
