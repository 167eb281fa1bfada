"""What FITS headers tell about a spectrum: air or vacuum, frame, resolution, normalisation, barycentric velocity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from astropy.io import fits

from maury.readers.source import Log, Medium, Raw
from maury.spectra import Frame

Header: TypeAlias = fits.Header


DRS_PREFIXES = ("ESO", "TNG", "OHP")
"""First words of the keywords of the Geneva DRS: HARPS and ESPRESSO, HARPS-N, SOPHIE."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline whose documentation states the medium and frame of its wavelengths.

    Attributes:
        name: what notes call it.
        matches: whether a header is one of its.
        medium: air or vacuum, by its documentation.
        frame: frame, by its documentation.
        raw_only: the statement holds only for files that no other program has changed since.
    """

    name: str
    matches: Callable[[Header], bool]
    medium: Medium | None
    frame: Frame
    raw_only: bool = True


def _text(header: Header, *keys: str) -> str:
    return " ".join(str(header.get(key, "")) for key in keys).upper()


def _has(*keys: str) -> Callable[[Header], bool]:
    return lambda header: any(key in header for key in keys)


def _instrument(*names: str) -> Callable[[Header], bool]:
    return lambda header: any(name in _text(header, "INSTRUME") for name in names)


def _product(kind: str) -> Callable[[Header], bool]:
    keys = [f"{prefix} PRO CATG" for prefix in DRS_PREFIXES]
    return lambda header: any(str(header.get(key, "")).startswith(kind) for key in keys)


def _drs_orders(header: Header) -> bool:
    return any(f"{prefix} DRS CAL TH COEFF LL0" in header for prefix in DRS_PREFIXES) and header.get("NAXIS") == 2


PIPELINES = (
    Pipeline("Geneva DRS, orders (e2ds): air, observer's frame (HARPS DRS manual)", _drs_orders, "air", "topocentric"),
    Pipeline(
        "Geneva DRS, s1d: air, solar-system barycentre (HARPS DRS manual)",
        _has(*(f"{p} DRS VERSION" for p in DRS_PREFIXES), *(f"{p} DRS BERV" for p in DRS_PREFIXES)),
        "air",
        "barycentric",
    ),
    Pipeline("MAKEE: vacuum, heliocentric (MAKEE manual)", _has("WV_0_01"), "vacuum", "barycentric"),
    Pipeline("LAMOST: vacuum, heliocentric", lambda h: "LAMOST" in _text(h, "TELESCOP"), "vacuum", "barycentric"),
    Pipeline("SDSS: vacuum, heliocentric", lambda h: "SDSS" in _text(h, "TELESCOP"), "vacuum", "barycentric"),
    Pipeline("CARMENES (caracal): vacuum, observer's frame", _instrument("CARMENES"), "vacuum", "topocentric"),
    Pipeline("NEID: vacuum, observer's frame", _instrument("NEID"), "vacuum", "topocentric"),
    Pipeline("EXPRES: vacuum", _instrument("EXPRES"), "vacuum", "unknown"),
    Pipeline("ESPRESSO DRS, S1D: barycentric", _product("S1D"), None, "barycentric"),
    Pipeline("ESO pipeline: air", _instrument("XSHOOTER", "GIRAFFE"), "air", "unknown"),
    Pipeline("Libre-ESpRIT: air, heliocentric", _instrument("ESPADONS", "NARVAL"), "air", "barycentric"),
    Pipeline("FIEStool: observer's frame", _instrument("FIES"), None, "topocentric", raw_only=False),
    Pipeline("HERMES (GALAH): air, barycentric", lambda h: "HERMES-2DF" in _text(h, "INSTRUME"), "air", "barycentric"),
)

_FRAMES: dict[str, Frame] = {
    "BARYCENT": "barycentric",
    "HELIOCEN": "barycentric",
    "TOPOCENT": "topocentric",
    "GEOCENTR": "topocentric",
    "SOURCE": "rest",
    "REST": "rest",
}
_RESOLUTION_KEYS = (
    "SPEC_RES",
    "SPECRES",
    "RESOLUTN",
    "RESOLUTI",
    "RESPOWER",
    "R_POWER",
    "RESOLUTION",
    "SPECRP",
    "RESOL",
)
_BARYCENTRIC_KEYS = (
    "ESO DRS BERV",
    "TNG DRS BERV",
    "OHP DRS BERV",
    "ESO QC BERV",
    "TNG QC BERV",
    "ESO QC VRAD BARYCOR",
    "BERV",
    "BARYCOR",
    "BARYCORR",
    "VHELIO",
    "HEL_COR",
    "HELCOR",
    "HELIOCOR",
    "HELICORR",
    "BCV",
    "HELIOVEL",
)


def as_number(value: Any) -> float | None:
    """A header value as a finite float, or None; strings such as ``'1.'`` are numbers in real headers."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e300 else None


def _modified(header: Header) -> str | None:
    """Name of the program that rewrote a pipeline's product, or None."""
    if "IRAF-TLM" in header or "IRAF" in _text(header, "ORIGIN"):
        return "IRAF"
    return "iSpec" if "ISPEC" in _text(header, "ORIGIN", "CREATOR") else None


