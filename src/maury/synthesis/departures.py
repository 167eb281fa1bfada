r"""Departures from one-dimensional LTE, as changes of log gf with the star's parameters, relative to a reference star.

A correction $c$ is the abundance from a line in 1D LTE minus that in 3D non-LTE (dex): a 1D LTE line of $\log gf + c$
is as strong as the 3D non-LTE line. A line list calibrated on the Sun already includes the Sun's corrections in its
log gf, so that a star needs

$$ \Delta \log gf = w(\mathrm{star}) \, [c(\mathrm{star}) - c(\mathrm{reference})], $$

limited to $\pm$ ``limit``, with a weight $w$ that falls to 0 outside the range of stars for which the corrections were
computed. Parameters outside the range of a correction are clamped to it.

Source of the networks for Fe I and Fe II: Amarsi, Liljegren & Nissen (2022, A&A 668, A68).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from maury.config import Settings
from maury.errors import ConfigError, FormatError
from maury.files import sha256
from maury.library import read_label_table
from maury.wavelengths import Floats

Range = tuple[float, float]

SOLAR_ABUNDANCE = {
    "Mg": 7.60, "Ca": 6.34, "Sc": 3.15, "Ti": 4.95, "V": 3.93, "Cr": 5.64, "Mn": 5.43, "Fe": 7.50, "Co": 4.99,
    "Ni": 6.22, "Cu": 4.19, "Y": 2.21,
}  # fmt: skip
"""Solar A(X) (Asplund et al. 2009) of the elements that may have corrections."""

STAR = ("teff", "logg", "abundance", "vmic")
"""Stellar parameters of a correction: Teff (K), log g (cgs), A(X), microturbulence (km/s)."""

_NETWORK_ARRAYS = ("mean", "scale", *(f"{kind}{layer}" for layer in range(4) for kind in "wb"))
_NETWORK_REACH = 2.5
"""Excitation and log gf are clamped to this many standard deviations of a network's training lines."""

_EV_AA = 12398.42
"""h c in eV Å."""


class CorrectionConfig(Settings):
    """Corrections of some lines.

    Attributes:
        species: element and ionisation stage of the lines, such as "Fe 1".
        element: element of the file; by default that of the first species. A line of another element X is treated as a
            line of this element that is as strong: A(X) - A(element) is added to its log gf.
        file: a network (.npz with arrays mean, scale, w0, b0 ... w3, b3) or a table (.csv with the columns teff, logg,
            A_X, vmic, line_nm and the correction).
        excitation: lowest and highest energy of the lower level (eV) of the lines to correct.
        ranges: lowest and highest teff (K), logg, abundance A(X) and vmic (km/s) for which a network is valid.
        column: column of a table that holds the correction; a leading "-" changes the sign, for tables of corrections
            to be added to a 1D LTE abundance.
        line_nm: wavelength of the table's rows to use, nm.
        wavelengths: wavelengths (Å) of the lines to correct by a table.
        relative: False for lines whose log gf is a laboratory value, not one calibrated on the reference star.
    """

    species: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z][a-z]? \d$")], ...], Field(min_length=1)]
    element: str = ""
    file: str
    excitation: Range = (0.0, 99.0)
    ranges: dict[str, Range] = Field(default_factory=dict)
    column: str = ""
    line_nm: float | None = None
    wavelengths: tuple[float, ...] = ()
    relative: bool = True

    @model_validator(mode="after")
    def _complete(self) -> CorrectionConfig:
        unknown = {name.split(" ")[0] for name in (*self.species, self.made_for)} - set(SOLAR_ABUNDANCE)
        if unknown:
            raise ValueError(f"species: {', '.join(unknown)} not known; allowed: {', '.join(SOLAR_ABUNDANCE)}")
        if self.file.endswith(".npz"):
            if sorted(self.ranges) != sorted(STAR):
                raise ValueError(f"ranges must have {', '.join(STAR)}; got {', '.join(self.ranges) or 'none'}")
        elif not (self.column and self.line_nm and self.wavelengths):
            raise ValueError("a table (.csv) needs column, line_nm and wavelengths")
        for name, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"ranges: {name}: {low:g} to {high:g} is empty")
        return self

    @property
    def made_for(self) -> str:
        """Element of the file."""
        return self.element or self.species[0].split(" ")[0]


