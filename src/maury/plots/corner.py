"""All pairs of labels of a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from maury.labels import LABELS
from maury.plots.style import COLOURS, DOUBLE, INK, axis_label, styled, titled
from maury.wavelengths import Floats

SHARES = (0.393, 0.865)
"""Shares of a two-dimensional posterior inside the contours: those of a normal within 1 and 2 standard deviations."""

_BINS, _FINE = 30, 48
_SMOOTHED = 6.0
_CELL, _LARGEST = 1.45, 14.0
_SHOWN = (0.002, 0.998)


@styled
def plot_corner(
    posteriors: Mapping[str, ArrayLike],
    names: Sequence[str],
    *,
    truth: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Marginal histograms and contours of all pairs of labels; the titles give median and central 68 % of the first.

    Contours contain 39 % and 86 % of the samples. Several posteriors, such as without and with a prior, are overlaid.

    Args:
        posteriors: by its name in the legend, samples (n, k) of equal weight.
        names: the k labels.
        truth: values to mark, by label.
        title: title of the figure.
    """
    samples = {name: np.asarray(values, float) for name, values in posteriors.items()}
    count = len(names)
    side = min(max(DOUBLE * 0.5, _CELL * count + 0.5), _LARGEST)
    figure = Figure(figsize=(side, side))
    table = figure.subplots(count, count, squeeze=False)
    together = np.concatenate(list(samples.values()))
    limits = [_limits(column) for column in together.T]
    for row in range(count):
        for column in range(count):
            axes = table[row, column]
            if column > row:
                axes.set_axis_off()
                continue
            for k, values in enumerate(samples.values()):
                if row == column:
                    _marginal(axes, values[:, row], limits[row], k)
                else:
                    colour, ends = COLOURS[k % len(COLOURS)], (limits[column], limits[row])
                    draw_contours(axes, values[:, column], values[:, row], ends, colour, filled=k == 0)
            _finish(axes, row, column, names, limits, truth or {})
            if row == column:
                axes.set_title(_in_words(names[row], next(iter(samples.values()))[:, row]), fontsize=8.5)
    handles = [Line2D([], [], color=COLOURS[k % len(COLOURS)], label=name) for k, name in enumerate(samples)]
    if truth:
        handles.append(Line2D([], [], color=INK, ls="--", lw=0.8, label="given"))
    if len(handles) > 1:
        figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.99, 0.93 if title else 0.99))
    return titled(figure, title)


def _limits(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, _SHOWN)
    room = 0.08 * (high - low) or 1e-3 * max(abs(high), 1.0)
    return float(low - room), float(high + room)


def _marginal(axes: Axes, values: Floats, limits: tuple[float, float], k: int) -> None:
    colour = COLOURS[k % len(COLOURS)]
    density, edges = np.histogram(values, _BINS, limits, density=True)
    axes.stairs(density, edges, color=colour, lw=1.1)
    if k == 0:
        low, median, high = np.quantile(values, [0.1587, 0.5, 0.8413])
        axes.axvspan(low, high, color=colour, alpha=0.15, lw=0)
        axes.axvline(median, color=colour, lw=0.8)


def draw_contours(
    axes: Axes,
    x: Floats,
    y: Floats,
    limits: tuple[tuple[float, float], tuple[float, float]],
    colour: str,
    filled: bool = True,
) -> None:
    """Contours that contain the fractions `SHARES` of points (n,), (n,); none if all points have the same value."""
    counts, x_edges, y_edges = np.histogram2d(x, y, _FINE, limits)
    distinct = max(len(np.unique(x)), 1)  # repeated samples carry no information
    density = gaussian_filter(counts, max(1.0, _SMOOTHED * distinct ** (-1 / 6))).T
    falling = np.sort(density.ravel())[::-1]
    inside = np.cumsum(falling)
    if inside[-1] <= 0:
        return
    levels = sorted({float(falling[np.searchsorted(inside, share * inside[-1])]) for share in SHARES})
    middle = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    for level in levels if filled else []:
        axes.contourf(*middle, density, [level, float(density.max()) * 1.01], colors=[colour], alpha=0.2)
    axes.contour(*middle, density, levels, colors=[colour], linewidths=0.9)


def _finish(
    axes: Axes,
    row: int,
    column: int,
    names: Sequence[str],
    limits: Sequence[tuple[float, float]],
    truth: Mapping[str, float],
) -> None:
    """Limits, ticks, names and true values of a panel."""
    axes.set_xlim(limits[column])
    axes.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    if names[column] in truth:
        axes.axvline(truth[names[column]], color=INK, ls="--", lw=0.8)
    if row != column:
        axes.set_ylim(limits[row])
        axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
        if names[row] in truth:
            axes.axhline(truth[names[row]], color=INK, ls="--", lw=0.8)
    else:
        axes.set_ylim(0, None)
        axes.set_yticks([])
    last = row == len(names) - 1
    axes.tick_params(labelbottom=last, labelleft=column == 0 and row > 0, labelrotation=0)
    axes.minorticks_off()
    if last:
        axes.set_xlabel(axis_label(names[column]))
        axes.tick_params(axis="x", labelrotation=45)
    if column == 0 and row > 0:
        axes.set_ylabel(axis_label(names[row]))


def _in_words(name: str, values: Floats) -> str:
    """Median and distances to the ends of the central 68 %, with two digits of the smaller one."""
    low, median, high = np.quantile(values, [0.1587, 0.5, 0.8413])
    least = max(min(high - median, median - low), 1e-9)
    digits = int(np.clip(1 - np.floor(np.log10(least)), 0, 3))
    middle = round(float(median), digits) + 0.0  # no negative zero
    return (
        f"{LABELS[name].symbol} = ${middle:.{digits}f}^{{+{high - median:.{digits}f}}}_{{-{median - low:.{digits}f}}}$"
    )
