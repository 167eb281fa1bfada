"""Table of changes of log gf, which reproduces the calibrated line list from the old one, byte for byte.

In another list, a change is applied to the line of the same species, wavelength, lower energy and old log gf.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.files import sha256, write_text
from maury.synthesis.linefile import LineFile, Strings, read_line_file
from maury.synthesis.linelists import LineList
from maury.wavelengths import Floats

if TYPE_CHECKING:
    from astropy.table import Table  # takes a second to import, in each process of a synthesis

MARK = "CAL"
"""Word added to the references of a line with a calibrated log gf."""

ENERGY_ZERO_EV = 0.5
"""Energy at which the common slope of a molecule's lines gives no change."""

NEAR_AA, NEAR_EV, NEAR_DEX = 0.02, 0.005, 0.01
"""Largest differences of wavelength, lower energy and old log gf by which a line of another list is identified."""

_HEAD = ("list", "sha256", "result_sha256", "molecules")
_COLUMNS = ("species", "wavelength", "excitation", "number", "change", "source", "stars")


@dataclass(frozen=True)
class Changes:
    """Changes of log gf for one list.

    Attributes:
        table: columns species, wavelength (Å), excitation (eV), number (0 for the first line with these three), change
            (dex, without the molecules' terms), source (quality of the old value), stars (letters of ``notes``), and
            loggf (the old value), which old tables lack.
        terms: offset (dex) and slope (dex per eV, from 0.5 eV) common to all lines of a molecule: "MgH:offset".
        list_name: name of the list's file.
        list_digest: SHA-256 of that file.
        result_digest: SHA-256 of the changed list.
        notes: further entries of the table's head.
    """

    table: Table
    terms: dict[str, float]
    list_name: str
    list_digest: str
    result_digest: str
    notes: dict[str, Any] = field(default_factory=dict)


def make_changes(
    lines: LineFile,
    change: Floats,
    terms: Mapping[str, float],
    source: Strings,
    stars: Strings,
    notes: Mapping[str, Any],
) -> Changes:
    """Table of the lines with a change of their own, besides the terms of molecules.

    Args:
        lines: old list.
        change: change of log gf of each line (n,), in steps of 0.01 dex.
        terms: offset and slope of each molecule.
        source: quality of each line's old value (n,).
        stars: letters of the stars that show each line (n,).
        notes: further entries of the table's head.
    """
    from astropy.table import Table

    keys = lines.keys()
    moved = np.flatnonzero(change != 0)
    rows = [(*keys[i], round(float(change[i]), 2), str(source[i]), str(stars[i]), float(lines.loggf[i])) for i in moved]
    names = (*_COLUMNS, "loggf")
    table = Table(rows=rows or None, names=names, dtype=("str", "f8", "f8", "i4", "f8", "str", "str", "f8"))
    table["wavelength"].unit, table["excitation"].unit = "Angstrom", "eV"
    result = hashlib.sha256(_changed(lines, change, terms)).hexdigest()
    return Changes(table, dict(terms), lines.path.name, sha256(lines.path), result, dict(notes))


def write_changes(changes: Changes, path: str | os.PathLike[str]) -> None:
    """Write changes as ECSV.

    Raises:
        OutputError: the file cannot be written.
    """
    table = changes.table.copy()
    head = {"list": changes.list_name, "sha256": changes.list_digest, "result_sha256": changes.result_digest}
    table.meta = head | {"molecules": changes.terms} | changes.notes
    for name, digits in (("wavelength", 4), ("excitation", 4), ("change", 2)):
        table[name].info.format = f".{digits}f"
    stream = StringIO()
    table.write(stream, format="ascii.ecsv", delimiter=",")
    write_text(path, stream.getvalue())


def read_changes(path: str | os.PathLike[str]) -> Changes:
    """Read a table of changes.

    Raises:
        FormatError: not an ECSV file, a column or the digest is missing, or a number is not finite.
    """
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
    except Exception as error:  # astropy raises many kinds for damaged tables
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise FormatError(f"{path}: not a table of changes (ECSV): {reason}") from error
    notes = dict(table.meta)
    missing = [name for name in _COLUMNS if name not in table.colnames]
    missing += [key for key in _HEAD if key not in notes]
    if missing:
        raise FormatError(f"{path}: missing {', '.join(missing)}; needed: {', '.join((*_COLUMNS, *_HEAD))}")
    for name in ("wavelength", "excitation", "change"):
        column: Floats = np.ma.filled(np.ma.asarray(table[name], float), np.nan)
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise FormatError(f"{path}: column {name} is not finite in row {bad[0] + 1}")
    terms = {str(name): float(value) for name, value in notes.pop("molecules").items()}
    name, digest, result = (str(notes.pop(key)) for key in _HEAD[:3])
    return Changes(table, terms, name, digest, result, notes)


