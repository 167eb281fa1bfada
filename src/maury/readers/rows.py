"""Images whose rows or planes are wavelength, flux and noise themselves, by header or a check of the first.

Sources: ESPaDOnS and NARVAL Libre-ESpRIT FITS (i.fits, p.fits: CFHT, "FITS format of reduced spectra"); SDSS spSpec
(rows: spectrum, continuum-subtracted, noise, mask) and LAMOST (flux, inverse variance, wavelength, masks); UVES_popler
(ARRAYn); CERES cubes
(Brahm et al. 2017); CHIRON cubes (orders, pixels, wavelength and flux); SONG cubes (optimal and
simple extraction, blaze, wavelength).
"""

from __future__ import annotations

import numpy as np

from maury.errors import FormatError
from maury.readers.arrays import alike, build, sigma_of, unlabelled_sigma
from maury.readers.fitsfile import Part
from maury.readers.headers import as_number, describe
from maury.readers.linear import axis, has_axis
from maury.readers.noise import named_noise
from maury.readers.roles import NOISE_KINDS, named, select
from maury.readers.source import Floats, Log, Raw
from maury.readers.units import is_wavelength, to_angstrom

_MOST_FIBRES = 1000
_MOST_PLANES = 12
"""Most rows or planes of a stack: flux, noise, wavelengths, blaze and the like."""


def _libre_esprit(image: Floats, log: Log) -> Raw:
    """Groups of 3 rows (i.fits: wavelength in nm, intensity, error) or 6 (p.fits: with polarisation and two nulls).

    The first group is the normalised spectrum whose wavelengths are corrected with telluric lines; the next row of
    wavelengths tells where it ends.
    """
    width = next((n for n in range(2, image.shape[0]) if is_wavelength(image[n])), image.shape[0])
    wave = to_angstrom(image[0], "nm", log)
    log.rule(f"Libre-ESpRIT: rows 1, 2 and {width} are wavelength (nm), normalised intensity and its error")
    sigma, source = named_noise(image[width - 1], "sigma", image[1], log, f"row {width} (error)")
    raw = build("Libre-ESpRIT FITS", wave, image[1], sigma, None, [""], source)
    raw.medium, raw.frame, raw.normalised = "air", "barycentric", True
    log.rule("air, heliocentric, continuum divided out: Libre-ESpRIT, first group of rows")
    return raw


def _survey(part: Part, image: Floats, log: Log) -> Raw | None:
    """SDSS spSpec and LAMOST: rows on one logarithmic axis, fixed by the survey."""
    header = part.header
    if as_number(header.get("COEFF0")) is None:
        return None
    wave = axis(header, image.shape[1], log)
    if "LAMOST" in str(header.get("TELESCOP", "")).upper() or "inverse" in str(header.get("ARRAY2", "")).lower():
        log.rule("LAMOST: rows 1 and 2 are flux and inverse variance")
        sigma, source = named_noise(image[1], "inverse variance", image[0], log, "row 2 (inverse variance)")
        return build("LAMOST image", wave, image[0], sigma, None, [""], source)
    log.rule("SDSS spSpec: rows 1 and 3 are flux and its noise")
    sigma, source = named_noise(image[2], "sigma", image[0], log, "row 3 (noise)")
    return build("SDSS spSpec", wave, image[0], sigma, None, [""], source)


def _on_one_axis(part: Part, image: Floats, log: Log) -> Raw | None:
    """Rows on the linear or logarithmic axis of the header: named by ARRAYn (UVES_popler), or flux and its noise.

    Without names the first row is the flux only if another row can be nothing but its noise; several spectra on one
    axis look the same otherwise.

    Raises:
        FormatError: the rows could be several spectra.
    """
    header = part.header
    if not has_axis(header):
        return None
    rows = [named(str(header.get(f"ARRAY{n + 1}", "")), row) for n, row in enumerate(image)]
    chosen = select([row for row in rows if row.role in ("flux", *NOISE_KINDS)])
    wave = axis(header, image.shape[1], log)
    if chosen.flux is not None:
        log.rule(f"flux: row named {chosen.flux.name!r} in the header")
        sigma, source = sigma_of(chosen.noise, chosen.flux.values, None, log)
        return build("rows on one axis", wave, chosen.flux.values, sigma, None, [""], source)
    for number in range(1, len(image) if log.options.row is None else 1):
        sigma, source = unlabelled_sigma(image[number], image[0], log, f"row {number + 1}")
        if sigma is not None:
            log.rule("first row taken as flux")
            return build("rows on one axis", wave, image[0], sigma, None, [""], source)
    if log.options.row is None:
        raise log.fail(
            f"{len(image)} rows on one wavelength axis: several spectra, or flux and something that has no name; "
            f"choose one by row (1 to {len(image)})",
            "row",
        )
    return build("rows on one axis", wave, image, None, None, None)


def _fibres(part: Part, parts: list[Part], log: Log) -> Raw | None:
    """Many rows on the axis of the header, the fibres of a multi-object spectrograph; None if it is no wavelength."""
    try:
        wave = axis(part.header, part.shape[1], log)
    except FormatError:
        return None
    image = part.image()
    beside = [p for p in parts if p is not part and p.shape == part.shape and p.name]
    noise = next((named(p.name, p.image()) for p in beside if named(p.name, np.empty(0)).role in NOISE_KINDS), None)
    sigma, source = sigma_of(noise, image, None, log)
    return build("fibres on one axis", wave, image, sigma, None, None, source)


