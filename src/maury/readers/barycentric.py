"""The barycentric velocity of an observation: stated in the header, or computed from its coordinates, date and site."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from maury.readers.pipelines import Header, text_of
from maury.readers.source import Log
from maury.wavelengths import C_KMS

if TYPE_CHECKING:
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time

    from maury.readers.fitsfile import Part

_Cards: TypeAlias = Header | Mapping[str, Any]

_KEYS = (
    "ESO DRS BERV",
    "TNG DRS BERV",
    "OHP DRS BERV",
    "ESO QC BERV",
    "TNG QC BERV",
    "ESO QC VRAD BARYCOR",
    "CARACAL BERV",
    "BERV",
    "BARYCOR",
    "BARYCORR",
    "BVCOR",
    "BVC",
    "VHELIO",
    "HEL_COR",
    "HELCOR",
    "HELIOCOR",
    "HELICORR",
    "BCV",
    "HELIOVEL",
)
"""In km/s; CARACAL of CARMENES, BVCOR of HERMES, BVC of SONG."""

_METRES = ("BERV_FLUXWEIGHTED_FRD", "BERV_FLUXWEIGHTED_PC", "BERV_MIDPOINT")
"""In m/s, of MAROON-X, in the header of its first extension (https://github.com/GeminiDRSoftware/MAROONXDR)."""

_SITES = (
    ("KECK|HIRES|KPF", 19.8260, -155.4747, 4145.0),
    ("CFHT|ESPADONS", 19.8253, -155.4689, 4204.0),
    ("GEMINI-NORTH|GEMINI N|MAROON", 19.8238, -155.4690, 4213.0),
    ("TBL|NARVAL|PIC DU MIDI", 42.9364, 0.1426, 2877.0),
    ("NOT|FIES", 28.7572, -17.8850, 2382.0),
    ("MERCATOR", 28.7624, -17.8787, 2333.0),
    ("TNG|HARPN|HARPS-N", 28.7540, -17.8890, 2387.0),
    ("SONG|NODE 1", 28.2983, -16.5094, 2400.0),
    ("CARMENES|CA-3.5|CAHA", 37.2236, -2.5461, 2168.0),
    ("OHP|SOPHIE|ELODIE", 43.9308, 5.7133, 650.0),
    ("TAUTENBURG|TLS", 50.9801, 11.7112, 341.0),
    ("LA SILLA|ESO-3.6|ESO 3P6|FEROS|HARPS|MPG", -29.2584, -70.7345, 2400.0),
    ("PARANAL|VLT|ESPRESSO", -24.6268, -70.4045, 2648.0),
    ("MAGELLAN|LAS CAMPANAS|CLAY|MIKE", -29.0146, -70.6926, 2380.0),
    ("CTIO|CHIRON", -30.1697, -70.8065, 2207.0),
    ("SALT", -32.3760, 20.8107, 1798.0),
    ("AAT|VELOCE|HERMES-2DF", -31.2754, 149.0672, 1164.0),
    ("WIYN|NEID|KPNO", 31.9577, -111.6008, 2089.0),
    ("LDT|DCT|EXPRES", 34.7444, -111.4223, 2361.0),
    ("TILLINGHAST|FLWO|TRES", 31.6811, -110.8783, 2320.0),
    ("LICK|APF", 37.3425, -121.6382, 1283.0),
    ("HET|HRS|HPF", 30.6814, -104.0147, 2026.0),
    ("LBT|PEPSI", 32.7016, -109.8891, 3221.0),
)
"""Telescopes and instruments (words of TELESCOP, OBSERVAT, INSTRUME): latitude and longitude in degrees (east), height
in metres; good to 1 km, which is less than 1 m/s. The first that matches counts."""

ZERO_POINT_KMS = 0.3
"""Error of the zero point of an instrument that `_ZERO_POINTS` does not name: the drift of a spectrograph whose
wavelengths are calibrated with lamps, but not during the exposure."""

_ZERO_POINTS = (
    ("ESPRESSO|NEID|EXPRES|KPF|MAROON", 0.001),
    ("HARPS|HARPN", 0.001),
    ("CARMENES|SOPHIE", 0.005),
    ("FEROS|NRES|PEPSI", 0.01),
    ("ESPADONS|NARVAL", 0.03),
)
"""Errors of zero points, km/s, by words of INSTRUME: the order of magnitude of the stability over many nights.

HARPS: Trifonov et al. 2020 (A&A 636, A74); the others stand for instruments of the same build and calibration."""

_GEODETIC = (
    ("ESO TEL GEOLAT", "ESO TEL GEOLON", "ESO TEL GEOELEV"),
    ("TNG TEL GEOLAT", "TNG TEL GEOLON", "TNG TEL GEOELEV"),
    ("OBSGEO-B", "OBSGEO-L", "OBSGEO-H"),
    ("GEOLAT", "GEOLON", "GEOELEV"),
    ("LATITUDE", "LONGITUD", "HEIGHT"),
    ("SITELAT", "SITELONG", "SITEALT"),
    ("LAT-OBS", "LONG-OBS", "ALT-OBS"),
    ("OBS-LAT", "OBS-LONG", "OBS-ELEV"),
)
_FASTEST_KMS = 40.0
_EXPOSURES = ("EXPTIME", "EXPOSURE", "ITIME", "EXP_TIME", "ESO DET WIN1 DIT1")
_MIDDLE_DATES = ("DATE-AVG", "DATE-MID", "DATEMID")
_MIDDLE_MJD = ("MJD-AVG", "MJD-MID", "MJDMID")
_STARTS = ("DATE-OBS", "UTC", "UT", "TIME-OBS", "MJD-OBS")
_GEOCENTRIC = ("OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z")
_NAMES = ("TELESCOP", "OBSERVAT", "INSTRUME")
_CARDS = (
    "RA", "DEC", *_MIDDLE_DATES, *_MIDDLE_MJD, *_EXPOSURES, *_STARTS, *_GEOCENTRIC, *_NAMES,
    *(key for keys in _GEODETIC for key in keys),
)  # fmt: skip
"""Keywords of where and when."""


def as_number(value: Any) -> float | None:
    """A header value as a finite float, or None; strings such as ``'1.'`` are numbers in real headers."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e300 else None


def note_extension(parts: Sequence[Part]) -> None:
    """Note in the primary header the velocity that an extension holds.

    These are EPRV's BARYCORR_KMS, KPF's table BARY_CORR and keywords of MAROON-X. Not EXPRES' BARYCORR_KMS: RVData
    wrote it with the other sign, 1 - bary_wavelength / wavelength, before it was mended.
    """
    header = parts[0].header
    for part in parts:
        metres = [number for key in _METRES if (number := as_number(part.header.get(key))) is not None]
        if metres:
            values = np.array(metres[:1]) / 1000
        elif part.name == "BARYCORR_KMS" and part.shape and "EXPRES" not in text_of(header, "INSTRUME"):
            values = part.image()
        elif part.name == "BARY_CORR" and part.is_table and "BARYVEL" in part.hdu.columns.names:
            unit = str(part.hdu.columns["BARYVEL"].unit or "m/s").replace(" ", "")
            values = np.asarray(part.hdu.data["BARYVEL"], float) / (1 if unit.startswith("km") else 1000)
        else:
            continue
        values = values[np.isfinite(values) & (values != 0)]
        if values.size:
            header["BARYCORR"] = (float(np.median(values)), f"extension {part.name}")
            return


def stated(header: Header) -> tuple[float, str] | None:
    """Velocity (km/s) that a header states, in m/s if its comment says so, and the keyword."""
    for key in _KEYS:
        number = as_number(header.get(key))
        if number is not None and re.search(r"(?<![a-z])m\s*(/\s*s|\.?\s*s\^?-1)", str(header.comments[key]).lower()):
            number /= 1000
        if number is not None and abs(number) <= _FASTEST_KMS:
            return number, key
    redshifts = {key: as_number(header[key]) for key in header if re.fullmatch(r"SSBZ\d+", str(key))}
    known = {key: C_KMS * z for key, z in redshifts.items() if z is not None and 0 < abs(C_KMS * z) <= _FASTEST_KMS}
    if known:  # NEID: one redshift for each order, which differ by less than 1 m/s
        key = sorted(known)[len(known) // 2]
        return known[key], key
    return None


def computed(headers: Sequence[Header], log: Log) -> float | None:
    """Velocity (km/s) from coordinates, middle of the exposure and site, or None where one of these is missing."""
    for header in headers:
        try:
            found = _computed(header)
        except Exception as error:  # coordinates and dates are written in endless ways
            log.warn(f"barycentric velocity not computed: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
            return None
        if found is not None:
            value, how = found
            log.rule(f"barycentric velocity {value:.3f} km/s: computed by astropy from {how}")
            return value
    return None


def _computed(header: Header) -> tuple[float, str] | None:
    import astropy.units as u

    with _offline():
        if (found := _placed(header)) is None:
            return None
        star, time, location, name = found
        value = star.radial_velocity_correction("barycentric", obstime=time, location=location).to_value(u.km / u.s)
    if not abs(value) <= _FASTEST_KMS:
        raise ValueError(f"{value:.1f} km/s")
    return float(value), f"RA, DEC, {time.isot[:19]} (middle of the exposure) and site ({name})"


def when_and_where(headers: Sequence[Header]) -> dict[str, Any] | None:
    """Cards of the first header with coordinates from which `bjd_tdb` can be computed later; None without any."""
    header = next((one for one in headers if one.get("RA") not in (None, "") and "DEC" in one), None)
    return None if header is None else {key: header[key] for key in _CARDS if key in header}


def bjd_tdb(cards: _Cards) -> float | None:
    """Barycentric Julian date (TDB, days) of the middle of an exposure.

    UTC at the middle, converted to TDB, and the light's travel time to the barycentre towards the star (Eastman et al.
    2010, PASP 122, 935).

    Args:
        cards: of the header (`when_and_where`).

    Returns:
        The date, or None where coordinates, date, duration or site are missing or cannot be understood.
    """
    if not cards:
        return None
    try:
        with _offline():
            if (found := _placed(cards)) is None:
                return None
            star, time, location, _ = found
            return float((time.tdb + time.light_travel_time(star, "barycentric", location=location)).jd)
    except Exception:  # coordinates and dates are written in endless ways
        return None


def zero_point_kms(instrument: str) -> float:
    """Error of an instrument's zero point of velocity (km/s) by its name; `ZERO_POINT_KMS` where it is not known."""
    return next((error for names, error in _ZERO_POINTS if re.search(names, instrument.upper())), ZERO_POINT_KMS)


