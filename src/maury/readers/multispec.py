"""IRAF multispec and equispec echelle images: orders with wavelengths in the header, planes named by their BANDID.

Sources: IRAF help page `specwcs` (linear, log-linear, Chebyshev, Legendre, cubic and linear spline, pixel and sample
arrays); `apall` and CarPy band identifiers; FIES, TLS, TRES, MIKE, UVES echelle products.
"""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits
from numpy.polynomial import chebyshev, legendre

from maury.readers.arrays import build, unlabelled_sigma
from maury.readers.fitsfile import Part
from maury.readers.headers import as_number, describe
from maury.readers.linear import axis, has_axis
from maury.readers.noise import NoiseKind, named_noise
from maury.readers.source import Floats, Log, Raw
from maury.readers.units import parse_unit, to_angstrom

_MAX_APERTURES = 1000


def wat(header: fits.Header, axis_number: int) -> str:
    """The text of the attribute ``WATn_nnn`` of an axis: cards of 68 characters, joined."""
    text, index = "", 1
    while f"WAT{axis_number}_{index:03d}" in header:
        text += str(header[f"WAT{axis_number}_{index:03d}"]).ljust(68)
        index += 1
    return text


def spline(coefficients: Floats, pieces: int, position: Floats, cubic: bool) -> Floats:
    """Value of an IRAF spline (specwcs): ``pieces`` equal pieces over ``position`` in [0, pieces].

    Linear: (1 - a) c_j + a c_{j+1}; cubic: sum_i c_{i+j} z_i with z_0 = (1-a)^3, z_1 = 1 + 3(1-a)(1 + a(1-a)),
    z_2 = 1 + 3a(1 + a(1-a)), z_3 = a^3, a the position within the piece j.
    """
    piece = np.clip(np.floor(position), 0, pieces - 1).astype(int)
    a = position - piece
    b = 1 - a
    terms = (b**3, 1 + 3 * b * (1 + a * b), 1 + 3 * a * (1 + a * b), a**3) if cubic else (b, a)
    return np.sum([coefficients[piece + i] * z for i, z in enumerate(terms)], axis=0)


def _function(numbers: list[float], pixel: Floats) -> tuple[Floats, int]:
    """One IRAF dispersion function W(p) and the count of numbers that it takes, its type first."""
    kind = int(numbers[0])
    if kind in (1, 2):
        order, low, high = int(numbers[1]), numbers[2], numbers[3]
        coefficients = np.array(numbers[4 : 4 + order])
        if order < 1 or len(coefficients) < order or high == low:
            raise ValueError(f"{order} coefficients announced, {len(coefficients)} there, range {low:g} to {high:g}")
        x = (pixel - (high + low) / 2) / ((high - low) / 2)
        evaluate = chebyshev.chebval if kind == 1 else legendre.legval
        return evaluate(x, coefficients), 4 + order
    if kind in (3, 4):
        pieces, low, high = int(numbers[1]), numbers[2], numbers[3]
        length = pieces + (3 if kind == 3 else 1)
        coefficients = np.array(numbers[4 : 4 + length])
        if pieces < 1 or len(coefficients) < length or high == low:
            raise ValueError(f"spline of {pieces} pieces has {len(coefficients)} coefficients")
        return spline(coefficients, pieces, (pixel - low) / (high - low) * pieces, kind == 3), 4 + length
    if kind == 5:
        count = int(numbers[1])
        values = np.array(numbers[2 : 2 + count])
        return np.interp(pixel, np.arange(1, count + 1), values), 2 + count
    raise ValueError(f"dispersion function {kind} is not one of 1 to 5")


