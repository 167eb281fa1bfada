"""Wavelength units: what names mean, and the explicit rule for files that state none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from maury.readers.source import Floats, Log

_LIGHT_AA_HZ = 2.99792458e18
_RECIPROCAL_AA = {
    "wavenumber": {"m-1": 1e10, "1/m": 1e10, "m^-1": 1e10, "m**-1": 1e10, "": 1e8},
    "frequency": {"khz": 1e-3, "mhz": 1e-6, "ghz": 1e-9, "thz": 1e-12, "": 1.0},
    "energy": {"kev": 1e-3, "mev": 1e-6, "": 1.0},
}
"""Wavelength (Å) times value: by unit of a wavenumber, frequency over `_LIGHT_AA_HZ`, energy over that of an eV."""

_ENERGY_AA_EV = 12398.41984

OTHER_AXES = ("velocity", "frequency", "wavenumber", "energy", "pixel")
"""What an axis can be instead of wavelengths."""

SCALE_AA = {"angstrom": 1.0, "nm": 10.0, "um": 1e4, "mm": 1e7, "cm": 1e8, "m": 1e10}
"""Å per unit of length."""

_NAMES = {
    "angstrom": "a aa ang angs angstrom angstroms angstroem angstroems å å lambda(a) 0.1nm 1e-10m 10**-10m 10-10m "
    "10^-10m",
    "nm": "nm nanometer nanometers nanometre nanometres nanom 1e-9m 10**-9m",
    "um": "um µm μm micron microns micrometer micrometers micrometre micrometres",
    "mm": "mm millimeter millimeters",
    "cm": "cm centimeter centimeters",
    "m": "m meter meters metre metres",
    "log10": "log10(angstrom) log(angstrom) log10(a) log10(aa) log(a) log10(lambda) log(lambda) log10 log(wavelength) "
    "loglambda loglam log10angstrom log(angstroms) log10(angstroms) dex(angstrom) dex(aa)",
    "ln": "ln(angstrom) ln(a) ln(lambda) ln ln(wavelength) lnlambda lnlam",
    "velocity": "velocities kms km/s km.s-1 kms-1 km*s-1 kms^-1 m/s ms-1 m.s-1 cm/s velocity vel velo vrad vopt km/sec",
    "frequency": "hz khz mhz ghz thz freq frequency frequencies nu",
    "wavenumber": "cm-1 1/cm cm^-1 cm**-1 m-1 1/m m^-1 m**-1 wavenumber wavn wavenumbers kayser cm1",
    "pixel": "pixel pixels pix",
    "energy": "ev kev mev energy",
}
UNITS = {name: unit for unit, names in _NAMES.items() for name in names.split()}

OPTICAL = {
    "angstrom": (2500.0, 25_000.0),
    "nm": (250.0, 2500.0),
    "um": (0.25, 2.5),
    "m": (2.5e-7, 2.5e-6),
    "log10": (np.log10(2500.0), np.log10(25_000.0)),
    "ln": (np.log(2500.0), np.log(25_000.0)),
}
"""Where optical and near-infrared wavelengths lie in each unit: ranges that do not overlap."""

_STEP_RANGE = (1e-8, 3e-3)
"""Relative wavelength step per pixel of anything that is a spectrum: R from 10^7 down to about 150."""

_SANE_AA = (900.0, 300_000.0)


def parse_unit(text: object) -> str | None:
    """The canonical name of a wavelength unit (a key of `_NAMES`), or None when the text names no unit known here."""
    if text is None:
        return None
    key = re.sub(r"[\s\[\]{}_'\"]", "", str(text)).lower()
    return UNITS.get(key) or UNITS.get(key.strip("()"))


def convert(values: Floats, unit: str) -> Floats:
    """Wavelengths in ``unit`` (a length, ``log10`` or ``ln`` of Å) to Å."""
    if unit == "log10":
        return np.power(10.0, np.clip(values, -10, 10))
    if unit == "ln":
        return np.exp(np.clip(values, -20, 20))
    return values * SCALE_AA[unit]


def from_reciprocal(values: Floats, kind: str, text: object) -> Floats:
    """Vacuum wavelengths (Å) of wavenumbers (cm-1 unless the unit says m-1), frequencies (Hz) or energies (eV)."""
    key = re.sub(r"[\s\[\](){}]", "", str(text or "")).lower()
    factors = _RECIPROCAL_AA[kind]
    scale = {"wavenumber": 1.0, "frequency": _LIGHT_AA_HZ, "energy": _ENERGY_AA_EV}[kind] * factors.get(
        key, factors[""]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, scale / values, np.nan)


def guess_unit(values: Floats) -> str | None:
    """The only unit in which all values are optical or near-infrared wavelengths of sensible steps, or None.

    The ranges of `OPTICAL` do not overlap, so at most one unit fits; then the median relative step has to be that
    of a spectrum, 1e-8 to 3e-3, too.
    """
    good = values[np.isfinite(values) & (values > 0)]
    if good.size < 2:
        return None
    low, high = float(good.min()), float(good.max())
    for unit, (start, end) in OPTICAL.items():
        if low >= start and high <= end:
            wavelength = convert(good, unit)
            step = float(np.median(np.abs(np.diff(wavelength)) / wavelength[1:]))
            return unit if _STEP_RANGE[0] <= step <= _STEP_RANGE[1] else None
    return None


def to_angstrom(values: Floats, unit_text: object, log: Log, what: str = "wavelengths") -> Floats:
    """Convert wavelengths to Å by the user's unit, else the file's, else the recorded rule for a missing one.

    Args:
        values: wavelengths in the unit of the file.
        unit_text: unit as the file states it, or None or blank.
        log: takes the notes.
        what: name of the array, for notes and errors.

    Raises:
        FormatError: the axis is no wavelength, the unit is unknown and the values fit no unit or several, or they
            contradict the unit.
    """
    if log.options.wavelength_unit is not None:
        unit = parse_unit(log.options.wavelength_unit)
        log.rule(f"unit of the {what}: {log.options.wavelength_unit}, given by the user")
    else:
        unit = parse_unit(unit_text)
    if unit in ("velocity", "pixel"):
        raise log.fail(f"the {what} are a {unit} ({unit_text}), not wavelengths")
    if unit in _RECIPROCAL_AA:
        text = log.options.wavelength_unit or unit_text
        values = from_reciprocal(values, unit, text)
        log.rule(f"the {what} are a {unit} ({text}): converted to wavelengths in vacuum")
        unit = "angstrom"
    good = values[np.isfinite(values) & (values > 0)]
    if good.size < 2:
        raise log.fail(f"the {what} hold no finite positive numbers")
    shown = f"{good.min():.6g} to {good.max():.6g}"
    if unit is None:
        stated = f"unit {str(unit_text).strip()!r} not known" if str(unit_text or "").strip() else "no unit stated"
        unit = guess_unit(values)
        if unit is None:
            raise log.fail(f"{what} {shown}, {stated}: they fit no unit beyond doubt; give the unit of the wavelengths")
        low, high = OPTICAL[unit]
        log.rule(f"{stated}: {what} lie between {low:.5g} and {high:.5g}, as optical light does in {unit} alone")
    if unit == "log10" and guess_unit(values) == "ln":
        unit = "ln"
        log.rule(
            f"{what} are logarithms between {OPTICAL['ln'][0]:.4g} and {OPTICAL['ln'][1]:.4g}: natural ones, not log10"
        )
    result = convert(values, unit)
    finite = result[np.isfinite(values) & (values > 0)]
    if finite.min() < _SANE_AA[0] or finite.max() > _SANE_AA[1]:
        raise log.fail(
            f"{what} {shown} in {unit} are {finite.min():.4g} to {finite.max():.4g} Å, outside "
            f"{_SANE_AA[0]:g} to {_SANE_AA[1]:g} Å; give the unit of the wavelengths"
        )
    return result


def is_wavelength(values: Floats) -> bool:
    """Whether an array without a name can only be wavelengths.

    Each row, along the last axis, has to run in one direction in at least 95 % of its steps with a step that never
    exceeds 2 % of the wavelength, and all values have to be optical wavelengths of one unit (see `guess_unit`).
    Pixels that are zero or not finite (padding) are left out.
    """
    rows = values.reshape(-1, values.shape[-1])
    usable = 0
    for row in rows:
        good = row[np.isfinite(row) & (row > 0)]
        if good.size < 0.02 * row.size or good.size < 10:
            continue
        steps = np.diff(good)
        forward = float((steps > 0).mean())
        if max(forward, float((steps < 0).mean())) < 0.95:
            return False
        if np.median(np.abs(steps)) > 0.02 * np.median(good):
            return False
        usable += 1
    return usable > 0 and usable >= 0.5 * len(rows) and guess_unit(values.ravel()) is not None
