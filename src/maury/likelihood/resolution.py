"""Whether a spectrum is sharper than the resolution that is told of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maury.likelihood.laplace import Mode, find_mode
from maury.likelihood.priors import LabelPrior
from maury.likelihood.target import Coordinates
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import C_KMS

SHARPER = 1.2
"""R is tried so many times larger."""


def log_odds_of_sharper(
    coordinates: Coordinates, star: PixelSpectra, mode: Mode, label_priors: Sequence[LabelPrior] = ()
) -> float:
    """Log of the evidence of R that is `SHARPER` times what is told over that of R as told (Laplace's approximation).

    Lines that are sharper than the instrument's profile need a star that hardly rotates and has little macroturbulence,
    which is rare, and are still too broad. The opposite cannot be told: R that is smaller than told looks like
    rotation.

    Args:
        coordinates: labels and prior.
        star: the data.
        mode: with R as told; its covariance of the errors counts for both.
        label_priors: further information, such as on the macroturbulence.

    Returns:
        Minus infinity where nothing can be said: the pixels do not resolve what is sharper, or rotation hides it.
    """
    sharper = SHARPER * float(star.resolution)
    vsini = float(mode.labels[coordinates.simulator.labels.index("vsini")])
    if sharper > coordinates.simulator.pixels.resolution or vsini > C_KMS / float(star.resolution):
        return -math.inf
    other = find_mode(coordinates, mode.noise, star.with_(resolution=sharper), mode.real, label_priors)
    return other.log_evidence - mode.log_evidence
