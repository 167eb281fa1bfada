"""The founding convolutional network, after StarNet (Fabbro et al. 2018, MNRAS 475, 2978)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from maury.networks.architectures import StarNetConfig
from maury.networks.blocked import convolve_and_pool


class StarNet(nn.Module):
    """Two convolutions, a max-pooling, two hidden dense layers, one linear output per label.

    conv -> ReLU -> conv -> ReLU -> max-pool -> flatten (pixel, filter) -> dense -> ReLU -> dense -> ReLU -> dense, with
    'same' padding. Weights start as in Keras: Glorot uniform, biases zero.
    """

    def __init__(self, config: StarNetConfig, seed: int = 0) -> None:
        """Draw initial weights with ``seed``; the global random state does not change."""
        super().__init__()
        self.config = config
        first, second = config.filters
        with torch.random.fork_rng(devices=[]):  # torch draws weights on construction; they are replaced below
            self.conv1 = nn.Conv1d(1, first, config.kernel)
            self.conv2 = nn.Conv1d(first, second, config.kernel)
            self.dense1 = nn.Linear(config.pixels // config.pool * second, config.dense[0])
            self.dense2 = nn.Linear(*config.dense)
            self.output = nn.Linear(config.dense[1], len(config.labels))
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, flux: Tensor) -> Tensor:
        """Normalised labels (B, labels) of normalised spectra (B, pixels)."""
        if torch.is_autocast_enabled(flux.device.type):
            flux = flux.to(torch.get_autocast_dtype(flux.device.type))
        pool = self.config.pool
        block = pool * max(1, 16 // pool)  # 16 pixels were fastest, in float32 and in bfloat16
        bias1, bias2 = cast(Tensor, self.conv1.bias), cast(Tensor, self.conv2.bias)
        maps = convolve_and_pool(flux, self.conv1.weight, bias1, self.conv2.weight, bias2, pool, block)
        hidden = self.dense1(maps.flatten(1)).relu()
        return self.output(self.dense2(hidden).relu())
