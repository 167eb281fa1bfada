"""Spectra in formats that `maury.readers` knows: FITS folders of ATLAS and the CfA, AMBRE's, files with a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import Entry, Family, Synthetic
from maury.grids.importers.images import open_fits
from maury.grids.importers.names import from_cfa_name, from_header, from_marcs_name, from_pollux_name
from maury.readers.detect import read_raw, understood
from maury.readers.source import ReadOptions


class Readable(Family):
    """Whatever `maury inspect` reads, one spectrum per file; labels from a table."""

    title = "any file that maury inspect reads, with a table of labels"
    tells_labels = False

    def entries(self, path: Path) -> list[Entry]:
        """One spectrum without labels."""
        return [Entry(path, {})]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """The whole spectrum of a file of one order."""
        with understood(entry.path):
            raw, _ = read_raw(entry.path, ReadOptions())
        if len(raw.orders) != 1:
            raise FormatError(f"{entry.path}: {len(raw.orders)} spectra or orders; one per file is needed")
        order = raw.orders[0]
        wavelength, flux = order.wavelength_aa, order.flux
        if wavelength.size > 1 and wavelength[0] > wavelength[-1]:
            wavelength, flux = wavelength[::-1], flux[::-1]
        medium = raw.medium or self.medium
        return Synthetic(wavelength, flux, normalised=raw.normalised, medium=medium, resolution=raw.resolution)


class Atlas(Readable):
    """FITS folders of ATLAS, SYNTHE and the CfA: linear or logarithmic axis, labels in header or name, air."""

    title = "ATLAS and CfA: one FITS file per spectrum, labels in header or name"
    patterns = ("*.fits", "*.fit", "*.fits.gz")
    medium = "air"
    tells_labels = True

    def entries(self, path: Path) -> list[Entry]:
        """Labels by name as the CfA, MARCS and POLLUX write them, else from the headers."""
        for parse in (from_cfa_name, from_marcs_name, from_pollux_name):
            labels = parse(path.name)
            if labels:
                return [Entry(path, labels)]
        return [Entry(path, _header_labels(path))]


def _header_labels(path: Path) -> dict[str, float]:
    with open_fits(path) as hdus:
        headers = [dict(hdu.header) for hdu in hdus[:4]]
    labels: dict[str, float] = {}
    for header in reversed(headers):
        labels |= from_header({key: value for key, value in header.items() if not isinstance(value, bool)})
    return {name: value for name, value in labels.items() if np.isfinite(value)}
