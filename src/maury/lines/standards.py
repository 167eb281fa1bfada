"""A standard star during a calibration: observed spectrum, model, and derivatives of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from maury.lines.calibration_settings import SOLVED, StandardStar, atoms
from maury.lines.response import Response
from maury.lines.standard_star import Broadening, broadening_kernel, broadening_matrix, continuum, continuum_basis
from maury.synthesis.linefile import LineFile
from maury.wavelengths import C_KMS, Floats, LogGrid

FREE_WIDTHS = {"vmac": 1.0, "resolution": 0.05, "velocity": 0.1}
"""Prior standard deviations of parameters that are always fitted: macroturbulence (km/s), ln R, velocity (km/s)."""

CONTINUUM_WIDTH = 0.05
"""Prior standard deviation of the coefficients of the continuum."""

_RESOLUTION_ELEMENT_AA = 0.12
_CORE = 0.4
"""Model flux below which pixels are line cores with larger sigma."""
_LEAST_CHANGE = 0.003
"""Least change of flux per dex for which an abundance is fitted."""
_STRONG, _FEWEST = 0.02, 3
"""Change of flux per dex of a strong line, and least number of them for an element."""


@dataclass
class Standard:
    """An observed star with its model."""

    star: StandardStar  # its settings, with the current labels
    wavelength_aa: Floats  # wavelengths of the pixels (p,), Å air
    flux: Floats  # observed flux (p,)
    grid: LogGrid  # grid of the intrinsic spectrum
    response: Response  # intrinsic flux and derivatives
    window_aa: tuple[float, float]  # range of the continuum, Å
    spacing_aa: float  # distance between knots of the continuum, Å
    velocity_kms: float = 0.0  # remaining velocity, fitted, km/s
    magnesium_hydride: float = 0.0  # change of log gf of MgH in this star only, dex
    moved: dict[str, float] = field(default_factory=dict)  # sum of all steps of the star's parameters, by name

    def __post_init__(self) -> None:
        self.basis = continuum_basis(self.wavelength_aa, self.window_aa, self.spacing_aa)
        self.compare()
        self.velocity_kms = self._find_velocity()
        self.compare()

    def _broadening(self, velocity: float = 0.0, vmac: float = 0.0, resolution: float = 0.0) -> Broadening:
        star = self.star
        return Broadening(
            self.velocity_kms + velocity,
            star.vsini,
            max(star.vmac + vmac, 0.0),
            star.resolution * float(np.exp(resolution)),
        )

    def _matrix(self, **changes: float) -> sparse.csr_array:
        return broadening_matrix(self.wavelength_aa, self.grid, self._broadening(**changes))

    def compare(self) -> None:
        """Broaden the model, divide the continuum out of the observed flux, weigh the pixels.

        Sigma is enlarged for correlated pixels of a resolution element and in cores of strong lines, where LTE fails.
        """
        self.broaden = self._matrix()
        self.model = self.broaden @ self.response.flux
        self.observed = self.flux / continuum(self.flux, self.model, self.basis)
        step = float(np.median(np.diff(self.wavelength_aa)))
        correlated = max(1.0, _RESOLUTION_ELEMENT_AA / step)
        cores = 1 + 4 * np.clip((_CORE - self.model) / _CORE, 0, 1)
        self.sigma = self.star.sigma * np.sqrt(correlated) * cores

    def _find_velocity(self) -> float:
        """Velocity within -3 to 3 km/s at which observed flux and model differ least."""
        shifts = np.arange(-3, 3.01, 0.1)
        broadened = 1 + np.convolve(self.response.flux - 1, broadening_kernel(self._broadening()), "same")
        cost = []
        for shift in shifts:
            model = np.interp(self.wavelength_aa * (1 - shift / C_KMS), self.grid.wavelength_aa, broadened)
            cost.append(float((np.clip(self.observed - model, -0.1, 0.1) ** 2).sum()))
        i = int(np.clip(np.argmin(cost), 1, len(shifts) - 2))
        a, b, _ = np.polyfit(shifts[i - 1 : i + 2], cost[i - 1 : i + 2], 2)
        return float(-b / (2 * a))

    def line_derivatives(self) -> sparse.csr_array:
        """Derivatives of the pixels by log gf (p, lines)."""
        return sparse.csr_array(self.broaden @ self.response.lines)

    def label_derivatives(self) -> dict[str, Floats]:
        """Derivatives of the pixels by label (p,)."""
        return {name: self.broaden @ values for name, values in self.response.labels.items()}

    def free_derivatives(self) -> dict[str, Floats]:
        """Derivatives of the pixels by macroturbulence, ln R and velocity (p,)."""
        steps = {"vmac": 0.3, "resolution": 0.05, "velocity": 0.05}
        flux = self.response.flux
        return {name: (self._matrix(**{name: step}) @ flux - self.model) / step for name, step in steps.items()}

    def continuum_derivatives(self) -> sparse.csc_array:
        """Derivatives of the pixels by the coefficients of the continuum (p, functions)."""
        return sparse.csc_array(sparse.diags_array(self.model) @ self.basis)

    def own_parameters(self, lines: LineFile, by_line: sparse.csr_array) -> tuple[list[str], Floats, sparse.csc_array]:
        """Parameters of this star only: names, prior standard deviations, derivatives (p, parameters)."""
        widths = self.star.widths
        columns = {name: (getattr(widths, name), d) for name, d in self.label_derivatives().items() if name in SOLVED}
        for element, derivative in element_derivatives(lines, by_line).items():
            if np.abs(derivative).max() >= _LEAST_CHANGE:
                columns[f"[{element}/M]"] = (widths.abundance, derivative)
        hydride = by_line @ (lines.species == "MgH 1").astype(float)
        if np.abs(hydride).max() >= _LEAST_CHANGE:
            columns["MgH"] = (widths.magnesium_hydride, hydride)
        columns |= {name: (FREE_WIDTHS[name], derivative) for name, derivative in self.free_derivatives().items()}
        smooth = self.continuum_derivatives()
        names = [*columns, *[f"continuum {k}" for k in range(smooth.shape[1])]]
        width = np.r_[[w for w, _ in columns.values()], np.full(smooth.shape[1], CONTINUUM_WIDTH)]
        stacked = sparse.csc_array(np.column_stack([d for _, d in columns.values()]))
        return names, width, sparse.csc_array(sparse.hstack([stacked, smooth]))

    def take(self, names: list[str], steps: Floats) -> None:
        """Add steps to the star's parameters; the model is not recomputed."""
        labels: dict[str, float] = {}
        ratios = dict(self.star.abundances)
        for name, step in zip(names, steps.tolist(), strict=True):
            self.moved[name] = self.moved.get(name, 0.0) + step
            if name == "velocity":
                self.velocity_kms += step
            elif name == "resolution":
                labels[name] = self.star.resolution * float(np.exp(step))
            elif name == "vmac":
                labels[name] = max(self.star.vmac + step, 0.0)
            elif name == "MgH":
                self.magnesium_hydride += step
            elif name.startswith("["):
                element = name[1:].partition("/")[0]
                ratios[element] = ratios.get(element, 0.0) + step
            elif name in SOLVED:
                labels[name] = getattr(self.star, name) + step
        self.star = self.star.model_copy(update={**labels, "abundances": ratios})

    def moved_labels(self) -> dict[str, float]:
        """Total changes of the star's parameters, without the continuum."""
        return {name: round(value, 4) for name, value in self.moved.items() if not name.startswith("continuum")}


