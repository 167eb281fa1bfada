"""Single lines of an element: how many a spectrum shows, and the abundance that each of them gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from maury.errors import DomainError
from maury.inference.columns import column_of
from maury.inference.posterior import ELEMENTS
from maury.inference.refinement import Refinement, physics_of
from maury.labels import LABELS
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator
from maury.wavelengths import Floats

if TYPE_CHECKING:
    from astropy.table import QTable

    from maury.inference.result import Result

MEASURES_DEX = 0.3
"""A line counts where it alone would measure the abundance to this standard deviation, all other labels known."""

_WEAKEST = 0.05
"""Least response of a line relative to the strongest. Weaker ones come from lines of other elements,
which respond to the electron pressure."""

_STEP_DEX = 0.05
_LOCAL_AA = 0.3
_FEWEST = 3


@dataclass(frozen=True)
class Feature:
    """A line of an element, or a blend of several of its lines.

    Attributes:
        inside: its pixels.
        slope: derivative of the flux by the abundance (m,) there, per dex, less a constant: the local continuum.
        estimator: change of the abundance per change of the flux (m,): ``w^2 d / sum w^2 d^2``.
        error: standard deviation of the abundance from this line alone, dex.
    """

    inside: slice
    slope: Floats = field(repr=False)
    estimator: Floats = field(repr=False)
    error: float

    @property
    def share(self) -> Floats:
        """Fraction of the information on the abundance in each pixel (m,); the sum is 1."""
        return self.estimator * self.slope


def derivative(simulator: Simulator, labels: torch.Tensor, resolution: float, element: str) -> Floats:
    """Derivative (p,) of the flux by an abundance, per dex, by central differences.

    Args:
        simulator: the physics.
        labels: of the star (k,), in the order of the simulator.
        resolution: R = lambda / FWHM.
        element: its label.
    """
    column = simulator.labels.index(element)
    rows = labels.repeat(2, 1)
    rows[:, column] += torch.tensor([-_STEP_DEX, _STEP_DEX], dtype=rows.dtype)
    low, high = simulator.spectra(rows, torch.full((2,), float(resolution))).double().numpy()
    return np.asarray((high - low) / (2 * _STEP_DEX))


def features(wavelength_aa: Floats, slope: Floats, weight: Floats) -> list[Feature]:
    """Lines that measure an abundance to `MEASURES_DEX`, by wavelength.

    A feature reaches from one minimum of ``|slope| x weight`` to the next, and gets deeper with the abundance. The
    standard deviation of its abundance is ``(sum (w d)^2)^-1/2`` with d the slope less its mean over the feature and
    0.3 Å on either side, so that a constant error of the continuum does not count.

    Args:
        wavelength_aa: pixels (p,), Å.
        slope: derivative of the flux by the abundance (p,), per dex.
        weight: 1 / standard deviation of the pixels (p,), 0 where a pixel is not used.
    """
    strength = np.abs(slope) * weight
    higher = (strength[1:-1] > strength[:-2]) & (strength[1:-1] >= strength[2:])
    peaks: list[int] = (1 + np.flatnonzero(higher)).tolist()
    if not peaks:
        return []
    ends = [0, *(a + int(strength[a:b].argmin()) for a, b in pairwise(peaks)), len(slope)]
    weakest = -_WEAKEST * float(np.abs(slope * (weight > 0)).max())
    margin = round(_LOCAL_AA / float(np.median(np.diff(wavelength_aa))))
    found = []
    for first, last in pairwise(ends):
        wide = slice(max(0, first - margin), last + margin)
        around = weight[wide] ** 2
        if not around.sum() > 0:
            continue
        local = slope[first:last] - float((around * slope[wide]).sum() / around.sum())
        square = weight[first:last] ** 2
        information = float((square * local**2).sum())
        if information > MEASURES_DEX**-2 and local.min() < weakest and -local.min() > local.max():
            found.append(Feature(slice(first, last), local, square * local / information, information**-0.5))
    return found


def _of_star(simulator: Simulator, star: PixelSpectra, fit: Refinement, element: str) -> list[Feature]:
    """Features of an element in a refined star."""
    slope = derivative(simulator, _labels(simulator, fit), float(star.resolution), element)
    return features(simulator.pixels.wavelength_aa, slope, _weight(fit))


def _labels(simulator: Simulator, fit: Refinement) -> torch.Tensor:
    """Labels (k,) of a fit in the order of the simulator."""
    return torch.tensor([fit.labels[name] for name in simulator.labels], dtype=torch.float64)


def _weight(fit: Refinement) -> Floats:
    return np.where(np.isfinite(fit.sigma), 1 / np.where(np.isfinite(fit.sigma), fit.sigma, 1.0), 0.0)


def count_lines(
    simulator: Simulator, star: PixelSpectra, fit: Refinement, names: tuple[str, ...]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number of lines that measure each of the elements among the labels ``names`` to `MEASURES_DEX`.

    Returns:
        The numbers by element; and the elements without a line that would have one if no pixel were masked or missing.
    """
    labels, weight, wave = _labels(simulator, fit), _weight(fit), simulator.pixels.wavelength_aa
    filled = np.interp(wave, wave[weight > 0], weight[weight > 0])
    numbers, masked = {}, []
    for name in (name for name in names if name in ELEMENTS and name in simulator.labels):
        slope = derivative(simulator, labels, float(star.resolution), name)
        numbers[name] = len(features(wave, slope, weight))
        if not numbers[name] and features(wave, slope, filled):
            masked.append(name)
    return numbers, tuple(masked)


