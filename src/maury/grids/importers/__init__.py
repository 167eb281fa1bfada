"""Import public or own synthetic spectra: families of files, their labels, a grid or a library of them."""

from __future__ import annotations

from pathlib import Path

from maury.errors import ConfigError
from maury.grids.importers.bosz import Bosz
from maury.grids.importers.families import Entry, Family, ImportConfig, ImportProblemsError, Synthetic
from maury.grids.importers.ferre import Ferre
from maury.grids.importers.importing import Survey, import_grid, import_library, survey
from maury.grids.importers.libraries import Libraries
from maury.grids.importers.many_spectra import Hdf5, Zarr
from maury.grids.importers.moog import Moog
from maury.grids.importers.phoenix import Phoenix
from maury.grids.importers.readable import Atlas, Readable
from maury.grids.importers.turbospectrum import Ambre, Pollux, Turbospectrum

KINDS: dict[str, type[Family]] = {
    "phoenix": Phoenix,
    "atlas": Atlas,
    "bosz": Bosz,
    "pollux": Pollux,
    "ambre": Ambre,
    "ferre": Ferre,
    "turbospectrum": Turbospectrum,
    "moog": Moog,
    "hdf5": Hdf5,
    "zarr": Zarr,
    "library": Libraries,
    "files": Readable,
}
"""Families by the name that the command line knows."""

__all__ = [
    "KINDS",
    "Entry",
    "Family",
    "ImportConfig",
    "ImportProblemsError",
    "Survey",
    "Synthetic",
    "import_grid",
    "import_library",
    "make_family",
    "survey",
]


def make_family(kind: str, wavelength_file: Path | None = None) -> Family:
    """The family of a name.

    Raises:
        ConfigError: an unknown name, or a wavelength file for files that have wavelengths.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is unknown; allowed: {', '.join(KINDS)}")
    if wavelength_file is not None and kind not in ("phoenix", "bosz"):
        raise ConfigError(f"a wavelength file is for phoenix and bosz; {kind} files hold their wavelengths")
    return KINDS[kind](wavelength_file)
