"""Where a grid has spectra."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.plots.style import COLOURS, SINGLE, axis_label, speed_colours, styled


@styled
def plot_grid_coverage(
    teff: ArrayLike,
    logg: ArrayLike,
    *,
    held_out: ArrayLike | None = None,
    between: tuple[ArrayLike, ArrayLike] | None = None,
    title: str = "",
) -> Figure:
    """Nodes of a grid in the Kiel diagram: temperature rises to the left, gravity downwards.

    Args:
        teff: effective temperature (n,) of every spectrum, K.
        logg: log g (n,) of every spectrum.
        held_out: True for spectra that are held out (n,); colour is then their share at each node.
        between: temperatures (K) and log g of spectra between the nodes, drawn as small crosses.
        title: title of the figure.
    """
    pairs, inverse, counts = np.unique(
        np.column_stack([np.asarray(teff, float), np.asarray(logg, float)]),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    figure = Figure(figsize=(1.45 * SINGLE, 3.7))
    axes = figure.subplots()
    sizes = 34 * counts / counts.max()
    if held_out is None:
        axes.scatter(pairs[:, 0], pairs[:, 1], s=sizes, color=COLOURS[0], lw=0)
    else:
        share = np.bincount(inverse.ravel(), np.asarray(held_out, float), len(pairs)) / counts
        points = axes.scatter(pairs[:, 0], pairs[:, 1], s=sizes, c=100 * share, cmap=speed_colours(), vmin=0, lw=0)
        bar = figure.colorbar(points, ax=axes, aspect=35, pad=0.02)
        bar.set_label("spectra held out (%)")
    if between is not None:
        axes.plot(*between, "x", ms=2, mew=0.4, color=COLOURS[1], alpha=0.5, zorder=0, label="between nodes")
        figure.legend(loc="outside upper left")
    axes.set(xlabel=axis_label("teff"), ylabel=axis_label("logg"), title=title)
    axes.invert_xaxis()
    axes.invert_yaxis()
    axes.margins(0.04, 0.06)
    return figure