def element_derivatives(lines: LineFile, by_line: sparse.csr_array) -> dict[str, Floats]:
    """Derivatives of the pixels by the abundance of each element (p,): sums over its lines.

    A molecule counts for each of its atoms but H (carbon twice in C2); MgH has a parameter of its own.
    """
    sums: dict[str, Floats] = {}
    for formula, member in _formulae(lines):
        total = by_line @ member.astype(float)
        for element, count in atoms(formula).items():
            if element != "H" or formula == "H":
                sums[element] = sums.get(element, 0.0) + count * total
    return sums


def elements_with_lines(lines: LineFile, by_line: sparse.csr_array) -> list[str]:
    """Elements, iron and hydrogen left out, with at least three lines that change a pixel by 0.02 per dex or more."""
    shown = np.abs(by_line).max(0).toarray().ravel() >= _STRONG
    counts: dict[str, int] = {}
    for formula, member in _formulae(lines):
        for element in atoms(formula):
            counts[element] = counts.get(element, 0) + int((shown & member).sum())
    return sorted(element for element, count in counts.items() if count >= _FEWEST and element not in ("Fe", "H"))


def _formulae(lines: LineFile) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Elements and molecules of a list, without MgH, and their lines (n,)."""
    formulae = np.array([species.partition(" ")[0] for species in lines.species])
    for formula in np.unique(formulae):
        if formula != "MgH":
            yield str(formula), formulae == formula
