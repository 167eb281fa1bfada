"""PHOENIX-ACES-AGSS-COND-2011 of Göttingen (Husser et al. 2013, A&A 553, A6).

HiRes: one FITS image per spectrum, its wavelengths (vacuum, Å) in ``WAVE_PHOENIX-ACES-AGSS-COND-2011.fits``. MedRes:
wavelengths in the header (CRVAL1, CDELT1, CTYPE1: WAVE or AWAV, -LOG for logarithms). Flux in erg/s/cm2/cm, labels in
the header: PHXTEFF, PHXLOGG, PHXM_H, PHXALPHA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import Entry, Family, Medium, Synthetic, between, find_near
from maury.grids.importers.images import open_image
from maury.grids.importers.names import from_phoenix_name
from maury.readers.linear import axis, has_axis
from maury.readers.source import Log
from maury.wavelengths import Floats

WAVE_FILE = "WAVE_PHOENIX-ACES-AGSS-COND-2011.fits"
_HIRES = 500_000.0
_KEYS = {"teff": "PHXTEFF", "logg": "PHXLOGG", "mh": "PHXM_H", "alpha": "PHXALPHA"}


class Phoenix(Family):
    """PHOENIX-ACES HiRes and MedRes FITS."""

    title = "PHOENIX-ACES (Husser et al. 2013)"
    patterns = ("lte*.fits", "lte*.fits.gz")

    def entries(self, path: Path) -> list[Entry]:
        """Labels from the header; they have to agree with the name."""
        with open_image(path) as image:
            header = image.header
            labels = {name: float(header[key]) for name, key in _KEYS.items() if key in header}
        missing = [_KEYS[name] for name in _KEYS if name not in labels]
        if missing:
            raise FormatError(f"{path}: no {', '.join(missing)} in its header")
        for name, value in from_phoenix_name(path.name).items():
            if not np.isclose(value, labels[name], atol=0.006):
                raise FormatError(f"{path}: {name} is {value:g} in its name and {labels[name]:g} in its header")
        return [Entry(path, labels)]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of a spectrum: of HiRes files only that piece is read from the disk."""
        with open_image(entry.path) as image:
            if has_axis(image.header):
                log = Log(entry.path)
                wavelength = axis(image.header, image.shape[0], log)
                medium: Medium = "air" if str(image.header.get("CTYPE1", "")).upper().startswith("AWAV") else "vacuum"
                resolution = None
            else:
                wavelength, medium, resolution = self._wavelengths(entry.path), "vacuum", _HIRES
            if wavelength.shape != image.shape:
                raise FormatError(
                    f"{entry.path}: {image.shape[0]} pixels, but {wavelength.size} wavelengths in "
                    f"{self._wave_path(entry.path)}"
                )
            part = between(wavelength, low_aa, high_aa)
            flux = np.asarray(image.section[part], np.float64)
        return Synthetic(wavelength[part], flux, normalised=False, medium=medium, resolution=resolution)

    def _wave_path(self, path: Path) -> Path:
        return self.wavelength_file or find_near(path.parent, WAVE_FILE)

    def _wavelengths(self, path: Path) -> Floats:
        file = self._wave_path(path)

        def read() -> Floats:
            with open_image(file) as image:
                return np.asarray(image.data, np.float64)

        wavelength: Floats = self.last(file, read)
        return wavelength
