"""Where in the spectrum the physics is wrong: errors of single lines in units of the usual one, from observed stars."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury import checkpoints

KIND = "physics-errors"
PACKAGED = checkpoints.MODELS / "physics-errors.safetensors"
"""Columns ``wavelength`` (Å in air) and ``factor``, written by `maury physics-errors`; one for each network."""

_FULL, _NONE = -1.5, -2.5
"""[M/H] above which the factors are used in full, and below which they are 1, as other lines are strong there."""


def error_profile(wavelength: NDArray[np.float64], source: Path = PACKAGED) -> Tensor:
    """Factors (p,) of the errors of the physics at wavelengths (Å in air), 1 where nothing is known.

    Args:
        wavelength: pixels (p,).
        source: file of the factors.

    Raises:
        FormatError: not such a file.
    """
    known, factor = _stored(source)
    return torch.from_numpy(np.interp(wavelength, known, factor, left=1.0, right=1.0))


def at_metallicity(profile: Tensor, mh: float) -> Tensor:
    """Factors (p,) for a star of [M/H]: 1 for the most metal-poor."""
    share = min(max((mh - _NONE) / (_FULL - _NONE), 0.0), 1.0)
    return profile**share


@lru_cache(maxsize=4)
def _stored(source: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stored = checkpoints.load(source, KIND).tensors
    return stored["wavelength"].double().numpy(), stored["factor"].double().numpy()
