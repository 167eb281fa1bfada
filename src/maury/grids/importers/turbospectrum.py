"""ASCII of three columns by Turbospectrum: POLLUX, AMBRE, and Turbospectrum's own output.

POLLUX ``.spec`` and AMBRE: wavelength, absolute flux, normalised flux (Palacios et al. 2010, A&A 516, A13; de Laverny
et al. 2012, A&A 544, A126). Turbospectrum (bsyn): wavelength, normalised flux, absolute flux. Air, Å, no instrument.
The normalised one of the two is that whose values lie between 0 and 1.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import NO_SPECTRA, Entry, Family, Synthetic, read_text
from maury.grids.importers.names import from_marcs_name, from_pollux_name, from_sentences
from maury.grids.importers.readable import Readable
from maury.grids.importers.text_columns import columns_between

_HIGHEST = 1.5


class Turbospectrum(Family):
    """Three columns: wavelength, normalised flux, absolute flux; two columns without the last."""

    title = "Turbospectrum (bsyn) ASCII, names as MARCS models"
    others: ClassVar[tuple[str, ...]] = NO_SPECTRA
    medium = "air"

    def entries(self, path: Path) -> list[Entry]:
        """Labels from a name as of MARCS models or POLLUX."""
        return [Entry(path, from_marcs_name(path.name) or from_pollux_name(path.name))]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of a spectrum."""
        table, _ = columns_between(entry.path, low_aa, high_aa, 2)
        normalised = _normalised_column(table)
        if normalised is None:
            raise FormatError(f"{entry.path}: no column between 0 and {_HIGHEST:g}, as a normalised flux is")
        return Synthetic(
            table[:, 0], table[:, normalised], normalised=True, medium=self.medium, resolution=float("inf")
        )


def _normalised_column(table: np.ndarray) -> int | None:
    """The first of the columns after the wavelength that lies between 0 and 1.5; NaN do not count against it."""
    for column in range(1, min(table.shape[1], 3)):
        values = table[:, column]
        values = values[np.isfinite(values)]
        if values.size and values.min() >= -0.05 and 0.05 < values.max() <= _HIGHEST:
            return column
    return None


class Pollux(Turbospectrum):
    """POLLUX: labels from the name of the ``.spec`` file, else from the ``.spec.txt`` beside it."""

    title = "POLLUX .spec ASCII (Palacios et al. 2010)"
    patterns = ("*.spec", "*.spec.gz")
    others = (".txt",)

    def entries(self, path: Path) -> list[Entry]:
        """Labels from the name, else from the description."""
        labels = from_pollux_name(path.name) or from_marcs_name(path.name)
        description = path.with_name(path.name.removesuffix(".gz") + ".txt")
        if not labels and description.is_file():
            labels = from_sentences(read_text(description))
        return [Entry(path, labels)]


class Ambre(Turbospectrum):
    """AMBRE: ASCII as POLLUX's, or FITS; names as MARCS models."""

    title = "AMBRE ASCII and FITS (de Laverny et al. 2012)"
    patterns = ("*AMBRE*", "*.spec", "*.spec.gz", "*.fits")
    others = ()

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of an ASCII file, or a FITS file as a whole."""
        if not entry.path.name.endswith((".fits", ".fits.gz")):
            return super().read(entry, low_aa, high_aa)
        spectrum = Readable().read(entry, low_aa, high_aa)
        spectrum.medium = spectrum.medium or self.medium
        spectrum.resolution = spectrum.resolution or float("inf")
        return spectrum
