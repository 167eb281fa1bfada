"""Differences between maury's labels and those of the literature for benchmark stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maury.labels import LABELS, as_table
from maury.plots.style import COLOURS, DOUBLE, INK, error_label, styled, titled
from maury.wavelengths import Floats

COLUMNS = ("literature", "literature_error", "maury", "maury_error")
"""Columns with numbers; those of text are ``star`` and ``label``."""

_FAR = 3.0


@styled
def plot_literature(table: Mapping[str, Sequence[Any]] | np.ndarray, *, title: str = "") -> Figure:
    """Labels of maury minus those of the literature by star, with their errors, a panel for each label.

    Stars that differ by more than three standard deviations have another marker and colour. The shaded band is the mean
    difference with its standard error.

    Args:
        table: one row for each star and label, with the columns ``star``, ``label``, ``literature``,
            ``literature_error``, ``maury``, ``maury_error``; any table with named columns.
        title: title of the figure.

    Raises:
        FormatError: a column is missing or holds something that is not a number.
    """
    numbers = as_table(table, COLUMNS, "literature")
    stars, labels = ([str(v) for v in table[name]] for name in ("star", "label"))
    names = [name for name in LABELS if name in labels]
    order = list(dict.fromkeys(stars))
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(DOUBLE, rows * (0.17 * len(order) + 0.9) + 0.3))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, names, strict=False):
        chosen = [i for i, label in enumerate(labels) if label == name]
        _panel(axes, [order.index(stars[i]) for i in chosen], numbers[chosen])
        axes.set_xlabel(error_label(name))
        axes.set_yticks(range(len(order)), order)
        axes.tick_params(axis="y", which="minor", left=False, right=False)
        axes.set_ylim(len(order) - 0.4, -0.6)
    return titled(figure, title)


def _panel(axes: Axes, position: Sequence[int], numbers: Floats) -> None:
    """Differences of one label, a row for each star."""
    y = np.asarray(position)
    difference = numbers[:, 2] - numbers[:, 0]
    error = np.hypot(numbers[:, 1], numbers[:, 3])
    far = np.abs(difference) > _FAR * error
    mean = float(difference.mean())
    if len(difference) > 1:
        spread = float(difference.std(ddof=1))
        uncertain = spread / np.sqrt(len(difference))
        axes.axvspan(mean - uncertain, mean + uncertain, color=COLOURS[0], alpha=0.18, lw=0)
        digits = int(np.clip(1 - np.floor(np.log10(max(spread, 1e-9))), 0, 3))
        axes.set_title(f"mean ${mean:+.{digits}f}$, scatter {spread:.{digits}f}", fontsize=8)
    axes.axvline(0, color=INK, lw=0.8)
    for part, colour, marker in ((~far, COLOURS[0], "o"), (far, COLOURS[1], "D")):
        axes.errorbar(difference[part], y[part], xerr=error[part], fmt=marker, ms=3.5, lw=0.9, color=colour)
    axes.grid(True, axis="y")
