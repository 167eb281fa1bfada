"""Initialise the networks of a fit with those of another emulator, converted to the new basis and feature scaling.

Both conversions are linear and are applied to the first and the last layer. Before the first step the new emulator
gives the spectra of the old one, as far as the new basis can represent them. A few hundred spectra of a better line
list are then enough, which would be too few for a fit from random weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maury.emulator import LabelNetworks, file_of, load
from maury.errors import ConfigError
from maury.files import sha256
from maury.labels import LabelSpace
from maury.wavelengths import LogGrid


@dataclass(frozen=True)
class Basis:
    """Principal components of spectra; frequencies are weighted by the transfer function of an instrument of high R."""

    mean: Tensor  # modes (m,) complex of the mean training spectrum
    components: Tensor  # modes (k, m) complex, orthonormal in the metric
    coefficients: Tensor  # coefficients of every star (n, k)


def in_metric(modes: Tensor, weight: Tensor, size: int) -> Tensor:
    """Convert complex modes (n, m) to real rows (n, 2 m) whose squared norm is the sum of the weighted flux squared.

    By Parseval's theorem the sum over pixels is the sum over frequencies of both signs divided by the number of pixels.
    """
    return torch.view_as_real(modes * weight).flatten(1) * np.sqrt(2 / size)


def start_from(
    name: str,
    networks: LabelNetworks,
    basis: Basis,
    weight: Tensor,
    grid: LogGrid,
    space: LabelSpace,
    features: tuple[Tensor, Tensor],
    scale: Tensor,
) -> str:
    """Set the weights of ``networks`` such that they give the spectra of another emulator.

    ``weight`` (m,) of each frequency makes the basis orthonormal; ``features`` are mean and standard deviation (f,) of
    the features, ``scale`` (k,) is that of the coefficients.

    Returns:
        SHA-256 of the other emulator's file.

    Raises:
        ConfigError: the other emulator has other labels, wavelengths or sizes of networks.
    """
    old = load(name)
    for what, mine, others in (
        ("labels", space.names, old.space.names),
        ("wavelengths", grid, old.grid),
        ("hidden layers", _hidden(networks), _hidden(old.networks)),
    ):
        if mine != others:
            raise ConfigError(f"start: {name} has other {what}: {others}; this fit has {mine}")
    directions = in_metric(basis.components, weight, grid.size)
    components = torch.view_as_complex(old.basis.reshape(len(old.basis), -1, 2))
    mean = torch.view_as_complex(old.mean.reshape(-1, 2))
    turn = in_metric(components, weight, grid.size) @ directions.T
    offset = in_metric((mean - basis.mean)[None], weight, grid.size) @ directions.T
    with torch.no_grad():
        for new, given in zip(networks.parameters(), old.networks.parameters(), strict=True):
            if new.shape == given.shape:
                new.copy_(given)
        ratio, shift = features[1] / old.feature_std, (features[0] - old.feature_mean) / old.feature_std
        first, last = old.networks.weights[0], old.networks.weights[-1]
        networks.weights[0].copy_(first * ratio[:, None])
        networks.biases[0].copy_(old.networks.biases[0] + (shift @ first)[:, None])
        networks.weights[-1].copy_((last * old.coefficient_scale) @ turn / scale)
        networks.biases[-1].copy_(((old.networks.biases[-1] * old.coefficient_scale) @ turn + offset) / scale)
    return sha256(file_of(name))


def _hidden(networks: LabelNetworks) -> list[tuple[int, ...]]:
    """Members, inputs and width of each layer but the last, whose outputs are those of the basis."""
    return [tuple(weight.shape) for weight in networks.weights[:-1]]