@contextmanager
def _offline() -> Iterator[None]:
    """Astropy with the tables of the Earth's rotation that it brings along."""
    from astropy.utils import iers

    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        yield


def _placed(header: _Cards) -> tuple[SkyCoord, Time, EarthLocation, str] | None:
    """Coordinates of the star, middle of the exposure, place of the telescope and its name; None if one is missing."""
    if header.get("RA") in (None, "") or header.get("DEC") in (None, ""):
        return None
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    time, site = _middle(header), _site(header)
    if time is None or site is None:
        return None
    ra, dec = header["RA"], header["DEC"]
    hours = isinstance(ra, str) and as_number(ra) is None
    star = SkyCoord(
        ra if hours else float(ra), dec if as_number(dec) is None else float(dec),
        unit=(u.hourangle if hours else u.deg, u.deg), frame="icrs",
    )  # fmt: skip
    return star, time, *site


def _middle(header: _Cards) -> Time | None:
    """Middle of the exposure; None unless date and duration are known."""
    import astropy.units as u
    from astropy.time import Time

    for key in _MIDDLE_DATES:
        if "T" in str(header.get(key, "")):
            return Time(str(header[key]).strip(), scale="utc")
    for key in _MIDDLE_MJD:
        if (number := as_number(header.get(key))) is not None:
            return Time(number, format="mjd", scale="utc")
    exposure = next((n for key in _EXPOSURES if (n := as_number(header.get(key))) is not None), None)
    date = str(header.get("DATE-OBS", "")).strip()
    if exposure is None or not 0 <= exposure < 86_400:
        return None
    clock = str(header.get("UTC", header.get("UT", header.get("TIME-OBS", "")))).strip()
    if re.match(r"\d{4}-\d\d-\d\d$", date) and ":" in clock:
        date = f"{date}T{clock}"
    if "T" in date:
        start = Time(date, scale="utc")
    elif (number := as_number(header.get("MJD-OBS"))) is not None:
        start = Time(number, format="mjd", scale="utc")
    else:
        return None
    return start + exposure / 2 * u.s


def _site(header: _Cards) -> tuple[EarthLocation, str] | None:
    """Place of the telescope: from keywords, else by its name."""
    import astropy.units as u
    from astropy.coordinates import EarthLocation

    xyz = [as_number(header.get(key)) for key in _GEOCENTRIC]
    if all(value is not None for value in xyz) and 6.3e6 < float(np.linalg.norm(np.array(xyz, float))) < 6.4e6:
        return EarthLocation.from_geocentric(*xyz, unit=u.m), "OBSGEO-X, -Y, -Z"
    for keys in _GEODETIC:
        latitude, longitude, height = (as_number(header.get(key)) for key in keys)
        if latitude is not None and longitude is not None and (latitude, longitude) != (0, 0):
            return EarthLocation.from_geodetic(longitude, latitude, height or 0.0), f"{keys[0]}, {keys[1]}"
    words = text_of(header, *_NAMES)
    for pattern, latitude, longitude, height in _SITES:
        if match := re.search(rf"\b({pattern})\b", words):
            return EarthLocation.from_geodetic(longitude, latitude, height), match.group(1).title()
    return None
