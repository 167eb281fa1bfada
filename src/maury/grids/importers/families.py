"""The base class of families of synthetic spectra, the settings of an import, finding and opening its files."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from maury.config import Settings
from maury.errors import FormatError
from maury.wavelengths import Floats

Medium = Literal["air", "vacuum"]

_PACKED = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress}


class ImportConfig(Settings):
    """How synthetic spectra are imported.

    Attributes:
        kind: family of the files.
        window: first and last pixel, Å air.
        step: width of a pixel, Å; None for the pixels of the files, which then have to be equidistant.
        resolution: R = lambda / FWHM to which the spectra are lowered; None to leave them.
        native_resolution: R of the files, where they do not tell it; infinite if they have no instrument's profile.
        vsini: rotations (km/s) that each spectrum is given; none to leave them.
        limb_darkening: linear coefficient of the rotation profile.
        medium: air or vacuum, where the files do not tell it.
        seed: of the two splits.
    """

    kind: str
    window: tuple[float, float] = (5050.0, 5350.0)
    step: Annotated[float, Field(gt=0, le=100)] | None = None
    resolution: Annotated[float, Field(ge=100, le=1_000_000)] | None = None
    native_resolution: Annotated[float, Field(ge=100)] | None = None
    vsini: tuple[Annotated[float, Field(ge=0, le=500)], ...] = ()
    limb_darkening: Annotated[float, Field(ge=0, le=1)] = 0.6
    medium: Medium | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("window")
    @classmethod
    def _ordered(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not 900 <= window[0] < window[1] <= 300_000:
            raise ValueError("must be two increasing wavelengths within 900 to 300,000 Å")
        return window

    @field_validator("vsini")
    @classmethod
    def _distinct(cls, vsini: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(vsini)) < len(vsini):
            raise ValueError("must be distinct")
        return tuple(sorted(vsini))


@dataclass(frozen=True)
class Entry:
    """One spectrum to be imported.

    Attributes:
        path: its file.
        labels: by name, in their units.
        row: which spectrum of a file that holds many.
    """

    path: Path
    labels: dict[str, float]
    row: int | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return str(self.path) if self.row is None else f"{self.path}, spectrum {self.row + 1}"


@dataclass
class Synthetic:
    """A synthetic spectrum as its file has it.

    Attributes:
        wavelength_aa: Å in the file's medium, increasing (p,).
        flux: in any unit (p,).
        continuum: in the unit of the flux (p,), or None.
        normalised: whether the flux is in units of the continuum; None when the file does not tell.
        medium: air or vacuum, or None when neither file nor format tells.
        resolution: R, infinite without an instrument, or None when neither file nor format tells.
    """

    wavelength_aa: Floats
    flux: Floats
    continuum: Floats | None = None
    normalised: bool | None = None
    medium: Medium | None = None
    resolution: float | None = None


class Family(ABC):
    """Files of one kind: their names, the labels they have, how a piece of one is read.

    Attributes:
        title: the kind in a few words.
        patterns: names of its files; those with an ending in ``others`` are none of them.
        medium: air or vacuum for all files of the kind, or None where the file tells.
        tells_labels: whether names or headers hold the labels; else a table is needed.
        wavelength_file: where the wavelengths are; None to look for them beside and above the spectra.
    """

    title: ClassVar[str]
    patterns: ClassVar[tuple[str, ...]] = ("*",)
    others: ClassVar[tuple[str, ...]] = ()
    medium: ClassVar[Medium | None] = None
    tells_labels: ClassVar[bool] = True

    def __init__(self, wavelength_file: Path | None = None) -> None:
        self.wavelength_file = wavelength_file
        self._last: dict[Path, Any] = {}

    def find(self, sources: Sequence[str]) -> list[Path]:
        """Files of the kind among folders, files and patterns."""
        return [path for path in find_files(sources, self.patterns) if path.suffix.lower() not in self.others]

    def last(self, path: Path, read: Callable[[], Any]) -> Any:
        """Contents of a file, kept until another is read: all its spectra come one after the other."""
        if path not in self._last:
            self._last = {path: read()}
        return self._last[path]

    @abstractmethod
    def entries(self, path: Path) -> list[Entry]:
        """The spectra of a file with their labels; no labels where neither name nor header has them.

        Raises:
            FormatError: unreadable or damaged, or its name, header and contents contradict each other.
        """

    @abstractmethod
    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """At least the piece of a spectrum between two wavelengths (Å in the file's medium), as far as it reaches.

        Raises:
            FormatError: truncated, damaged, or its wavelengths are missing or of another length.
        """


NO_SPECTRA = (".csv", ".md", ".log", ".par")
"""Endings of tables, notes and logs, beside spectra that have no ending of their own."""


@dataclass
class Problems:
    """What is wrong with the files, gathered so that one look at the list is enough."""

    limit: int = 20
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Note one; raise `ImportProblemsError` when there are many."""
        self.texts.append(" ".join(text.split()))
        if len(self.texts) >= self.limit:
            self.texts.append("these are enough: the rest was not looked at")
            self.stop()

    def stop(self) -> None:
        """Raise `ImportProblemsError` if there was any."""
        if self.texts:
            raise ImportProblemsError(self.texts)


class ImportProblemsError(FormatError):
    """Files that cannot be imported; `problems` lists them, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")


def find_files(sources: Iterable[str], patterns: Sequence[str]) -> list[Path]:
    """Files in folders (at any depth) whose names match a pattern, and files or glob patterns that are named.

    Raises:
        FormatError: a source that is not there, or in which no file matches.
    """
    found: list[Path] = []
    for source in sources:
        pattern = os.path.expanduser(source)
        names = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        paths = [Path(name) for name in names]
        if not paths:
            raise FormatError(f"{source}: no such file or folder")
        files = [path for path in paths if path.is_file()]
        for folder in (path for path in paths if path.is_dir()):
            files += sorted({p for pattern in patterns for p in folder.rglob(pattern) if p.is_file()})
        files = [path for path in files if not path.name.startswith(".")]
        if not files:
            raise FormatError(f"{source}: holds no file named {' or '.join(patterns)}")
        found += files
    return list(dict.fromkeys(found))


def read_text(path: Path) -> str:
    """Text of a file, plain or packed by gzip, bzip2 or xz.

    Raises:
        FormatError: it cannot be read, is truncated, or is not text.
    """
    try:
        content = path.read_bytes()
        unpack = _PACKED.get(content[:2])
        content = unpack(content) if unpack else content
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise FormatError(f"{path}: truncated or damaged ({error})") from error
    if b"\x00" in content[:65536]:
        raise FormatError(f"{path}: binary, not text")
    return content.decode("latin-1")


def find_near(folder: Path, *names: str) -> Path:
    """The first file of these names in a folder or up to three above it.

    Raises:
        FormatError: there is none.
    """
    for place in (folder, *folder.resolve().parents[:3]):
        for name in names:
            if (place / name).is_file():
                return place / name
    raise FormatError(f"{folder}: no {names[0]} there or in the folders above", parameter="wavelength_file")


def between(wavelength_aa: Floats, low_aa: float, high_aa: float, spare: int = 8) -> slice:
    """The pixels between two wavelengths and some more on each side."""
    first, last = np.searchsorted(wavelength_aa, [low_aa, high_aa])
    return slice(max(int(first) - spare, 0), int(last) + spare)