def _ceres(cube: Floats, log: Log) -> Raw:
    """CERES: planes 0 wavelength, 1 flux, 3 flux without blaze, 8 signal-to-noise; vacuum, barycentric."""
    wave = to_angstrom(cube[0], "angstrom", log)
    log.rule("CERES: planes 1, 4 and 9 are wavelength, flux without blaze and signal-to-noise")
    sigma, source = named_noise(cube[8], "signal-to-noise", cube[3], log, "plane 9 (signal-to-noise)")
    raw = build("CERES cube", wave, cube[3], sigma, None, None, source)
    raw.medium, raw.frame = "vacuum", "barycentric"
    log.rule("vacuum, barycentric: CERES")
    return raw


def _wavelength_plane(planes: Floats) -> int | None:
    """Index of the only plane that runs through optical wavelengths, or None if there is none or there are several."""
    found = [n for n, plane in enumerate(planes) if is_wavelength(plane)]
    return found[0] if len(found) == 1 else None


def _stack(planes: Floats, log: Log, what: str) -> Raw | None:
    """A stack of arrays of which one runs through wavelengths; the first other one is the flux, the next perhaps noise.

    Of the others one that is zero throughout is left out: a pipeline without it, such as SONG's without optimal
    extraction.
    """
    index = _wavelength_plane(planes)
    if index is None:
        return None
    wave = to_angstrom(planes[index], None, log)
    rest = [n for n in range(len(planes)) if n != index and np.nan_to_num(planes[n]).any()]
    if not rest:
        raise log.fail(f"{what} {index + 1} runs through wavelengths, and no other holds any signal")
    flux = planes[rest[0]]
    same = [n for n in rest if flux.ndim == 1 and alike(planes[n], flux)]
    if len(same) > 2:
        raw = build(f"stack of {what}s", wave, planes[same], None, None, None)
        for order, n in zip(raw.orders, same, strict=True):
            order.row = n + 1
        return raw
    log.rule(f"{what} {index + 1} runs through optical wavelengths: wavelength, {what} {rest[0] + 1} the flux")
    sigma, source = None, "none"
    if len(rest) > 1:
        sigma, source = unlabelled_sigma(planes[rest[1]], flux, log, f"{what} {rest[1] + 1}")
    if len(rest) > 2:
        log.warn(f"{what}s {', '.join(str(n + 1) for n in rest[2:])} have no names: not used")
    return build(f"stack of {what}s", wave, flux, sigma, None, None, source)


def _require_wavelengths(planes: Floats, log: Log) -> None:
    """Refuse a cube none of whose planes runs through wavelengths: list them."""
    good = [plane[np.isfinite(plane)] for plane in planes]
    ranges = [f"{n + 1}: {p.min():.4g} to {p.max():.4g}" if p.size else f"{n + 1}: NaN" for n, p in enumerate(good)]
    raise log.fail(
        f"a cube of {len(planes)} planes, none of which alone runs through optical wavelengths ({'; '.join(ranges)}); "
        "give the wavelength file",
        "wavelength_file",
    )


def read_rows(parts: list[Part], log: Log) -> Raw | None:
    """Read an image whose rows, planes or pairs along the fastest axis are wavelength, flux and noise."""
    part = next((p for p in parts if len(p.shape) in (2, 3)), None)
    if part is None:
        return None
    shape = part.shape
    raw: Raw | None = None
    instrument = str(part.header.get("INSTRUME", "")).upper()
    if len(shape) == 2 and shape[1] > 50 and shape[0] <= 30:
        image = part.image()
        raw = _survey(part, image, log) if 3 <= shape[0] <= 6 else None
        libre = shape[0] in (12, 24) or any(name in instrument for name in ("ESPADONS", "NARVAL"))
        if raw is None and libre and is_wavelength(image[0]):
            raw = _libre_esprit(image, log)
        if raw is None and 2 <= shape[0] <= _MOST_PLANES:
            raw = _stack(image, log, "row")
        if raw is None and shape[0] <= 10:
            raw = _on_one_axis(part, image, log)
    if raw is None and len(shape) == 2 and 10 < shape[0] <= _MOST_FIBRES and shape[1] > 50 and has_axis(part.header):
        raw = _fibres(part, parts, log)
    elif len(shape) == 2 and shape[0] > 50 and 2 <= shape[1] <= _MOST_PLANES:
        raw = _stack(part.image().T, log, "column")
    elif len(shape) == 3 and min(shape[0], shape[2]) <= _MOST_PLANES:
        cube = part.image()
        if shape[0] in (10, 11) and is_wavelength(cube[0]):
            raw = _ceres(cube, log)
        elif max(shape) > 50 and log.options.wavelength_file is None:
            cube = cube if shape[2] > shape[0] else np.moveaxis(cube, 2, 0)
            raw = _stack(cube, log, "plane")
            if raw is None and not has_axis(part.header) and sum(bool(p.shape) for p in parts) == 1:
                _require_wavelengths(cube, log)
    return None if raw is None else describe([part.header, parts[0].header], raw, log)
