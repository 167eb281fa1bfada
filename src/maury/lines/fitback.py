"""Fit the labels of a standard star with a line list: their offsets from literature measure the list's zero points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from maury.lines.calibration_settings import SOLVED
from maury.lines.leastsquares import STUDENT_NU, robust_steps
from maury.lines.standards import CONTINUUM_WIDTH, Standard, element_derivatives, elements_with_lines
from maury.synthesis.linefile import LineFile
from maury.wavelengths import Floats

WIDE = {"teff": 500.0, "logg": 0.7, "mh": 0.5, "vmic": 0.5, "vmac": 1.5, "velocity": 0.3, "resolution": 0.1}
"""Standard deviations of weak priors of the labels, which keep the solution finite; 0.15 dex for abundances."""

_ABUNDANCE_WIDTH = 0.15
_SIGMA = 0.01
_ELEMENT_AA = 0.12

ANCHOR = {"teff": 3.0, "logg": 0.005, "mh": 0.003, "vmic": 0.02}
"""Tolerances of the recovered labels of the anchor star: K, dex, dex, km/s."""

_ANCHOR_SIGMA = 0.1


@dataclass(frozen=True)
class FitBack:
    """Fitted minus literature labels, and the residuals of the fit (p,)."""

    labels: dict[str, float]
    residual: Floats


def _columns(
    lines: LineFile, standard: Standard, labels_free: bool, abundances: Sequence[str] | None
) -> tuple[list[str], Floats, Floats]:
    """Names, derivatives (p, k) and prior standard deviations of the fitted parameters."""
    columns: dict[str, Floats] = {}
    if labels_free:
        derivatives = standard.label_derivatives()
        columns |= {name: derivatives[name] for name in SOLVED}
        by_line = standard.line_derivatives()
        elements = element_derivatives(lines, by_line)
        hydride = by_line @ (lines.species == "MgH 1").astype(float)
        for element in elements_with_lines(lines, by_line) if abundances is None else abundances:
            if element in elements:
                columns[element] = elements[element] + (hydride if element == "Mg" else 0.0)
    columns |= standard.free_derivatives()
    smooth = standard.continuum_derivatives().toarray()
    widths = np.r_[[WIDE.get(name, _ABUNDANCE_WIDTH) for name in columns], np.full(smooth.shape[1], CONTINUUM_WIDTH)]
    return list(columns), np.column_stack([*columns.values(), smooth]), widths


def _sigma(standard: Standard) -> Floats:
    step = float(np.median(np.diff(standard.wavelength_aa)))
    return np.full(len(standard.flux), _SIGMA * np.sqrt(max(1.0, _ELEMENT_AA / step)))


def fit_back(
    lines: LineFile, standard: Standard, labels_free: bool = True, abundances: Sequence[str] | None = None
) -> FitBack:
    """Fit labels, broadening and continuum of a star, linearised about the labels of its model.

    With ``labels_free``, abundances are free, too: those given, or None for those with enough lines.
    """
    names, derivatives, widths = _columns(lines, standard, labels_free, abundances)
    difference = standard.observed - standard.model
    centre = np.zeros(len(widths))
    solution = robust_steps(sparse.csc_array(derivatives), difference, _sigma(standard), widths, centre)
    return FitBack(dict(zip(names, solution.step.tolist(), strict=False)), solution.residual)


def anchor_rows(
    lines: LineFile, standard: Standard, by_parameter: sparse.csc_array, abundances: Sequence[str] | None = None
) -> tuple[sparse.csc_array, Floats, Floats]:
    """Equations that fix the labels of the anchor star: with the new log gf, their fitted offsets have to be zero.

    Fitted offsets are linear in the residuals, $M r$ with $M = (L^T W L + P)^{-1} L^T W$. Changes $x$ of the line
    parameters change the residuals by $-J x$, so that $M J x = M r$. ``by_parameter`` is J (p, k), derivatives of the
    anchor's pixels by the lines' parameters.

    Returns:
        Rows (labels, k), their target and sigma (labels,).
    """
    _, derivatives, widths = _columns(lines, standard, True, abundances)
    residual = standard.observed - standard.model
    sigma = _sigma(standard)
    weight = 1 / sigma**2 / (1 + (residual / sigma) ** 2 / STUDENT_NU)
    normal = (derivatives.T * weight) @ derivatives + np.diag(1 / widths**2)
    back = np.linalg.solve(normal, derivatives.T * weight)[: len(ANCHOR)]
    scale = 1 / np.array(list(ANCHOR.values()))
    rows = sparse.csc_array((by_parameter.T @ (back * scale[:, None]).T).T)
    return rows, (back @ residual) * scale, np.full(len(scale), _ANCHOR_SIGMA)
