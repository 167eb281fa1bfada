"""1-D FITS images: wavelengths from the header (linear, log10, ln) or from a second image; orders one per extension.

Sources: FITS standard 4.0 section 8 (CRVALi, CRPIXi, CDELTi, CDi_i; CTYPEi AWAV, WAVE, -LOG); IRAF `onedspec` (DC-FLAG,
WAT1 units, band identifiers); SDSS and LAMOST (COEFF0, COEFF1).
"""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits

from maury.readers.arrays import (
    alike,
    bad_pixels,
    build,
    masks_as_quality,
    require_linear,
    sigma_of,
    unlabelled_sigma,
)
from maury.readers.fitsfile import Part
from maury.readers.headers import as_number, describe
from maury.readers.roles import NOISE_KINDS, is_unknown, named
from maury.readers.source import Floats, Log, Raw, RawOrder
from maury.readers.units import OTHER_AXES, guess_unit, is_wavelength, parse_unit, to_angstrom

_AXIS = (
    "CRVAL1", "CDELT1", "CD1_1", "PC1_1", "CRPIX1", "CTYPE1", "CUNIT1", "DC-FLAG", "WAT1_001", "COEFF0", "COEFF1",
)  # fmt: skip
"""Keywords of the wavelength axis."""

_LOG = ("log10", "ln")


def _unit(header: fits.Header) -> str | None:
    """Unit of the wavelength axis: CUNIT1, units of WAT1, or a CTYPE1 that is a unit."""
    if str(header.get("CUNIT1", "")).strip():
        return str(header["CUNIT1"])
    units = re.search(r"units?\s*=\s*([^\s]+)", str(header.get("WAT1_001", "")))
    if units:
        return units.group(1)
    label = re.search(r"label\s*=\s*([^\s]+)", str(header.get("WAT1_001", "")))
    for text in (header.get("CTYPE1"), label.group(1) if label else None):
        if parse_unit(text) is not None:
            return str(text)
    return None


def has_axis(header: fits.Header) -> bool:
    """Whether the header gives a wavelength axis along the first axis of the image."""
    if as_number(header.get("COEFF0")) is not None and as_number(header.get("COEFF1")) is not None:
        return True
    return as_number(header.get("CRVAL1")) is not None and bool(_step(header)[0])


def _step(header: fits.Header) -> tuple[float | None, float | None]:
    """Step per pixel: CD1_1, else PC1_1 CDELT1 (PC1_1: 1 by default); and CDELT1 where CD1_1 differs from it."""
    matrix, delta, rotation = (as_number(header.get(key)) for key in ("CD1_1", "CDELT1", "PC1_1"))
    if matrix:
        return matrix, delta if delta and abs(matrix - delta) > 1e-6 * abs(matrix) else None
    return (delta * rotation if delta and rotation else delta), None


