"""What FITS headers tell about a spectrum: air or vacuum, frame, resolution, normalisation, barycentric velocity."""

from __future__ import annotations

import re
from collections.abc import Iterable

from maury.readers.barycentric import as_number, computed, stated, when_and_where
from maury.readers.pipelines import Header, Pipeline, pipeline_of, text_of
from maury.readers.source import Log, Medium, Raw
from maury.spectra import Frame

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


_INFO = (
    ("OBJECT", "object"),
    ("INSTRUME", "instrument"),
    ("INSTRMNT", "instrument"),
    ("INSTRUM", "instrument"),
    ("DATE-OBS", "date"),
)


def _modified(header: Header) -> str | None:
    """Name of the program that rewrote a pipeline's product, or None."""
    if "IRAF-TLM" in header or "IRAF" in text_of(header, "ORIGIN"):
        return "IRAF"
    return "iSpec" if "ISPEC" in text_of(header, "ORIGIN", "CREATOR") else None


def _medium(headers: list[Header], raw: Raw, pipeline: Pipeline | None, log: Log) -> None:
    for header in headers:
        words = text_of(header, "AIRORVAC", "AIRVAC", "AIR_VAC", "WAVEMED", "MEDIUM", "SPECMED", "WAVETYPE").split()
        flag = header.get("VACUUM", header.get("VACWAVE"))
        ctype = str(header.get("CTYPE1", "")).strip().upper()
        comments = " ".join(str(header.comments[k]) for k in ("CTYPE1", "CRVAL1", "CUNIT1") if k in header).lower()
        comments += " ".join(["", *(str(header.get(k, "")) for k in ("CTYPE1", "CUNIT1", "WAT1_001"))]).lower()
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
            stated, source = "vacuum", "words of the wavelength axis"
        elif re.search(r"\bair\b", comments):
            stated, source = "air", "words of the wavelength axis"
        elif re.fullmatch(r"WAVE(-\w+)?", ctype) and pipeline is None:
            stated, source = "vacuum", f"CTYPE1 = {ctype} (FITS standard)"
            log.warn(f"CTYPE1 = {ctype} means vacuum, but some programs write it for air; give the medium if it is air")
            raw.medium_assumed = True
        if stated is not None:
            raw.medium = stated
            log.rule(f"{stated} wavelengths: {source}")
            return
    if pipeline is not None and pipeline.medium is not None:
        raw.medium_assumed = pipeline.assumed
        raw.medium = pipeline.medium
        log.rule(f"{pipeline.medium} wavelengths: {pipeline.name} ({pipeline.source})")


def _frame(headers: list[Header], raw: Raw, pipeline: Pipeline | None, log: Log) -> None:
    for header in headers:
        for key in ("SPECSYS", "VEL_TYPE"):
            text = text_of(header, key).strip()
            if text[:8] in _FRAMES:
                raw.frame = _FRAMES[text[:8]]
                log.rule(f"frame {raw.frame}: {key} = {text}")
                return
    main = headers[0]
    moved = [key for key in main if str(key).startswith("DOPCOR")]
    changed = _modified(main)
    if moved:
        log.rule(f"frame unknown: shifted with IRAF dopcor ({moved[0]} = {main[moved[0]]})")
    elif pipeline is not None and pipeline.raw_only and changed:
        log.rule(f"frame unknown: {pipeline.name}, but written again by {changed}, perhaps shifted")
    elif pipeline is not None and pipeline.frame != "unknown":
        raw.frame = pipeline.frame
        log.rule(f"frame {raw.frame}: {pipeline.name} ({pipeline.source})")
    elif "SSBVEL" in main:
        moved_to_rest = (as_number(main.get("RADVEL")) or 0.0) != 0.0
        raw.frame = "rest" if moved_to_rest else "barycentric"
        log.rule(f"frame {raw.frame}: PEPSI, RADVEL = {main.get('RADVEL', 0)} m/s taken out")


def _resolution(headers: Iterable[Header], raw: Raw, log: Log) -> None:
    for header in headers:
        for key in _RESOLUTION_KEYS:
            number = as_number(header.get(key))
            if number is not None and 300 < number < 1_000_000:
                raw.resolution = number
                log.rule(f"resolution {number:.0f}: {key} in the header")
                return


def _barycentric(headers: list[Header], raw: Raw, log: Log) -> None:
    found = next((one for header in headers if (one := stated(header)) is not None), None)
    if raw.frame == "topocentric" and found is None:
        raw.barycentric_kms = computed(headers, log)
    elif raw.frame == "topocentric" and found is not None:
        raw.barycentric_kms = found[0]
        log.rule(f"barycentric velocity {found[0]:.3f} km/s: {found[1]} in the header")
    elif found is not None:
        log.warn(f"barycentric velocity {found[0]:.3f} km/s stated ({found[1]}), but not whether it has been taken out")


def describe(headers: list[Header], raw: Raw, log: Log) -> Raw:
    """Fill in, from the headers, whatever the reader of the family has not found already.

    Args:
        headers: headers in order of preference (primary first).
        raw: what the family found; changed in place.
        log: takes the notes.

    Returns:
        ``raw``.
    """
    pipeline = pipeline_of(headers[0], raw.pipeline)
    if raw.medium_assumed and "ESO" in text_of(headers[0], "ORIGIN", "PIPEFILE", "PRODCATG", "TELESCOP"):
        raw.medium_assumed = False
    if raw.medium is None:
        _medium(headers, raw, pipeline, log)
    if raw.frame == "unknown":
        _frame(headers, raw, pipeline, log)
    if raw.resolution is None:
        _resolution(headers, raw, log)
    if raw.barycentric_kms is None and raw.frame in ("topocentric", "unknown"):
        _barycentric(headers, raw, log)
    if (cards := when_and_where(headers)) is not None:
        raw.info["when_and_where"] = cards
    for header in headers:
        norm = header.get("CONTNORM")
        if raw.normalised is None and isinstance(norm, bool):
            raw.normalised = norm
            log.rule(f"{'continuum divided out' if norm else 'not normalised'}: CONTNORM = {norm}")
        for key, name in _INFO:
            value = str(header.get(key, "")).strip()
            if value and name not in raw.info:
                raw.info[name] = value
        for key, name in (("PREPFLAG", "flags"), ("PREPMASK", "mask")):  # of a spectrum that maury prepared
            if key in header:
                raw.info[name] = tuple(filter(None, str(header[key]).split(",")))
    return raw
