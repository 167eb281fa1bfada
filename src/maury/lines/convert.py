"""Convert line lists of other formats to VALD's short format, and merge two lists."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy import units
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from maury.errors import ConfigError, DomainError, FormatError
from maury.lines.formats import FORMATS, Record
from maury.lines.isotopes import FRACTIONS, Fractions
from maury.synthesis.linefile import LineFile
from maury.wavelengths import Floats, vacuum_to_air

_HEAD = (
    "                                             Damping parameters   Lande\n"
    "Elm Ion       WL_air(A) Excit(eV) log gf*   Rad.  Stark    Waals  factor   References\n"
)
_TAIL = "* oscillator strengths were scaled by the solar isotopic ratios.\n References:\n  1. {}\n"

SAME_AA, SAME_EV = 0.05, 0.005
"""Lines of one species in two lists are one transition within these differences of wavelength and lower energy."""

CONTRADICTION_DEX = 1.0
"""Transitions whose log gf differ by more than this between two lists are reported."""


@dataclass(frozen=True)
class Converted:
    """A list in VALD's short format."""

    text: str  # text of the file
    lines: int  # number of lines
    span_aa: tuple[float, float]  # first and last wavelength, Å air
    notes: tuple[str, ...]  # omissions, assumptions and contradictions, one sentence each


def convert(
    path: str | os.PathLike[str],
    kind: str,
    window_aa: tuple[float, float] | None = None,
    fractions: Fractions | None = FRACTIONS,
    medium: str | None = None,
    unit: str | None = None,
) -> Converted:
    """Convert a line list to VALD's short format: air, Å, eV, log gf scaled by isotopic fractions.

    Args:
        path: the list.
        kind: format of the list, a key of `maury.lines.formats.FORMATS`.
        window_aa: range of wavelengths to convert, Å air; None for all.
        fractions: isotopic fractions; None if log gf is scaled already.
        medium: medium of the wavelengths, "air" or "vacuum"; None for that of the format.
        unit: unit of the wavelengths or (vacuum) wavenumbers; None for that of the format.

    Raises:
        ConfigError: the format, medium or unit is unknown.
        FormatError: the file does not have this format, or a value is not finite.
        DomainError: there is no line in the window.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format {kind!r}: must be one of {', '.join(FORMATS)}", parameter="kind")
    if medium not in (None, "air", "vacuum"):
        raise ConfigError(f"medium {medium!r}: must be air or vacuum", parameter="medium")
    reader, usual_unit, usual_medium = FORMATS[kind]
    notes: Counter[str] = Counter()
    path = Path(path)
    records = list(reader(path, window_aa, notes))
    wave = _air([record.wavelength for record in records], unit or usual_unit, medium or usual_medium)
    _finite(path, records, wave)
    low, high = window_aa or (-np.inf, np.inf)
    inside = np.flatnonzero((wave >= low) & (wave <= high))
    if not inside.size:
        covers = f"; it covers {wave.min():.1f} to {wave.max():.1f}, read as {unit or usual_unit}" if records else ""
        raise DomainError(f"{path}: no line between {low:g} and {high:g} Å{covers}", parameter="window")
    rows = []
    for i in inside[np.argsort(wave[inside], kind="stable")].tolist():
        record = records[i]
        share = 0.0 if fractions is None else record.log_fraction
        share = record.species.log_fraction(fractions or {}) if share is None else share
        if share is None:
            notes[f"lines of {record.species.isotopes}: no isotopic fraction is known, log gf is not scaled"] += 1
        reference = f"{record.reference} {record.species.isotopes}".strip()
        numbers = (record.excitation_ev, record.loggf + (share or 0.0), record.radiative, record.stark, record.waals)
        rows.append(row(record.species.name, wave[i], *numbers, reference))
    said = tuple(f"{count} {text}" for text, count in notes.items())
    text = _HEAD + "".join(rows) + _TAIL.format(f"{path.name}, {kind}")
    return Converted(text, len(rows), (float(wave[inside].min()), float(wave[inside].max())), said)


def row(
    species: str,
    wavelength_aa: float,
    excitation_ev: float,
    loggf: float,
    radiative: float,
    stark: float,
    waals: float,
    reference: str,
) -> str:
    """Format a spectral line as a row of VALD's short format."""
    return (
        f"{repr(species) + ',':<13}{wavelength_aa:>11.5f},{excitation_ev:9.4f},{loggf:8.3f},{radiative:6.3f},"
        f"{stark:6.3f},{waals:8.3f}, 99.000, '   1 {reference}'\n"
    )


def _air(values: Sequence[float], unit: str, medium: str) -> Floats:
    """Convert wavelengths or wavenumbers to wavelengths in Å, air."""
    try:
        given = units.Unit(unit)
        wave = np.asarray((np.asarray(values, float) * given).to_value(units.AA, units.spectral()))
    except (ValueError, units.UnitsError) as error:
        message = f"wavelength unit {unit!r}: not a unit of wavelength or wavenumber"
        raise ConfigError(message, parameter="unit") from error
    vacuum = medium == "vacuum" or not given.is_equivalent(units.AA)
    return vacuum_to_air(wave) if vacuum else wave


