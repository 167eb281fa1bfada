"""Text files: columns with or without names, comments or headers; ECSV and CSV; Libre-ESpRIT ``.s`` files.

Sources: iSpec (waveobs, flux, err in nm); Libre-ESpRIT and PolarBase (two header lines; nm, I, [V, N1, N2,] sigma);
the ECSV standard (astropy APE 6) with units and metadata.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.readers.arrays import alike, build, from_arrays, masks_as_quality, require_linear, unlabelled_sigma
from maury.readers.companions import other_file
from maury.readers.headers import as_number
from maury.readers.noise import named_noise
from maury.readers.roles import named, select, unit_in
from maury.readers.source import Floats, Log, Raw, as_floats
from maury.readers.textfile import TextTable, decode, read_numbers, split
from maury.readers.units import OTHER_AXES, is_wavelength, parse_unit, to_angstrom


def _libre_esprit(text: TextTable, log: Log) -> Raw:
    """Libre-ESpRIT ``.s``: wavelength in nm, intensity, [polarisation, two nulls,] sigma as the last column."""
    table = text.table
    wave = to_angstrom(table[:, 0], "nm", log)
    log.rule("Libre-ESpRIT .s file: columns are wavelength (nm), intensity, ..., sigma")
    sigma, source = None, "none"
    if table.shape[1] > 2:
        sigma, source = named_noise(table[:, -1], "sigma", table[:, 1], log, f"column {table.shape[1]} (sigma)")
    raw = build("Libre-ESpRIT text", wave, table[:, 1], sigma, None, [""], source)
    raw.medium, raw.frame = "air", "barycentric"
    log.rule("air, heliocentric wavelengths: Libre-ESpRIT")
    found = re.search(r"['\"]([^'\"]+)['\"]", text.header[0])
    raw.info = {"object": found.group(1).strip()} if found else {}
    return raw


def _unit_in(header: list[str]) -> str | None:
    """Unit of the wavelengths out of a sentence in the header, as in ``# wavelength in nm``."""
    for line in header:
        found = re.search(r"wave\w*\W+(?:\w+\W+){0,2}?(nm|nanomet\w+|angstroe?ms?|micron\w*|å)\b", line.lower())
        if found:
            word = found.group(1)
            return "nm" if word.startswith("nano") else "um" if word.startswith("micron") else word
    return None


def _medium_in(raw: Raw, header: list[str], log: Log) -> None:
    text = re.sub(r"\bair[\s_-]*mass|\bopen air", "", "\n".join(header).lower())
    text = re.sub(r"\bvacuum['\"]?\s*[=:]\s*(f|false|no|0)\b", "air", text)
    if raw.medium is None and len(set(re.findall(r"\b(vacuum|air)\b", text))) == 1:
        raw.medium = "vacuum" if "vacuum" in text else "air"
        log.rule(f"{raw.medium} wavelengths: word in the header of the text")


def read_array(table: Floats, log: Log) -> Raw:
    """Read orders as rows or columns, or a spectrum and perhaps its noise as columns, with wavelengths in a file.

    Raises:
        FormatError: the other file holds no array of the shape of the flux.
    """
    path = Path(log.options.wavelength_file or "")
    flux = np.squeeze(table if table.shape[1] > table.shape[0] else table.T)
    sigma, source = None, "none"
    try:
        wave, array = other_file(path, flux.shape, log, "wavelength file")
    except FormatError:
        if flux.ndim == 1 or len(flux) > 4:
            raise
        wave, array = other_file(path, flux[0].shape, log, "wavelength file")
        flux, noise = flux[0], flux[1]
        sigma, source = unlabelled_sigma(noise, flux, log, "column 2")
    wave_aa = to_angstrom(wave, array.unit, log, f"wavelengths ({path.name})")
    log.rule(f"wavelengths: {path.name}, given by the user")
    return build("numbers with a wavelength file", wave_aa, flux, sigma, None, None, source)


