"""A table of standard stars: spectra, how they are read, and the labels of the literature."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from maury.catalogue.lists import FileList
from maury.errors import FormatError, MauryError
from maury.labels import LABELS
from maury.progress import Advance, silent
from maury.readers import read
from maury.spectra import Observation, Spectrum

Found = TypeVar("Found")


@dataclass(frozen=True)
class Standard:
    """A spectrum of a standard star."""

    star: str  # its name; several spectra of one star count once
    path: Path  # the spectrum
    reading: dict[str, Any]  # attributes of `maury.readers.ReadOptions`
    labels: dict[str, float]  # of the literature, by name
    errors: dict[str, float]  # their uncertainties, by name
    # whether the difference to the literature counts: not for a star on which the line list was calibrated (``role``
    # is calibrate), nor where ``labels_verified`` is false
    scored: bool = True
    verified: bool = True  # whether the labels are of the literature and not from memory or from a fit
    velocity_kms: float | None = None  # radial velocity in the file's wavelengths, if it is known

    def read(self) -> Spectrum | Observation:
        """The spectrum.

        Raises:
            MauryError: as `maury.read`.
        """
        return read(self.path, **self.reading)


def read_standards(path: str | os.PathLike[str]) -> list[Standard]:
    """Read a CSV table of standard stars.

    Its columns: ``file`` (relative to the table's folder), ``star``, ``velocity_kms``, ``resolution`` and others
    of `maury.readers.ReadOptions`; labels (``teff``, ``logg``, ``mh``, ``alpha`` ...) and their uncertainties
    (``e_teff`` ...), empty where unknown; ``role`` and ``labels_verified``, which may be left out.

    Raises:
        FormatError: the table cannot be read, or a label is not a number.
    """
    path = Path(path)
    if path.is_dir():
        raise FormatError(f"{path}: is a folder; a CSV table of standard stars is needed")
    stars = []
    for entry, cells in FileList(path).lines():
        if entry.error is not None:
            raise FormatError(f"{path}: {entry.file}: {entry.error}")
        row = {str(name): str(text or "").strip() for name, text in cells.items()}
        verified = row.get("labels_verified", "").lower() not in ("false", "no", "0")
        stars.append(
            Standard(
                star=(entry.star or entry.file).split(" (")[0],
                path=entry.path,
                reading=entry.reading,
                labels=_numbers(row, "", path),
                errors=_numbers(row, "e_", path),
                scored=verified and row.get("role", "") != "calibrate",
                verified=verified,
                velocity_kms=entry.velocity_kms,
            )
        )
    return stars


def measured(
    stars: Iterable[Standard],
    measure: Callable[[Standard], Found],
    failed: Callable[[str], None],
    advance: Advance = silent,
) -> list[Found]:
    """Results of ``measure`` for all spectra; messages of spectra that cannot be used are passed to ``failed``."""
    found = []
    for star in stars:
        try:
            found.append(measure(star))
        except MauryError as error:
            failed(str(error) if star.path.name in str(error) else f"{star.path.name}: {error}")
        advance(1)
    return found


def _numbers(row: dict[str, str], prefix: str, path: Path) -> dict[str, float]:
    numbers = {}
    for name in LABELS:
        text = row.get(prefix + name, "")
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            raise FormatError(f"{path}: {row['file']}: {prefix}{name} = {text!r} is not a number") from None
        if math.isfinite(number):
            numbers[name] = number
    return numbers
