"""A star's posterior in the Kiel diagram, with the region that has model atmospheres."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from maury.labels import LABELS, lowest_logg
from maury.plots.corner import draw_contours
from maury.plots.style import COLOURS, DOUBLE, INK, axis_label, styled, titled

_ZOOM = 4.5


@styled
def plot_kiel(
    teff: ArrayLike,
    logg: ArrayLike,
    *,
    literature: tuple[float, float, float, float] | None = None,
    nodes: tuple[ArrayLike, ArrayLike] | None = None,
    title: str = "",
) -> Figure:
    """Two Kiel diagrams (Teff rises to the left, log g downwards): the whole grid, and the region of the posterior.

    Grey: no model atmospheres; a star there cannot be distinguished from one at the edge of the grey region.

    Args:
        teff: samples (n,) of the effective temperature, K.
        logg: samples (n,) of log g.
        literature: Teff and log g from elsewhere with their errors: Teff, error, log g, error.
        nodes: temperatures and log g of a grid, drawn as dots.
        title: title of the figure.
    """
    t, g = np.asarray(teff, float), np.asarray(logg, float)
    figure = Figure(figsize=(DOUBLE, 3.3))
    whole, near = figure.subplots(1, 2)
    centre = [(float(np.median(v)), float(np.subtract(*np.quantile(v, [0.8413, 0.1587]))) / 2) for v in (t, g)]
    half = [_ZOOM * max(centre[0][1], 1.0), _ZOOM * max(centre[1][1], 0.005)]
    if literature is not None:
        half = [max(h, 1.15 * abs(literature[2 * i] - centre[i][0])) for i, h in enumerate(half)]
    box = [(middle - h, middle + h) for (middle, _), h in zip(centre, half, strict=True)]
    for axes in (whole, near):
        _draw_edge(axes)
        if nodes is not None:
            axes.plot(*nodes, ".", ms=2, color=COLOURS[5], zorder=1)
        draw_contours(axes, t, g, (box[0], box[1]), COLOURS[0])
        axes.plot(centre[0][0], centre[1][0], "o", ms=3, color=COLOURS[0], label="posterior")
        if literature is not None:
            value, error, other, other_error = literature
            axes.errorbar(
                value, other, other_error, error, fmt="s", ms=3.5, lw=1, color=COLOURS[1], label="literature", zorder=4
            )
        axes.set(xlabel=axis_label("teff"), ylabel=axis_label("logg"))
    _frame(whole, near, box)
    if literature is not None:
        near.legend(loc="best")
    return titled(figure, title)


def _draw_edge(axes: Axes) -> None:
    """Grey where there are no atmospheres, and their edge."""
    low, high = LABELS["teff"].lower, LABELS["teff"].upper
    temperature = np.linspace(low, high, 400)
    bottom, top = lowest_logg(temperature), LABELS["logg"].upper
    far = 10 * (high - low)
    grey: dict[str, Any] = {"color": COLOURS[5], "alpha": 0.18, "lw": 0, "zorder": 0}
    axes.axvspan(low - far, low, **grey)
    axes.axvspan(high, high + far, **grey)
    axes.fill_between(temperature, bottom, -far, **grey)
    axes.fill_between(temperature, top, far, **grey)
    axes.plot([low, *temperature, high, low, low], [top, *bottom, top, top, bottom[0]], color=INK, lw=0.8, zorder=0.6)


def _frame(whole: Axes, near: Axes, box: list[tuple[float, float]]) -> None:
    """Limits of both panels, and a box in the left one around what the right one shows."""
    span = LABELS["teff"].upper - LABELS["teff"].lower
    whole.set_xlim(LABELS["teff"].upper + 0.05 * span, LABELS["teff"].lower - 0.05 * span)
    whole.set_ylim(LABELS["logg"].upper + 0.4, LABELS["logg"].lower - 0.4)
    near.set(xlim=box[0][::-1], ylim=box[1][::-1])
    near.xaxis.set_major_locator(MaxNLocator(4))
    width, height = (2 * max(high - low, least) / 2 for (low, high), least in zip(box, (160.0, 0.16), strict=True))
    corner = (sum(box[0]) / 2 - width / 2, sum(box[1]) / 2 - height / 2)
    whole.add_patch(Rectangle(corner, width, height, fill=False, ec=INK, lw=0.8, zorder=5))
