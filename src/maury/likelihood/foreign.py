"""Foreign light that the continuum follows: a stretch of the spectrum in which lines are too shallow or too deep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from maury.likelihood.laplace import Mode
from maury.likelihood.target import Coordinates

_WIDTHS_AA = (15.0, 25.0, 40.0, 60.0, 90.0)
_WIDEST = 0.3
"""Widest stretch, as a fraction of the window; the rest of the window constrains the labels."""
_OBSERVED = 0.8
_MEASURED = 0.1
_LEAST = 0.1
"""Smaller changes of the depth of lines are left to the errors of the physics."""
_LINE_KMS = 36.0
"""Smallest width of a strong line with its wings."""
_SIGNIFICANT = 5.0
"""Gaussian errors exceed it in any of the 203 stretches of a star with a probability below 1.2e-4 (sum over all)."""


@dataclass(frozen=True)
class Stretch:
    """A part of the spectrum with lines of another depth.

    Attributes:
        low_aa: where it begins, Å in air, at rest.
        high_aa: where it ends.
        change: of the depth of lines in its middle, relative to the fit; negative for shallower lines.
        error: standard deviation of the change.
    """

    low_aa: float
    high_aa: float
    change: float
    error: float

    def __str__(self) -> str:
        """A sentence on it."""
        word = "shallower" if self.change < 0 else "deeper"
        return (
            f"lines between {self.low_aa:.0f} and {self.high_aa:.0f} Å (at rest) are {100 * abs(self.change):.0f} ± "
            f"{100 * self.error:.0f} % {word} than in the fit"
        )


def foreign_light(coordinates: Coordinates, mode: Mode) -> Stretch | None:
    """Most significant stretch with foreign light, or None.

    Light that is added smoothly to the continuum is fitted as continuum: flux m becomes m + a s (1 - m) in a stretch of
    shape s, a sine squared. For each of many stretches the amplitude a is the generalised least-squares solution with
    all labels and nuisances of the likelihood free. Its variance is the Gaussian one, plus that by errors of the depth
    of lines: independent between lines, but common to the pixels of a line, with the size of
    `maury.simulation.ModelErrorSettings.line`.

    Args:
        coordinates: labels and physics.
        mode: of the posterior of a star or of its exposures.
    """
    pixels = coordinates.simulator.pixels
    ends, shapes = _stretches(*pixels.wavelength_aa[[0, -1]], pixels.count)
    if not ends:
        return None
    amplitude, error, measured = _amplitudes(coordinates, mode, shapes)
    score = torch.where(measured & (amplitude.abs() > _LEAST), amplitude.abs() / error, 0.0)
    best = int(score.argmax())
    if float(score[best]) < _SIGNIFICANT:
        return None
    return Stretch(*ends[best], -float(amplitude[best]), float(error[best]))


def _amplitudes(coordinates: Coordinates, mode: Mode, shapes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitudes (n,) of shapes (n, p), their standard deviations, and which of them the spectrum measures."""
    noise, simulator, model = mode.noise, coordinates.simulator, mode.model
    groups = len(model) // shapes.shape[1]
    projector = noise.projector.float()

    def without_nuisances(weighted: Tensor) -> Tensor:
        weighted = weighted.float()
        return weighted - (weighted @ projector) @ projector.mT

    lines = noise.weighted(1 - model).float()
    columns = shapes.repeat(1, groups) * lines
    labels = without_nuisances(noise.weighted(mode.slopes))
    free = without_nuisances(columns) - (columns @ labels.mT) @ mode.covariance.float() @ labels
    information = (free * columns).sum(1).clamp_min(1e-12)
    amplitude = columns @ without_nuisances(noise.residual(model)[None])[0] / information
    vsini = float(mode.labels[simulator.labels.index("vsini")])
    width = max(1, round(max(_LINE_KMS, 1.5 * vsini) / simulator.pixels.grid.step_kms))
    parts = (free * lines).reshape(len(free), groups, -1).sum(1).split(width, 1)
    by_lines = torch.stack([part.sum(1) for part in parts]).square().sum(0).sqrt() / information
    error = (1 / information + (simulator.settings.model_error.line * by_lines).square()).sqrt()
    seen = (noise.weight > 0).reshape(groups, -1).any(0)
    observed = (shapes * seen).sum(1) / shapes.sum(1)
    return amplitude, error, (observed > _OBSERVED) & (information.rsqrt() < _MEASURED)


@lru_cache(maxsize=2)
def _stretches(first_aa: float, last_aa: float, count: int) -> tuple[list[tuple[float, float]], Tensor]:
    """Ends (Å) of all stretches, and their shapes (n, p) on p pixels; neighbours are a fifth of the width apart."""
    ends = [
        (float(start), float(start + width))
        for width in _WIDTHS_AA
        if width <= _WIDEST * (last_aa - first_aa)
        for start in np.arange(first_aa, last_aa - width, width / 5)
    ]
    wavelength = torch.from_numpy(np.geomspace(first_aa, last_aa, count))  # uniform in its logarithm
    rows = [torch.sin(torch.pi * ((wavelength - low) / (high - low)).clamp(0, 1)).square() for low, high in ends]
    return ends, torch.stack(rows).float() if rows else torch.empty((0, count))
