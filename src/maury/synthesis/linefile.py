"""Line lists in VALD's "extract all, short" format; unchanged lines are written back byte for byte."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.errors import FormatError, OutputError
from maury.wavelengths import Floats

Strings = NDArray[Any]

COLUMNS = ("wavelength_aa", "excitation_ev", "loggf", "radiative", "stark", "waals", "lande")
"""Numbers of a line in the order of the file; damping parameters as defined by VALD, 0 for unknown ones."""

_HEADING = re.compile(r"WL_(air|vac)\s*\(([^)]*)\)")
_LINE = re.compile(r"^'(?P<species>[^']*)',(?P<numbers>(?:[^,']*,){7})\s*'(?P<reference>[^']*)'\s*,?\s*$")


@dataclass(frozen=True)
class LineFile:
    """Spectral lines in the order of a file, and its text.

    Attributes:
        path: the file.
        species: element or molecule and ionisation stage of each line, such as "Fe 1" (n,).
        wavelength_aa: Å, air (n,).
        excitation_ev: energy of the lower level, eV (n,).
        loggf: logarithm of the oscillator strength times the statistical weight (n,).
        radiative: logarithm of the radiative damping constant, 0 for none (n,).
        stark: logarithm of the Stark damping constant per electron, 0 for none (n,).
        waals: logarithm of the van der Waals damping constant per hydrogen atom, or sigma.alpha of Anstee, Barklem
            and O'Mara where above 20, or 0 for none (n,).
        reference: the field of references (n,).
        text: all lines of the file with their ends.
        row: index in ``text`` of each spectral line (n,).
    """

    path: Path
    species: Strings
    wavelength_aa: Floats
    excitation_ev: Floats
    loggf: Floats
    radiative: Floats
    stark: Floats
    waals: Floats
    lande: Floats = field(repr=False)
    reference: Strings = field(repr=False)
    text: tuple[str, ...] = field(repr=False)
    row: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.species)

    def keys(self) -> list[tuple[str, float, float, int]]:
        """Identify each line: species, wavelength, lower energy, and its number among lines equal in all three."""
        seen: dict[tuple[str, float, float], int] = {}
        keys = []
        for species, wavelength, energy in zip(self.species, self.wavelength_aa, self.excitation_ev, strict=True):
            key = (str(species), float(wavelength), float(energy))
            seen[key] = seen.get(key, -1) + 1
            keys.append((*key, seen[key]))
        return keys

    def replaced(self, changes: Mapping[str, ArrayLike], mark: str) -> bytes:
        """Return the bytes of the file with new numbers in some lines.

        Args:
            changes: new values (n,) by column; lines whose values round to their present text do not change.
            mark: word added to the references of each changed line, unless already there.

        Raises:
            OutputError: a number does not fit into its field.
        """
        text = list(self.text)
        for index, row in enumerate(self.row):
            values = {name: float(np.asarray(new)[index]) for name, new in changes.items()}
            text[row] = _edited(text[row], values, mark, f"{self.path}: line {row + 1}")
        return "".join(text).encode("latin-1")


def _edited(line: str, values: Mapping[str, float], mark: str, where: str) -> str:
    """One line of the file with new numbers, each with the width and decimals of its field."""
    head, numbers, tail = re.split(r"(?<=',)|(?=\s*'[^']*'\s*,?\s*$)", line, maxsplit=2)
    fields = numbers.split(",")
    changed = False
    for name, value in values.items():
        index = COLUMNS.index(name)
        old = fields[index]
        decimals = len(old.partition(".")[2].strip())
        new = f"{value:{len(old)}.{decimals}f}"
        if float(new) == float(old):
            continue
        if len(new) > len(old):
            raise OutputError(f"{where}: {name} = {value:g} does not fit into {len(old)} characters")
        fields[index], changed = new, True
    if changed and mark not in tail.replace("'", " ").split():
        quote = tail.rindex("'")
        tail = f"{tail[:quote]} {mark}{tail[quote:]}"
    return head + ",".join(fields) + tail if changed else line


def read_line_file(path: str | os.PathLike[str]) -> LineFile:
    """Read a line list.

    Raises:
        FormatError: the file cannot be read, has no spectral lines or vacuum wavelengths or a unit other than Å, or a
            line is malformed or not finite.
    """
    try:
        text = Path(path).read_bytes().decode("latin-1").splitlines(keepends=True)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = []
    ended = False
    for number, line in enumerate(text):
        match = _LINE.match(line)
        if match:
            if ended:
                raise FormatError(f"{path}: line {number + 1}: a spectral line after the end of the list")
            found.append((number, match["species"], _numbers(match["numbers"], path, number), match["reference"]))
        elif found:
            if line.startswith("'") and not ended:
                raise FormatError(
                    f"{path}: line {number + 1} is not 'species', {len(COLUMNS)} numbers, 'references': {line[:60]!r}"
                )
            ended = True
    if not found:
        raise FormatError(f"{path}: no spectral lines in VALD's short format ('Fe 1', 5035.0, 4.2, -2.1, ...)")
    heading = _HEADING.search("".join(text[: found[0][0]]))
    if heading and (heading[1], heading[2].strip()) != ("air", "A"):
        medium = "air" if heading[1] == "air" else "vacuum"
        raise FormatError(f"{path}: wavelengths in {heading[2].strip()}, {medium}: extract the list in Å and air")
    rows, species, numbers, references = zip(*found, strict=True)
    table = dict(zip(COLUMNS, np.array(numbers).T, strict=True))
    return LineFile(
        Path(path),
        np.array(species),
        reference=np.array([reference.strip() for reference in references]),
        text=tuple(text),
        row=np.array(rows),
        **table,
    )


def _numbers(text: str, path: str | os.PathLike[str], number: int) -> list[float]:
    values = []
    for name, word in zip(COLUMNS, text.split(","), strict=False):
        try:
            values.append(float(word))
        except ValueError as error:
            raise FormatError(f"{path}: line {number + 1}: {name} is {word.strip()!r}, not a number") from error
        if not np.isfinite(values[-1]):
            raise FormatError(f"{path}: line {number + 1}: {name} is {word.strip()}, not finite")
    return values
