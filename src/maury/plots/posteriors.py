"""Calibration of posteriors, and their scatter relative to the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.labels import LABELS
from maury.plots.style import COLOURS, DOUBLE, INK, MARKERS, SINGLE, styled

_SURE = 0.99


_ROWS = 10
"""Labels in a column of a legend: as many as the height of the axes has room for."""


def _legend_beside(axes: Axes) -> None:
    """A legend to the right of the axes, for which the figure becomes wider where it needs a second column."""
    columns = -(-len(axes.get_legend_handles_labels()[1]) // _ROWS)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_figwidth(figure.get_figwidth() + 0.3 * SINGLE * (columns - 1))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns)


def _line_style(k: int) -> dict[str, Any]:
    """Colour, marker and dashes of one of many lines."""
    dashes = ("-", "--", ":")[k // len(COLOURS) % 3]
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)], "ls": dashes}


@styled
def plot_coverage(ranks: Mapping[str, ArrayLike]) -> Figure:
    """Share of true labels inside the central interval against the interval's share, a line for each label.

    Args:
        ranks: by label, share of the samples below the truth (n,).
    """
    figure = Figure(figsize=(1.3 * SINGLE, SINGLE))
    axes = figure.subplots()
    level = np.linspace(0, 1, 101)
    axes.plot(level, level, color=INK, lw=0.8)
    for k, (name, rank) in enumerate(ranks.items()):
        distance = 2 * np.abs(np.asarray(rank, float) - 0.5)
        share = np.searchsorted(np.sort(distance), level, side="right") / max(distance.size, 1)
        axes.plot(level, share, markevery=(5 + 3 * k, 25), label=LABELS[name].symbol, **_line_style(k))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="central share of the posterior", ylabel="share of true labels inside")
    _legend_beside(axes)
    return figure


@styled
def plot_ranks(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Histogram of ranks for each label; flat within the band (99 % of bins) where the posterior is calibrated.

    Args:
        counts: by label, stars in equal bins of the share of samples below the truth.
    """
    from scipy.stats import binom  # slow to import, and of no use to other figures

    columns = min(3, len(counts))
    rows = -(-len(counts) // columns)
    figure = Figure(figsize=(DOUBLE, 1.7 * rows + 0.3))
    table = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes in table.flat[len(counts) :]:
        axes.set_visible(False)
    for k, (axes, (name, values)) in enumerate(zip(table.flat, counts.items(), strict=False)):
        total, bins = sum(values), len(values)
        low, high = binom.ppf([(1 - _SURE) / 2, (1 + _SURE) / 2], total, 1 / bins)
        axes.axhspan(low, high, color=INK, alpha=0.12, lw=0)
        axes.stairs(values, np.linspace(0, 1, bins + 1), color=COLOURS[k % len(COLOURS)], lw=1.2)
        axes.set(xlim=(0, 1), ylim=(0, None), title=LABELS[name].symbol)
        if k % columns == 0:
            axes.set_ylabel("stars")
        if k >= len(counts) - columns:
            axes.set_xlabel("rank of the truth")
            axes.tick_params(labelbottom=True)
    return figure


@styled
def plot_bound(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Scatter over the Cramer-Rao bound against S/N, a line for each label.

    Args:
        rows: by label, rows with ``snr`` and ``scatter_ratio``.
    """
    figure = Figure(figsize=(1.3 * SINGLE, 0.9 * SINGLE))
    axes = figure.subplots()
    axes.axhline(1, color=INK, lw=0.8)
    for k, (name, points) in enumerate(rows.items()):
        snr, ratio = ([point[key] for point in points] for key in ("snr", "scatter_ratio"))
        axes.plot(snr, ratio, label=LABELS[name].symbol, **_line_style(k))
    axes.set_xscale("log")
    measured = sorted({point["snr"] for points in rows.values() for point in points})
    axes.set_xticks(measured, [f"{snr:g}" for snr in measured])
    axes.minorticks_off()
    highest = max((point["scatter_ratio"] for points in rows.values() for point in points), default=1.0)
    axes.set(xlabel="signal-to-noise per pixel", ylabel="scatter / Cramér-Rao bound", ylim=(0, max(1.5, 1.1 * highest)))
    _legend_beside(axes)
    return figure


@styled
def plot_heads(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Density, coverage and width of several kinds of posteriors, for usual stars and for stars with worse physics.

    Args:
        results: by name, ``usual`` and ``worse`` with ``nll_difference``, ``nll_difference_error``, ``coverage`` (by
            level as text) and ``width_ratio``, as `benchmarks/bayesian_variants.py` writes them.
    """
    figure = Figure(figsize=(DOUBLE, 0.34 * len(results) + 1.3))
    panels = figure.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [1.3, 1.3, 1]})
    y = np.arange(len(results))
    for k, (test, name) in enumerate((("usual", "physics as trained"), ("worse", "physics three times as wrong"))):
        rows = [result[test] for result in results.values()]
        style: dict[str, Any] = {"color": COLOURS[k], "marker": MARKERS[k], "ls": "none", "label": name}
        place = y + 0.12 * (2 * k - 1)
        panels[0].errorbar(
            [row["nll_difference"] for row in rows],
            place,
            xerr=[row["nll_difference_error"] for row in rows],
            lw=0.8,
            **style,
        )
        for level, filled in (("0.68", "full"), ("0.95", "none")):
            shares = [100 * row["coverage"][level] for row in rows]
            panels[1].plot(shares, place, **style, fillstyle=filled)
        panels[2].plot([row["width_ratio"] for row in rows], place, **style)
    panels[0].axvline(0, color=INK, lw=0.7)
    panels[2].axvline(1, color=INK, lw=0.7)
    for aim in (68, 95):
        panels[1].axvline(aim, color=INK, lw=0.7)
    panels[0].set_yticks(y, list(results))
    panels[0].tick_params(axis="y", which="both", length=0)
    panels[0].invert_yaxis()
    panels[0].set_xlabel("log density below the\nflow's (nats per star)")
    panels[1].set_xlabel("% of true labels inside\n68 % (filled), 95 % (open)")
    panels[2].set_xlabel("width of errors\nover the flow's")
    for axes in panels:
        axes.grid(True, axis="x")
        axes.yaxis.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
