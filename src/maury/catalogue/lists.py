"""Catalogues of files: a CSV or ECSV list, or a folder."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from maury.catalogue.identity import require_distinct
from maury.errors import FormatError
from maury.files import sha256


def _whole(text: str) -> int:
    """A whole number, perhaps written as "3.0"."""
    if not (number := float(text)).is_integer():
        raise ValueError(text)
    return int(number)


_NUMBERS: dict[str, Callable[[str], float]] = {
    "resolution": float,
    "velocity_kms": float,
    "row": _whole,
    "order": _whole,
    "components": _whole,
    "parallax": float,
    "parallax_error": float,
    "gmag": float,
    "ebv": float,
    "ebv_error": float,
}
LUMINOSITY = ("parallax", "parallax_error", "gmag", "ebv", "ebv_error")
"""Columns with what gives the luminosity."""
FILES = ("wavelength_file", "sigma_file")
"""Columns with names of files, which are relative to the list's folder."""
_TEXTS = ("medium", "wavelength_unit", "extension", "fibre")
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_UNKNOWN = ("", "nan", "--", "null", "none")
"""How tables write an unknown value."""
COLUMNS = ("file", "id", "star", *_NUMBERS, *FILES, *_TEXTS, "ignore_sigma")
"""Columns of a list; all but ``file`` are optional. Other columns are ignored."""


Cells = dict[str | None, str | list[str] | None]
"""A row of a list by column, as `csv.DictReader` gives it."""


@dataclass(frozen=True)
class Entry:
    """One row of a list.

    Attributes:
        row: its number, from 0.
        id: its identifier.
        file: the file as the list names it.
        path: where it lies.
        reading: attributes of `maury.readers.ReadOptions` that the list holds, with types as they have there.
        velocity_kms: radial velocity in the file's wavelengths, if the list holds it.
        luminosity: ``parallax`` (value and error, mas), ``gmag`` and ``ebv``, as `maury.inference.predict` takes them.
        components: number of stars in the spectrum, if the list holds it, as `maury.inference.predict` takes it.
        error: why the row cannot be used, or None.
        star: name of the star, where the list has one.
        exposures: rows of one star, which are fitted together; none of a single row.
    """

    row: int
    id: str
    file: str
    path: Path
    reading: dict[str, Any] = field(default_factory=dict)
    velocity_kms: float | None = None
    luminosity: dict[str, Any] = field(default_factory=dict)
    components: int | None = None
    error: str | None = None
    star: str = ""
    exposures: tuple[Entry, ...] = ()


