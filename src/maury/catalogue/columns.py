"""Columns of a catalogue's tables: names, units, meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from maury.inference import LABELS_OF
from maury.inference.posterior import ELEMENTS
from maury.inference.result import column_of
from maury.labels import LABELS

Kind = Literal["text", "integer", "number"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its name.
        kind: text, 64-bit integers, or 32-bit numbers, NaN where there is none.
        unit: in astropy's spelling; "" for none.
        description: what it holds.
    """

    name: str
    kind: Kind
    unit: str
    description: str


_WHO = (
    Column("id", "text", "", "identifier of the spectrum"),
    Column("file", "text", "", "file of the spectrum"),
    Column("row", "integer", "", "row in the list or in the HDF5 file, from 0"),
)
_FLAGS = Column("flags", "text", "", "what limits the trust in the values, by name, separated by commas")

REJECTS = (*_WHO, Column("reason", "text", "", "why there are no values"))
"""Columns of the table of rejects."""

_ERRORS = {
    "_err": "half the width of the central 68 % of the",
    "_lo": "16 % quantile of the",
    "_hi": "84 % quantile of the",
}

PREPARED = (
    Column("rv_kms", "number", "km / s", "radial velocity in the frame of the file's wavelengths"),
    Column("rv_err", "number", "km / s", "standard deviation of rv_kms"),
    Column("rv_barycentric_kms", "number", "km / s", "radial velocity referred to the barycentre"),
    Column("coverage_aa", "number", "Angstrom", "good pixels of the window"),
    Column("chi2", "number", "", "reduced chi-square of the refined fit, with noise and usual errors of the physics"),
    Column("efficiency", "number", "", "effective samples per model spectrum of the refinement"),
)
"""Columns of files, which are prepared and whose posteriors are refined."""

SNR = Column("snr", "number", "", "signal-to-noise ratio per pixel: of the network in HDF5, else of the spectrum")


def columns_of(names: Sequence[str], posterior: bool, prepared: bool) -> tuple[Column, ...]:
    """Columns of the table of results.

    Args:
        names: labels in the table.
        posterior: whether they have errors.
        prepared: whether the spectra are files, which are prepared.
    """
    columns = list(_WHO)
    for name in names:
        label, column = LABELS[name], column_of(name)
        columns.append(Column(column, "number", label.unit, label.description))
        for ending, what in _ERRORS.items() if posterior else ():
            columns.append(Column(column + ending, "number", label.unit, f"{what} {label.description}"))
        if posterior and (name == "vsini" or (prepared and name in (*ELEMENTS, "alpha"))):
            limit = "95 % upper limit, where it is not measured: "
            columns.append(Column(f"{column}_upper", "number", label.unit, limit + label.description))
    return (*columns, *(PREPARED if prepared else ()), SNR, _FLAGS)


def labels_of(names: Sequence[str], posterior: bool, prepared: bool, chosen: str) -> tuple[str, ...]:
    """Labels in the table: of files those that `maury.inference.predict` shows, else all of the network.

    Args:
        names: labels of the network.
        posterior: whether it gives posteriors.
        prepared: whether the spectra are files.
        chosen: a name of `maury.inference.LABELS_OF`.
    """
    if not posterior or not prepared:
        return tuple(names)
    known = {*names, *(("alpha",) if {"mg", "ca", "ti"} <= set(names) else ())}
    return tuple(name for name in LABELS_OF[chosen] if name in known)


def empty(columns: Sequence[Column]) -> dict[str, list[Any]]:
    """No rows."""
    return {column.name: [] for column in columns}


def append(table: dict[str, list[Any]], columns: Sequence[Column], values: Mapping[str, Any]) -> None:
    """Add a row; numbers that it lacks are NaN."""
    for column in columns:
        value = values.get(column.name)
        if column.kind == "number":
            table[column.name].append(float("nan") if value is None else float(value))
        else:
            table[column.name].append(value)
