"""Haze: flux deficit between the lines of cool stars, from many weak lines that are in no line list.

flux = model + h (1 - model), where h is a function of temperature alone, measured on observed stars
(`benchmarks/haze.py`): it enters the templates of the preparation, simulated observations and the likelihood.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TEFF_K = (3600.0, 3850.0, 4050.0, 4280.0, 5050.0, 5200.0)
"""Temperatures of `SIZE`, K."""

SIZE = (0.16, 0.13, 0.085, 0.07, 0.02, 0.0)
"""Mean h; linear between the temperatures and constant beyond them."""

SCATTER = 0.25
"""Standard deviation of h between stars, relative to its mean."""


def haze_of(
    labels: Tensor, names: Sequence[str], nodes: Sequence[float] = TEFF_K, sizes: Sequence[float] = SIZE
) -> Tensor:
    """Mean h (n,) of labels (n, k), linear in Teff between its nodes and constant beyond them; 0 without Teff.

    Args:
        labels: in their units; further columns may follow those named.
        names: of the first columns.
        nodes: temperatures of ``sizes``, K, increasing.
        sizes: mean h there.
    """
    if "teff" not in names:
        return labels.new_zeros(len(labels))
    teff = labels[:, list(names).index("teff")]
    x, y = teff.new_tensor(nodes), teff.new_tensor(sizes)
    right = torch.bucketize(teff.contiguous(), x).clamp(1, len(x) - 1)
    part = ((teff - x[right - 1]) / (x[right] - x[right - 1])).clamp(0, 1)
    return torch.lerp(y[right - 1], y[right], part)


def with_haze(flux: Tensor, h: Tensor) -> Tensor:
    """Continuum-normalised flux (n, p) with haze h (n,)."""
    return flux + h[:, None] * (1 - flux)
