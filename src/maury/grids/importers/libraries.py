"""maury's own libraries of intrinsic spectra, as a source of grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from maury.grids.importers.families import Entry, Medium, Synthetic, between, find_files
from maury.library import Library, read_library


class Libraries:
    """Files that `maury library` makes."""

    title: ClassVar[str] = "maury's own libraries"
    medium: ClassVar[Medium | None] = "air"
    tells_labels: ClassVar[bool] = True

    def __init__(self) -> None:
        """Keep the file that was opened last: all its spectra come one after the other."""
        self._opened: tuple[Path, Library] | None = None

    def find(self, sources: Sequence[str]) -> list[Path]:
        """HDF5 files."""
        return find_files(sources, ["*.h5"])

    def _open(self, path: Path) -> Library:
        if self._opened is None or self._opened[0] != path:
            self._opened = (path, read_library(path))
        return self._opened[1]

    def entries(self, path: Path) -> list[Entry]:
        """One spectrum per row."""
        library = self._open(path)
        return [
            Entry(path, dict(zip(library.names, map(float, labels), strict=True)), row)
            for row, labels in enumerate(library.labels)
        ]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of a spectrum."""
        library = self._open(entry.path)
        part = between(library.wavelength_aa, low_aa, high_aa)
        flux = library.flux(np.array([entry.row or 0]))[0, part].astype(np.float64)
        resolution = float(library.attributes.get("resolution") or np.inf)
        return Synthetic(library.wavelength_aa[part], flux, normalised=True, medium="air", resolution=resolution)