def change_of(lines: LineFile, changes: Changes) -> Floats:
    """Change of log gf of each line (n,), the molecules' terms included.

    Raises:
        FormatError: no changed line is in the list, or one is missing in the list the changes were made for.
    """
    return _single(lines, changes)[0] + molecule_shift(lines, changes.terms)


def apply_changes(lines: LineFile, changes: Changes) -> bytes:
    """Return the bytes of the list with the changes applied; lines changed for the first time get the word `MARK`.

    Raises:
        FormatError: no changed line is in the list; or, for the list of the changes, a line is missing or the table was
            altered.
    """
    result = _changed(lines, _single(lines, changes)[0], changes.terms)
    if sha256(lines.path) == changes.list_digest and hashlib.sha256(result).hexdigest() != changes.result_digest:
        raise FormatError(f"the changes for {changes.list_name} were altered: they do not make the list that they name")
    return result


def without_partner(lines: LineFile, changes: Changes) -> Table:
    """Rows of the table whose line is not in the list; none for the list of the changes.

    Raises:
        FormatError: as in `change_of`.
    """
    return changes.table[~_single(lines, changes)[1]]


def changed_lines(lines: LineList, path: str | os.PathLike[str]) -> LineList:
    """Apply a table of changes to the log gf of a line list.

    Raises:
        FormatError: no changed line is in the list, or it is not in VALD's short format, Å and air.
    """
    if lines.notes:
        raise FormatError(f"{lines.source}: changes of log gf need a list in Å, air: {'; '.join(lines.notes)}")
    file = read_line_file(lines.source)
    changes = read_changes(path)
    log_gf = np.round(file.loggf + change_of(file, changes), 3)
    missing = len(without_partner(file, changes))
    notes = (f"{missing} of {len(changes.table)} changes in {path} have no line in {lines.source}",) if missing else ()
    changed = lines.with_log_gf(log_gf[np.argsort(file.wavelength_aa, kind="stable")])
    return dataclasses.replace(changed, notes=notes)


def _single(lines: LineFile, changes: Changes) -> tuple[Floats, NDArray[np.bool_]]:
    """Changes of single lines (n,); mask of the rows of the table whose line was found."""
    change, found = np.zeros(len(lines)), np.zeros(len(changes.table), bool)
    same = sha256(lines.path) == changes.list_digest
    index = {key: i for i, key in enumerate(lines.keys())}
    free = np.ones(len(lines), bool)
    for row, entry in enumerate(changes.table):
        key = (str(entry["species"]), float(entry["wavelength"]), float(entry["excitation"]), int(entry["number"]))
        if same and key not in index:
            raise FormatError(
                f"{lines.path}: has no line {key[0]} at {key[1]:g} Å with {key[2]:g} eV (number {key[3]})"
            )
        place = index[key] if same else _partner(lines, entry, free)
        if place is not None:
            change[place], found[row], free[place] = entry["change"], True, False
    if len(found) and not found.any():
        raise FormatError(f"{lines.path}: has none of the {len(found)} lines that the changes are for")
    return change, found


def _partner(lines: LineFile, entry: Any, free: NDArray[np.bool_]) -> int | None:
    """Nearest line of the same species and energy, and of the same old log gf if the table has it."""
    away = np.abs(lines.wavelength_aa - entry["wavelength"])
    near = free & (lines.species == entry["species"]) & (away <= NEAR_AA)
    near &= np.abs(lines.excitation_ev - entry["excitation"]) <= NEAR_EV
    if "loggf" in entry.colnames:
        near &= np.abs(lines.loggf - entry["loggf"]) <= NEAR_DEX
    places = np.flatnonzero(near)
    return int(places[away[places].argmin()]) if places.size else None


def _changed(lines: LineFile, change: Floats, terms: Mapping[str, float]) -> bytes:
    loggf = np.round(lines.loggf + change + molecule_shift(lines, dict(terms)), 3)
    return lines.replaced({"loggf": loggf}, MARK)


def is_molecule(species: Strings, name: str) -> NDArray[np.bool_]:
    """Which lines (n,) are of a molecule, or of any species: "CH" for "CH 1", else with its stage, "CH 2"."""
    return np.asarray(species == (name if " " in name else f"{name} 1"))


def molecule_shift(lines: LineFile, terms: dict[str, float]) -> Floats:
    """Change of log gf (n,) by the common terms "MgH:offset" and "MgH:slope" of molecules."""
    shift = np.zeros(len(lines))
    for name, value in terms.items():
        molecule, _, kind = name.partition(":")
        member = is_molecule(lines.species, molecule)
        shift[member] += value * (1.0 if kind == "offset" else lines.excitation_ev[member] - ENERGY_ZERO_EV)
    return shift
