"""Predicted labels against true ones, and their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from maury.plots.style import (
    COLOURS,
    DOUBLE,
    INK,
    axis_label,
    error_label,
    note_outside,
    speed_colours,
    strip_limit,
    styled,
    titled,
)

_FEW_NODES = 60
_SEED = 0


@styled
def plot_predicted(
    true: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str],
    *,
    colour: ArrayLike,
    colour_name: str = "vsini",
    notes: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Predicted against true labels, each with a strip of differences below; colour is another label.

    Where the truth takes few values (the nodes of a grid), points are spread sideways within a third of the
    step to the next node so that their density shows; the caption should say so.

    Args:
        true: true labels (n, k) in their units.
        predicted: predicted labels (n, k).
        names: the k labels.
        colour: the label that colours each spectrum (n,).
        colour_name: which label that is.
        notes: a few words for the corner of each panel (k), such as the scatter.
        title: title of the figure.
    """
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    width = DOUBLE if columns == 2 else 0.68 * DOUBLE
    figure = Figure(figsize=(width, 4.35 * rows if columns == 2 else 5.4))
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3.2, 1] * rows)
    shade = np.asarray(colour, float)
    norm: Normalize = PowerNorm(0.5, vmin=0, vmax=max(float(shade.max(initial=0)), 1.0))
    if colour_name != "vsini":
        norm = Normalize(float(shade.min()), float(shade.max()))
    order = np.random.default_rng(_SEED).permutation(len(true))
    for index, name in enumerate(names):
        row, column = divmod(index, columns)
        main = figure.add_subplot(grid[2 * row, column])
        strip = figure.add_subplot(grid[2 * row + 1, column], sharex=main)
        look: dict[str, Any] = {"s": _size(true), "lw": 0, "alpha": 0.6, "cmap": speed_colours(), "norm": norm}
        x = _spread(true[:, index])[order]
        for axes, y in ((main, predicted), (strip, predicted - true)):
            axes.scatter(x, y[order, index], c=shade[order], rasterized=True, **look)
        _finish_pair(main, strip, name, true[:, index], predicted[:, index], notes[index] if notes else "")
        main.set_xlim(*_padded(x))
    colours = ScalarMappable(norm, speed_colours())
    bar = figure.colorbar(colours, ax=figure.axes, label=axis_label(colour_name), aspect=50, pad=0.015)
    bar.ax.minorticks_off()
    return titled(figure, title)


@styled
def plot_residuals(
    true: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str],
    *,
    bands: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "",
) -> Figure:
    """Predicted minus true against truth, one panel per label, with the bias and robust scatter per bin.

    Args:
        true: true labels (n, k) in their units.
        predicted: predicted labels (n, k).
        names: the k labels.
        bands: for a label, the arrays ``centre``, ``bias`` and ``robust_scatter`` of its bins.
        title: title of the figure.
    """
    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    figure = Figure(figsize=(DOUBLE, 1.85 * len(names) + 0.5))
    for index, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, index + 1)
        residual = predicted[:, index] - true[:, index]
        axes.scatter(
            _spread(true[:, index]),
            residual,
            s=_size(true),
            lw=0,
            alpha=0.3,
            color=COLOURS[5],
            rasterized=True,
            zorder=1,
        )
        axes.axhline(0, color=INK, lw=0.7, zorder=2)
        band = (bands or {}).get(name)
        if band is not None:
            centre, bias, scatter = (np.asarray(band[k], float) for k in ("centre", "bias", "robust_scatter"))
            axes.fill_between(
                centre,
                bias - scatter,
                bias + scatter,
                color=COLOURS[0],
                alpha=0.3,
                lw=0,
                label="robust scatter",
                zorder=3,
            )
            axes.plot(centre, bias, color=COLOURS[0], marker="o", ms=3, label="bias", zorder=4)
        limit = strip_limit(residual)
        axes.set(xlabel=axis_label(name), ylabel=error_label(name), ylim=(-limit, limit))
        note_outside(axes, residual)
        axes.grid(True, axis="y")
    if bands:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return titled(figure, title)


def _spread(true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread values that repeat within a third of the step to their nearest neighbour."""
    nodes = np.unique(true)
    if len(nodes) < 2 or len(nodes) > min(_FEW_NODES, len(true) / 3):
        return true
    steps = np.diff(nodes)
    room = np.minimum(np.r_[steps[0], steps], np.r_[steps, steps[-1]])[np.searchsorted(nodes, true)]
    return true + room * np.random.default_rng(_SEED).uniform(-1 / 3, 1 / 3, len(true))


def _size(true: NDArray[np.float64]) -> float:
    """Area of a point in square points: larger where there are few."""
    return float(np.clip(300 / np.sqrt(max(len(true), 1)), 2.5, 12))


def _padded(x: NDArray[np.float64]) -> tuple[float, float]:
    """Limits of an axis that shows all of ``x``."""
    low, high = float(x.min()), float(x.max())
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def _finish_pair(
    main: Axes, strip: Axes, name: str, true: NDArray[np.float64], predicted: NDArray[np.float64], note: str
) -> None:
    """Lines, limits and names of a panel and its strip."""
    low, high = float(true.min()), float(true.max())
    margin = 0.07 * (high - low) or 1.0
    bottom, top = np.quantile(predicted, [0.001, 0.999])
    main.set(ylim=(min(low, bottom) - margin, max(high, top) + margin))
    main.plot([low, high], [low, high], color=INK, lw=0.8)
    main.set_ylabel("predicted " + axis_label(name))
    main.tick_params(labelbottom=False)
    if note:
        main.text(0.04, 0.96, note, transform=main.transAxes, va="top", fontsize=9.5)
    note_outside(main, predicted)
    limit = strip_limit(predicted - true, 0.999)
    strip.set(ylim=(-limit, limit), xlabel="true " + axis_label(name), ylabel=error_label(name))
    strip.axhline(0, color=INK, lw=0.7)
    note_outside(strip, predicted - true)
