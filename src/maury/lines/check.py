"""Check a line list before a synthesis: coverage, gaps, order, duplicates, log gf, energies, isotopes, damping."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.errors import DomainError
from maury.synthesis.linefile import LineFile
from maury.wavelengths import C_KMS

MARGIN_KMS = 250.0
"""Margin beyond the window that a list must cover: rotation of 200 km/s and wings of lines outside, km/s."""

LARGEST_LOGGF = 2.0
"""Values above are refused as mistakes: no electric dipole line in the optical has gf above 100."""

GAP_AA = 1.0
"""Stretches without any line that are longer are reported."""

NEAR_AA, NEAR_EV, NEAR_DEX = 0.01, 0.003, 0.3
"""Two lines of one species closer than this in wavelength, lower energy and log gf may be one line from two sources."""

_STRENGTH_THETA = 1.0
_STRONG = -4.5
"""Lines with log gf - theta E above this (theta = 1, some 5000 K) can show damping wings if the element is abundant."""

WINGED = ("Mg 1", "Ca 1", "Fe 1", "Fe 2", "Ti 1", "Ti 2", "Cr 1", "Ni 1", "Na 1", "Si 1")
"""Species abundant enough for damping wings."""

EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        name: name of the check.
        count: number of lines or ranges that fail it; 0 is good.
        serious: True: repair the list; False: for information.
        meaning: meaning of the result, in words.
        examples: the first few lines or ranges.
    """

    name: str
    count: int
    serious: bool
    meaning: str
    examples: tuple[str, ...] = ()


def check_lines(lines: LineFile, window_aa: tuple[float, float]) -> list[Finding]:
    """Check a line list for the synthesis of a window.

    Args:
        lines: the list.
        window_aa: first and last wavelength of the spectra to synthesise, Å air.

    Raises:
        DomainError: the window is empty, or the list has no line in it.
    """
    low, high = window_aa
    if not low < high:
        raise DomainError(
            f"window {low:g} to {high:g} Å is empty: the first wavelength must be below the second", parameter="window"
        )
    wave = lines.wavelength_aa
    if not ((wave >= low) & (wave <= high)).any():
        raise DomainError(
            f"{lines.path}: no line between {low:g} and {high:g} Å; it covers {wave.min():.1f} to {wave.max():.1f} Å",
            parameter="window",
        )
    return [
        _coverage(lines, low, high),
        _gaps(lines, low, high),
        _order(lines),
        _duplicates(lines),
        _near_duplicates(lines),
        _loggf(lines),
        _energy(lines),
        _isotopes(lines),
        *_damping(lines),
    ]


def _coverage(lines: LineFile, low: float, high: float) -> Finding:
    first, last = lines.wavelength_aa.min(), lines.wavelength_aa.max()
    need = low * (1 - MARGIN_KMS / C_KMS), high * (1 + MARGIN_KMS / C_KMS)
    short = [f"starts at {first:.2f}, needed {need[0]:.2f}"] * bool(first > need[0] + GAP_AA)
    short += [f"ends at {last:.2f}, needed {need[1]:.2f}"] * bool(last < need[1] - GAP_AA)
    return Finding(
        "coverage",
        len(short),
        True,
        f"ends of the window ({low:g} to {high:g} Å and {MARGIN_KMS:g} km/s more for rotation and wings) not reached",
        tuple(short),
    )


def _gaps(lines: LineFile, low: float, high: float) -> Finding:
    wave = np.sort(lines.wavelength_aa)
    wave = np.r_[low, wave[(wave > low) & (wave < high)], high]
    at = np.flatnonzero(np.diff(wave) > GAP_AA)
    return Finding(
        "gaps",
        len(at),
        True,
        f"stretches of more than {GAP_AA:g} Å without a line",
        tuple(f"{wave[i]:.2f} to {wave[i + 1]:.2f} Å" for i in at[:EXAMPLES]),
    )


def _order(lines: LineFile) -> Finding:
    at = np.flatnonzero(np.diff(lines.wavelength_aa) < 0) + 1
    return Finding("order", len(at), True, "lines with a shorter wavelength than the line before", _examples(lines, at))


