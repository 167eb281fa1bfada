"""Orders out of arrays of flux, wavelength and noise, whichever kind of file they came from."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import numpy as np

from maury.readers.noise import der_snr, kind_of_unit, named_noise, unnamed_noise
from maury.readers.roles import Named, Selection, is_linear, medium_of, select
from maury.readers.source import Floats, Log, Raw, RawOrder
from maury.readers.units import parse_unit, to_angstrom


def bad_pixels(quality: Floats | None, log: Log, what: str) -> np.ndarray | None:
    """Mask from quality flags, 0 being good; not used when more than half of the pixels would be bad."""
    if quality is None:
        return None
    bad = np.nan_to_num(quality, nan=1.0) != 0
    if bad.mean() > 0.5:
        log.warn(f"{what} flags {100 * bad.mean():.0f} % of the pixels: not used")
        return None
    log.rule(f"{what}: pixels flagged bad are masked")
    return bad


_GOOD = re.compile(r"(good|valid|usable)(_?pix\w*|_?mask)?|use_?mask|mask_?good")


def masks_as_quality(arrays: list[Named], meaning: Literal["bad", "good"] | None, who: str, log: Log) -> None:
    """Make arrays named mask a quality, 0 being good, where what they mark is documented or in their name.

    Args:
        arrays: changed in place.
        meaning: what a number other than 0 marks in an array named mask; None if that is documented nowhere.
        who: whose documentation it is.
        log: takes the notes.
    """
    for array in arrays:
        name = array.name.lower()
        good = _GOOD.fullmatch(name) is not None
        if array.role is not None or not (good or re.fullmatch(r"(\w+_)?masks?", name)):
            continue
        if meaning is None and not good:
            log.warn(f"{array.name} not used: whether its 1 is good or bad is not stated")
            continue
        marks = "good" if good else meaning
        array.values = ((np.nan_to_num(array.values) != 0) == (marks == "bad")).astype(float)
        array.role, array.tags = "quality", tuple(name.split("_")[:-1])
        log.rule(f"{array.name}: 1 is {marks} ({'by its name' if good else who})")


def sigma_of(noise: Named | None, flux: Floats, flux_unit: str | None, log: Log) -> tuple[Floats | None, str]:
    """Sigma of the shape of the flux from an array with a name, and where it came from."""
    if noise is None or noise.role in (None, "wavelength", "flux", "quality", "order", "fibre"):
        return None, "none"
    values = noise.values
    if values.shape != flux.shape:
        log.warn(f"{noise.name}: shape {values.shape} differs from the flux {flux.shape}: not used")
        return None, f"none ({noise.name} has another shape)"
    kind = kind_of_unit(noise.role, noise.unit, flux_unit, log, noise.name)  # type: ignore[arg-type]
    return named_noise(values, kind, flux, log, noise.name)


def rows(array: Floats | None, count: int) -> list[Floats | None]:
    """The rows of an array of any dimension, or ``count`` times None."""
    return [None] * count if array is None else list(array.reshape(-1, array.shape[-1]))


def build(
    reader: str,
    wavelength_aa: Floats,
    flux: Floats,
    sigma: Floats | None,
    mask: np.ndarray | None,
    names: list[str] | None = None,
    source: str = "none",
    fibres: list[str] | None = None,
) -> Raw:
    """A `Raw` with one order per row.

    Args:
        reader: name of the family.
        wavelength_aa: (..., n), or (n,) for all rows.
        flux: (..., n).
        sigma: as flux.
        mask: as flux, True: bad.
        names: of the rows.
        source: where sigma came from.
        fibres: names of the fibres of the rows.
    """
    waves = np.broadcast_to(wavelength_aa, flux.shape)
    count = int(np.prod(flux.shape[:-1])) if flux.ndim > 1 else 1
    labels = names if names is not None else [str(i + 1) if count > 1 else "" for i in range(count)]
    parts = zip(rows(waves, count), rows(flux, count), rows(sigma, count), rows(mask, count), labels, strict=True)
    orders = [
        RawOrder(w, f, s, m, n, row=i + 1 if count > 1 else None)  # type: ignore[arg-type]
        for i, (w, f, s, m, n) in enumerate(parts)
    ]
    for order, fibre in zip(orders, fibres or [], strict=False):
        order.fibre = fibre
    return Raw(reader, orders, sigma=source)


def _row_names(column: Named | None, flux: Floats) -> list[str] | None:
    """Names of the rows of flux from a column with one value a row."""
    if column is None or flux.ndim != 2 or column.values.size != len(flux):
        return None
    return [str(value) if isinstance(value, str) else f"{value:g}" for value in column.values.ravel().tolist()]


def from_selection(reader: str, chosen: Selection, log: Log) -> Raw:
    """A `Raw` from named arrays: flux and wavelength of one shape, noise and quality where there are any.

    Columns of orders and fibres name the rows of flux, or cut a table with a row per pixel.

    Raises:
        FormatError: wavelength or flux is missing, the flux is in magnitudes or logarithms, or the wavelengths have
            another shape than the flux.
    """
    if chosen.wavelength is None or chosen.flux is None:
        raise log.fail("no array is named as wavelength, or none as flux")
    require_linear(chosen.flux.name, chosen.flux.unit, log)
    flux = chosen.flux.values
    wave = to_angstrom(chosen.wavelength.values, chosen.wavelength.unit, log, f"wavelengths ({chosen.wavelength.name})")
    if wave.shape != flux.shape and wave.shape != flux.shape[-1:]:
        raise log.fail(f"wavelengths {wave.shape} and flux {flux.shape} differ in shape")
    sigma, source = sigma_of(chosen.noise, flux, chosen.flux.unit, log)
    quality = None
    if chosen.quality is not None and chosen.quality.values.shape == flux.shape:
        quality = bad_pixels(chosen.quality.values, log, chosen.quality.name)
    names, fibres = _row_names(chosen.order, flux), _row_names(chosen.fibre, flux)
    raw = build(reader, wave, flux, sigma, quality, names, source, fibres)
    by_columns(raw, chosen.order, chosen.fibre, log)
    raw.medium = medium_of(chosen.wavelength)
    if raw.medium is not None:
        log.rule(f"{raw.medium} wavelengths: {chosen.wavelength.name} {chosen.wavelength.ucd}".rstrip())
        raw.medium_assumed = chosen.wavelength.ucd.startswith("em.wl") and "vac" not in chosen.wavelength.name.lower()
        raw.medium_assumed &= raw.medium == "vacuum"
        raw.medium_assumed |= parse_unit(chosen.wavelength.unit) == "wavenumber"
    log.rule(f"flux: {chosen.flux.name}; wavelength: {chosen.wavelength.name}")
    if {"bary", "barycentric"} & set(chosen.wavelength.tags) or "bary" in chosen.wavelength.name.lower():
        raw.frame = "barycentric"
        log.rule(f"frame barycentric: {chosen.wavelength.name}")
    tags = set(chosen.flux.tags)
    if {"normalised", "normalized", "norm"} & tags or chosen.flux.name.lower() in ("fluxnorm", "normflux", "norm_flux"):
        raw.normalised = True
        log.rule(f"continuum divided out: {chosen.flux.name}")
    return raw


def require_linear(name: str, unit: str | None, log: Log) -> None:
    """Refuse a flux in magnitudes or logarithms, by its name and unit.

    Raises:
        FormatError: it is one.
    """
    if not is_linear(name, unit):
        stated = f" ({unit})" if unit else ""
        raise log.fail(f"{name}{stated} is in magnitudes or logarithms: convert it to a linear flux")


def _are_several(fluxes: list[Named], arrays: list[Named]) -> bool:
    """Whether fluxes are as many spectra, by their words.

    They are if each is numbered or has wavelengths of its own, or if there are three columns or more.
    """
    if len(fluxes) < 2 or any(not a.tags or a.ucd or {"sci", "input", "data", "opt"} & {*a.tags} for a in fluxes):
        return False
    waves = {a.tags for a in arrays if a.role == "wavelength"}
    if all(a.tags in waves for a in fluxes) or all("".join(a.tags).isdigit() for a in fluxes):
        return True
    return len(fluxes) > 2 and all(a.values.ndim == 1 for a in fluxes)


def from_arrays(reader: str, arrays: list[Named], log: Log) -> Raw:
    """A `Raw` from named arrays; several fluxes with words of their own can be as many spectra.

    Raises:
        FormatError: as `from_selection`.
    """
    fluxes = [a for a in arrays if a.role == "flux" and np.nan_to_num(a.values).any() and is_linear(a.name, a.unit)]
    if not _are_several(fluxes, arrays):
        return from_selection(reader, select(arrays), log)
    several: Raw | None = None
    for flux in fluxes:
        others = [a for a in arrays if a.role != "flux" or a is flux]
        raw = from_selection(reader, select(others), log)
        for order in raw.orders:
            order.fibre = "_".join(flux.tags)
        several = raw if several is None else replace(several, orders=several.orders + raw.orders)
    assert several is not None
    return several


def unlabelled_sigma(values: Floats, flux: Floats, log: Log, what: str) -> tuple[Floats | None, str]:
    """Sigma from an array without a name, by the check of `maury.readers.noise.unnamed_noise`."""
    if values.shape != flux.shape:
        return None, "none"
    return unnamed_noise(values, flux, log, what)


def alike(values: Floats, flux: Floats) -> bool:
    """Whether an array without a name can be another spectrum: as large as the flux, and not the same or smooth."""
    middle, other = (float(np.nanmedian(array)) for array in (flux, values))
    noise, own = der_snr(values), der_snr(flux)
    return values is flux or (middle > 0 and 0.1 < other / middle < 10 and bool(noise > 0.03 * own * other / middle))


def by_columns(raw: Raw, order: Named | None, fibre: Named | None, log: Log) -> None:
    """Cut the one order of a table with a row per pixel by the numbers in its columns of orders and fibres."""
    whole = raw.orders[0]
    labels = {"fibre": fibre, "order": order}
    columns = {what: c.values for what, c in labels.items() if c is not None and _labels_pixels(c.values, whole)}
    if not columns or len(raw.orders) > 1:
        return
    table = np.stack([np.nan_to_num(values, nan=-1) for values in columns.values()], axis=1)
    raw.orders = []
    for numbers in dict.fromkeys(map(tuple, table.tolist())):
        named = {what: f"{number:g}" for what, number in zip(columns, numbers, strict=True)}
        part = whole.take((table == numbers).all(axis=1), named.get("order", ""))
        raw.orders.append(replace(part, fibre=named.get("fibre", "")))
    log.rule(f"rows sorted by the column of {' and '.join(columns)}")


def _labels_pixels(values: Floats, whole: RawOrder) -> bool:
    """Whether a column puts the pixels of a table into at least two groups of ten or more."""
    if values.shape != whole.flux.shape or values.dtype.kind != "f":
        return False
    return 2 <= len(np.unique(values[np.isfinite(values)])) <= values.size / 10
