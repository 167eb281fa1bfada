"""Weights of the pixels in the estimate of a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.plots.style import COLOURS, DOUBLE, INK, error_label, styled, titled

_SHARE = 0.9995


@styled
def plot_explanation(
    wavelength_aa: ArrayLike,
    flux: ArrayLike,
    weights: Mapping[str, ArrayLike],
    name: str,
    *,
    lines: Sequence[tuple[str, float]] = (),
    rows: int = 3,
    title: str = "",
) -> Figure:
    """The spectrum in rows of equal wavelength range, and under each the weight of every pixel in estimates of a label.

    Args:
        wavelength_aa: wavelengths (p,) in Å, air.
        flux: continuum-normalised (p,).
        weights: by estimator, change of the label per unit of the continuum (p,).
        name: the label.
        lines: names and wavelengths (Å) to mark above the spectrum.
        rows: number of rows.
        title: title of the figure.
    """
    wave, flux = np.asarray(wavelength_aa, float), np.asarray(flux, float)
    curves = {key: np.asarray(values, float) for key, values in weights.items()}
    limit = 1.15 * max(float(np.quantile(np.abs(values), _SHARE)) for values in curves.values())
    figure = Figure(figsize=(DOUBLE, 2.6 * rows + 0.5))
    grid = figure.add_gridspec(rows, 1)
    edges = np.linspace(wave[0], wave[-1], rows + 1)
    for row in range(rows):
        pair = grid[row].subgridspec(2, 1, height_ratios=[1.5, 1], hspace=0.02)
        main, strip = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
        main.plot(wave, flux, color=INK, lw=0.7)
        main.set(ylabel="flux", ylim=(min(0.0, float(flux.min())), 1.62))
        main.set_yticks([0, 0.5, 1])
        main.tick_params(labelbottom=False)
        _mark(main, [line for line in lines if edges[row] <= line[1] < edges[row + 1]], edges[row], edges[row + 1])
        strip.axhline(0, color=INK, lw=0.6)
        for k, (key, values) in enumerate(curves.items()):
            strip.plot(wave, values, color=COLOURS[k], lw=0.8 if k == 0 else 0.6, label=key)
        strip.set(ylabel="weight", ylim=(-limit, limit))
        for axes in (main, strip):
            axes.set_xlim(edges[row], edges[row + 1])
    handles, labels = strip.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2)
    strip.set_xlabel(f"wavelength in air (Å); weights: {error_label(name, 'change of ')} per unit of the continuum")
    figure.align_ylabels()
    return titled(figure, title)


def _mark(axes: Axes, lines: Sequence[tuple[str, float]], first_aa: float, last_aa: float) -> None:
    """Names at 90 degrees above the continuum, moved apart where lines are near each other."""
    apart = (last_aa - first_aa) / 55
    place = first_aa - apart / 2
    for name, position in sorted(lines, key=lambda line: line[1]):
        place = min(max(position, place + apart), last_aa - apart / 2)
        axes.plot([position, position, place], [1.04, 1.09, 1.14], color=INK, lw=0.5)
        axes.text(place, 1.16, name, rotation=90, ha="center", va="bottom", fontsize=6.5)
