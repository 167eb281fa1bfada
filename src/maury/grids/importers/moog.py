"""MOOG's raw synthetic spectra, ``summary_out`` of the driver synth.

Lines on abundances; ``MODEL: Teff = 5750 log g = 4.5 vt= 1.00 M/H= 0.10``; first and last wavelength, step and the
width of the opacity window; then depths (1 - flux), ten to a line in fields of seven characters, ``*******`` where
there is no opacity. Air, Å, no instrument. Several abundances make several such blocks in one file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import NO_SPECTRA, Entry, Family, Synthetic, read_text
from maury.grids.importers.names import from_marcs_name, from_sentences

_FIELD = 7


class Moog(Family):
    """MOOG ``summary_out`` files of one spectrum each."""

    title = "MOOG raw spectra (summary_out)"
    others = NO_SPECTRA
    medium = "air"

    def entries(self, path: Path) -> list[Entry]:
        """Labels from the MODEL line, else from a name as of MARCS models."""
        text = read_text(path)
        model = next((line for line in text.splitlines() if line.upper().startswith("MODEL:")), "")
        labels = from_sentences(model)
        return [Entry(path, labels if {"teff", "logg"} <= set(labels) else from_marcs_name(path.name))]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """The whole spectrum."""
        path, lines = entry.path, read_text(entry.path).splitlines()
        models = [i for i, line in enumerate(lines) if line.upper().startswith("MODEL:")]
        if len(models) != 1:
            raise FormatError(f"{path}: {len(models)} spectra (lines MODEL:); one per file is needed")
        header = re.findall(r"[+-]?\d+\.?\d*", lines[models[0] + 1]) if models[0] + 1 < len(lines) else []
        if len(header) < 3 or not float(header[2]) > 0:
            raise FormatError(f"{path}: no line of first and last wavelength and step after MODEL:")
        start, end, step = map(float, header[:3])
        values = _values(path, lines[models[0] + 2 :])
        count = round((end - start) / step) + 1
        if abs(values.size - count) > 1:
            raise FormatError(f"{path}: {values.size} depths, but its header tells {count}; truncated?")
        wavelength = np.asarray(start + step * np.arange(values.size), np.float64)
        flux = values if np.median(values) > 0.5 else 1 - values
        return Synthetic(wavelength, flux, normalised=True, medium=self.medium, resolution=float("inf"))


def _values(path: Path, lines: Sequence[str]) -> np.ndarray:
    """Depths, by words where the fields are apart, else by fields of seven characters."""
    text = [line.replace("*" * _FIELD, f"{0.0:{_FIELD}.4f}").rstrip() for line in lines if line.strip()]
    try:
        return np.array([float(word) for line in text for word in line.split()])
    except ValueError:
        fields = (line[i : i + _FIELD] for line in text for i in range(0, len(line), _FIELD))
        try:
            return np.array([float(field) for field in fields])
        except ValueError as error:
            raise FormatError(f"{path}: a depth is no number ({error})") from error