class DeparturesConfig(Settings):
    """Departures from LTE, `[physics.departures]` of `maury synthesize`.

    Attributes:
        corrections: lines to correct and files of their corrections.
        reference: teff (K), logg, mh, vmic (km/s) of the star on which the line list was calibrated.
        limit: largest change of log gf, dex.
        fade: for "teff", "logg" or "mh": the values at which the weight of the corrections is 0 and 1; linear between.
    """

    corrections: Annotated[tuple[CorrectionConfig, ...], Field(min_length=1)]
    reference: dict[str, float] = Field(default={"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vmic": 1.0})
    limit: Annotated[float, Field(gt=0, le=2)] = 0.6
    fade: dict[str, Range] = Field(default_factory=dict)

    @field_validator("reference")
    @classmethod
    def _named(cls, reference: dict[str, float]) -> dict[str, float]:
        if sorted(reference) != ["logg", "mh", "teff", "vmic"]:
            raise ValueError(f"must have teff, logg, mh and vmic; got {', '.join(reference)}")
        return reference

    @field_validator("fade")
    @classmethod
    def _ramps(cls, fade: dict[str, Range]) -> dict[str, Range]:
        for name, (zero, one) in fade.items():
            if name not in ("teff", "logg", "mh") or zero == one:
                raise ValueError(f"{name} = [{zero:g}, {one:g}]: allowed are two different values of teff, logg or mh")
        return fade


@dataclass(frozen=True)
class Correction:
    """A correction read from its file."""

    config: CorrectionConfig  # its settings
    ranges: Floats  # lowest and highest value of each parameter of `STAR` (4, 2)
    # correction $c$ (m,) from clamped parameters (4,), lower and upper level (eV) and log gf of lines (m,)
    evaluate: Callable[[Floats, Floats, Floats, Floats], Floats]

    def members(self, species: NDArray[np.str_], wavelength_aa: Floats, excitation_ev: Floats) -> NDArray[np.bool_]:
        """Mask (n,) of the lines to which the correction applies."""
        low, high = self.config.excitation
        inside = np.isin(species, self.config.species) & (excitation_ev >= low) & (excitation_ev < high)
        if self.config.wavelengths:
            near = np.abs(wavelength_aa[:, None] - np.array(self.config.wavelengths)) < _SAME_LINE_AA
            inside &= near.any(1)
        return inside

    def outside(self, star: Floats) -> NDArray[np.bool_]:
        """Which parameters `STAR` (..., 4) lie outside its ranges."""
        return (star < self.ranges[:, 0]) | (star > self.ranges[:, 1])


_SAME_LINE_AA = 0.03