def element_lines(result: Result, element: str, emulator: str = "packaged") -> QTable:
    """The abundance by each line of an element in a refined star.

    A line with slope d, residual r = observed - model and weights w gives the abundance of the fit plus
    ``sum w^2 d r / sum w^2 d^2``. With a reference star (`maury.predict(..., reference=sun)`) it is relative to the
    same line there. The mean weights lines by 1 / error^2; its error is the larger of the one propagated from the
    errors of the lines and the one from their scatter.

    Args:
        result: of `maury.predict`, refined.
        element: such as ``"y"`` or ``"mg"``.
        emulator: "packaged" or the emulator's file of the prediction.

    Returns:
        Columns ``wavelength``, ``first``, ``last`` (Å, air, at rest), ``lines`` (known strong lines inside),
        ``abundance`` and ``error`` (dex, [X/M]). Meta: ``fit``, ``mean``, ``error_of_mean``, ``scatter`` (dex; None
        with fewer than one or three lines).

    Raises:
        DomainError: no element of the model, or a result that is not refined.
    """
    from astropy import units as u
    from astropy.table import QTable

    from maury.lines.strong import named_lines

    simulator, fit = _refined(result, element, emulator)
    wave, star = simulator.pixels.wavelength_aa, result.spectrum
    residual = np.where(np.isfinite(fit.sigma), star.flux.double().numpy() - fit.model, 0.0)
    rows = []
    for one in _of_star(simulator, star, fit, element):
        inside = one.inside
        offset = float(one.estimator @ residual[inside])
        centre = float(one.share @ wave[inside])
        near = ", ".join(f"{species} {aa:.2f}" for species, aa in named_lines(*wave[inside][[0, -1]]))
        first, last = float(wave[inside][0]), float(wave[inside][-1])
        rows.append((centre, first, last, near, fit.labels[element] + offset, one.error))
    names = ("wavelength", "first", "last", "lines", "abundance", "error")
    table = QTable(rows=rows or None, names=names, dtype=(float, float, float, str, float, float))
    for name, unit in zip(names, (u.AA, u.AA, u.AA, None, u.dex, u.dex), strict=True):
        if unit is not None:
            table[name].unit = unit
    values, errors = (np.array([row[k] for row in rows], float) for k in (4, 5))
    table.meta |= {"file": result.file, "label": column_of(element), "description": LABELS[element].description}
    table.meta |= {"fit": fit.labels[element], "number": len(rows), **_mean(values, errors)}
    return table


def without_element(result: Result, element: str, emulator: str = "packaged") -> tuple[float, Floats]:
    """The fit's spectrum (p,) with as little of an element as the model allows, and that abundance ([X/M], dex).

    Raises:
        DomainError: as `element_lines`.
    """
    simulator, fit = _refined(result, element, emulator)
    least, with_it, without = with_least(simulator, _labels(simulator, fit), float(result.spectrum.resolution), element)
    return least, fit.model + without - with_it


def with_least(
    simulator: Simulator, labels: torch.Tensor, resolution: float, element: str
) -> tuple[float, Floats, Floats]:
    """Least abundance of an element in the model ([X/M], dex), and spectra (p,) with the labels and with that one."""
    column = simulator.labels.index(element)
    least = float(simulator.space.lower[column])
    rows = labels.repeat(2, 1)
    rows[1, column] = least
    flux, without = simulator.spectra(rows, torch.full((2,), float(resolution))).double().numpy()
    return least, flux, without


def _refined(result: Result, element: str, emulator: str) -> tuple[Simulator, Refinement]:
    """The physics of a refined result, the element being one of its labels."""
    physics, fit = physics_of(result.model, emulator, True), result.refinement
    if fit is None or physics is None:
        raise DomainError(f"{result.file}: single lines need a refined result")
    there = [name for name in ELEMENTS if name in physics.coordinates.simulator.labels]
    if element not in there:
        raise DomainError(f"no element {element!r} in the model; there are {', '.join(there)}", parameter="element")
    return physics.coordinates.simulator, fit


def _mean(values: Floats, errors: Floats) -> dict[str, float | None]:
    """Weighted mean of lines (n,), its error, and the scatter of the lines."""
    if not len(values):
        return {"mean": None, "error_of_mean": None, "scatter": None}
    weight = errors**-2
    mean = float((weight * values).sum() / weight.sum())
    error, scatter = float(weight.sum() ** -0.5), None
    if len(values) >= _FEWEST:
        variance = float((weight * (values - mean) ** 2).sum() / weight.sum()) * len(values) / (len(values) - 1)
        effective = float(weight.sum() ** 2 / (weight**2).sum())
        scatter = variance**0.5
        error = max(error, scatter / effective**0.5)
    return {"mean": mean, "error_of_mean": error, "scatter": scatter}