def _by_position(text: TextTable, log: Log) -> Raw:
    """Columns without names: the first that runs through optical wavelengths, then flux, then perhaps noise.

    Raises:
        FormatError: no column is a wavelength, nothing stands after it, or what does is a wavelength, a magnitude or a
            logarithm.
    """
    table = text.table
    count = table.shape[1]
    unit = _unit_in(text.header)
    column = next((i for i in range(min(count - 1, 3)) if is_wavelength(table[:, i])), None)
    if column is None and (unit or log.options.wavelength_unit):
        column = 0
    if column is not None and text.names:
        unit = unit_in(text.names[column]) or unit
    if column is None:
        orders = "; if rows or columns are orders, give the wavelength file" if min(table.shape) > 2 else ""
        raise log.fail(
            f"none of {count} columns runs through optical wavelengths, or nothing follows it{orders}",
            "wavelength_file" if orders else "wavelength_unit",
        )
    wave = to_angstrom(table[:, column], unit, log, f"wavelengths (column {column + 1})")
    flux = table[:, column + 1]
    require_linear(text.names[column + 1] if text.names else "", None, log)
    if is_wavelength(flux):
        raise log.fail(f"columns {column + 1} and {column + 2} both run through optical wavelengths: name the columns")
    log.rule(f"columns without names: {column + 1} is the wavelength, {column + 2} the flux")
    stars = [i for i in range(column + 1, count) if alike(table[:, i], flux)]
    if len(stars) > 2:
        found = [(text.names[i] if text.names else str(i + 1), table[:, i]) for i in stars]
        fluxes = np.stack([values for _, values in found])
        return build("text columns", wave, fluxes, None, None, None, "none", [name for name, _ in found])
    sigma, source = None, "none"
    if count > column + 2:
        sigma, source = unlabelled_sigma(table[:, column + 2], flux, log, f"column {column + 3}")
    if count > column + 3:
        log.warn(f"columns {column + 4} to {count} have no names: not used")
    raw = build("text columns", wave, flux, sigma, None, [""], source)
    if parse_unit(unit) in OTHER_AXES:
        raw.medium, raw.medium_assumed = "vacuum", True
        log.rule(f"vacuum wavelengths: converted from {unit}")
    return raw


def _ecsv(content: str, log: Log) -> Raw:
    """ECSV, with units and, as maury writes them, medium, frame, resolution and normalisation in its metadata."""
    from astropy.table import Table

    try:
        table = Table.read(content, format="ascii.ecsv")
    except Exception as error:
        raise log.fail(f"ECSV cannot be parsed: {' '.join(str(error).split())[:200]}") from error
    numeric = [table[name] for name in table.colnames if table[name].dtype.kind in "iufb"]
    arrays = [named(c.name, as_floats(np.ma.asarray(c)), str(c.unit or "") or None) for c in numeric]
    masks_as_quality(arrays, None, "", log)
    raw = from_arrays("ECSV", arrays, log)
    meta = {str(key).lower(): value for key, value in table.meta.items()}
    if meta.get("medium") in ("air", "vacuum"):
        raw.medium = meta["medium"]
    _medium_in(raw, [f"{key} = {value}" for key, value in meta.items() if key not in ("history", "truth")], log)
    if meta.get("frame") in ("rest", "barycentric", "topocentric"):
        raw.frame = meta["frame"]
    if isinstance(meta.get("normalised"), bool):
        raw.normalised = meta["normalised"]
    raw.resolution = as_number(meta.get("resolution"))
    raw.barycentric_kms = as_number(meta.get("barycentric_kms"))
    if isinstance(meta.get("truth"), dict):
        raw.info["truth"] = dict(meta["truth"])  # labels of a simulated star
    for key in ("flags", "mask"):  # of a prepared spectrum
        if isinstance(meta.get(key), list):
            raw.info[key] = tuple(map(str, meta[key]))
    stated = [
        key for key in ("medium", "frame", "normalised", "resolution", "barycentric_kms") if meta.get(key) is not None
    ]
    if stated:
        log.rule(f"{', '.join(stated)}: metadata of the ECSV")
    return raw


def read_text(path: Path, log: Log) -> Raw:
    """Read a text file of columns.

    Raises:
        FormatError: it holds no columns of numbers, none is a wavelength, or it is binary.
    """
    content = decode(path, log)
    if not content.strip():
        raise log.fail("empty file")
    if re.match(r"#\s*%ECSV", content):
        return _ecsv(content, log)
    if log.options.wavelength_file is not None:
        return read_array(read_numbers(path, log), log)
    text = split(content, log)
    if text.header and text.header[0].startswith("***"):
        return _libre_esprit(text, log)
    if text.names:
        arrays = [named(name, text.table[:, i].copy()) for i, name in enumerate(text.names)]
        masks_as_quality(arrays, None, "", log)
        chosen = select(arrays)
        if chosen.wavelength is not None and chosen.flux is not None:
            chosen.wavelength.unit = chosen.wavelength.unit or _unit_in(text.header)
            raw = from_arrays("text columns", arrays, log)
            _medium_in(raw, text.header, log)
            return raw
        log.rule(f"column names {', '.join(text.names)[:80]} not known: taken by position")
    raw = _by_position(text, log)
    _medium_in(raw, text.header, log)
    return raw
