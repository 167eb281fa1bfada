"""The smallest errors that spectra allow, over the Kiel diagram."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from maury.plots.style import DOUBLE, INK, axis_label, error_label, speed_colours, styled, titled

_SHARE = 0.99
_LEVELS = (1, 1.5, 2, 3, 5, 7)


@styled
def plot_limits_map(teff: ArrayLike, logg: ArrayLike, errors: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """A panel for each label: its smallest error in colour and contours, Teff rising to the left, log g downwards.

    Args:
        teff: nodes (n,), K.
        logg: nodes (n,), all on the product of their distinct values with those of ``teff``.
        errors: by label, standard deviations (n,), positive.
        title: title of the figure.
    """
    x, columns = np.unique(np.asarray(teff, float), return_inverse=True)
    y, rows = np.unique(np.asarray(logg, float), return_inverse=True)
    figure = Figure(figsize=(DOUBLE, 2.65 * -(-len(errors) // 2) + 0.5))
    panels = figure.subplots(-(-len(errors) // 2), min(2, len(errors)), sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(errors) :]:
        axes.set_visible(False)
    for axes, (name, values) in zip(panels.flat, errors.items(), strict=False):
        table = np.full((len(y), len(x)), np.nan)
        table[rows, columns] = np.asarray(values, float)
        _draw(figure, axes, x, y, table, error_label(name, "smallest error in "))
    for axes in panels[-1]:
        axes.set_xlabel(axis_label("teff"))
    for axes in panels[:, 0]:
        axes.set_ylabel(axis_label("logg"))
    panels[0, 0].invert_xaxis()
    panels[0, 0].invert_yaxis()
    return titled(figure, title)


def _draw(
    figure: Figure, axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], table: NDArray[np.float64], label: str
) -> None:
    known = table[np.isfinite(table)]
    low, high = np.quantile(known, [1 - _SHARE, _SHARE])
    norm = LogNorm(low, max(high, 1.01 * low))
    image = axes.pcolormesh(x, y, table, norm=norm, cmap=speed_colours(), shading="nearest", rasterized=True)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = [step * 10.0**decade for decade in decades for step in _LEVELS]
    levels = [step for step in steps if low < step < high]
    if levels and min(table.shape) > 1:
        lines = axes.contour(x, y, np.ma.masked_invalid(table), levels, colors=INK, linewidths=0.6)
        axes.clabel(lines, fmt="%g", fontsize=8)
    bar = figure.colorbar(image, ax=axes, aspect=28, pad=0.02, extend="both")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=_LEVELS))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(label)
