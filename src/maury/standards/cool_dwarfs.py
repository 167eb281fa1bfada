"""Corrections of cool dwarfs from standard stars, and their effect on each star without its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maury.inference import predict
from maury.inference.cool_dwarfs import HOTTEST_K, PACKAGED, CoolDwarfs, load_cool_dwarfs
from maury.inference.differential import Reference
from maury.inference.refinement import DISTORTION_KMS, RefinementModel, measured_on_standards
from maury.likelihood import ErrorModel
from maury.progress import Advance, silent
from maury.standards.physics_errors import MAIN, Fitted
from maury.standards.table import Standard

RANGE_K, LEAST_LOGG = (3500.0, 5200.0), 4.0
"""Temperatures and gravities of the literature with which a standard star gives a correction; the warmest hardly need
one, so that corrections of cooler stars decrease towards them."""

BROADENING = {"vmic": 1.0, "vmac": 1.5, "vsini": 1.5}
"""Usual velocities of a slowly rotating dwarf of these temperatures, km/s."""


LARGEST = 1.2
"""Largest correction, ln of a ratio: cores of strong lines are wrong by a factor of two and more."""


def gives_correction(star: Standard) -> bool:
    """Whether a star is a cool dwarf whose labels are of the literature."""
    known = star.labels
    cool = RANGE_K[0] <= known.get("teff", 0.0) <= RANGE_K[1]
    return cool and known.get("logg", 0.0) > LEAST_LOGG and "mh" in known and star.verified


def corrections_without(star: str, model: str) -> CoolDwarfs | None:
    """Corrections by the other standard dwarfs, to test a star that gives one; None for any other star."""
    dwarfs = load_cool_dwarfs(measured_on_standards(model, PACKAGED))
    return dwarfs.without(star) if star in dwarfs.names else None


def measure_cool_dwarfs(stars: Sequence[Fitted], physics: RefinementModel) -> CoolDwarfs | None:
    """Corrections of the cool dwarfs among standard stars, or None without any."""
    simulator = physics.coordinates.simulator
    plain = replace(physics, errors=ErrorModel(simulator, distortion_kms=DISTORTION_KMS))
    references: dict[str, tuple[float, list[Reference]]] = {}
    for fitted in stars:
        star = fitted.star
        if gives_correction(star):
            labels = BROADENING | {name: star.labels[name] for name in MAIN}
            found = references.setdefault(star.star, (star.labels["teff"], []))
            found[1].append(Reference.of(plain, fitted.data, labels, star.path.name, LARGEST))
    return CoolDwarfs.of(references, simulator.pixels.wavelength_aa) if references else None


def compare_dwarfs(
    stars: Sequence[Fitted],
    dwarfs: CoolDwarfs,
    model: str,
    emulator: str,
    advance: Advance = silent,
) -> list[dict[str, Any]]:
    """Infer each star below `HOTTEST_K` that gives a correction with that of the others.

    Returns:
        A row for each spectrum: ``file``, ``star``, ``used`` (whether the correction made it more probable), and by
        label the values of the literature, uncorrected and corrected.
    """
    rows = []
    for fitted in stars:
        star = fitted.star
        if star.star in dwarfs.names and fitted.labels["teff"] <= HOTTEST_K:
            others = dwarfs.without(star.star)
            result = predict(star.read(), model, velocity_kms=star.velocity_kms, emulator=emulator, reference=others)
            row: dict[str, Any] = {"file": star.path.name, "star": star.star}
            row["used"] = "cool_dwarf_standards" in result.flags
            row |= {name: [star.labels[name], fitted.labels[name], result.values[name]] for name in MAIN}
            rows.append(row)
        advance(1)
    return rows


def dwarf_table(rows: Sequence[dict[str, Any]]) -> str:
    """Labels of the literature, without correction, and with that of the other dwarfs, as Markdown."""
    lines = [
        "| file | star | Teff (K): literature, uncorrected, corrected | log g | [M/H] |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [", ".join(f"{x:.{digits}f}" for x in row[name]) for name, digits in zip(MAIN, (0, 2, 2), strict=True)]
        lines.append(f"| {' | '.join([row['file'], row['star'], *cells])} |")
    return "\n".join(lines) + "\n"
