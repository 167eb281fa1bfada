"""Calibration of posteriors, and their errors beside the smallest that spectra allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import binom

from maury.labels import LABELS
from maury.plots.style import COLOURS, DOUBLE, INK, MARKERS, SINGLE, log_ticks, styled

_SURE = 0.99


@styled
def plot_coverage(ranks: Mapping[str, ArrayLike]) -> Figure:
    """Share of true labels inside the central interval against the interval's share, a line for each label.

    Args:
        ranks: by label, share of the samples below the truth (n,).
    """
    figure = Figure(figsize=(SINGLE, SINGLE))
    axes = figure.subplots()
    level = np.linspace(0, 1, 101)
    axes.plot(level, level, color=INK, lw=0.8)
    for k, (name, rank) in enumerate(ranks.items()):
        distance = 2 * np.abs(np.asarray(rank, float) - 0.5)
        share = np.searchsorted(np.sort(distance), level, side="right") / max(distance.size, 1)
        axes.plot(
            level, share, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], markevery=(5 + 3 * k, 25),
            label=LABELS[name].symbol,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="central share of the posterior", ylabel="share of true labels inside")
    axes.legend(loc="upper left")
    return figure


@styled
def plot_ranks(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Histogram of ranks for each label; flat within the band (99 % of bins) where the posterior is calibrated.

    Args:
        counts: by label, stars in equal bins of the share of samples below the truth.
    """
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
    figure = Figure(figsize=(SINGLE, 0.8 * SINGLE))
    axes = figure.subplots()
    axes.axhline(1, color=INK, lw=0.8)
    for k, (name, points) in enumerate(rows.items()):
        axes.plot(
            [point["snr"] for point in points], [point["scatter_ratio"] for point in points],
            color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], label=LABELS[name].symbol,
        )  # fmt: skip
    axes.set_xscale("log")
    log_ticks(axes)
    axes.set(xlabel="signal-to-noise per pixel", ylabel="scatter / Cramér-Rao bound")
    axes.legend(loc="upper left", ncols=2)
    return figure
