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

WRONG_LINES_AA: tuple[tuple[float, float], ...] = (
    (5098.64, 5099.28), (5126.81, 5127.12), (5162.61, 5162.81), (5323.67, 5324.03),  # Mg +0.90, +0.43, +0.29, +0.73
    (5127.02, 5127.36),  # C -0.20
    (5338.64, 5339.53),  # Ca -0.14, Ca II 5339.19
    (5250.69, 5251.01), (5299.68, 5300.21), (5338.11, 5338.47), (5344.20, 5344.56),  # Ti +0.33, +0.52, +1.12, +0.55
    (5181.07, 5181.41),  # Cr +0.60
    (5341.00, 5341.60),  # Mn +0.25, Mn I 5341.06 beside Fe I 5341.02
)  # fmt: skip
"""Lines (first, last, Å in air) that give a wrong abundance of the Sun: a blend is not known, or a log gf is wrong.

In the Kitt Peak atlas, on which the line list was calibrated, each differs from the solar abundance by two standard
deviations or more, the usual error of lines included; by how much (dex) is in the comments. `benchmarks/solar_lines.py`
lists them. The packaged factors are the largest there.
"""

LIMITS = (0.15, 12.0)
"""Least and largest square of a factor."""

_FULL, _NONE = -1.5, -2.5
"""[M/H] above which the factors are used in full, and below which they are 1, as other lines are strong there."""


def error_profile(wavelength: NDArray[np.float64], source: Path = PACKAGED) -> Tensor:
    """Factors (p,) of the errors of the physics at wavelengths (Å in air), 1 where nothing is known.

    The packaged ones are the largest in `WRONG_LINES_AA`.

    Args:
        wavelength: pixels (p,).
        source: file of the factors.

    Raises:
        FormatError: not such a file.
    """
    known, factor = _stored(source)
    found = np.interp(wavelength, known, factor, left=1.0, right=1.0)
    for first, last in WRONG_LINES_AA if source == PACKAGED else ():
        found[(wavelength >= first) & (wavelength <= last)] = LIMITS[1] ** 0.5
    return torch.from_numpy(found)


def at_metallicity(profile: Tensor, mh: float) -> Tensor:
    """Factors (p,) for a star of [M/H]: 1 for the most metal-poor."""
    share = min(max((mh - _NONE) / (_FULL - _NONE), 0.0), 1.0)
    return profile**share


@lru_cache(maxsize=4)
def _stored(source: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stored = checkpoints.load(source, KIND).tensors
    return stored["wavelength"].double().numpy(), stored["factor"].double().numpy()
