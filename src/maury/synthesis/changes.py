"""A small table of what was changed in a line list, that makes the new list from the old one, byte for byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.files import atomic_path, sha256
from maury.synthesis.linefile import LineFile, Strings, read_line_file
from maury.synthesis.linelists import LineList

Floats = NDArray[np.float64]

MARK = "CAL"
"""Word in the references of a line whose log gf was calibrated."""

ENERGY_ZERO_EV = 0.5
"""Energy at which a molecule's common slope changes nothing."""

_HEAD = ("list", "sha256", "result_sha256", "molecules")
_COLUMNS = ("species", "wavelength", "excitation", "number", "change", "source", "stars")


@dataclass(frozen=True)
class Changes:
    """Changes of log gf for one list.

    Attributes:
        table: columns species, wavelength (Å), excitation (eV), number (0 for the first line with these three), change
            (dex, besides the molecules' terms), source (quality of the old value), stars (letters of ``notes``).
        terms: offset (dex) and slope (dex per eV, from 0.5 eV) common to all lines of a molecule: "MgH:offset".
        list_name: name of the list's file.
        list_digest: its SHA-256.
        result_digest: SHA-256 of the new list.
        notes: what else to know.
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
    """A table of the lines that have a change of their own.

    Args:
        lines: the old list.
        change: of each line (n,), in steps of 0.01 dex.
        terms: of the molecules.
        source: quality of each line's old value (n,).
        stars: letters of the stars that show it (n,).
        notes: what else to know, for the table's head.
    """
    keys = lines.keys()
    moved = np.flatnonzero(change != 0)
    rows = [(*keys[i], round(float(change[i]), 2), str(source[i]), str(stars[i])) for i in moved]
    table = Table(rows=rows, names=_COLUMNS, dtype=("str", "f8", "f8", "i4", "f8", "str", "str"))
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
    with atomic_path(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8")


def read_changes(path: str | os.PathLike[str]) -> Changes:
    """Read a table of changes.

    Raises:
        FormatError: not an ECSV file, a column or the digest is missing, or a number is not finite.
    """
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
        FormatError: the list is not the one the changes were made for, or a line is not in it.
    """
    return _single(lines, changes) + molecule_shift(lines, changes.terms)


def apply_changes(lines: LineFile, changes: Changes) -> bytes:
    """The bytes of the list with the changes put in; a line never changed before gets the mark `MARK`.

    Raises:
        FormatError: the list is not the one the changes were made for, a line is not in it, or the table was altered.
    """
    result = _changed(lines, _single(lines, changes), changes.terms)
    if hashlib.sha256(result).hexdigest() != changes.result_digest:
        raise FormatError(f"the changes for {changes.list_name} were altered: they do not make the list that they name")
    return result


def changed_lines(lines: LineList, path: str | os.PathLike[str]) -> LineList:
    """A list as the synthesis reads it, with the changes of a table in its log gf.

    Raises:
        FormatError: the list is not the one that the changes were made for, or not in VALD's short format, Å and air.
    """
    file = read_line_file(lines.source)
    if lines.notes:
        raise FormatError(f"{lines.source}: changes of log gf need a list in Å, air: {'; '.join(lines.notes)}")
    log_gf = np.round(file.loggf + change_of(file, read_changes(path)), 3)
    return lines.with_log_gf(log_gf[np.argsort(file.wavelength_aa, kind="stable")])


def _single(lines: LineFile, changes: Changes) -> Floats:
    """Changes of single lines (n,)."""
    digest = sha256(lines.path)
    if digest != changes.list_digest:
        raise FormatError(
            f"{lines.path}: not the list these changes are for: SHA-256 {digest[:12]}..., "
            f"expected {changes.list_digest[:12]}... ({changes.list_name})"
        )
    index = {key: i for i, key in enumerate(lines.keys())}
    change = np.zeros(len(lines))
    for row in changes.table:
        key = (str(row["species"]), float(row["wavelength"]), float(row["excitation"]), int(row["number"]))
        if key not in index:
            raise FormatError(
                f"{lines.path}: has no line {key[0]} at {key[1]:g} Å with {key[2]:g} eV (number {key[3]})"
            )
        change[index[key]] = row["change"]
    return change


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
