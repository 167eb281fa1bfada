"""FERRE grids (Allende Prieto et al. 2006; users' guide, table 1): one file, a Fortran namelist, then a row per node.

``&SYNTH ... /`` with N_OF_DIM, N_P, LLIMITS, STEPS, LABEL(i), NPIX, WAVE, LOGW (0 linear, 1 log10, 2 ln), VACUUM,
RESOLUTION; the last dimension varies fastest. With MULTI = n, n such headers of parts of the spectrum follow the first.
Rows that are all zero or INVALID_CODE are holes.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import Entry, Family, Medium, Synthetic, between, read_text
from maury.grids.importers.names import label_name
from maury.wavelengths import Floats

_LOGARITHMIC = {"log10vdop": "vmic", "log10vmic": "vmic", "lgvsini": "vsini", "logvsini": "vsini"}
"""Dimensions that are logarithms of a label."""


@dataclass(frozen=True)
class _Part:
    """A stretch of the spectrum with its own axis."""

    wavelength_aa: Floats
    vacuum: bool
    resolution: float | None


@dataclass(frozen=True)
class _Grid:
    """A FERRE file taken apart."""

    axes: dict[str, Floats]
    parts: list[_Part]
    rows: list[str]
    invalid: float | None


class Ferre(Family):
    """FERRE ASCII grids."""

    title = "FERRE grid (&SYNTH header, ASCII)"
    patterns = ("*.dat", "*.dat.gz", "*.synth")

    def _open(self, path: Path) -> _Grid:
        grid: _Grid = self.last(path, lambda: _read(path))
        return grid

    def entries(self, path: Path) -> list[Entry]:
        """One spectrum for each row that is not a hole."""
        grid = self._open(path)
        nodes = list(itertools.product(*grid.axes.values()))
        if len(grid.rows) != len(nodes):
            raise FormatError(f"{path}: {len(grid.rows)} rows, but the header tells {len(nodes)} nodes; truncated?")
        return [
            Entry(path, dict(zip(grid.axes, map(float, node), strict=True)), row)
            for row, node in enumerate(nodes)
            if not _is_hole(grid, row)
        ]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """The part of a row that holds the range."""
        grid = self._open(entry.path)
        sizes = [part.wavelength_aa.size for part in grid.parts]
        values = _numbers(entry, grid.rows[entry.row or 0])
        if values.size != sum(sizes):
            raise FormatError(f"{entry.title}: {values.size} pixels, but the header tells {sum(sizes)}")
        best = max(range(len(sizes)), key=lambda i: _overlap(grid.parts[i].wavelength_aa, low_aa, high_aa))
        part, first = grid.parts[best], sum(sizes[:best])
        wanted = between(part.wavelength_aa, low_aa, high_aa)
        flux = values[first : first + sizes[best]][wanted]
        medium: Medium = "vacuum" if part.vacuum else "air"
        return Synthetic(part.wavelength_aa[wanted], flux, medium=medium, resolution=part.resolution)


def _overlap(wavelength: Floats, low: float, high: float) -> float:
    return float(min(wavelength[-1], high) - max(wavelength[0], low))


def _numbers(entry: Entry, line: str) -> Floats:
    try:
        return np.array(line.split(), np.float64)
    except ValueError as error:
        raise FormatError(f"{entry.title}: not all numbers ({error})") from error


def _is_hole(grid: _Grid, row: int) -> bool:
    words = grid.rows[row].split(maxsplit=3)[:3]
    try:
        first = [float(word) for word in words]
    except ValueError:
        return False  # reading it tells
    if grid.invalid is not None and first[0] == grid.invalid:
        return True
    return not any(first) and not np.any(np.array(grid.rows[row].split(), np.float64))


def _read(path: Path) -> _Grid:
    lines = read_text(path).splitlines()
    main, rest = _header(path, lines)
    headers = []
    for _ in range(int(main.get("multi", ["0"])[0])):
        header, rest = _header(path, rest)
        headers.append(header)
    try:
        parts = [_part(header) for header in headers or [main]]
        axes = _axes(path, main)
        invalid = float(main["invalid_code"][0]) if "invalid_code" in main else None
    except (KeyError, ValueError, IndexError) as error:
        raise FormatError(f"{path}: its header lacks {error} or is damaged") from error
    return _Grid(axes, parts, [line for line in rest if line.strip()], invalid)


def _header(path: Path, lines: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Keywords in small letters with their values of one &SYNTH block, and the lines after it."""
    start = next((i for i, line in enumerate(lines) if line.strip()), None)
    if start is None or not lines[start].strip().upper().startswith("&SYNTH"):
        raise FormatError(f"{path}: does not start with &SYNTH")
    end = next((i for i, line in enumerate(lines) if i > start and line.strip() == "/"), None)
    if end is None:
        raise FormatError(f"{path}: its header has no end (/)")
    values: dict[str, list[str]] = {}
    for line in lines[start + 1 : end]:
        key, equals, text = line.partition("=")
        if equals:
            quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", text)
            words = [a or b for a, b in quoted] if quoted else text.replace(",", " ").split()
            values[key.strip().lower()] = words
    return values, lines[end + 1 :]


def _part(header: dict[str, list[str]]) -> _Part:
    start, step = map(float, header["wave"][:2])
    values = start + step * np.arange(int(header["npix"][0]))
    logarithm = int(header.get("logw", ["0"])[0])
    wavelength = (values, 10.0 ** np.clip(values, -5, 8), np.exp(np.clip(values, -10, 18)))[logarithm]
    resolution = float(header["resolution"][0]) if "resolution" in header else None
    return _Part(np.asarray(wavelength), int(header.get("vacuum", ["0"])[0]) > 0, resolution or None)


def _axes(path: Path, header: dict[str, list[str]]) -> dict[str, Floats]:
    """Values of each label, in the order of the dimensions.

    Raises:
        FormatError: a dimension of several values that is not a label.
    """
    count = int(header["n_of_dim"][0])
    axes: dict[str, Floats] = {}
    for i in range(count):
        text = header.get(f"label({i + 1})", [f"dimension {i + 1}"])[0]
        values = float(header["llimits"][i]) + float(header["steps"][i]) * np.arange(int(header["n_p"][i]))
        key = re.sub(r"[^a-z0-9]", "", text.lower())
        name = _LOGARITHMIC.get(key)
        if name is not None:
            values = 10.0**values
        name = name or label_name(text)
        if name is None and len(values) > 1:
            raise FormatError(f"{path}: dimension {text.strip()!r} is no label that maury knows")
        axes[name or f"({text.strip()})"] = np.round(values, 6)
    return axes