def _finite(path: Path, records: Sequence[Record], wave: Floats) -> None:
    for i, record in enumerate(records):
        values = (wave[i], record.excitation_ev, record.loggf, record.radiative, record.stark, record.waals)
        if not np.isfinite(values).all():
            raise FormatError(f"{path}: spectral line {i + 1} ({record.species.name}) has a value that is not finite")


def merge(
    first: LineFile, second: LineFile, gf: Literal["a", "b"] = "a", damping: Literal["a", "b"] = "a"
) -> Converted:
    """Merge two lists: transitions in both appear once, with log gf from list ``gf`` and damping from ``damping``.

    Transitions are matched by species, wavelength and lower energy. Components (isotopes, hyperfine structure),
    wavelengths and references come from the list ``gf``, damping constants missing in ``damping`` from the other list.
    """
    base, other = (first, second) if gf == "a" else (second, first)
    pairs = _pairs(base, other)
    prefer_base = damping == gf
    values = {name: getattr(base, name).copy() for name in ("radiative", "stark", "waals")}
    for i, j in zip(*pairs, strict=True):
        for name, mine in values.items():
            theirs = getattr(other, name)[j]
            if theirs and not (prefer_base and mine[i]):
                mine[i] = theirs
    new = np.setdiff1d(np.arange(len(other)), pairs[1])
    rows = [
        (float(base.wavelength_aa[i]), _row(base, i, *(float(values[n][i]) for n in values))) for i in range(len(base))
    ]
    rows += [
        (float(other.wavelength_aa[j]), _row(other, j, *(float(getattr(other, n)[j]) for n in values)))
        for j in new.tolist()
    ]
    rows.sort(key=lambda pair: pair[0])
    shared = len(np.unique(pairs[0]))
    notes = [f"{shared} lines of {base.path.name} are also in {other.path.name}, which adds {len(new)} lines"]
    notes += _contradictions(base, other, pairs)
    text = _HEAD + "".join(row for _, row in rows) + _TAIL.format(f"{first.path.name} and {second.path.name}")
    return Converted(text, len(rows), (rows[0][0], rows[-1][0]), tuple(notes))


def _row(lines: LineFile, i: int, radiative: float, stark: float, waals: float) -> str:
    reference = str(lines.reference[i]).lstrip("0123456789 ")
    wave, energy, loggf = (float(values[i]) for values in (lines.wavelength_aa, lines.excitation_ev, lines.loggf))
    return row(str(lines.species[i]), wave, energy, loggf, radiative, stark, waals, reference)


def _pairs(base: LineFile, other: LineFile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match lines of two lists: indices of each pair, the pair closest in wavelength last for each line."""
    found: list[tuple[int, float, int]] = []
    for species in np.intersect1d(base.species, other.species):
        mine, theirs = np.flatnonzero(base.species == species), np.flatnonzero(other.species == species)
        theirs = theirs[np.argsort(other.wavelength_aa[theirs], kind="stable")]
        wave = other.wavelength_aa[theirs]
        for i in mine.tolist():
            low, high = np.searchsorted(wave, base.wavelength_aa[i] + np.array([-SAME_AA, SAME_AA]))
            near = theirs[low:high]
            near = near[np.abs(base.excitation_ev[i] - other.excitation_ev[near]) <= SAME_EV]
            away = np.abs(base.wavelength_aa[i] - other.wavelength_aa[near])
            found += [(i, -float(a), int(j)) for a, j in zip(away, near, strict=True)]
    found.sort()
    return np.array([i for i, _, _ in found], int), np.array([j for _, _, j in found], int)


def _contradictions(base: LineFile, other: LineFile, pairs: tuple[NDArray[np.int64], NDArray[np.int64]]) -> list[str]:
    """Report transitions whose gf, summed over components, differ by more than `CONTRADICTION_DEX`."""
    size = len(base), len(other)
    graph = sparse.coo_array((np.ones(len(pairs[0])), pairs), shape=size)
    both = sparse.block_array([[None, graph], [graph.T, None]])
    group = connected_components(both, directed=False)[1] if len(pairs[0]) else np.arange(sum(size))
    total = [
        np.bincount(part, 10**lines.loggf, minlength=group.max() + 1)
        for part, lines in ((group[: size[0]], base), (group[size[0] :], other))
    ]
    notes = []
    for number in dict.fromkeys(group[pairs[0]].tolist()):
        ours, theirs = (float(np.log10(sums[number])) for sums in total)
        if abs(ours - theirs) > CONTRADICTION_DEX:
            i = int(np.flatnonzero(group[: size[0]] == number)[0])
            name = f"{base.species[i]} {base.wavelength_aa[i]:.3f} Å ({base.excitation_ev[i]:.3f} eV)"
            notes.append(
                f"{name}: log gf {ours:.2f} in {base.path.name}, {theirs:.2f} in {other.path.name}: "
                f"they contradict each other by over {CONTRADICTION_DEX:g} dex"
            )
    return notes
