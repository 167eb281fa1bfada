"""Charts of the page that can be zoomed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray
from plotly.subplots import make_subplots

from maury.lines import STRONG_LINES, deepest_lines
from maury.plots.style import COLOURS
from maury.preparation import Mask
from maury.wavelengths import Floats

_APART_AA = 0.6
_AROUND_AA = 2.5
_AXIS = "wavelength in air (Å)"


def fit_chart(
    wavelength_aa: Floats, flux: Floats, good: NDArray[np.bool_], model: Floats | None, mask: Mask = ()
) -> go.Figure:
    """Data and model with the strong lines named, and their difference below.

    Args:
        wavelength_aa: at rest (p,).
        flux: continuum-normalised (p,).
        good: pixels that were used (p,).
        model: flux of the model (p,), or None.
        mask: ranges (Å) to shade.
    """
    chart = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.03)
    data = np.where(good, flux, np.nan)
    _line(chart, wavelength_aa, data, "observed", COLOURS[5], 1.8)
    shown = data if model is None else model
    if model is not None:
        _line(chart, wavelength_aa, model, "model", COLOURS[1], 1.1)
        _line(chart, wavelength_aa, data - model, "difference", COLOURS[0], 1.0, row=2)
    _name(chart, deepest_lines(wavelength_aa, shown, _APART_AA))
    for low, high in mask:
        chart.add_vrect(low, high, fillcolor=COLOURS[5], opacity=0.18, line_width=0, layer="below")
    chart.update_yaxes(title_text="flux", range=[min(0.0, float(np.nanmin(shown))), 1.2], row=1, col=1)
    chart.update_yaxes(title_text="difference", row=2, col=1)
    chart.update_xaxes(title_text=_AXIS, row=2, col=1)
    return _finish(chart, wavelength_aa, 560)


def sandbox_chart(wavelength_aa: Floats, spectra: Mapping[str, ArrayLike]) -> go.Figure:
    """Several spectra overlaid; the strong lines of the first are named."""
    chart = make_subplots(rows=1, cols=1)
    pairs = list(zip(spectra.items(), (COLOURS[0], COLOURS[5]), strict=False))
    for (name, values), colour in reversed(pairs):  # the first on top
        _line(chart, wavelength_aa, np.asarray(values, float), name, colour, 1.2)
    first = np.asarray(next(iter(spectra.values())), float)
    _name(chart, deepest_lines(wavelength_aa, first, _APART_AA))
    chart.update_yaxes(title_text="flux", range=[0, 1.2])
    chart.update_xaxes(title_text=_AXIS)
    return _finish(chart, wavelength_aa, 460)


def zoom_to(chart: go.Figure, line_aa: float | None) -> go.Figure:
    """Show a line and what is around it, with names; None shows all."""
    if line_aa is not None:
        chart.update_xaxes(range=[line_aa - _AROUND_AA, line_aa + _AROUND_AA])
        chart.update_traces(mode="markers+text", textposition="top center", selector={"name": "lines"})
    return chart


def line_names() -> dict[str, float]:
    """Wavelengths of the strong lines, in their order, by a name for a menu."""
    lines = sorted((place, species) for species, places in STRONG_LINES.items() for place in places)
    return {f"{species} {place:.2f} Å": place for place, species in lines}


def _line(chart: go.Figure, x: Floats, y: Floats, name: str, colour: str, width: float, row: int = 1) -> None:
    chart.add_trace(
        go.Scatter(
            x=x.round(3), y=y.round(5), name=name, mode="lines", line={"color": colour, "width": width},
            hovertemplate="%{x:.2f} Å: %{y:.3f}",
        ),
        row=row, col=1,
    )  # fmt: skip


def _name(chart: go.Figure, lines: list[tuple[str, float]]) -> None:
    """Mark lines above the spectrum; a line's name appears under the mouse pointer."""
    chart.add_trace(
        go.Scatter(
            x=[place for _, place in lines], y=[1.06] * len(lines), mode="markers", name="lines",
            text=[species for species, _ in lines], hovertemplate="%{text} %{x:.2f} Å<extra></extra>",
            marker={"symbol": "line-ns-open", "size": 9, "color": COLOURS[2]},
        ),
        row=1, col=1,
    )  # fmt: skip


def _finish(chart: go.Figure, wavelength_aa: Floats, height: int) -> go.Figure:
    chart.update_xaxes(range=[float(wavelength_aa[0]), float(wavelength_aa[-1])])
    chart.update_layout(
        height=height,
        margin={"l": 60, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.08},
        hovermode="closest",
        dragmode="zoom",
    )
    return chart