@dataclass(frozen=True)
class Departures:
    """Corrections for stars relative to a reference star."""

    config: DeparturesConfig  # settings
    corrections: tuple[Correction, ...]  # corrections read from their files
    digests: dict[str, str]  # SHA-256 of each file by its name

    def require(self, species: NDArray[np.str_]) -> None:
        """Raise `ConfigError` if the line list has no lines of a species to correct."""
        missing = sorted({name for c in self.corrections for name in c.config.species} - set(species.tolist()))
        if missing:
            raise ConfigError(f"departures: the line list has no lines of {', '.join(missing)}")

    def weight(self, teff: float, logg: float, mh: float) -> float:
        """Weight of the corrections for a star, 0 to 1: product of the ramps of ``fade``."""
        values = {"teff": teff, "logg": logg, "mh": mh}
        ramps = [np.clip((values[n] - zero) / (one - zero), 0, 1) for n, (zero, one) in self.config.fade.items()]
        return float(np.prod(ramps))

    def clamped(self, teff: Floats, logg: Floats, mh: Floats, vmic: Floats) -> NDArray[np.bool_]:
        """Mask (n,) of stars with a parameter outside the range of a correction, among those with non-zero weight."""
        shares = [self.weight(*star) > 0 for star in zip(teff, logg, mh, strict=True)]
        outside = np.zeros(len(teff), bool)
        for correction in self.corrections:
            star = np.stack([teff, logg, SOLAR_ABUNDANCE[correction.config.made_for] + mh, vmic], -1)
            outside |= correction.outside(star).any(-1)
        return outside & np.array(shares, bool)

    def for_lines(
        self, species: NDArray[np.str_], wavelength_aa: Floats, excitation_ev: Floats, log_gf: Floats
    ) -> LineDepartures:
        """Return these departures for the lines (n,) of a list."""
        return LineDepartures(self, species, wavelength_aa, excitation_ev, log_gf)


class LineDepartures:
    """Changes of log gf of given lines with a star's parameters."""

    def __init__(
        self,
        departures: Departures,
        species: NDArray[np.str_],
        wavelength_aa: Floats,
        excitation_ev: Floats,
        log_gf: Floats,
    ) -> None:
        """Find the lines of each correction, and compute the corrections of the reference star."""
        self._departures, self._count = departures, len(species)
        self._parts = []
        for correction in departures.corrections:
            rows = np.flatnonzero(correction.members(species, wavelength_aa, excitation_ev))
            own = SOLAR_ABUNDANCE[correction.config.made_for]
            elements = np.array([name.split(" ")[0] for name in species[rows]])
            gf = log_gf[rows] + np.array([SOLAR_ABUNDANCE[element] - own for element in elements])
            lower = excitation_ev[rows]
            self._parts.append((correction, rows, elements, (lower, lower + _EV_AA / wavelength_aa[rows], gf)))
        reference = departures.config.reference
        self._reference = self._values(reference["teff"], reference["logg"], reference["mh"], reference["vmic"])
        for correction, rows, _, _ in self._parts:
            if not correction.config.relative:
                self._reference[rows] = 0.0

    def __call__(
        self, teff: float, logg: float, mh: float, vmic: float, ratios: Mapping[str, float] | None = None
    ) -> Floats:
        """Change of log gf (n,) of all lines in a star.

        ``vmic`` in km/s; ``ratios`` are [X/M] by element, 0 for all others.
        """
        departures = self._departures
        weight = departures.weight(teff, logg, mh)
        if weight == 0:
            return np.zeros(self._count)
        change = weight * (self._values(teff, logg, mh, vmic, ratios) - self._reference)
        limit = departures.config.limit
        return np.clip(change, -limit, limit)

    def _values(
        self, teff: float, logg: float, mh: float, vmic: float, ratios: Mapping[str, float] | None = None
    ) -> Floats:
        values = np.zeros(self._count)
        ratios = ratios or {}
        for correction, rows, elements, (lower, upper, log_gf) in self._parts:
            element = correction.config.made_for
            ratio = ratios.get(element, 0.0)
            star = np.array([teff, logg, SOLAR_ABUNDANCE[element] + mh + ratio, vmic])
            clamped = np.clip(star, correction.ranges[:, 0], correction.ranges[:, 1])
            more = np.array([ratios.get(name, 0.0) - ratio for name in elements])
            values[rows] = correction.evaluate(clamped, lower, upper, log_gf + more)
        return values


def read_departures(config: DeparturesConfig) -> Departures:
    """Read the files of all corrections.

    Raises:
        FormatError: a file cannot be read, lacks an array or a column, or a table lacks combinations of its values.
    """
    corrections = []
    for correction in config.corrections:
        read = _network if correction.file.endswith(".npz") else _table
        corrections.append(read(correction))
    files = dict.fromkeys(correction.file for correction in config.corrections)
    return Departures(config, tuple(corrections), {Path(file).name: sha256(file) for file in files})