def axis(header: fits.Header, size: int, log: Log) -> Floats:
    """Wavelengths (size,) in Å of a header's first axis.

    value(p) = CRVAL1 + (p - CRPIX1) step, p = 1 ... size; the step is CD1_1 where there is one (FITS standard),
    else PC1_1 CDELT1. With DC-FLAG = 1, a CTYPE1 of logarithms or COEFF0/COEFF1 the values are log10 of Å; with CTYPE1
    -LOG, lambda = CRVAL1 exp((value - CRVAL1) / CRVAL1) (FITS paper III, eq. 5), unless the values, in no unit or Å,
    are logarithms themselves.

    Raises:
        FormatError: the axis is not a wavelength, it is not linear (grisms, tables), or its unit is unknown.
    """
    pixel = np.arange(1, size + 1, dtype=float)
    if as_number(header.get("COEFF0")) is not None and as_number(header.get("COEFF1")) is not None:
        log.rule("wavelength = 10^(COEFF0 + COEFF1 i), i = 0, 1, ... (SDSS)")
        return to_angstrom(float(header["COEFF0"]) + float(header["COEFF1"]) * (pixel - 1), "log10", log)
    start = as_number(header.get("CRVAL1"))
    if start is None:
        raise log.fail(f"CRVAL1 = {header.get('CRVAL1')} is not a number")
    step, other = _step(header)
    if not step:
        raise log.fail(f"wavelength step CDELT1 = {header.get('CDELT1')}, CD1_1 = {header.get('CD1_1')} is not usable")
    if other:
        log.rule(f"CD1_1 = {step:g} used, not CDELT1 = {other:g} (FITS standard)")
    reference = as_number(header.get("CRPIX1"))
    if reference is None:
        reference = 1.0
        log.rule("no CRPIX1: first pixel (FITS default of most writers) taken as reference")
    value = start + (pixel - reference) * step
    ctype = str(header.get("CTYPE1", "")).strip().upper()
    unit = _unit(header)
    if re.fullmatch(r"(WAVE|AWAV|FREQ|WAVN|ENER)-(?!LOG|LIN)[A-Z0-9]{3}", ctype):
        raise log.fail(f"the wavelength axis {ctype} is not linear (a table, a grism or another variable): not read")
    if ctype.endswith("-LOG") and parse_unit(unit) in (None, "angstrom") and (found := guess_unit(value)) in _LOG:
        log.rule(f"CTYPE1 = {ctype} with values that are logarithms of wavelengths ({found})")
        unit = found
    elif ctype.endswith("-LOG"):
        log.rule(f"logarithmic axis: CTYPE1 = {ctype}")
        value = start * np.exp((value - start) / start)
    elif as_number(header.get("DC-FLAG")) == 1 or re.search(r"LOG10|LOG\(|LOGLAM|LOG-?LIN", ctype):
        log.rule("logarithmic axis (log10): DC-FLAG or CTYPE1")
        unit = "log10"
    elif re.match(r"(VELO|VRAD|VOPT)", ctype):
        raise log.fail(f"the first axis is {ctype}, not wavelengths")
    elif re.match(r"(FREQ|WAVN|ENER)", ctype):
        unit = str(header.get("CUNIT1", "")).strip() or {"WAVN": "m-1", "FREQ": "Hz"}.get(ctype[:4], "eV")
    return to_angstrom(value, unit, log, "wavelengths (header)")


def _beside(part: Part, main: Part) -> bool:
    """Whether an image has the wavelengths of another: the same shape and axis."""
    keys = ("CRVAL1", "CDELT1", "CD1_1", "PC1_1", "CRPIX1", "COEFF0")
    return part.shape == main.shape and all(part.header.get(key) == main.header.get(key) for key in keys)


def _noise(flux: Floats, main: Part, others: list[Part], log: Log) -> tuple[Floats | None, str]:
    """Noise among the images beside the flux: by extension name, else by size."""
    arrays = [(part, named(part.name, part.image(), part.header.get("BUNIT"))) for part in others]
    unit = main.header.get("BUNIT")
    for part, array in arrays:
        if array.role in NOISE_KINDS:
            array.name = part.title
            return sigma_of(array, flux, unit, log)
    blank = [(part, array) for part, array in arrays if not part.name and array.values.shape == flux.shape]
    if len(blank) > 1:
        log.warn(f"{len(blank)} extensions without a name beside the flux: the first was looked at for the noise")
    for part, array in blank[:1]:
        return unlabelled_sigma(array.values, flux, log, part.title)
    return None, "none"


def _mask(others: list[Part], log: Log) -> np.ndarray | None:
    """Mask among the images beside the flux: flags of quality, or an image named mask whose meaning is documented."""
    arrays = [named(p.name, p.image()) for p in others if p.name]
    specutils = any("BFORM" in p.header for p in others)
    masks_as_quality(arrays, "bad" if specutils else None, "specutils", log)
    return next((bad_pixels(a.values, log, a.name) for a in arrays if a.role == "quality"), None)


def _is_order(part: Part, main: Part) -> bool:
    """Whether an image with another wavelength axis is a further order, by its name: the same, none, or numbered."""
    stem = re.sub(r"[\W_]*\d+$", "", part.name.lower())
    return part.name == main.name or not stem or stem in ("order", "ord", "sci", "ap", "aperture", "spec", "flux")


