"""Echelle orders as rows of an image, wavelengths and noise in other extensions, in other files or in the header.

Sources: California Planet Search HIRES and APF products; ESPRESSO and HARPS DRS 3 S2D, CARMENES, PyReduce (extension
names); Geneva DRS e2ds of HARPS, HARPS-N, SOPHIE (polynomials CAL TH COEFF LL); MAKEE (polynomials WV_0_nn, WV_4_nn).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.polynomial import polynomial

from maury.readers.arrays import bad_pixels, build, from_arrays, sigma_of, unlabelled_sigma
from maury.readers.companions import other_file
from maury.readers.fitsfile import Part
from maury.readers.headers import as_number, describe
from maury.readers.pipelines import DRS_PREFIXES
from maury.readers.roles import NOISE_KINDS, named
from maury.readers.source import Floats, Log, Raw
from maury.readers.units import OTHER_AXES, is_wavelength, parse_unit, to_angstrom

MAX_ROWS = 400
"""Most rows that an image of orders may have; pictures have more."""


def drs_polynomials(header: fits.Header, shape: tuple[int, ...], log: Log) -> Floats | None:
    """Wavelengths (orders, n) in Å of a Geneva DRS e2ds image, or None if the header has no polynomials.

    lambda_o(x) = sum_i a_{i + o (d + 1)} x^i, x = 0, 1, ..., d = CAL TH DEG LL (HARPS DRS manual, section 8.2).

    Raises:
        FormatError: coefficients are missing.
    """
    prefix = next((p for p in DRS_PREFIXES if f"{p} DRS CAL TH COEFF LL0" in header), None)
    if prefix is None or len(shape) != 2:
        return None
    degree = as_number(header.get(f"{prefix} DRS CAL TH DEG LL"))
    if degree is None or not 1 <= degree <= 20:
        raise log.fail(f"degree of the wavelength polynomials ({prefix} DRS CAL TH DEG LL) missing or absurd")
    terms = int(degree) + 1
    keys = [f"{prefix} DRS CAL TH COEFF LL{i}" for i in range(shape[0] * terms)]
    values = [as_number(header.get(key)) for key in keys]
    if any(value is None for value in values):
        missing = keys[values.index(None)]
        raise log.fail(f"wavelength polynomials incomplete: {missing} missing, {len(keys)} coefficients needed")
    log.rule(f"wavelengths: polynomials of degree {terms - 1}, {prefix} DRS CAL TH COEFF LL")
    table = np.array(values, dtype=float).reshape(shape[0], terms)
    return np.stack([polynomial.polyval(np.arange(shape[1]), row) for row in table])


def makee_polynomials(header: fits.Header, shape: tuple[int, ...], log: Log) -> Floats | None:
    """Wavelengths (orders, n) in Å of a MAKEE image, or None if the header has no polynomials.

    lambda(x) = sum_i c_i x^i, c_0 to c_3 in WV_0_nn, c_4 to c_7 in WV_4_nn, x the column number, CRVAL1 for the first
    (MAKEE manual, "Wavelength Scale Formats").

    Raises:
        FormatError: coefficients are missing.
    """
    if "WV_0_01" not in header:
        return None
    count = shape[0] if len(shape) == 2 else 1
    column = (as_number(header.get("CRVAL1")) or 0.0) + np.arange(shape[-1])
    waves = []
    for n in range(1, count + 1):
        words = f"{header.get(f'WV_0_{n:02d}', '')} {header.get(f'WV_4_{n:02d}', '')}".split()
        values = [as_number(word) for word in words]
        if len(values) != 8 or any(value is None for value in values):
            raise log.fail(f"MAKEE wavelength polynomial WV_0_{n:02d}, WV_4_{n:02d} missing or malformed")
        waves.append(polynomial.polyval(column, np.array(values, dtype=float)))
    log.rule("wavelengths: MAKEE polynomials WV_0_nn, WV_4_nn of the column number")
    return np.stack(waves).reshape(shape)


def _from_file(part: Part, parts: list[Part], log: Log) -> Raw:
    """Flux of this file with the wavelengths of ``log.options.wavelength_file``."""
    path = Path(log.options.wavelength_file or "")
    wave, array = other_file(path, part.shape, log, "wavelength file")
    if not is_wavelength(wave) and log.options.wavelength_unit is None:
        raise log.fail(f"wavelength file {path}: its values do not run through optical wavelengths")
    wave_aa = to_angstrom(wave, array.unit, log, f"wavelengths ({path.name})")
    log.rule(f"wavelengths: {path.name}, given by the user")
    return _with_companions(part, parts, wave_aa, [part], log, "orders with a wavelength file")


def _with_companions(part: Part, parts: list[Part], wave_aa: Floats, used: list[Part], log: Log, reader: str) -> Raw:
    """Build from the flux of a part, looking for its noise among the other images of its shape."""
    flux = part.image()
    sigma, source = None, "none"
    others = [p for p in parts if p.shape == part.shape and all(p is not u for u in used)]
    for other in others:
        array = named(other.name, other.image(), other.header.get("BUNIT"))
        if array.role in NOISE_KINDS:
            array.name = other.title
            sigma, source = sigma_of(array, flux, part.header.get("BUNIT"), log)
        elif not other.name:
            sigma, source = unlabelled_sigma(array.values, flux, log, other.title)
        if sigma is not None:
            break
    quality = next((p for p in others if p.name and named(p.name, np.empty(0)).role == "quality"), None)
    mask = None if quality is None else bad_pixels(quality.image(), log, quality.title)
    return describe([part.header, parts[0].header], build(reader, wave_aa, flux, sigma, mask, None, source), log)


def _named_images(parts: list[Part], log: Log) -> Raw | None:
    """Images named by their extensions, as in S2D (SCIDATA, WAVEDATA_AIR_BARY) or CARMENES (SPEC, SIG, WAVE)."""
    pictures = [p for p in parts if p.shape and p.name and named(p.name, np.empty(0)).role is not None]
    arrays = [named(p.name, np.zeros(p.shape), p.header.get("BUNIT")) for p in pictures]
    if not {"flux", "wavelength"} <= {array.role for array in arrays if parse_unit(array.unit) not in OTHER_AXES}:
        return None
    for part, array in zip(pictures, arrays, strict=True):
        array.values = part.image()
    raw = from_arrays("named FITS images", arrays, log)
    return describe([parts[0].header, *(p.header for p in pictures)], raw, log)


def read_orders(parts: list[Part], log: Log) -> Raw | None:
    """Read images whose wavelengths are not in a linear axis: named extensions, polynomials, another image or file."""
    if log.options.wavelength_file is not None:
        part = next((p for p in parts if p.shape and max(p.shape) > 10), None)
        if part is not None and len(part.shape) <= 2:
            return _from_file(part, parts, log)
    raw = _named_images(parts, log)
    if raw is not None:
        return raw
    part = next((p for p in parts if len(p.shape) == 2), None)
    if part is None:
        return None
    if "ccf" in " ".join(part.header.keys()).lower() and str(part.header.get("CTYPE1", "")).lower().startswith(
        ("km/s", "m/s")
    ):
        raise log.fail("a cross-correlation function against velocity, not a spectrum")
    for find in (drs_polynomials, makee_polynomials):
        wave = find(part.header, part.shape, log)
        if wave is not None:
            wave = to_angstrom(wave, "angstrom", log, "wavelengths (polynomials)")
            return _with_companions(part, parts, wave, [part], log, "orders with polynomials")
    if part.shape[0] > MAX_ROWS and part.shape[1] > MAX_ROWS:
        return None
    same = [p for p in parts if p.shape == part.shape]
    other = next((p for p in same if is_wavelength(p.image())), None)
    if other is None or len(same) < 2:
        return None
    if not other.name:
        log.rule(f"wavelengths: {other.title}, without a name, but only it runs through optical wavelengths")
    wave = to_angstrom(other.image(), other.header.get("BUNIT"), log, f"wavelengths ({other.title})")
    flux = next(p for p in same if p is not other)
    return _with_companions(flux, parts, wave, [flux, other], log, "orders in 2-D")