def _network(config: CorrectionConfig) -> Correction:
    try:
        with np.load(os.path.expanduser(config.file)) as file:
            missing = [name for name in _NETWORK_ARRAYS if name not in file]
            if missing:
                raise FormatError(
                    f"{config.file}: arrays missing: {', '.join(missing)}; a network has mean, scale, w0 ..."
                )
            arrays = {name: np.asarray(file[name], float) for name in _NETWORK_ARRAYS}
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{config.file}: cannot be read as a network of corrections (.npz): {error}") from error
    bad = [name for name, values in arrays.items() if not np.isfinite(values).all()]
    if bad or arrays["mean"].shape != (7,) or arrays["w0"].shape[0] != 7 or arrays["w3"].shape[1] != 1:
        raise FormatError(
            f"{config.file}: expected finite arrays of a network from 7 inputs to 1 output; got w0 "
            f"{arrays['w0'].shape}, w3 {arrays['w3'].shape}{', not finite: ' + ', '.join(bad) if bad else ''}"
        )
    mean, scale = arrays["mean"], arrays["scale"]

    def evaluate(star: Floats, lower: Floats, upper: Floats, log_gf: Floats) -> Floats:
        lines = np.stack([lower, upper, log_gf], axis=-1)
        x = np.concatenate(
            [
                np.broadcast_to((star - mean[:4]) / scale[:4], (len(lower), 4)),
                np.clip((lines - mean[4:]) / scale[4:], -_NETWORK_REACH, _NETWORK_REACH),
            ],
            axis=1,
        )
        for layer in range(3):
            x = np.maximum(x @ arrays[f"w{layer}"] + arrays[f"b{layer}"], 0)
        return np.asarray((x @ arrays["w3"] + arrays["b3"])[:, 0])

    return Correction(config, np.array([config.ranges[name] for name in STAR], float), evaluate)


def _table(config: CorrectionConfig) -> Correction:
    sign, column = (-1.0, config.column[1:]) if config.column.startswith("-") else (1.0, config.column)
    element = config.made_for
    names = ("teff", "logg", f"A_{element}", "vmic")
    rows = read_label_table(os.path.expanduser(config.file), (*names, "line_nm", column))
    mine = rows[np.isclose(rows[:, 4], config.line_nm or 0.0)]
    if not len(mine):
        have = ", ".join(f"{value:g}" for value in np.unique(rows[:, 4]))
        raise FormatError(f"{config.file}: no row has line_nm = {config.line_nm:g}; found: {have}")
    axes = [np.unique(mine[:, i]) for i in range(4)]
    values = np.full([len(axis) for axis in axes], np.nan)
    values[tuple(np.searchsorted(axis, mine[:, i]) for i, axis in enumerate(axes))] = sign * mine[:, 5]
    holes = np.argwhere(np.isnan(values))
    if len(holes):
        where = ", ".join(f"{n} = {axis[i]:g}" for n, axis, i in zip(names, axes, holes[0], strict=True))
        raise FormatError(f"{config.file}: line_nm = {config.line_nm:g} lacks {len(holes)} combinations, first {where}")
    short = [name for name, axis in zip(names, axes, strict=True) if len(axis) < 2]
    if short:
        raise FormatError(f"{config.file}: line_nm = {config.line_nm:g} has only one value of {', '.join(short)}")
    from scipy.interpolate import RegularGridInterpolator

    interpolate = RegularGridInterpolator(axes, values)

    def evaluate(star: Floats, lower: Floats, upper: Floats, log_gf: Floats) -> Floats:
        return np.full(len(lower), float(interpolate(star)[0]))

    return Correction(config, np.array([axis[[0, -1]] for axis in axes]), evaluate)
