"""Columns of a catalogue's tables: names, units, meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maury.inference.columns import (
    COMPONENTS,
    FLAGS,
    PREPARED,
    QUALITY,
    SNR,
    TOGETHER,
    Column,
    derived_columns,
    label_columns,
    lines_column,
    pair_columns,
)
from maury.inference.posterior import ELEMENTS, label_set

_WHO = (
    Column("id", "text", "", "identifier of the spectrum"),
    Column("file", "text", "", "file of the spectrum"),
    Column("row", "integer", "", "row in the list or in the HDF5 file, from 0"),
)
REJECTS = (*_WHO, Column("reason", "text", "", "why there are no values"))
"""Columns of the table of rejects."""


def columns_of(
    names: Sequence[str],
    posterior: bool,
    prepared: bool,
    derived: bool = False,
    refined: bool | None = None,
    together: bool = False,
    two: bool = False,
) -> tuple[Column, ...]:
    """Columns of the table of results.

    Args:
        names: labels in the table.
        posterior: whether they have errors.
        prepared: whether the spectra are files, which are prepared.
        derived: whether stars have parallaxes and magnitudes.
        refined: whether spectra may be refined; None: as ``prepared``, since files are.
        together: whether the list has the column ``star``, so that exposures are fitted together.
        two: whether two stars may be fitted to a spectrum.
    """
    fitted = prepared if refined is None else refined
    columns = list(_WHO)
    for name in names:
        columns += label_columns(name, posterior, name == "vsini" or (fitted and name in (*ELEMENTS, "alpha")))
        columns += (lines_column(name),) if fitted and posterior and name in ELEMENTS else ()
    stars = (*(derived_columns() if derived else ()), *(TOGETHER if together else ()))
    stars += (COMPONENTS, *pair_columns()) if two else ()
    return (*columns, *stars, *(PREPARED if prepared else ()), *(QUALITY if fitted else ()), SNR, FLAGS)


def labels_of(names: Sequence[str], posterior: bool, fitted: bool, chosen: str) -> tuple[str, ...]:
    """Labels in the table: the chosen set for files and refined spectra, all labels of the network otherwise.

    Args:
        names: labels of the network, and those that refinement adds.
        posterior: whether it gives posteriors.
        fitted: whether the spectra are files, or are refined.
        chosen: as `maury.inference.posterior.label_set` takes it.
    """
    if not posterior or not fitted:
        return tuple(names)
    known = {*names, *(("alpha",) if {"mg", "ca", "ti"} <= set(names) else ())}
    return tuple(name for name in label_set(chosen) if name in known)


def empty(columns: Sequence[Column]) -> dict[str, list[Any]]:
    """No rows."""
    return {column.name: [] for column in columns}


def append(table: dict[str, list[Any]], columns: Sequence[Column], values: Mapping[str, Any]) -> None:
    """Add a row; numbers that it lacks are NaN, texts empty."""
    for column in columns:
        value = values.get(column.name)
        if column.kind in ("number", "double"):
            table[column.name].append(float("nan") if value is None else float(value))
        else:
            table[column.name].append("" if value is None else value)
