"""Haze: light missing between the lines of cool stars, the opacity of countless weak lines that no list has.

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
"""Standard deviation of h from star to star, per unit of its mean."""


def haze_at(teff: Tensor, nodes: Sequence[float] = TEFF_K, sizes: Sequence[float] = SIZE) -> Tensor:
    """Mean h (n,) at Teff (n,), K, linear between its nodes and constant beyond them."""
    x, y = teff.new_tensor(nodes), teff.new_tensor(sizes)
    right = torch.bucketize(teff.contiguous(), x).clamp(1, len(x) - 1)
    part = ((teff - x[right - 1]) / (x[right] - x[right - 1])).clamp(0, 1)
    return torch.lerp(y[right - 1], y[right], part)
