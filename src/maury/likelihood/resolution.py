"""Whether a spectrum is sharper than its nominal resolving power."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maury.likelihood.laplace import Mode, find_mode
from maury.likelihood.priors import LabelPrior
from maury.likelihood.target import Coordinates
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import C_KMS

SHARPER = 1.2
"""Ratio of the tested R to the nominal one."""


def log_odds_of_sharper(
    coordinates: Coordinates, star: PixelSpectra, mode: Mode, label_priors: Sequence[LabelPrior] = ()
) -> float:
    """Log evidence ratio of R `SHARPER` times the nominal one over nominal R (Laplace's approximation).

    If R is higher than nominal, lines can be sharper than the nominal profile: even the slowest rotators with the least
    macroturbulence, which are rare, then have model lines that are too broad. A true R below the nominal one cannot be
    found: it has the effect of rotation.

    Args:
        coordinates: labels and prior.
        star: the data, or exposures with R in the same ratio to the nominal ones.
        mode: at nominal R; its covariance of the errors is used for both.
        label_priors: further information, such as on the macroturbulence.

    Returns:
        The log ratio; minus infinity where the pixels cannot resolve the larger R or rotation hides it.
    """
    sharper = SHARPER * star.resolution
    highest = float(star.resolution.max())
    vsini = float(mode.labels[coordinates.simulator.labels.index("vsini")])
    if SHARPER * highest > coordinates.simulator.pixels.resolution or vsini > C_KMS / highest:
        return -math.inf
    other = find_mode(coordinates, mode.noise, star.with_(resolution=sharper), mode.theta, label_priors)
    return other.log_evidence - mode.log_evidence
