"""maury's own libraries of intrinsic spectra, as a source of grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.grids.importers.families import Entry, Family, Synthetic, between
from maury.library import Library, read_library


class Libraries(Family):
    """Files that `maury library` makes."""

    title = "maury's own libraries"
    patterns = ("*.h5",)
    medium = "air"

    def _open(self, path: Path) -> Library:
        library: Library = self.last(path, lambda: read_library(path))
        return library

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
