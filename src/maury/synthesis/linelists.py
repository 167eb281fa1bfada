"""Read and check line lists: extracts of VALD, short or long, "stellar" or "all"; in air and Å."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.errors import DomainError, FormatError, SynthesisError
from maury.files import sha256
from maury.synthesis import engine
from maury.synthesis.pool import Workers
from maury.wavelengths import vacuum_to_air

_HEADING = re.compile(r"WL_(air|vac)\s*\(([^)]*)\)")
_FORMAT = "an extract of VALD in its short or long format has a heading with WL_air(A) or WL_vac(A) in its first lines"


@dataclass(frozen=True)
class LineList:
    """Spectral lines sorted by wavelength.

    Attributes:
        source: the file.
        digest: its SHA-256.
        columns: every column of PySME's table (n,), among them species, wlcent (Å, air), excit (eV), gflog.
        layout: "short" or "long".
        span: range of wavelengths covered by the list, Å (air).
        notes: conversions made.
    """

    source: str
    digest: str
    columns: dict[str, NDArray[Any]]
    layout: str
    span: tuple[float, float]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["wlcent"])

    @property
    def wavelength_aa(self) -> NDArray[np.float64]:
        """Wavelengths (n,) in Å, air."""
        return np.asarray(self.columns["wlcent"], float)

    @property
    def species(self) -> NDArray[np.str_]:
        """Element or molecule and ionisation stage (n,), such as "Fe 1"."""
        return self.columns["species"]

    @property
    def log_gf(self) -> NDArray[np.float64]:
        """log10 of statistical weight times oscillator strength (n,)."""
        return np.asarray(self.columns["gflog"], float)

    def with_log_gf(self, log_gf: ArrayLike) -> LineList:
        """Return the same lines with new log gf (n,).

        Raises:
            DomainError: not one finite number for each line.
        """
        values = np.asarray(log_gf, float)
        if values.shape != (len(self),) or not np.isfinite(values).all():
            raise DomainError(f"log_gf must be {len(self)} finite numbers, one for each line of {self.source}")
        return dataclasses.replace(self, columns=self.columns | {"gflog": values})

    def within(self, low_aa: float, high_aa: float) -> LineList:
        """The lines between two wavelengths (Å)."""
        keep = (self.wavelength_aa >= low_aa) & (self.wavelength_aa <= high_aa)
        return dataclasses.replace(self, columns={name: column[keep] for name, column in self.columns.items()})

    def joined(self, other: LineList) -> tuple[LineList, NDArray[np.int64]]:
        """Join this list and another one of the same format, sorted by wavelength.

        Returns:
            The lines; and for each (n + m,) its index in the concatenation of both lists.

        Raises:
            FormatError: one list is short and the other long.
        """
        if self.layout != other.layout:
            raise FormatError(
                f"{self.source} is in VALD's {self.layout} format, {other.source} in the {other.layout} one"
            )
        columns = {name: np.concatenate([self.columns[name], other.columns[name]]) for name in self.columns}
        order = np.argsort(columns["wlcent"], kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        return dataclasses.replace(self, columns=columns), order

    def require(self, low_aa: float, high_aa: float) -> None:
        """Raise `DomainError` unless the list covers a window within its widest gap between lines, at least 1 Å."""
        gap = max(1.0, float(np.diff(self.wavelength_aa).max(initial=0)))
        if low_aa < self.span[0] - gap or high_aa > self.span[1] + gap:
            raise DomainError(
                f"{self.source}: lines from {self.span[0]:.2f} to {self.span[1]:.2f} Å do not cover the window "
                f"{low_aa:.2f} to {high_aa:.2f} Å"
            )


def read_lines(path: str | os.PathLike[str], workers: Workers | None = None) -> LineList:
    """Read an extract of VALD with PySME's reader, in a worker process.

    Vacuum wavelengths are converted to air and nm to Å, with a note in `LineList.notes`.

    Args:
        path: file of the list.
        workers: processes to use; None starts one for this call.

    Raises:
        FormatError: no such file, another format, wavenumbers, truncated, a value that is not finite.
        SynthesisError: PySME is missing or crashed.
    """
    path = Path(path).expanduser()
    medium, unit = _heading(path)
    if workers is None:
        with Workers() as own:
            return read_lines(path, own)
    workers.run(engine.version)  # tells whether PySME is there
    try:
        columns, layout, expected, span = workers.run(engine.read_vald, str(path.absolute()))
    except SynthesisError as error:
        raise FormatError(f"{path}: not a readable extract of VALD ({error})") from error
    count = len(columns["wlcent"])
    if count == 0 or (expected is not None and count != expected):
        raise FormatError(f"{path}: {count} lines, but its heading says {expected}; perhaps truncated")
    for name in ("wlcent", "excit", "gflog", "gamrad", "gamqst", "gamvw"):
        columns[name] = _numbers(columns[name], f"{path}: {name}")
    notes = []
    if unit == "nm":
        span = (span[0] * 10, span[1] * 10) if span else None
        notes.append("wavelengths converted from nm to Å")
    if medium == "vac":
        columns["wlcent"] = vacuum_to_air(columns["wlcent"])
        span = tuple(vacuum_to_air(span)) if span else None
        notes.append("wavelengths converted from vacuum to air")
    order = np.argsort(columns["wlcent"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    ends = columns["wlcent"][[0, -1]]
    low, high = (min(span[0], ends[0]), max(span[1], ends[1])) if span else ends
    return LineList(str(path), sha256(path), columns, layout, (float(low), float(high)), tuple(notes))


def _numbers(column: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Return a column as finite numbers; `FormatError` names the first line without one."""
    values = np.full(len(column), np.nan)
    for i, value in enumerate(column):
        with contextlib.suppress(ValueError):
            values[i] = float(value)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise FormatError(f"{what} of spectral line {bad[0] + 1} is not a finite number: {column[bad[0]]}")
    return values


def _heading(path: Path) -> tuple[str, str]:
    """Medium and unit of the wavelengths, from the heading."""
    try:
        with open(path, encoding="latin-1") as stream:
            first = [line for _, line in zip(range(20), stream, strict=False)]
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    lines = [line for line in first if not line.lstrip().startswith("WARNING")][:3]
    match = next((found for line in lines if (found := _HEADING.search(line))), None)
    if match is None:
        raise FormatError(f"{path}: not a line list of VALD: {_FORMAT}")
    medium, unit = match[1], match[2].strip()
    if unit not in ("A", "nm"):
        raise FormatError(f"{path}: wavelengths are given in {unit}; extract the list with wavelengths in Å (or nm)")
    return medium, unit
