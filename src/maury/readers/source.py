"""What all readers share: the options, the log, and the orders as a file holds them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maury.errors import ConfigError, FormatError
from maury.readers.units import SCALE_AA, parse_unit
from maury.spectra import Frame
from maury.wavelengths import Floats

Medium = Literal["air", "vacuum"]

MAX_PIXELS = 30_000_000
"""Largest number of pixels in one array that is read; an echelle spectrum has about a million."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a file: what it does not state or states wrongly, and which of its spectra to read.

    Attributes:
        resolution: nominal resolving power R = lambda / FWHM; overrides the file.
        medium: ``"air"`` or ``"vacuum"``; overrides the file.
        wavelength_unit: overrides the file: angstrom, nm, um, m, log10 or ln (of Å), cm-1, Hz, eV.
        wavelength_file: wavelengths of the same shape as the flux (FITS, text, .npy), for files that hold none.
        sigma_file: noise of the same shape; its kind by the name of its extension, else sigma.
        ignore_sigma: leave out the noise of the file, so that it is measured in the flux.
        extension: name or number (0: primary) of the FITS extension, or HDF5 group, with the flux.
        row: number of the row (table, image, HDF5 data set) with the spectrum; 1 is the first.
        fibre: name or number of the fibre, trace or aperture.
        order: number of the echelle order, as the file counts, else from 1.

    Raises:
        ConfigError: a value is out of its range.
    """

    resolution: float | None = None
    medium: Medium | None = None
    wavelength_unit: str | None = None
    wavelength_file: str | os.PathLike[str] | None = None
    sigma_file: str | os.PathLike[str] | None = None
    ignore_sigma: bool = False
    extension: str | int | None = None
    row: int | None = None
    fibre: str | int | None = None
    order: int | None = None

    def __post_init__(self) -> None:
        if self.resolution is not None and not 500 <= self.resolution <= 1_000_000:
            raise ConfigError(
                f"resolution {self.resolution:g}: must be between 500 and 1,000,000", parameter="resolution"
            )
        if self.wavelength_unit is not None and parse_unit(self.wavelength_unit) not in {
            *SCALE_AA,
            "log10",
            "ln",
            "wavenumber",
            "frequency",
            "energy",
        }:
            units = ", ".join(SCALE_AA)
            raise ConfigError(
                f"wavelength unit {self.wavelength_unit!r}: must be one of {units}, log10, ln, cm-1, Hz, eV",
                parameter="wavelength_unit",
            )
        if self.medium not in (None, "air", "vacuum"):
            raise ConfigError(f"medium {self.medium!r}: must be air or vacuum", parameter="medium")
        if self.row is not None and self.row < 1:
            raise ConfigError(f"row {self.row}: must be 1 or more", parameter="row")


@dataclass(frozen=True)
class Log:
    """The record of reading one file: how each number was found.

    Attributes:
        path: the file.
        options: how the user wants it read.
        rules: how each number that the file does not state plainly was found, in the order applied.
        warnings: what the user should look at.
    """

    path: Path
    options: ReadOptions = ReadOptions()
    rules: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def copy(self) -> Log:
        """A log with the same notes, which grows on its own."""
        return replace(self, rules=list(self.rules), warnings=list(self.warnings))

    def rule(self, text: str) -> None:
        """Record a rule that was applied, once."""
        if text not in self.rules:
            self.rules.append(text)

    def warn(self, text: str) -> None:
        """Record something that the user should look at, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def fail(self, reason: str, parameter: str | None = None) -> FormatError:
        """The error, to be raised, that names the file, the reason, and the option that helps."""
        return FormatError(f"{self.path}: {reason}", parameter=parameter)


@dataclass
class RawOrder:
    """One order as the file holds it.

    Attributes:
        wavelength_aa: wavelengths, Å in the file's medium.
        flux: flux.
        sigma: standard deviation of the flux.
        mask: True where a pixel is bad.
        name: of the order, as the file counts.
        row: number of the row that holds it, from 1.
        fibre: name of its fibre, trace, aperture or star.
        extension: number of the FITS extension that holds it.
    """

    wavelength_aa: Floats
    flux: Floats
    sigma: Floats | None = None
    mask: NDArray[np.bool_] | None = None
    name: str = ""
    row: int | None = None
    fibre: str = ""
    extension: str = ""

    def take(self, index: Any, name: str | None = None) -> RawOrder:
        """Some of the pixels."""
        return replace(
            self,
            wavelength_aa=self.wavelength_aa[index],
            flux=self.flux[index],
            sigma=None if self.sigma is None else self.sigma[index],
            mask=None if self.mask is None else self.mask[index],
            name=self.name if name is None else name,
        )


@dataclass
class Raw:
    """All orders of a file and what is known about them; `maury.readers.finish` makes an `Observation` of it.

    Attributes:
        reader: name of the family that read the file.
        orders: the orders.
        medium: air or vacuum, or None when the file does not state it.
        medium_assumed: whether the medium rests on a convention that many programs break.
        one_star: whether all rows are known to be of one star, such as the slices of an image slicer.
        pipeline: name of its entry in the table of pipelines, if it is already known.
        frame: rest frame of the wavelengths.
        normalised: whether the file says that the continuum is divided out, or None when it does not say.
        resolution: R from the header.
        barycentric_kms: see `Observation`.
        sigma: where sigma came from.
        info: object, instrument, date.
    """

    reader: str
    orders: list[RawOrder]
    medium: Medium | None = None
    medium_assumed: bool = False
    one_star: bool = False
    pipeline: str = ""
    frame: Frame = "unknown"
    normalised: bool | None = None
    resolution: float | None = None
    barycentric_kms: float | None = None
    sigma: str = "none"
    info: dict[str, Any] = field(default_factory=dict)


def as_floats(values: Any) -> Floats:
    """A float64 copy in the machine's byte order; masked entries become NaN, and so do sizes above 1e100.

    Such numbers are bytes that were never numbers, whose squares no arithmetic holds; those below 1e-100 become 0.
    """
    masked = isinstance(values, np.ma.MaskedArray)
    copy = np.ma.filled(values.astype(np.float64), np.nan) if masked else np.array(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # bytes of a signalling NaN become the quiet one
        size = np.abs(copy)
        return np.where(size <= 1e100, np.where(size < 1e-100, 0.0, copy), np.nan)
