"""Tables of a network's layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from maury.labels import LabelSpace
from maury.networks.architectures import PosteriorConfig, StarNetConfig
from maury.networks.posterior_network import LEVELS, PosteriorNetwork
from maury.networks.starnet import StarNet
from maury.networks.transform import LabelTransform


class Layer(NamedTuple):
    """A line of the layer table: name, shape of the output of one spectrum, number of weights."""

    name: str
    shape: tuple[int, ...]
    weights: int


def layer_table(config: StarNetConfig | PosteriorConfig) -> list[Layer]:
    """Layers of a network with these settings, with their numbers of weights."""
    if isinstance(config, PosteriorConfig):
        return _posterior_layers(PosteriorNetwork(config, LabelTransform(LabelSpace.of(config.labels))))
    with torch.device("meta"):
        return _starnet_layers(StarNet(config))


def _count(*layers: nn.Module) -> int:
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def _starnet_layers(network: StarNet) -> list[Layer]:
    config = network.config

    pixels, pooled = config.pixels, config.pixels // config.pool
    first, second = config.filters
    kernel, pool = config.kernel, config.pool
    return [
        Layer("input", (pixels,), 0),
        Layer("reshape", (pixels, 1), 0),
        Layer(f"convolution, {first} filters of {kernel}, ReLU", (pixels, first), _count(network.conv1)),
        Layer(f"convolution, {second} filters of {kernel}, ReLU", (pixels, second), _count(network.conv2)),
        Layer(f"max-pooling by {pool}", (pooled, second), 0),
        Layer("flatten", (pooled * second,), 0),
        Layer("dense, ReLU", (config.dense[0],), _count(network.dense1)),
        Layer("dense, ReLU", (config.dense[1],), _count(network.dense2)),
        Layer("dense, linear", (len(config.labels),), _count(network.output)),
    ]


def _posterior_layers(network: PosteriorNetwork) -> list[Layer]:
    config, embedding = network.config, network.embedding
    labels = len(config.labels)
    blocks = _count(embedding.entry, embedding.blocks)
    return [
        Layer("flux minus the mean spectrum", (config.pixels,), 0),
        Layer("noise and coverage of parts of the window, resolution", (2 * config.bins + 2,), 0),
        Layer(f"{config.embedding} embedding: of the spectrum", (), _count(embedding) - blocks),
        Layer(f"{config.embedding} embedding: dense and {config.depth} residual blocks", (config.width,), blocks),
        Layer(
            "mean and covariance of the posterior",
            (labels + labels * (labels + 1) // 2,),
            _count(network.flow.gaussian),
        ),
        Layer(
            f"spline flow, {config.transforms} transformations of {config.knots} bins",
            (labels,),
            _count(network.flow.context, network.flow.splines),
        ),
        Layer("marginal quantiles of each label", (len(LEVELS), labels), _count(network.points)),
    ]
