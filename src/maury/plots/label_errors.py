"""Errors as a function of each label, several sets of spectra side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maury.plots.style import COLOURS, DOUBLE, INK, MARKERS, axis_label, error_label, log_ticks, styled, titled

Curves = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]
"""Nested by set of spectra, predicted label, label on the axis, and column (``centre``, ``bias``): values by bin."""


_COLUMN = 1.25
"""Least width of a column, inches: many labels make the figure wider than a page."""


@styled
def plot_errors(curves: Curves, *, title: str = "") -> Figure:
    """Robust scatter (solid) and 95 % of absolute errors (dashed) of each label against every label.

    Args:
        curves: columns ``centre``, ``robust_scatter`` and ``p95`` per bin.
        title: title of the figure.
    """

    def draw(axes: Axes, columns: Mapping[str, Any], colour: str, marker: str) -> None:
        axes.plot(columns["centre"], columns["robust_scatter"], color=colour, marker=marker, ms=3)
        axes.plot(columns["centre"], columns["p95"], color=colour, ls=(0, (3, 2)), lw=0.9)

    figure = _matrix(curves, draw, what=r"error in ", log=True)
    lines = [
        Line2D([], [], color=INK, label="robust scatter"),
        Line2D([], [], color=INK, ls=(0, (3, 2)), lw=0.9, label="95 % of absolute errors"),
    ]
    return _legend(figure, list(curves), lines, title)


@styled
def plot_bias(curves: Curves, *, title: str = "") -> Figure:
    """Mean error of each label against every label.

    Args:
        curves: columns ``centre`` and ``bias`` per bin.
        title: title of the figure.
    """

    def draw(axes: Axes, columns: Mapping[str, Any], colour: str, marker: str) -> None:
        axes.plot(columns["centre"], columns["bias"], color=colour, marker=marker, ms=3)
        axes.axhline(0, color=INK, lw=0.6)

    figure = _matrix(curves, draw, what="bias in ", log=False)
    return _legend(figure, list(curves), [], title)


def _matrix(curves: Curves, draw: Any, what: str, log: bool) -> Figure:
    """One row per predicted label, one column per label on the axis; a row shares its vertical axis."""
    first = next(iter(curves.values()))
    names, against = list(first), list(next(iter(first.values())))
    figure = Figure(figsize=(max(DOUBLE, _COLUMN * len(against) + 0.6), 1.55 * len(names) + 0.95))
    table = figure.subplots(len(names), len(against), sharex="col", sharey="row", squeeze=False)
    for i, name in enumerate(names):
        for j, other in enumerate(against):
            axes = table[i, j]
            for k, split in enumerate(curves):
                columns = curves[split].get(name, {}).get(other)
                if columns is not None and len(columns["centre"]):
                    draw(axes, columns, COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)])
            axes.grid(True)
            if log:
                log_ticks(axes)
            if j == 0:
                axes.set_ylabel(error_label(name, what))
            if i == len(names) - 1:
                axes.set_xlabel(axis_label(other))
    return figure


def _legend(figure: Figure, splits: Sequence[str], lines: list[Line2D], title: str) -> Figure:
    handles = [
        Line2D([], [], color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], ms=4, label=split)
        for k, split in enumerate(splits)
    ]
    figure.legend(handles=handles + lines, loc="outside upper center", ncols=min(len(handles) + len(lines), 4))
    return titled(figure, title)