def _other(part: Part, main: Part) -> bool:
    """Whether an image on the same axis is another star or fibre.

    They have one name and different numbers, or names without a known word, and are as large and rough as each other.
    """
    if not all(is_unknown(p.name) for p in (part, main)):
        return _numbered(part, main)
    return _numbered(part, main) or alike(part.image(), main.image())


def _numbered(part: Part, main: Part) -> bool:
    """Whether two images have one name and different numbers, as stars or fibres in one file."""
    stem, other = (re.fullmatch(r"(.*?)[\W_]*\d+", p.name.lower()) for p in (part, main))
    return bool(stem and other and stem.group(1) and stem.group(1) == other.group(1) and part.name != main.name)


def _pick_flux(images: list[Part]) -> Part:
    """The image that holds the flux: named so, else the first one."""
    for part in images:
        if part.name and named(part.name, np.empty(0)).role == "flux" and not named(part.name, np.empty(0)).tags:
            return part
    return images[0]


def _wavelength_image(images: list[Part], axes: list[Part]) -> Part | None:
    """The image that holds the wavelengths of the others: named so, or, without any axis, running through them."""
    for part in images:
        array = named(part.name, np.empty(0), part.header.get("BUNIT"))
        if part.name and array.role == "wavelength" and parse_unit(array.unit) not in OTHER_AXES:
            return part
    return None if axes else next((part for part in images if is_wavelength(part.image())), None)


def read_linear(parts: list[Part], log: Log) -> Raw | None:
    """Read 1-D images: one spectrum with its companions, or one order per extension (SALT HRS, MIDAS)."""
    images = [part for part in parts if len(part.shape) == 1 and part.shape[0] > 10]
    first, alone = parts[0], [part for part in parts if part.shape] == images[:1]
    if images and alone and not first.shape and has_axis(first.header) and not has_axis(images[0].header):
        images[0].header.update({key: first.header[key] for key in _AXIS if key in first.header})
        log.rule("wavelengths by the primary header, which has no data of its own")
    axes = [part for part in images if has_axis(part.header)]
    waves = _wavelength_image(images, axes)
    candidates = [part for part in images if part is not waves and (waves is None or part.shape == waves.shape)]
    if not candidates or not (axes or waves):
        return None
    with_axis = [part for part in candidates if part in axes]
    main = _pick_flux(with_axis if with_axis and waves is None else candidates)
    companions = [part for part in candidates if part is not main and part.shape == main.shape]
    if waves is None:
        orders = [p for p in axes if p is not main and (_other(p, main) if _beside(p, main) else _is_order(p, main))]
        if orders:
            return _extensions([main, *orders], parts, log)
    mask = _mask(companions, log)
    wave = axis(main.header, main.shape[0], log) if waves is None else _from_image(waves, log)
    require_linear("flux", str(main.header.get("BUNIT", "")), log)
    flux = main.image()
    sigma, source = _noise(flux, main, companions, log)
    reader = "1-D FITS image" if waves is None else "1-D FITS image with wavelengths in another"
    return describe([main.header, parts[0].header], build(reader, wave, flux, sigma, mask, [""], source), log)


def _from_image(part: Part, log: Log) -> Floats:
    if part.name:
        log.rule(f"wavelengths: {part.title}")
    else:
        log.rule(f"wavelengths: {part.title}, which has no name but runs through optical wavelengths")
    return to_angstrom(part.image(), part.header.get("BUNIT"), log, f"wavelengths ({part.title})")


def _extensions(images: list[Part], parts: list[Part], log: Log) -> Raw:
    """One order per extension, each with its own wavelength axis."""
    log.rule("each 1-D extension with a wavelength axis of its own is an order")
    orders = [
        RawOrder(axis(p.header, p.shape[0], log), p.image(), name=str(i + 1), extension=p.name or str(p.index))
        for i, p in enumerate(images)
    ]
    return describe([images[0].header, parts[0].header], Raw("one order per extension", orders), log)