def _medium(headers: list[Header], raw: Raw, pipeline: Pipeline | None, log: Log) -> None:
    for header in headers:
        words = _text(header, "AIRORVAC", "AIRVAC", "AIR_VAC", "WAVEMED", "MEDIUM", "SPECMED").split()
        flag = header.get("VACUUM", header.get("VACWAVE"))
        ctype = str(header.get("CTYPE1", "")).strip().upper()
        comments = " ".join(str(header.comments[k]) for k in ("CTYPE1", "CRVAL1", "CUNIT1") if k in header).lower()
        stated: Medium | None = None
        if {"AIR"} & set(words):
            stated, source = "air", "keyword for air or vacuum"
        elif {"VAC", "VACUUM"} & set(words):
            stated, source = "vacuum", "keyword for air or vacuum"
        elif flag is not None and str(flag).strip().upper() in ("T", "TRUE", "1", "F", "FALSE", "0"):
            stated = "vacuum" if str(flag).strip().upper() in ("T", "TRUE", "1") else "air"
            source = f"VACUUM = {flag}"
        elif ctype.startswith("AWAV"):
            stated, source = "air", f"CTYPE1 = {ctype} (FITS standard)"
        elif re.search(r"\bvacuum\b", comments):
            stated, source = "vacuum", "comment of the wavelength axis"
        elif re.search(r"\bair\b", comments):
            stated, source = "air", "comment of the wavelength axis"
        elif re.fullmatch(r"WAVE(-\w+)?", ctype) and pipeline is None:
            stated, source = "vacuum", f"CTYPE1 = {ctype} (FITS standard)"
            log.warn(f"CTYPE1 = {ctype} means vacuum, but some programs write it for air; give the medium if it is air")
            raw.medium_assumed = True
        if stated is not None:
            raw.medium = stated
            log.rule(f"{stated} wavelengths: {source}")
            return
    if pipeline is not None and pipeline.medium is not None:
        raw.medium = pipeline.medium
        log.rule(f"{pipeline.medium} wavelengths: {pipeline.name}")


def _frame(headers: list[Header], raw: Raw, pipeline: Pipeline | None, log: Log) -> None:
    for header in headers:
        text = _text(header, "SPECSYS").strip()
        if text[:8] in _FRAMES:
            raw.frame = _FRAMES[text[:8]]
            log.rule(f"frame {raw.frame}: SPECSYS = {text}")
            return
    main = headers[0]
    moved = [key for key in main if str(key).startswith("DOPCOR")]
    changed = _modified(main)
    if moved:
        log.rule(f"frame unknown: shifted with IRAF dopcor ({moved[0]} = {main[moved[0]]})")
    elif pipeline is not None and pipeline.raw_only and changed:
        log.rule(f"frame unknown: {pipeline.name.split(':')[0]}, but written again by {changed}, perhaps shifted")
    elif pipeline is not None and pipeline.frame != "unknown":
        raw.frame = pipeline.frame
        log.rule(f"frame {raw.frame}: {pipeline.name}")
    elif "SSBVEL" in main:
        moved_to_rest = (as_number(main.get("RADVEL")) or 0.0) != 0.0
        raw.frame = "rest" if moved_to_rest else "barycentric"
        log.rule(f"frame {raw.frame}: PEPSI, RADVEL = {main.get('RADVEL')} m/s taken out")


def _resolution(headers: Iterable[Header], raw: Raw, log: Log) -> None:
    for header in headers:
        for key in _RESOLUTION_KEYS:
            number = as_number(header.get(key))
            if number is not None and 300 < number < 1_000_000:
                raw.resolution = number
                log.rule(f"resolution {number:.0f}: {key} in the header")
                return


def _barycentric(headers: Iterable[Header], raw: Raw, log: Log) -> None:
    for header in headers:
        for key in _BARYCENTRIC_KEYS:
            number = as_number(header.get(key))
            if number is None or abs(number) > 40:
                continue
            if raw.frame == "topocentric":
                raw.barycentric_kms = number
                log.rule(f"barycentric velocity {number:.3f} km/s: {key} in the header")
            else:
                log.warn(
                    f"barycentric velocity {number:.3f} km/s stated ({key}), but not whether it has been taken out"
                )
            return


def describe(headers: list[Header], raw: Raw, log: Log) -> Raw:
    """Fill in, from the headers, whatever the family of the file has not told already.

    Args:
        headers: headers in order of preference (primary first).
        raw: what the family found; changed in place.
        log: takes the notes.

    Returns:
        ``raw``.
    """
    pipeline = next((p for p in PIPELINES if p.matches(headers[0])), None)
    if raw.medium_assumed and "ESO" in _text(headers[0], "ORIGIN", "PIPEFILE", "PRODCATG", "TELESCOP"):
        raw.medium_assumed = False
    if raw.medium is None:
        _medium(headers, raw, pipeline, log)
    if raw.frame == "unknown":
        _frame(headers, raw, pipeline, log)
    if raw.resolution is None:
        _resolution(headers, raw, log)
    if raw.barycentric_kms is None and raw.frame in ("topocentric", "unknown"):
        _barycentric(headers, raw, log)
    for header in headers:
        norm = header.get("CONTNORM")
        if raw.normalised is None and isinstance(norm, bool):
            raw.normalised = norm
            log.rule(f"{'continuum divided out' if norm else 'not normalised'}: CONTNORM = {norm}")
        for key, name in (("OBJECT", "object"), ("INSTRUME", "instrument"), ("DATE-OBS", "date")):
            value = str(header.get(key, "")).strip()
            if value and name not in raw.info:
                raw.info[name] = value
        for key, name in (("PREPFLAG", "flags"), ("PREPMASK", "mask")):  # of a spectrum that maury prepared
            if header.get(key):
                raw.info[name] = tuple(str(header[key]).split(","))
    return raw