def _duplicates(lines: LineFile) -> Finding:
    columns = (lines.species, lines.wavelength_aa, lines.excitation_ev, lines.loggf)
    seen: set[tuple[object, ...]] = set()
    at = []
    for index, key in enumerate(zip(*columns, strict=True)):
        if key in seen:
            at.append(index)
        seen.add(key)
    return Finding(
        "duplicates",
        len(at),
        True,
        "lines that repeat species, wavelength, energy and log gf of another: counted twice",
        _examples(lines, np.array(at, int)),
    )


def _near_duplicates(lines: LineFile) -> Finding:
    at = np.array(sorted(set(_near(lines))), int)
    return Finding(
        "near duplicates",
        len(at),
        False,
        f"pairs within {NEAR_AA:g} Å, {NEAR_EV:g} eV, {NEAR_DEX:g} dex from two references: perhaps one line twice",
        _examples(lines, at),
    )


def _near(lines: LineFile) -> Iterator[int]:
    order = np.lexsort((lines.wavelength_aa, lines.species))
    for i, j in pairwise(order):
        if (
            lines.species[i] == lines.species[j]
            and 0 <= lines.wavelength_aa[j] - lines.wavelength_aa[i] < NEAR_AA
            and abs(lines.excitation_ev[j] - lines.excitation_ev[i]) < NEAR_EV
            and 0 < abs(lines.loggf[j] - lines.loggf[i]) < NEAR_DEX
            and lines.reference[i] != lines.reference[j]
        ):
            yield int(j)


def _loggf(lines: LineFile) -> Finding:
    at = np.flatnonzero(lines.loggf > LARGEST_LOGGF)
    return Finding("log gf", len(at), True, f"log gf above {LARGEST_LOGGF:g}", _examples(lines, at))


def _energy(lines: LineFile) -> Finding:
    at = np.flatnonzero(lines.excitation_ev < 0)
    return Finding("energy", len(at), True, "negative energy of the lower level", _examples(lines, at))


def _isotopes(lines: LineFile) -> Finding:
    """Check for lines of single isotopes in a list whose footer states that log gf is not scaled by fractions."""
    unscaled = any("NOT scaled" in line for line in lines.text[lines.row[-1] :])
    named = np.array([re.search(r"\(\d+\)[A-Z]", str(reference)) is not None for reference in lines.reference])
    at = np.flatnonzero(named & unscaled)
    meaning = "lines of single isotopes whose log gf, by the footer of the list, is not scaled by isotopic fractions"
    return Finding("isotopes", len(at), True, meaning, _examples(lines, at))


def _damping(lines: LineFile) -> Iterator[Finding]:
    strength = lines.loggf - _STRENGTH_THETA * lines.excitation_ev
    winged = np.isin(lines.species, WINGED) & (strength > _STRONG)
    for name, values, text in (
        ("radiative damping", lines.radiative, "the classical value"),
        ("Stark damping", lines.stark, "none, or an approximation of the synthesis code"),
        ("van der Waals damping", lines.waals, "Unsöld's approximation"),
    ):
        at = np.flatnonzero(winged & (values == 0))
        at = at[np.argsort(-strength[at], kind="stable")]
        yield Finding(
            name,
            len(at),
            False,
            f"lines of abundant species that can be strong without it ({winged.sum()} such lines): they get {text}",
            _examples(lines, at),
        )


def _examples(lines: LineFile, at: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(
        f"{lines.species[i]} {lines.wavelength_aa[i]:.3f} ({lines.excitation_ev[i]:.3f} eV, {lines.loggf[i]:.3f})"
        for i in at[:EXAMPLES]
    )


def species_table(lines: LineFile) -> list[dict[str, Any]]:
    """Number of lines of each species, and of lines with each damping constant, sorted by number of lines."""
    rows = []
    names, counts = np.unique(lines.species, return_counts=True)
    for name, count in sorted(zip(names, counts, strict=True), key=lambda pair: (-pair[1], pair[0])):
        mine = lines.species == name
        rows.append(
            {
                "species": str(name),
                "lines": int(count),
                "radiative": int((lines.radiative[mine] != 0).sum()),
                "stark": int((lines.stark[mine] != 0).sum()),
                "waals": int((lines.waals[mine] != 0).sum()),
                "anstee_barklem": int((lines.waals[mine] > 20).sum()),
                "loggf": [float(lines.loggf[mine].min()), float(lines.loggf[mine].max())],
            }
        )
    return rows
