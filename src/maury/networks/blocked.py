"""Narrow convolutions as matrix products over blocks of pixels.

A convolution of a few channels leaves a processor's matrix units idle. Here the pixels are cut into blocks of T, and k
neighbouring blocks are joined such that they hold every pixel that T outputs need, k = ceil((T + W - 1) / T). The
convolution is then one large product with a banded (Toeplitz) matrix of the kernel. Each pixel costs k T
multiplications instead of W (48 instead of 32 for T = 16, W = 32), but they run at the speed of a plain matrix product,
in bfloat16, too. Channels are the last axis, for which torch's pooling is fastest. `benchmarks/founding_training.py`
measures the gain.

Symbols: B spectra, P pixels, C channels in, O channels out, W width of the kernel, T pixels a block, k blocks joined.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_threshold = torch.ops.aten.threshold_backward  # (gradient, x, 0): the gradient where x > 0, else 0, in one pass


def joined_blocks(block: int, width: int) -> int:
    """Number k of neighbouring blocks that hold every pixel needed for ``block`` outputs."""
    return -(-(block + width - 1) // block)


def toeplitz(weight: Tensor, block: int) -> Tensor:
    """The banded matrix (T O, k T C) that turns k joined blocks into T outputs.

    Args:
        weight: kernel (O, C, W) as `torch.nn.Conv1d` holds it.
        block: T.
    """
    outputs, channels, width = weight.shape
    span = joined_blocks(block, width) * block
    # Repeat a row of span + 1 numbers T times and reshape it to rows of span: each row is the last, shifted by one.
    padded = functional.pad(weight, (0, span + 1 - width))[:, :, None]
    rows = padded.expand(-1, -1, block, -1).flatten(2)[..., : block * span]
    rows = rows.reshape(outputs, channels, block, span)
    return rows.permute(2, 0, 3, 1).reshape(block * outputs, span * channels)


def join(blocks: Tensor, count: int) -> Tensor:
    """Join each block with its neighbours to the right: (B, n, m) -> (B, n - count + 1, count m)."""
    kept = blocks.shape[1] - count + 1
    return torch.cat([blocks[:, i : i + kept] for i in range(count)], -1)


class _JoinedReLU(torch.autograd.Function):
    """Steps between the two convolutions, without copies for padding: ReLU, zeros outside the spectrum, `join`."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, first: int, last: int, count: int) -> Tensor:
        active = blocks.relu()
        flat = active.flatten(1)
        flat[:, :first] = 0
        flat[:, last:] = 0
        ctx.save_for_backward(active)
        ctx.count = count
        return join(active, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (active,) = ctx.saved_tensors
        parts = gradients[0].chunk(ctx.count, -1)
        total = functional.pad(parts[0], (0, 0, 0, ctx.count - 1))
        for i, part in enumerate(parts[1:], start=1):
            total[:, i : i + part.shape[1]] += part
        return _threshold(total, active, 0), None, None, None


def convolve_and_pool(
    flux: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, pool: int, block: int
) -> Tensor:
    """ReLU(conv) -> ReLU(conv) -> max-pool, 'same' padding: (B, P) -> (B, P // pool, O), channels last.

    Equal to `torch.nn.Conv1d` on spectra padded by (W - 1) // 2 pixels on the left and W // 2 on the right (as Keras
    pads), `relu`, the same again, and `torch.nn.MaxPool1d(pool)`, up to rounding. Kernels are (C, 1, W) and (O, C, W);
    ``block`` T is a multiple of ``pool``, the number of pixels per max-pooling.
    """
    pixels, width, channels = flux.shape[1], weight1.shape[-1], len(bias1)
    left, count, blocks = (width - 1) // 2, joined_blocks(block, width), -(-pixels // block)
    # Block i of the first convolution starts `left` before pixel i T, where block i of the second one needs it.
    total = (blocks + 2 * count - 2) * block
    spectra = functional.pad(flux, (2 * left, total - 2 * left - pixels)).unflatten(1, (-1, block))
    first = functional.linear(join(spectra, count), toeplitz(weight1, block), bias1.repeat(block))
    hidden = _JoinedReLU.apply(first, left * channels, (left + pixels) * channels, count)
    second = functional.linear(hidden, toeplitz(weight2, block)).reshape(len(flux), 1, -1, len(bias2))
    pooled = functional.max_pool2d(second.permute(0, 3, 1, 2), (1, pool)).permute(0, 2, 3, 1)[:, 0, : pixels // pool]
    return (pooled + bias2.to(pooled.dtype)).relu()
