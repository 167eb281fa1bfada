"""BOSZ: the grid of 2017 (Bohlin et al. 2017, AJ 153, 234) and that of 2024 (Mészáros et al. 2024, A&A 688, A197).

2017: ASCII, packed by bzip2, of three columns (wavelength, flux, continuum), or FITS tables of the columns Wavelength,
SpecificIntensity and Continuum; wavelengths in vacuum. 2024: packed ASCII of two columns (flux, continuum), the
wavelengths in ``bosz2024_wave_rR.txt``; at the original resolution (``noresam``) three columns as in 2017; wavelengths
in air.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import Entry, Family, Medium, Synthetic, between, find_near
from maury.grids.importers.images import open_fits
from maury.grids.importers.names import from_bosz_name
from maury.grids.importers.text_columns import columns_between, numeric_lines, parse_columns
from maury.wavelengths import Floats


class Bosz(Family):
    """BOSZ ASCII and FITS of 2017 and ASCII of 2024."""

    title = "BOSZ of 2017 and 2024"
    patterns = ("bosz2024_*_t*.txt*", "am*rs.asc*", "am*rs.fits*")

    def find(self, sources: Sequence[str]) -> list[Path]:
        """Files named as in 2017 or 2024; wavelength files are left out."""
        return [path for path in super().find(sources) if "_wave_" not in path.name]

    def entries(self, path: Path) -> list[Entry]:
        """Labels from the name."""
        return [Entry(path, from_bosz_name(path.name)[0])]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of a spectrum and of its continuum."""
        _, resolution, year = from_bosz_name(entry.path.name)
        if re.search(r"\.fits(\.gz)?$", entry.path.name):
            with open_fits(entry.path) as hdus:
                data = hdus[1].data
                names = {name.lower(): name for name in data.names}
                columns = [data[names[name]] for name in ("wavelength", "specificintensity", "continuum")]
                table = np.stack([np.asarray(column, np.float64).ravel() for column in columns], axis=-1)
            table = table[between(table[:, 0], low_aa, high_aa)]
        elif year == 2024 and "_noresam" not in entry.path.name:
            table = self._resampled(entry.path, low_aa, high_aa)
        else:
            table = columns_between(entry.path, low_aa, high_aa, 3)[0]
        medium: Medium = "air" if year == 2024 else "vacuum"
        wavelength, flux, continuum = table[:, :3].T
        return Synthetic(wavelength, flux, continuum, medium=medium, resolution=resolution)

    def _resampled(self, path: Path, low_aa: float, high_aa: float) -> Floats:
        found = re.search(r"_(r\d+)_", path.name)
        name = f"bosz2024_wave_{found.group(1) if found else 'r'}.txt"
        file = self.wavelength_file or find_near(path.parent, name, f"wavelength_grids/{name}")
        wavelength: Floats = self.last(file, lambda: parse_columns(file, numeric_lines(file)[1], 1)[:, 0])
        _, lines = numeric_lines(path)
        if len(lines) != wavelength.size:
            raise FormatError(f"{path}: {len(lines)} rows, but {wavelength.size} wavelengths in {file}; truncated?")
        part = between(wavelength, low_aa, high_aa)
        if not lines[part]:
            return np.empty((0, 3))
        return np.column_stack([wavelength[part], parse_columns(path, lines[part], 2, part.start)[:, :2]])
