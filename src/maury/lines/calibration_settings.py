"""Settings of a calibration: the list, the stars, and how far a line may move by the quality of its source."""

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
"""Labels of a star that are solved for, within the widths of its settings, together with the lines."""


def atoms(formula: str) -> dict[str, int]:
    """How many atoms of each element a formula has: {"C": 2} for "C2"."""
    counts: dict[str, int] = {}
    for element, count in re.findall(r"([A-Z][a-z]?)(\d*)", formula):
        counts[element] = counts.get(element, 0) + int(count or 1)
    return counts


class LabelWidths(Settings):
    """Standard deviations of what the calibration may change in a star, so that its errors do not go into the lines.

    Attributes:
        teff: K.
        logg: dex.
        mh: dex.
        vmic: km/s.
        abundance: of each element, dex.
        magnesium_hydride: of the strength of all MgH lines in this star, dex.
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
        name: of the star.
        role: "calibrate", or "test" for one that is only looked at, before and after.
        file: the spectrum; relative to the settings' folder ``observed``.
        reading: how the file is read: attributes of `maury.readers.ReadOptions` but its resolution, such as
            wavelength_file = "wave.fits" for wavelengths in a second file.
        resolution: R = lambda / FWHM.
        velocity_kms: velocity to be taken out of the wavelengths; what is left of it is found.
        teff: K.
        logg: dex (cgs).
        mh: dex.
        vmic: km/s.
        vsini: km/s, below 15.
        vmac: radial-tangential macroturbulence to start from, km/s.
        abundances: [X/M] by element, those not named are 0.
        haze: share h of the light that lines lose to weak opacity which no list has, kept as it is: flux = model +
            h (1 - model).
        carbon13: how much stronger lines of molecules with 13C are than at the solar ratio, dex; the lines with 12C
            alone lose what 13C gains.
        sigma: error of the model in a resolution element, in units of the continuum: the star's weight.
        widths: how far its labels may go.
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
    """Lines of one quality.

    Attributes:
        name: what to call it.
        pattern: regular expression that the field of references matches from its start (after the first number).
        width: standard deviation of their log gf, dex.
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
    """What all lines of one molecule have in common: log gf + offset + slope (E - 0.5 eV).

    Attributes:
        offset: standard deviation of the offset, dex.
        slope: standard deviation of the slope, dex per eV.
        line: standard deviation of each single line's own change, dex.
    """

    offset: Positive = 0.05
    slope: Positive = 0.05
    line: Positive = 0.08


class CalibrateConfig(Settings):
    """Settings of `maury lines calibrate`.

    Attributes:
        list: line list in VALD's short format.
        cool_lines: further lines of cool stars, which stay as they are (TiO).
        atmospheres: folder or archive of model atmospheres.
        observed: folder of the spectra.
        window: first and last wavelength used, Å air.
        mask: ranges (Å, air, at rest) that are left out in all stars.
        anchor: star whose labels, fitted back with the new list, have to come out as they are.
        stars: the stars.
        sources: qualities of atomic lines; the first whose pattern matches counts.
        molecules: common terms by molecule, or by any other species with its stage ("CH 2", else stage 1).
        bound: a line moves by at most so many widths.
        threshold: lines that change the flux of a star by less, per dex and relative to its ``sigma`` over that of
            the anchor, stay.
        continuum_aa: distance of the knots of the continuum, Å.
        physics: how spectra are made, with departures from LTE.
        iterations: most times that the spectra are made anew; fewer once the labels of the anchor hold.
        free: elements whose abundances are free when labels are fitted back; by default all but iron, on which [M/H]
            rests, that have at least three lines in the star.
        further_list: second list in which lines are looked for where the first has none for what a star shows.
        figure: ranges shown in the figure, Å; by default the two with the most absorption in the anchor.
        unexplained: flux (mean of 0.1 Å) by which the anchor star or two others have to differ from their model for
            their wavelengths to be listed as unexplained.
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
        """The stars that move lines, the anchor first."""
        used = [star for star in self.stars if star.role == "calibrate"]
        return tuple(sorted(used, key=lambda star: star.name != self.anchor))

    @property
    def testing(self) -> tuple[StandardStar, ...]:
        """The stars that are only looked at."""
        return tuple(star for star in self.stars if star.role == "test")


def load_calibration(path: str | os.PathLike[str]) -> CalibrateConfig:
    """Settings from TOML; paths in it are relative to the file.

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
