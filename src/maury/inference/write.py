"""Results as tables with units, and samples as HDF5."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import h5py
import numpy as np

from maury.errors import OutputError
from maury.files import atomic_path
from maury.inference.columns import (
    COMPONENTS,
    DERIVED,
    PREPARED,
    QUALITY,
    SNR,
    TOGETHER,
    Column,
    column_of,
    derived_columns,
    label_columns,
    lines_column,
    pair_columns,
)
from maury.inference.exposures import exposures_table
from maury.inference.posterior import ELEMENTS
from maury.inference.result import Result
from maury.inference.words import number
from maury.labels import LABELS
from maury.preparation.masks import texts

if TYPE_CHECKING:
    from astropy.table import QTable, Table

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".csv": "ascii.csv",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".tex": "ascii.aastex",
    ".mrt": "ascii.mrt",
}


def to_table(results: Sequence[Result]) -> QTable:
    """One row per star, with units and column descriptions; NaN where a star has no upper limit.

    Args:
        results: of one model.
    """
    from astropy.table import QTable

    numbers, records = [result.numbers() for result in results], [result.record() for result in results]
    names, posterior = results[0].values, results[0].posterior is not None
    labels = [column for name in names for column in label_columns(name, posterior, upper=True)]
    lines = [lines_column(name) for name in names if name in ELEMENTS]
    found = [*labels, *lines, *derived_columns(), *pair_columns()]
    table = QTable({"file": [r.file for r in results], "status": [r.status for r in results]})
    for column in found:
        if any(column.name in row for row in numbers):
            _add(table, column, numbers)
    exposures, refined = any(r.exposures for r in results), any(r.refinement is not None for r in results)
    prepared = exposures or any(r.preparation is not None for r in results)
    parts = (
        ((COMPONENTS,), any(r.two is not None for r in results)),
        (TOGETHER, exposures),
        ((*PREPARED, SNR), prepared),
        (QUALITY, refined),
    )
    for column in (column for columns, there in parts if there for column in columns):
        if any(row.get(column.name) is not None for row in records):
            _add(table, column, records)
    if any(r.mask_aa for r in results):
        table["mask"] = [",".join(texts(r.mask_aa)) for r in results]
        table["mask"].info.description = "ranges that the user left out, Å in air, at rest"
    table["flags"] = [",".join(r.flags) for r in results]
    table["model"] = [r.model for r in results]
    points = "point estimates of a network trained on noise-free synthetic spectra; no errors per star"
    posteriors = "medians and central 68 % of each star's posterior"
    table.meta["maury"] = posteriors if posterior else points
    return table


def _add(table: QTable, column: Column, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add a column with its unit and description; a value that a row lacks is NaN or empty."""
    values = [row.get(column.name) for row in rows]
    if column.kind == "text":
        table[column.name] = ["" if value is None else value for value in values]
    else:
        numbers = np.array([np.nan if value is None else value for value in values], float)
        table[column.name] = numbers * u.Unit(column.unit) if column.unit else numbers
    table[column.name].info.description = column.description


def paper_table(results: Sequence[Result]) -> Table:
    """One row per star for a paper: each label as ``value ± uncertainty`` or an upper limit, in LaTeX.

    Args:
        results: of one model.
    """
    from astropy.table import Table

    table = Table({"Star": [Path(result.file).stem.replace("_", r"\_") for result in results]})
    units = {"Star": ""}
    for name in results[0].values:
        title = LABELS[name].symbol.replace("/M]", "/Fe]") if name in ELEMENTS else LABELS[name].symbol
        table[title] = [_in_latex(result, name) for result in results]
        unit = "dex" if LABELS[name].unit.startswith("dex") else LABELS[name].unit
        units[title] = unit.replace("km/s", r"km\,s$^{-1}$")
    if any(result.preparation is not None for result in results):
        rows = [result.record() for result in results]
        known = [row.get("rv_kms") is not None for row in rows]
        table["$v_r$"] = [
            rf"${row['rv_kms']:.3f} \pm {row['rv_err']:.3f}$" if there else r"\nodata"
            for row, there in zip(rows, known, strict=True)
        ]
        units["$v_r$"] = r"km\,s$^{-1}$"
    table.meta["units"] = units
    return table