def dispersion(spec: str, size: int, physical: tuple[float, float] = (0.0, 1.0)) -> tuple[Floats, bool]:
    """Wavelengths (size,) of one ``specN`` entry, in the unit of the axis, and whether they are logarithms.

    The entry is ``aperture beam dtype w1 dw nw z aplow aphigh [weight zero type ...]...`` and
    lambda = sum_i weight_i (zero_i + W_i(p)) / (1 + z); for dtype 0 lambda = (w1 + dw (p - 1)) / (1 + z), for dtype 1
    log10 lambda is linear so.

    Args:
        spec: the text between the quotes.
        size: number of pixels.
        physical: LTV1 and LTM1_1: logical = LTM1_1 physical + LTV1.

    Raises:
        ValueError: the entry is malformed, or has no wavelengths (dtype -1).
    """
    numbers = [float(word) for word in spec.replace("INDEF", "0").replace("D", "E").split()]
    if len(numbers) < 6:
        raise ValueError(f"{len(numbers)} numbers, at least 6 needed")
    kind, w1, dw, shift = int(numbers[2]), numbers[3], numbers[4], numbers[6] if len(numbers) > 6 else 0.0
    pixel: Floats = (np.arange(1, size + 1, dtype=np.float64) - physical[0]) / physical[1]
    if kind == -1:
        raise ValueError("no wavelength calibration (dtype -1)")
    if kind in (0, 1):
        value = w1 + dw * (pixel - 1)
        return (value / (1 + shift), False) if kind == 0 else (value - np.log10(1 + shift), True)
    if kind != 2:
        raise ValueError(f"dispersion type {kind} is not -1, 0, 1 or 2")
    total, rest = np.zeros(size), numbers[9:]
    if not rest:
        raise ValueError("no dispersion function")
    while rest:
        weight, zero = rest[0], rest[1]
        value, used = _function(rest[2:], pixel)
        total += weight * (zero + value)
        rest = rest[2 + used :]
    return total / (1 + shift), False


def wavelengths(header: fits.Header, size: int, count: int, log: Log) -> tuple[Floats, list[str]]:
    """Wavelengths (count, size) in Å of all orders of a multispec header, and the names of the orders.

    Raises:
        FormatError: an entry is missing or malformed.
    """
    entries = dict(re.findall(r'spec(\d+)\s*=\s*"([^"]*)"?', wat(header, 2)))
    missing = [n for n in range(1, count + 1) if str(n) not in entries]
    if missing:
        raise log.fail(f"multispec header: no wavelengths for {len(missing)} of {count} orders, e.g. spec{missing[0]}")
    shift, scale = as_number(header.get("LTV1")) or 0.0, as_number(header.get("LTM1_1")) or 1.0
    unit = re.search(r"units?\s*=\s*(\S+)", wat(header, 1))
    waves, names = np.empty((count, size)), []
    logarithmic = np.zeros(count, bool)
    uncalibrated: list[int] = []
    for n in range(1, count + 1):
        text = entries[str(n)]
        if text.split()[2:3] == ["-1"]:
            uncalibrated.append(n)
            text = f"{' '.join(text.split()[:2])} 0 nan nan {size}"
        try:
            waves[n - 1], logarithmic[n - 1] = dispersion(text, size, (shift, scale))
        except (ValueError, IndexError, OverflowError) as error:
            raise log.fail(f"multispec header: spec{n}: {error}") from error
        words = text.split()
        length = int(float(words[5]))
        if 0 < length < size:
            waves[n - 1, length:] = np.nan
        names.append(words[1] if words[1] not in ("0", "1") else words[0])
    if len(uncalibrated) == count:
        raise log.fail("multispec header: spec1: no wavelength calibration (dtype -1), nor in any other")
    if uncalibrated:
        log.warn(f"apertures {', '.join(map(str, uncalibrated))} have no wavelength calibration (dtype -1): left out")
    stated = unit.group(1).strip("\"'") if unit else None
    if logarithmic.all():
        stated = "log10"
    elif logarithmic.any():
        log.rule(f"{logarithmic.sum()} of {count} apertures have logarithms of wavelengths, by their dispersion type")
        waves[logarithmic] = np.power(10.0, np.clip(waves[logarithmic], -10, 10))
    elif parse_unit(stated) is None and stated is not None:
        log.warn(f"unit of the multispec wavelengths {stated!r} not known")
    return to_angstrom(waves, stated, log, "wavelengths (multispec)"), names


def _band(header: fits.Header, number: int) -> str:
    return str(header.get(f"BANDID{number}", "")).lower()


