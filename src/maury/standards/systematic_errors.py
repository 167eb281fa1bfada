"""Systematic errors of labels: scatter of fit minus literature in excess of the errors of fit and literature.

For Teff, log g, [M/H] and [alpha/M] the standard deviation s(Teff, [M/H], log g) of `maury.likelihood.systematics`
maximises the likelihood of the differences, normal with the variance of statistical error, literature's error and s in
quadrature. Each star counts once. As there are few stars, ln s has a wide prior about a common value and a narrower one
on its steps between temperatures.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize

from maury.inference import predict
from maury.likelihood.systematics import size_at
from maury.standards.cool_dwarfs import corrections_without
from maury.standards.table import Standard
from maury.wavelengths import Floats

Numbers = Mapping[str, Any]
Labels = Mapping[str, float]
Predicted = tuple[str, Numbers, Labels, Labels]

NODES_K = (3700.0, 4200.0, 5000.0, 6500.0)
CENTRE = {"teff": 40.0, "logg": 0.08, "mh": 0.04, "alpha": 0.04}
"""Middle of the prior on s; a factor of 3 is one standard deviation."""

WIDTH, STEP, POOR, DWARF = np.log(3), 0.7, 0.7, 0.7
"""Standard deviations of ln s at a temperature, of its step to the next, and of its growth in metal-poor stars and from
giants to cool dwarfs."""

COOLEST_K, HOTTEST_K = 3450.0, 7000.0
_ALPHA_ERROR = 0.05


@dataclass(frozen=True)
class Difference:
    """Fit minus literature of a star, the mean of its spectra."""

    star: str  # its name
    off: float  # the difference, in the label's unit
    variance: float  # of its statistical error and of the literature's
    teff: float  # of the fit, K
    mh: float  # of the fit
    logg: float  # of the fit


def predicted(star: Standard, model: str, emulator: str) -> Predicted:
    """The star's name, the result of its spectrum, labels and uncertainties of the literature.

    A cool dwarf that gives a correction (`maury.standards.cool_dwarfs`) is corrected by the others alone.

    Raises:
        MauryError: as `maury.predict`.
    """
    result = predict(
        star.read(), model, velocity_kms=star.velocity_kms, emulator=emulator, labels="alpha",
        reference=corrections_without(star.star, model),
    )  # fmt: skip
    return star.star, {"file": star.path.name} | result.numbers(), star.labels, star.errors


def differences(spectra: Iterable[Predicted], name: str) -> list[Difference]:
    """Differences of a label by star."""
    found: dict[str, list[tuple[Numbers, Labels, Labels]]] = {}
    for star, result, known, errors in spectra:
        if name in known and "teff" in known and result.get(name) is not None and COOLEST_K < known["teff"] < HOTTEST_K:
            found.setdefault(star, []).append((result, known, errors))
    stars = []
    for star, rows in found.items():
        off = np.mean([result[name] - known[name] for result, known, _ in rows])
        own = np.mean([result[f"{name}_stat"] for result, _, _ in rows])
        first, _, errors = rows[0]
        error = errors.get(name, _ALPHA_ERROR if name == "alpha" else 0.0)
        stars.append(Difference(star, float(off), float(own**2 + error**2), first["teff"], first["mh"], first["logg"]))
    return stars


def fit_sizes(stars: Sequence[Difference], name: str) -> tuple[list[float], float, float]:
    """Sizes at `NODES_K` in the label's unit, their growth in metal-poor stars, and in cool dwarfs."""
    centre = np.log(CENTRE[name])

    def loss(x: Floats) -> float:
        nodes, poor, dwarf = x[:-2], abs(x[-2]), x[-1]
        total = sum(((v - centre) / WIDTH) ** 2 for v in nodes) / len(nodes)
        total += sum(((b - a) / STEP) ** 2 for a, b in pairwise(nodes)) + (poor / POOR) ** 2 + (dwarf / DWARF) ** 2
        for star in stars:
            size = size_at(star.teff, star.mh, NODES_K, np.exp(nodes).tolist(), poor, dwarf, star.logg)
            variance = star.variance + size**2
            total += star.off**2 / variance + np.log(variance)
        return float(0.5 * total)

    start = np.r_[np.full(len(NODES_K), centre), 0.2, 0.0]
    x = minimize(loss, start, method="Powell", options={"maxiter": 20_000, "xtol": 1e-5}).x
    return np.exp(x[:-2]).tolist(), float(abs(x[-2])), float(x[-1])


def leave_one_out(stars: Sequence[Difference], name: str) -> list[dict[str, Any]]:
    """Leave-one-out test: ``star``, ``off``, ``size`` fitted to the others, ``ratio`` of ``off`` to the whole error."""
    rows = []
    for star in stars:
        others = [other for other in stars if other is not star]
        size = size_at(star.teff, star.mh, NODES_K, *fit_sizes(others, name), star.logg)
        ratio = star.off / np.sqrt(star.variance + size**2)
        rows.append(
            {"star": star.star, "off": round(star.off, 3), "size": round(size, 3), "ratio": round(float(ratio), 2)}
        )
    return rows


def of_labels(spectra: Sequence[Predicted]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sizes for all labels of `CENTRE`, to be stored for refinement, and leave-one-out tests of each star.

    Args:
        spectra: of each the star's name, the result (``teff``, ``teff_stat`` ...), labels and errors of the literature.

    Returns:
        ``date``, ``machine``, ``teff_k``, ``size``, ``poor`` and ``dwarf`` by label; and by label the number of
        ``stars``, ``within_own_68_percent`` (a share) and ``leave_one_out``.
    """
    sizes, poor, dwarf, report = {}, {}, {}, {}
    for name in CENTRE:
        stars = differences(spectra, name)
        sizes[name], poor[name], dwarf[name] = fit_sizes(stars, name)
        rows = leave_one_out(stars, name)
        inside = float(np.mean([abs(row["ratio"]) < 1 for row in rows])) if rows else 0.0
        report[name] = {"stars": len(stars), "within_own_68_percent": round(inside, 3), "leave_one_out": rows}
    stored = {
        "date": datetime.date.today().isoformat(), "machine": platform.machine(), "teff_k": list(NODES_K),
        "size": {name: [float(f"{s:.3g}") for s in values] for name, values in sizes.items()},
        "poor": {name: round(value, 3) for name, value in poor.items()},
        "dwarf": {name: round(value, 3) for name, value in dwarf.items()},
    }  # fmt: skip
    return stored, report
