"""A small table of what was changed in a line list, that makes the new list from the old one, byte for byte."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import StringIO

import numpy as np
from astropy.table import Table

from maury.errors import FormatError
from maury.files import atomic_path, sha256
from maury.lines.linefile import LineFile

MARK = "CAL"
"""Word in the references of a line whose log gf or damping was calibrated."""

_COLUMNS = ("species", "wavelength", "excitation", "number", "loggf", "waals", "source", "stars")


@dataclass(frozen=True)
class Changes:
    """New numbers of some lines of one list.

    Attributes:
        table: columns species, wavelength (Å), excitation (eV), number (0 for the first line with these three), loggf
            and waals (new values), source (kind of the old value), stars (where the line shows).
        list_name: name of the list's file.
        list_digest: its SHA-256.
    """

    table: Table
    list_name: str
    list_digest: str


def difference(
    lines: LineFile, loggf: np.ndarray, waals: np.ndarray, source: np.ndarray, stars: np.ndarray
) -> Changes:
    """The changes that give the list new numbers; a line whose numbers stay is left out."""
    moved = (np.round(loggf, 3) != lines.loggf) | (np.round(waals, 3) != lines.waals)
    keys = lines.keys()
    rows = [
        (*keys[i], round(float(loggf[i]), 3), round(float(waals[i]), 3), str(source[i]), str(stars[i]))
        for i in np.flatnonzero(moved)
    ]
    table = Table(rows=rows, names=_COLUMNS, dtype=("str", "f8", "f8", "i4", "f8", "f8", "str", "str"))
    table["wavelength"].unit, table["excitation"].unit = "Angstrom", "eV"
    return Changes(table, lines.path.name, sha256(lines.path))


def write_changes(changes: Changes, path: str | os.PathLike[str], notes: dict[str, object] | None = None) -> None:
    """Write changes as ECSV.

    Raises:
        OutputError: the file cannot be written.
    """
    table = changes.table.copy()
    table.meta = {"list": changes.list_name, "sha256": changes.list_digest, **(notes or {})}
    for name, digits in (("wavelength", 4), ("excitation", 4), ("loggf", 3), ("waals", 3)):
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
    missing = [name for name in _COLUMNS if name not in table.colnames]
    missing += [key for key in ("list", "sha256") if key not in table.meta]
    if missing:
        raise FormatError(f"{path}: missing {', '.join(missing)}; needed: {', '.join(_COLUMNS)}, list, sha256")
    for name in ("wavelength", "excitation", "loggf", "waals"):
        column = np.ma.filled(np.ma.asarray(table[name], float), np.nan)
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise FormatError(f"{path}: column {name} is not finite in row {bad[0] + 1}")
    return Changes(table, str(table.meta["list"]), str(table.meta["sha256"]))


def apply_changes(lines: LineFile, changes: Changes) -> str:
    """The text of the list with the changes put in.

    Raises:
        FormatError: the list is not the one the changes were made for, or a line is not in it.
    """
    digest = sha256(lines.path)
    if digest != changes.list_digest:
        raise FormatError(
            f"{lines.path}: not the list these changes are for: SHA-256 {digest[:12]}..., "
            f"expected {changes.list_digest[:12]}... ({changes.list_name})"
        )
    index = {key: i for i, key in enumerate(lines.keys())}
    loggf, waals = lines.loggf.copy(), lines.waals.copy()
    for row in changes.table:
        key = (str(row["species"]), float(row["wavelength"]), float(row["excitation"]), int(row["number"]))
        if key not in index:
            raise FormatError(f"{lines.path}: has no line {key[0]} at {key[1]:g} Å with {key[2]:g} eV (number {key[3]})")
        loggf[index[key]], waals[index[key]] = row["loggf"], row["waals"]
    return lines.replaced({"loggf": loggf, "waals": waals}, MARK)
