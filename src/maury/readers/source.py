"""What the families of formats hand over: arcs as the file has them, with notes on how each number was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.spectra import Frame

Floats = NDArray[np.float64]
Medium = Literal["air", "vacuum"]

MAX_PIXELS = 30_000_000
"""Largest number of pixels in one array that is read; an echelle spectrum has about a million."""


@dataclass
class Job:
    """One file to read: the hints of the user, and the notes that the readers take on the way.

    Attributes:
        path: the file.
        wavelength_file: file with the wavelengths, where the spectrum's own has none.
        sigma_file: file with the noise.
        wavelength_unit: overrides the unit of the file.
        medium: overrides air or vacuum of the file.
        resolution: overrides the resolution of the header.
        rules: how each number that the file does not state plainly was found, in the order applied.
        warnings: what the user should look at.
    """

    path: Path
    wavelength_file: Path | None = None
    sigma_file: Path | None = None
    wavelength_unit: str | None = None
    medium: Medium | None = None
    resolution: float | None = None
    rules: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def rule(self, text: str) -> None:
        """Record a rule that was applied, once."""
        if text not in self.rules:
            self.rules.append(text)

    def warn(self, text: str) -> None:
        """Record something that the user should look at, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def fail(self, reason: str) -> FormatError:
        """The error, to be raised, that names the file and the reason."""
        return FormatError(f"{self.path}: {reason}")


@dataclass
class Arc:
    """One run of pixels: wavelengths (Å, in the file's medium and order), flux, sigma, mask (True: bad)."""

    wavelength_aa: Floats
    flux: Floats
    sigma: Floats | None = None
    mask: NDArray[np.bool_] | None = None
    name: str = ""


@dataclass
class Raw:
    """All arcs of a file and what is known about them; `maury.readers.finish` makes an `Observation` of it.

    Attributes:
        reader: name of the family that read the file.
        arcs: the arcs.
        medium: air or vacuum, or None when the file does not tell.
        frame: rest frame of the wavelengths.
        normalised: whether the file says that the continuum is divided out, or None when it does not say.
        resolution: R from the header.
        barycentric_kms: see `Observation`.
        sigma: where sigma came from.
        info: object, instrument, date.
    """

    reader: str
    arcs: list[Arc]
    medium: Medium | None = None
    frame: Frame = "unknown"
    normalised: bool | None = None
    resolution: float | None = None
    barycentric_kms: float | None = None
    sigma: str = "none"
    info: dict[str, Any] = field(default_factory=dict)


def as_floats(values: Any) -> Floats:
    """A float64 copy in the machine's byte order; masked entries become NaN."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.array(values, dtype=np.float64)