def planes(header: fits.Header, cube: Floats, log: Log) -> tuple[Floats, Floats | None, str]:
    """Flux, sigma and the source of sigma from the planes (bands, ...) of a cube, by their BANDID.

    The flux is the first band that is a ``spectrum`` of the object (not raw, sky, noise, lamp, flat); sigma is the
    band ``sigma`` or ``noise``. Without identifiers the first plane is the flux (IRAF's order) and the last is
    looked at as an array without a name.
    """
    count = cube.shape[0]
    bands = [_band(header, n + 1) for n in range(count)]
    if not any(bands):
        log.rule("no BANDID: the first plane is taken as flux (order of IRAF apall)")
        flux = cube[0]
        sigma, source = unlabelled_sigma(cube[-1], flux, log, f"plane {count}")
        return flux, sigma, source
    other = re.compile(r"sky|noise|sigma|raw|lamp|flat|background spectrum|continuum|order")
    spectra = [i for i, band in enumerate(bands) if "spectrum" in band and not other.search(band.split(" - ")[0])]
    chosen = spectra[0] if spectra else 0
    log.rule(f"flux: plane {chosen + 1} of {count}, {bands[chosen]!r}")
    kinds: list[tuple[int, NoiseKind]] = [(i, "sigma") for i, band in enumerate(bands) if band.startswith("sigma")]
    kinds += [(i, "sigma") for i, band in enumerate(bands) if band.startswith("noise")]
    kinds += [(i, "variance") for i, band in enumerate(bands) if band.startswith("variance")]
    kinds += [(i, "signal-to-noise") for i, band in enumerate(bands) if "signal-to-noise" in band]
    if not kinds:
        return cube[chosen], None, "none"
    index, kind = kinds[0]
    sigma, source = named_noise(
        cube[index], kind, cube[chosen], log, f"plane {index + 1} ({bands[index].split(' - ')[0]})"
    )
    return cube[chosen], sigma, source


def _beams(header: fits.Header, count: int) -> list[str] | None:
    """Beam numbers as names of fibres, where several apertures have each of two or more: object 1 and sky 0 (apall)."""
    beams = [str(header.get(f"APNUM{n + 1}", "")).split()[1:2] for n in range(count)]
    names = [beam[0] if beam else "" for beam in beams]
    return names if all(names) and 1 < len(set(names)) <= count / 2 else None


def read_multispec(parts: list[Part], log: Log) -> Raw | None:
    """Read an IRAF multispec image, or an equispec one of several planes, in the first image of the file."""
    part = next((p for p in parts if p.shape), None)
    if part is None:
        return None
    header, shape = part.header, part.shape
    system = wat(header, 0).lower()
    multispec = "multispec" in system or str(header.get("CTYPE1", "")).upper().startswith("MULTISPE")
    equispec = "equispec" in system and len(shape) > 1 and any(_band(header, n) for n in range(1, 10))
    if not (multispec or equispec):
        return None
    if len(shape) > 3:
        raise log.fail(f"multispec image of {len(shape)} axes")
    axes = [int(header.get(f"NAXIS{i}", 1)) for i in (1, 2, 3)]
    size, count, bands = axes[0], max(1, axes[1]), max(1, axes[2])
    if count > _MAX_APERTURES:
        raise log.fail(f"{count} rows, more than the {_MAX_APERTURES} orders that any spectrograph has")
    cube = part.image().reshape(bands, count, size)
    names: list[str] | None = None
    if multispec and wat(header, 2):
        wave, names = wavelengths(header, size, count, log)
    elif has_axis(header):
        wave = np.broadcast_to(axis(header, size, log), (count, size))
    else:
        raise log.fail("multispec image without wavelengths in its header")
    flux, sigma, source = planes(header, cube, log) if bands > 1 else (cube[0], None, "none")
    reader = "IRAF multispec" if multispec else "IRAF equispec"
    fibres = [str(header.get(f"APID{n + 1}", "")).strip() for n in range(count)] if count > 1 else None
    if fibres is not None and not any(fibres):
        fibres = _beams(header, count)
    return describe([header, parts[0].header], build(reader, wave, flux, sigma, None, names, source, fibres), log)
