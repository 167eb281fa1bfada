"""A star before and after its line list was calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.plots.style import COLOURS, DOUBLE, INK, styled


@styled
def plot_calibration(
    stars: Sequence[tuple[str, ArrayLike, ArrayLike, ArrayLike, ArrayLike]],
    ranges_aa: Sequence[tuple[float, float]],
    unexplained_aa: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Observed flux, and the models with the old and the new list, of stars (rows) in wavelength ranges (columns).

    Args:
        stars: name, wavelengths (p,) in Å air, observed flux, model with the old list, model with the new list (p,).
        ranges_aa: first and last wavelength of each column.
        unexplained_aa: ranges to shade.
    """
    figure = Figure(figsize=(DOUBLE, 2.3 * len(stars) + 0.4))
    grid = figure.add_gridspec(len(stars), len(ranges_aa), width_ratios=[high - low for low, high in ranges_aa])
    for row, (name, *arrays) in enumerate(stars):
        wave, flux, old, new = (np.asarray(values, float) for values in arrays)
        for column, (low, high) in enumerate(ranges_aa):
            pair = grid[row, column].subgridspec(2, 1, height_ratios=[2.2, 1], hspace=0.02)
            main, strip = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
            shown = (wave >= low) & (wave <= high)
            main.plot(wave[shown], flux[shown], color=INK, lw=1.4, alpha=0.5, label="observed")
            main.plot(wave[shown], old[shown], color=COLOURS[0], lw=0.7, label="old list")
            main.plot(wave[shown], new[shown], color=COLOURS[1], lw=0.7, label="new list")
            strip.axhline(0, color=INK, lw=0.6)
            strip.plot(wave[shown], (flux - old)[shown], color=COLOURS[0], lw=0.6)
            strip.plot(wave[shown], (flux - new)[shown], color=COLOURS[1], lw=0.6)
            for first, last in unexplained_aa:
                if last > low and first < high:
                    strip.axvspan(max(first, low), min(last, high), color=COLOURS[5], alpha=0.3, lw=0)
            main.set(xlim=(low, high), ylim=(0, 1.12))
            limit = 1.1 * float(np.quantile(np.abs((flux - old)[shown]), 0.995)) if shown.any() else 1.0
            strip.set(xlim=(low, high), ylim=(-limit, limit))
            main.tick_params(labelbottom=False)
            if column == 0:
                main.set_ylabel(name)
                strip.set_ylabel("difference")
            if row < len(stars) - 1:
                strip.tick_params(labelbottom=False)
            else:
                strip.set_xlabel("wavelength in air (Å)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    figure.align_ylabels()
    return figure
