"""Parts of a table on disk, Parquet or FITS, with units; each is whole or not there."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import QTable, vstack
from astropy.utils.exceptions import AstropyUserWarning

from maury.catalogue.table_columns import Column
from maury.errors import ConfigError, FormatError
from maury.files import atomic_path

Form = Literal["parquet", "fits"]

REJECTS = "_rejects"
"""Folder of the parts of rejects; readers of partitioned Parquet leave out names that begin with _."""

_TYPES = {"text": "string", "integer": "int64", "number": "float32", "double": "float64"}
_BITS = {"number": np.float32, "double": np.float64}


def require_form(path: Path) -> Form:
    """Format of an output by its ending.

    Raises:
        ConfigError: another ending, or pyarrow is missing.
    """
    if path.suffix not in (".parquet", ".fits"):
        raise ConfigError(f"{path}: unknown ending {path.suffix or 'none'}; allowed for catalogues: .parquet, .fits")
    if path.suffix == ".parquet":
        _arrow()
    return "parquet" if path.suffix == ".parquet" else "fits"


def part_path(folder: Path, shard: int, form: Form) -> Path:
    """File of one part."""
    return folder / f"part-{shard:06d}.{form}"


def write_part(
    path: Path, columns: Sequence[Column], data: Mapping[str, Sequence[Any]], about: Mapping[str, Any]
) -> None:
    """Write one part through a temporary name.

    Args:
        path: the file; its ending sets the format.
        columns: names, units, meaning.
        data: values by column.
        about: metadata of the table, plain values.

    Raises:
        OutputError: it cannot be written.
    """
    write = _write_parquet if path.suffix == ".parquet" else _write_fits
    with atomic_path(path) as temporary:
        write(temporary, columns, data, about)


def _write_parquet(path: Path, columns: Sequence[Column], data: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    arrow, parquet = _arrow()
    fields, arrays = [], []
    for column in columns:
        kind = getattr(arrow, _TYPES[column.kind])()
        metadata = {"unit": column.unit, "description": column.description}
        fields.append(arrow.field(column.name, kind, metadata={k: v for k, v in metadata.items() if v}))
        values = data[column.name]
        arrays.append(arrow.array(np.asarray(values, _BITS[column.kind]) if column.kind in _BITS else values, kind))
    schema = arrow.schema(fields, metadata={"maury": json.dumps(about, sort_keys=True)})
    parquet.write_table(arrow.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def _write_fits(path: Path, columns: Sequence[Column], data: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    meta = {"MAURY": about.get("maury", ""), "comments": [json.dumps(about, sort_keys=True)]}
    data = {**data, **{c.name: [_ascii(text) for text in data[c.name]] for c in columns if c.kind == "text"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # astropy warns of units such as dex, and writes them
        _table(columns, data, meta).write(path, format="fits", overwrite=True)


def _ascii(text: str) -> str:
    """Text in ASCII, as FITS tables need it; other letters are escaped as in Python."""
    return text.replace("Å", "Angstrom").encode("ascii", "backslashreplace").decode()


def _table(columns: Sequence[Column], data: Mapping[str, Any], meta: Mapping[str, Any]) -> QTable:
    table = QTable(meta=dict(meta))
    for column in columns:
        if column.kind in _BITS:
            values = np.asarray(data[column.name], _BITS[column.kind])
            table[column.name] = values << u.Unit(column.unit) if column.unit else values
        elif column.kind == "integer":
            table[column.name] = np.asarray(data[column.name], np.int64)
        else:
            texts = np.asarray(data[column.name], str)
            table[column.name] = texts.astype(f"U{max(1, texts.dtype.itemsize // 4)}")
        table[column.name].info.description = column.description
    return table


def count_rows(path: Path) -> int | None:
    """Rows of a part, or None when it is missing or damaged (a crash of the machine, not of the program)."""
    if not path.is_file():
        return None
    try:
        if path.suffix == ".parquet":
            return int(_arrow()[1].read_metadata(path).num_rows)
        with fits.open(path) as units:
            return len(units[1].data)
    except (OSError, ValueError, IndexError, TypeError):
        return None


def read_catalogue(folder: str | Path) -> QTable:
    """All rows of a catalogue with their units; of the rejects with ``folder / "_rejects"``.

    Args:
        folder: of the catalogue.

    Raises:
        FormatError: there is no part, or one is damaged.
    """
    parts = sorted(Path(folder).glob("part-*"))
    if not parts:
        raise FormatError(f"{folder}: holds no part of a catalogue")
    return vstack([read_part(part) for part in parts], metadata_conflicts="silent")


def read_part(path: Path) -> QTable:
    """One part with its units.

    Raises:
        FormatError: it is damaged.
    """
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else QTable.read(path)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: damaged ({error}); the same command makes it again") from error


def each_reject(folder: Path) -> Iterator[Any]:
    """Rows of the table of rejects, part after part."""
    for part in sorted((folder / REJECTS).glob("part-*")):
        yield from read_part(part)


def _read_parquet(path: Path) -> QTable:
    table = _arrow()[1].read_table(path, partitioning=None)
    columns = []
    for field in table.schema:
        metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        kind = {"string": "text", "int64": "integer", "double": "double"}.get(str(field.type), "number")
        columns.append(Column(field.name, kind, metadata.get("unit", ""), metadata.get("description", "")))  # type: ignore[arg-type]
    return _table(columns, {c.name: table[c.name].to_pylist() for c in columns}, {})


def _arrow() -> tuple[Any, Any]:
    """Pyarrow and its Parquet.

    Raises:
        ConfigError: it is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow: pip install 'maury[catalogue]'; or name an output ending with .fits"
        ) from error
    return pyarrow, pyarrow.parquet
