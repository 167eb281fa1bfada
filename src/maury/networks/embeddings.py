"""Embedding networks: compute features from the flux of a spectrum, its noise and its resolving power.

All take ``depth`` (b, p), flux minus the mean spectrum with 0 in masked pixels, and ``side`` (b, s), numbers that
describe noise, coverage and resolving power. They return features (b, width). `docs/decisions` compares them at equal
cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maury.networks.architectures import PosteriorConfig


class Block(nn.Module):
    """Residual block, h + W2 silu(W1 norm(h))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)

    def forward(self, h: Tensor) -> Tensor:
        """Output (b, width) for h (b, width)."""
        return h + self.outer(nn.functional.silu(self.inner(self.norm(h))))


class ResidualEmbedding(nn.Module):
    """A linear projection, initialised with whitened principal components, and residual blocks."""

    def __init__(self, config: PosteriorConfig, side: int) -> None:
        super().__init__()
        self.projection = nn.Linear(config.pixels, config.components)
        self.entry = nn.Linear(config.components + side, config.width)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.depth)), nn.LayerNorm(config.width))

    def start_from(self, directions: Tensor) -> None:
        """Initialise the projection with whitened principal components (components, p)."""
        with torch.no_grad():
            self.projection.weight.copy_(directions)
            self.projection.bias.zero_()

    def forward(self, depth: Tensor, side: Tensor) -> Tensor:
        """Features (b, width)."""
        return self.blocks(self.entry(torch.cat([self.projection(depth), side], -1)))


class ConvolutionEmbedding(nn.Module):
    """Four strided convolutions, a dense layer over their whole output, and residual blocks."""

    def __init__(self, config: PosteriorConfig, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        left = config.pixels
        for inputs, outputs, kernel, stride in ((1, 16, 16, 4), (16, 32, 8, 4), (32, 32, 8, 4), (32, 32, 4, 2)):
            layers += [nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.SiLU()]
            left = (left + 2 * (kernel // 2) - kernel) // stride + 1
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.entry = nn.Linear(32 * left + side, config.width)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.depth)), nn.LayerNorm(config.width))

    def forward(self, depth: Tensor, side: Tensor) -> Tensor:
        """Features (b, width)."""
        return self.blocks(self.entry(torch.cat([self.layers(3 * depth[:, None]), side], -1)))


class AttentionEmbedding(nn.Module):
    """Patches of 64 pixels as tokens, a learnt position vector for each, two self-attention layers, residual blocks."""

    _PATCH, _TOKEN = 64, 64

    def __init__(self, config: PosteriorConfig, side: int) -> None:
        super().__init__()
        patches, token = -(-config.pixels // self._PATCH), self._TOKEN
        self.padding = patches * self._PATCH - config.pixels
        self.token = nn.Linear(self._PATCH, token)
        self.position = nn.Parameter(0.1 * torch.randn(patches, token))
        layer = nn.TransformerEncoderLayer(token, 4, 2 * token, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.entry = nn.Linear(patches * token + side, config.width)
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.depth)), nn.LayerNorm(config.width))

    def forward(self, depth: Tensor, side: Tensor) -> Tensor:
        """Features (b, width)."""
        patches = nn.functional.pad(3 * depth, (0, self.padding)).unflatten(1, (-1, self._PATCH))
        tokens = self.layers(self.token(patches) + self.position)
        return self.blocks(self.entry(torch.cat([tokens.flatten(1), side], -1)))


EMBEDDINGS: dict[str, type[ResidualEmbedding] | type[ConvolutionEmbedding] | type[AttentionEmbedding]] = {
    "residual": ResidualEmbedding,
    "convolution": ConvolutionEmbedding,
    "attention": AttentionEmbedding,
}