class FileList:
    """Files of a list or a folder, read as a stream; a list with the column ``star`` is held in memory.

    Attributes:
        path: the list or the folder.
        rows: number of files, or of stars if the list has the column ``star``.
        digest: SHA-256 of the list, or of the names in the folder.
        notes: names the columns that are ignored.
        columns: names of the list's columns; none of a folder.
    """

    def __init__(self, path: Path) -> None:
        """Count the rows and check that identifiers are distinct.

        Raises:
            FormatError: no such list, no column ``file``, no row, not UTF-8, or an identifier that comes twice.
        """
        self.path = path
        self.notes: tuple[str, ...] = ()
        self.columns: tuple[str, ...] = ()
        if path.is_dir():
            self._names = _names(path)
            self.digest = hashlib.sha256("\n".join(self._names).encode()).hexdigest()
        else:
            self._names = []
            self._check_columns()
            self.digest = sha256(path)
        self.rows = require_distinct(lambda: ((entry.id, f"row {entry.row + 1}") for entry in self), path)
        if not self.rows:
            raise FormatError(f"{path}: {'holds no file' if path.is_dir() else 'no rows below the names of columns'}")

    def __iter__(self) -> Iterator[Entry]:
        if self.path.is_dir():
            for row, name in enumerate(self._names):
                yield Entry(row, name, name, self.path / name)
            return
        entries = (entry for entry, _ in self.lines())
        if "star" not in self.columns:
            yield from entries
            return
        stars: dict[str | int, list[Entry]] = {}
        for entry in entries:
            stars.setdefault(entry.star or entry.row, []).append(entry)
        for number, exposures in enumerate(stars.values()):
            yield _star(number, tuple(exposures))

    def lines(self) -> Iterator[tuple[Entry, Cells]]:
        """Entries of the rows of a list, each with all of its cells; rows of one star are not gathered."""
        with _opened(self.path) as stream:
            try:
                for row, cells in enumerate(_rows(stream)):
                    yield self._entry(row, cells), cells
            except (UnicodeDecodeError, csv.Error) as error:
                raise FormatError(f"{self.path}: not a readable CSV list ({error})") from error

    def _check_columns(self) -> None:
        with _opened(self.path) as stream:
            try:
                reader = _rows(stream)
                first = next(iter(reader), None)
            except (UnicodeDecodeError, csv.Error) as error:
                raise FormatError(f"{self.path}: not a readable CSV list ({error})") from error
            names = [str(name) for name in reader.fieldnames or ()]
        if "file" not in names:
            raise FormatError(f"{self.path}: no column file; columns found: {', '.join(names) or 'none'}")
        self.columns = tuple(names)
        others = [name for name in names if name not in COLUMNS]
        if others and first is not None:
            self.notes = (f"columns of {self.path.name} that are not used: {', '.join(others)}",)

    def _entry(self, row: int, cells: Cells) -> Entry:
        texts = {name: str(cells.get(name) or "").strip() for name in COLUMNS}
        file = texts["file"]
        path = (self.path.parent / os.path.expanduser(file)).absolute()
        error, reading = None, dict[str, Any]()
        if None in cells or None in cells.values():
            error = "the number of cells in this row differs from the number of columns"
        elif not file:
            error = "no file named"
        given = {name: text for name, text in texts.items() if text.lower() not in _UNKNOWN}
        for name in _NUMBERS.keys() & given.keys():
            try:
                reading[name] = _NUMBERS[name](given[name])
            except ValueError:
                kind = "a number" if _NUMBERS[name] is float else "a whole number"
                error = error or f"{name} {given[name]!r} is not {kind}"
        for name in set(FILES) & given.keys():
            reading[name] = str((self.path.parent / os.path.expanduser(given[name])).absolute())
        reading |= {name: given[name] for name in _TEXTS if name in given}
        if "ignore_sigma" in given:
            reading["ignore_sigma"] = _SWITCH.get(given["ignore_sigma"].lower())
            if reading["ignore_sigma"] is None:
                error = error or f"ignore_sigma {given['ignore_sigma']!r} is neither true nor false"
        velocity, components = (reading.pop(name, None) for name in ("velocity_kms", "components"))
        name = texts["id"] or file or f"row {row + 1}"
        luminosity = luminosity_of({name: reading.pop(name, None) for name in LUMINOSITY})
        return Entry(row, name, file, path, reading, velocity, luminosity, components, error, given.get("star", ""))


def _star(number: int, exposures: tuple[Entry, ...]) -> Entry:
    """Combine the rows of a star into one entry, with the star's number and its name as identifier."""
    first = exposures[0]
    if len(exposures) == 1:
        return replace(first, row=number)
    velocities = {entry.velocity_kms for entry in exposures}
    luminosity = {name: value for entry in reversed(exposures) for name, value in entry.luminosity.items()}
    error = None if len(velocities) == 1 else "velocity_kms differs between exposures of one star: leave it out"
    components = max((entry.components for entry in exposures if entry.components is not None), default=None)
    return replace(
        first, row=number, id=first.star, reading={}, luminosity=luminosity, components=components, error=error,
        exposures=exposures,
    )  # fmt: skip


def luminosity_of(given: Mapping[str, float | None]) -> dict[str, Any]:
    """Arguments of `maury.inference.predict` from parallax, magnitude, reddening and their errors (`LUMINOSITY`)."""
    luminosity: dict[str, Any] = {} if given.get("gmag") is None else {"gmag": given["gmag"]}
    for name in ("parallax", "ebv"):
        if given.get(name) is not None:
            luminosity[name] = (given[name], given.get(f"{name}_error") or 0.0)
    return luminosity


def _opened(path: Path) -> TextIO:
    try:
        return open(path, newline="", encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error


def _rows(stream: TextIO) -> csv.DictReader[str]:
    """Rows by column; of ECSV with its own delimiter, lines that begin with # left out."""
    delimiter = ","
    first = stream.readline()
    if first.startswith("# %ECSV"):
        delimiter = " "
    while first.startswith("#"):
        if "delimiter:" in first and "','" in first:
            delimiter = ","
        first = stream.readline()
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    lines = (line for line in stream if not line.startswith("#"))
    return csv.DictReader(lines, names, delimiter=delimiter)


def _names(folder: Path) -> list[str]:
    """Names of the files below a folder, sorted; hidden ones are left out."""
    names = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        base = Path(root).relative_to(folder)
        names += [str(base / name) for name in files if not name.startswith(".")]
    return sorted(names)
