"""FITS tables: one row per pixel, or vector cells with one row per spectrum or order.

Sources: ESO Science Data Products Standard (WAVE, FLUX, ERR in vector cells, TUCD, TUTYP); ESPRESSO and HARPS DRS 3
(S1D: wavelength, wavelength_air, flux, error, quality); PEPSI (Arg, Fun, Var); SDSS and LAMOST (COADD: flux, ivar,
loglam); iSpec; PyReduce and PySME ``.ech``; specmatch (s, w, serr); KOA and any table with names like these.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from astropy.io import fits

from maury.errors import FormatError
from maury.readers.arrays import from_arrays, masks_as_quality
from maury.readers.fitsfile import Part
from maury.readers.headers import describe
from maury.readers.pipelines import Pipeline, pipeline_of
from maury.readers.roles import Named, Selection, named, select
from maury.readers.source import MAX_PIXELS, Log, Raw, as_floats

_MAX_COLUMNS = 999


def _column(data: Any, column: Any, header: fits.Header, number: int) -> Named | None:
    """A column as an array (rows,) or (rows, n), or None for text, unless it names fibres or stars, and the like."""
    try:
        values = data[column.name]
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    if not isinstance(values, np.ndarray):
        return None
    if values.dtype.kind == "O":
        values = _padded(values)
    name = str(column.name).strip()
    if values.dtype.kind in "SU" and values.ndim == 1:
        array = named(name, np.char.strip(values.astype(str)))
        return array if array.role == "fibre" else None
    if values.dtype.kind not in "iufb":
        return None
    if values.size > MAX_PIXELS:
        return None
    unit = str(column.unit).strip() if column.unit else None
    return named(name, as_floats(values), unit, str(header.get(f"TUCD{number}", "")).strip().lower())


def _padded(cells: np.ndarray) -> np.ndarray:
    """Cells of different lengths as rows, NaN where they end; as they are if they hold no numbers or too many."""
    arrays = [np.asarray(cell) for cell in cells]
    length = max((array.size for array in arrays), default=0)
    if length * len(arrays) > MAX_PIXELS or any(array.dtype.kind not in "iufb" for array in arrays):
        return cells
    rows = np.full((len(arrays), length), np.nan)
    for row, array in zip(rows, arrays, strict=True):
        row[: array.size] = array.ravel()
    return rows


def _columns(part: Part) -> list[Named]:
    arrays = []
    data = part.hdu.data
    for number, column in enumerate(list(part.hdu.columns)[:_MAX_COLUMNS], start=1):
        array = _column(data, column, part.header, number)
        if array is not None:
            arrays.append(array)
    return arrays


def _shape_up(chosen: Selection) -> None:
    """Bring vector cells of one row, (1, n), to (n,), and scalar rows to the same."""
    for array in (chosen.wavelength, chosen.flux, chosen.noise, chosen.quality, chosen.order, chosen.fibre):
        if array is not None and array.values.ndim > 1:
            array.values = array.values.reshape(-1, array.values.shape[-1])
            if array.values.shape[0] == 1:
                array.values = array.values[0]


def read_table(part: Part, log: Log, pipeline: Pipeline | None = None) -> Raw | None:
    """Read one table, or None if no column is named as a wavelength or none as a flux."""
    arrays = _columns(part)
    meaning, who = (None, "") if pipeline is None else (pipeline.mask, pipeline.name)
    if meaning is None and {"flux", "uncertainty", "mask"} <= {array.name for array in arrays}:
        meaning, who = "bad", "specutils"  # names of its tabular-fits
    masks_as_quality(arrays, meaning, who, log)
    chosen = select(arrays)
    if chosen.wavelength is None or chosen.flux is None:
        return None
    _shape_up(chosen)
    reader = "FITS table" if chosen.flux.values.ndim == 1 else "FITS table, a row per order"
    raw = from_arrays(reader, arrays, log)
    match = re.fullmatch(pipeline.traces, part.name.upper()) if pipeline is not None and pipeline.traces else None
    for order in raw.orders:
        order.extension = part.name or str(part.index)
        if match is not None:
            order.fibre, order.name = match["trace"], match["order"] or order.name
    return raw


def _of_stars(raw: Raw, pipeline: Pipeline, header: fits.Header, log: Log) -> None:
    """Keep the fibres on stars, by the primary header, unless the user names one."""
    numbers = pipeline.fibres(header) if pipeline.fibres is not None else ()
    if not numbers or log.options.fibre is not None:
        return
    kept = [order for order in raw.orders if order.fibre in map(str, numbers)]
    if kept:
        raw.orders = kept
        log.rule(f"{pipeline.name}: fibre {', '.join(map(str, numbers))} is on the star")


def read_tables(parts: list[Part], log: Log) -> Raw | None:
    """Read all tables that hold a spectrum; of co-added and single exposures the co-added ones.

    Raises:
        FormatError: no table can be read, and one names wavelengths and flux.
    """
    tables = [part for part in parts if part.is_table]
    coadded = [part for part in tables if part.name.upper().startswith("COADD")]
    if coadded:
        log.rule("co-added spectra read, single exposures left out")
    pipeline = next((p for part in (parts[0], *tables) if (p := pipeline_of(part.header)) is not None), None)
    found: Raw | None = None
    headers: list[fits.Header] = []
    refused: FormatError | None = None
    for part in coadded or tables:
        try:
            raw = read_table(part, log, pipeline)
        except FormatError as error:  # such as the table of an exposure meter beside the spectrum
            log.warn(f"{part.title} left out: {str(error).removeprefix(f'{log.path}: ')}")
            refused, raw = refused or error, None
        if raw is None:
            continue
        headers.append(part.header)
        if found is None:
            found = raw
            continue
        if raw.medium != found.medium or raw.frame != found.frame:
            log.warn(f"{part.title} has another medium or frame than the table before: left out")
            continue
        for order in raw.orders:
            if not order.fibre:
                order.name = f"{part.index}.{order.name}".rstrip(".")
        found.orders += raw.orders
    if found is None and refused is not None:
        raise refused
    if found is None:
        return None
    if pipeline is not None:
        found.pipeline = pipeline.name
        _of_stars(found, pipeline, parts[0].header, log)
    return describe([parts[0].header, *headers], found, log)
