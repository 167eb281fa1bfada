"""Settings of a calibration: the line list, the stars, and the uncertainty of log gf by source."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from maury.config import Settings, load_config
from maury.readers import ReadOptions
from maury.synthesis import PhysicsConfig

Positive = Annotated[float, Field(gt=0)]

SOLVED = ("teff", "logg", "mh", "vmic")
"""Labels of a star that are fitted together with the lines; `LabelWidths` are their priors."""


def atoms(formula: str) -> dict[str, int]:
    """Number of atoms of each element in a formula: {"C": 2} for "C2"."""
    counts: dict[str, int] = {}
    for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        counts[element] = counts.get(element, 0) + int(count or 1)
    return counts


class LabelWidths(Settings):
    """Standard deviations of the priors of a star's labels; fitting them keeps their errors out of log gf.

    Attributes:
        teff: Teff, K.
        logg: log g, dex.
        mh: [M/H], dex.
        vmic: microturbulence, km/s.
        abundance: abundance of each element, dex.
        magnesium_hydride: strength of all MgH lines in this star, dex.
    """

    teff: Positive = 20.0
    logg: Positive = 0.02
    mh: Positive = 0.02
    vmic: Positive = 0.08
    abundance: Positive = 0.03
    magnesium_hydride: Positive = 0.05


class StandardStar(Settings):
    """An observed spectrum of a star with known labels.

    Attributes:
        name: name of the star.
        role: "calibrate", or "test" for a star that is compared with both lists but not fitted.
        file: file of the spectrum, relative to the folder ``observed`` of the settings.
        reading: options for reading the file: attributes of `maury.readers.ReadOptions` except the resolution, such as
            wavelength_file = "wave.fits" for wavelengths in a second file.
        resolution: R = lambda / FWHM.
        velocity_kms: radial velocity of the spectrum, km/s; the remaining error, up to 3 km/s, is fitted.
        teff: Teff, K.
        logg: log g, dex (cgs).
        mh: [M/H], dex.
        vmic: microturbulence, km/s.
        vsini: v sin i, km/s, at most 15.
        vmac: initial value of the radial-tangential macroturbulence, km/s.
        abundances: [X/M] by element; 0 for elements not given.
        haze: size h of weak opacity that line lists lack, flux = model + h (1 - model); it is not fitted.
        carbon13: excess of 13C over the solar ratio, dex: added to log gf of molecular lines with 13C; lines with 12C
            are weakened accordingly.
        sigma: error of the model in a resolution element, per unit of the continuum; it sets the weight of the star.
        widths: standard deviations of the priors of its labels.
    """

    name: Annotated[str, Field(min_length=1)]
    role: Literal["calibrate", "test"] = "calibrate"
    file: str
    reading: dict[str, str | int | bool] = Field(default_factory=dict)
    resolution: Annotated[float, Field(ge=5_000, le=1_000_000)]
    velocity_kms: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    teff: Annotated[float, Field(gt=2000, lt=50_000)]
    logg: Annotated[float, Field(ge=-1, le=6)]
    mh: Annotated[float, Field(ge=-5, le=1)]
    vmic: Annotated[float, Field(gt=0, le=10)]
    vsini: Annotated[float, Field(ge=0, le=15)] = 2.0
    vmac: Annotated[float, Field(ge=0, le=15)] = 3.0
    abundances: dict[str, Annotated[float, Field(ge=-3, le=3)]] = Field(default_factory=dict)
    haze: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    carbon13: Annotated[float, Field(ge=0, le=2)] = 0.0
    sigma: Positive = 0.01
    widths: LabelWidths = LabelWidths()

    @field_validator("reading")
    @classmethod
    def _options(cls, reading: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        allowed = sorted({option.name for option in fields(ReadOptions)} - {"resolution"})
        if unknown := sorted(set(reading) - set(allowed)):
            raise ValueError(f"reading has no option {', '.join(unknown)}; it has {', '.join(allowed)}")
        ReadOptions(**reading)  # type: ignore[arg-type]
        return reading


class Source(Settings):
    """A source of log gf, and the uncertainty of its lines.

    Attributes:
        name: name of the source, for reports.
        pattern: regular expression; lines whose reference begins with it (after the first number) are of this source.
        width: standard deviation of the error of log gf, dex.
    """

    name: str
    pattern: str
    width: Positive

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class MoleculeTerms(Settings):
    """Priors of a correction common to all lines of a molecule: log gf + offset + slope (E - 0.5 eV).

    Attributes:
        offset: standard deviation of the offset, dex.
        slope: standard deviation of the slope, dex per eV.
        line: standard deviation of the additional change of each line, dex.
    """

    offset: Positive = 0.05
    slope: Positive = 0.05
    line: Positive = 0.08


class CalibrateConfig(Settings):
    """Settings of `maury lines calibrate`.

    Attributes:
        list: line list in VALD's short format.
        cool_lines: list of additional lines of cool stars (TiO), which are not fitted.
        atmospheres: folder or archive of model atmospheres.
        observed: folder of the spectra.
        window: first and last wavelength used, Å air.
        mask: ranges (Å, air, rest frame) that are left out in all stars.
        anchor: star whose literature labels a fit with the new list has to recover.
        stars: the stars.
        sources: sources of atomic lines; a line belongs to the first whose pattern matches.
        molecules: common corrections by molecule, or by any other species with its stage ("CH 2", else stage 1).
        bound: largest change of log gf, in units of its standard deviation.
        threshold: lines that change the flux of every star by less than this, per dex, are not fitted; for other stars
            than the anchor the change is multiplied by the ratio of the anchor's ``sigma`` to theirs.
        continuum_aa: distance between knots of the continuum, Å.
        physics: settings of the synthesis, with departures from LTE.
        iterations: largest number of times that spectra are recomputed; it ends earlier if the labels of the anchor are
            recovered.
        free: elements whose abundances are free when labels are fitted with the new list; by default those with at
            least three lines in the star, except iron, which [M/H] represents.
        further_list: second list, searched for lines that explain absorption without a line in the first.
        figure: ranges shown in the figure, Å; by default the two with the most absorption in the anchor.
        unexplained: difference between flux and model (mean over 0.1 Å), per unit of the continuum, above which a range
            is listed as unexplained, if the anchor or two other stars exceed it.
    """

    list: str
    cool_lines: str = ""
    atmospheres: str
    observed: str
    window: tuple[float, float] = (5047.0, 5353.0)
    mask: tuple[tuple[float, float], ...] = ()
    anchor: str = "Sun"
    stars: Annotated[tuple[StandardStar, ...], Field(min_length=1)]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    molecules: dict[str, MoleculeTerms] = Field(default_factory=dict)
    bound: Positive = 3.0
    threshold: Positive = 1.5e-3
    continuum_aa: Annotated[float, Field(ge=5)] = 20.0
    physics: PhysicsConfig = PhysicsConfig(sampling="uniform")
    iterations: Annotated[int, Field(ge=1, le=20)] = 10
    free: tuple[str, ...] | None = None
    further_list: str = ""
    figure: tuple[tuple[float, float], ...] = ()
    unexplained: Positive = 0.03

    @model_validator(mode="after")
    def _consistent(self) -> CalibrateConfig:
        if not self.window[0] < self.window[1]:
            raise ValueError(f"window {self.window} is empty")
        for low, high in self.figure:
            if not self.window[0] <= low < high <= self.window[1]:
                raise ValueError(f"figure: {low:g} to {high:g} Å is empty or not in the window {self.window}")
        names = [star.name for star in self.stars]
        if len(set(names)) < len(names):
            raise ValueError(f"stars must have distinct names, got {', '.join(names)}")
        if self.anchor not in [star.name for star in self.calibrating]:
            raise ValueError(f"anchor {self.anchor!r} must be the name of a star with role calibrate")
        return self

    @property
    def calibrating(self) -> tuple[StandardStar, ...]:
        """The stars to which lines are fitted, the anchor first."""
        used = [star for star in self.stars if star.role == "calibrate"]
        return tuple(sorted(used, key=lambda star: star.name != self.anchor))

    @property
    def testing(self) -> tuple[StandardStar, ...]:
        """The stars that are compared with both lists but not fitted."""
        return tuple(star for star in self.stars if star.role == "test")


def load_calibration(path: str | os.PathLike[str]) -> CalibrateConfig:
    """Read settings from a TOML file; paths in it are relative to its folder.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of range.
    """
    config = load_config(path, CalibrateConfig)
    folder = Path(path).parent

    def place(path: str) -> str:
        return str(folder / path) if path else path

    names = ("list", "cool_lines", "further_list", "atmospheres", "observed")
    files = {name: place(getattr(config, name)) for name in names}
    return config.model_copy(update=files | {"physics": config.physics.placed(place)})