def _machine_readable(table: QTable) -> Table:
    """A table that the format MRT can hold: it has no unit dex, which goes to the description, and no NaN."""
    from astropy.table import MaskedColumn, Table

    plain = Table(meta={})
    for name in table.colnames:
        column, unit = table[name], table[name].unit
        values = column.value if unit is not None else np.asarray(column)
        dex = unit is not None and "dex" in unit.to_string()
        missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.array([not text for text in values])
        values = np.round(values, 5) if values.dtype.kind == "f" else values
        plain[name] = MaskedColumn(values, mask=missing, unit=None if dex else unit)
        plain[name].description = (column.info.description or name) + (f" ({unit})" if dex else "")
    return plain


def _in_latex(result: Result, name: str) -> str:
    row, column = result.numbers(), column_of(name)
    value, error, limit = (row.get(column + end, np.nan) for end in ("", "_err", "_upper"))
    if np.isfinite(limit):
        return f"$<{number(name, limit)}$"
    if not np.isfinite(value):
        return r"\nodata"
    if not np.isfinite(error):
        return f"${number(name, value)}$"
    return rf"${number(name, value, error)} \pm {number(name, error, error)}$"


def check_table_name(path: str | os.PathLike[str]) -> Path:
    """The path of a table whose ending is known; checked before a long computation.

    Raises:
        OutputError: an unknown ending.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise OutputError(f"{path}: unknown ending {path.suffix or 'none'}; allowed: {', '.join(_FORMATS)}")
    return path


def write_table(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write one row per star; the ending of the file's name sets the format.

    ``.tex`` is a deluxetable of AASTeX with few digits, ``.mrt`` a machine-readable table of the AAS journals.

    Raises:
        OutputError: an unknown ending, or the file cannot be written.
    """
    path = check_table_name(path)
    if path.suffix == ".tex":
        table = paper_table(results)
        options = {"latexdict": {"units": table.meta["units"], "tablehead": ""}}
    else:
        table, options = to_table(results), {}
        table = _machine_readable(table) if path.suffix == ".mrt" else table
    with atomic_path(path) as temporary:
        table.write(temporary, format=_FORMATS[path.suffix], overwrite=True, **options)


def write_exposures(result: Result, path: str | os.PathLike[str]) -> Path:
    """Write one row per exposure to ``<stem>-exposures`` beside the star's table ``path``, in its format or as ECSV.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix if path.suffix in (".csv", ".fits", ".vot", ".xml") else ".ecsv"
    beside = path.with_name(f"{path.stem}-exposures{ending}")
    with atomic_path(beside) as temporary:
        exposures_table(result.exposures).write(temporary, format=_FORMATS[ending], overwrite=True)
    return beside


def write_samples(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write ``samples`` (stars, samples, labels) in float32, ``files`` and the labels' names and units to HDF5.

    Luminosity, radius and mass follow the labels where all results have them.

    Raises:
        OutputError: a result without samples, or the file cannot be written.
    """
    samples = [result.posterior.samples for result in results if result.posterior is not None]
    if not samples or len(samples) < len(results):
        raise OutputError(f"{path}: {results[0].model if results else 'no star'}: this network gives no samples")
    derived = [{} if result.refinement is None else result.refinement.derived for result in results]
    more = list(derived[0]) if all(derived) else []
    names = list(results[0].values)
    rows = [np.column_stack([one, *(by[name] for name in more)]) for one, by in zip(samples, derived, strict=True)]
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_dataset("samples", data=np.array(rows, np.float32), compression="gzip", shuffle=True)
        data.attrs["labels"] = names + more
        data.attrs["units"] = [*(LABELS[name].unit for name in names), *(DERIVED[name][0] for name in more)]
        file["files"] = [result.file for result in results]
        file.attrs["model"] = results[0].model
