"""A spectrum with the model that was fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecBase
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from maury.errors import DomainError
from maury.inference import Result, model_flux
from maury.inference.model import drawn_labels
from maury.inference.words import number
from maury.labels import LABELS
from maury.lines.strong import deepest_lines
from maury.plots.style import COLOURS, DOUBLE, INK, strip_limit, styled, titled

_NAME = 0.042
"""Width of a line's name over the width of a row."""


@styled
def plot_spectrum_fit(
    wavelength_aa: ArrayLike,
    flux: ArrayLike,
    model: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    lines: Sequence[tuple[str, float]] | None = None,
    rows: int = 3,
    title: str = "",
) -> Figure:
    """Observed and model flux, in rows of equal wavelength range, each with a strip of observed minus model.

    Args:
        wavelength_aa: wavelengths (n,) in Å, air, strictly increasing.
        flux: observed continuum-normalised flux (n,); may be NaN.
        model: model flux (n,).
        sigma: standard deviation (n,) of the noise; its range is shaded in the strip.
        mask: True for pixels that were not used (n,), which are greyed.
        lines: names and wavelengths (Å) to mark above the spectrum; by default the deepest of the known strong lines
            (`maury.lines.STRONG_LINES`) in the model, as many as there is room for.
        rows: number of rows.
        title: title of the figure.
    """
    figure = Figure(figsize=(DOUBLE, 2.25 * rows + 0.5))
    if lines is None:
        lines = readable_lines(wavelength_aa, model, rows)
    draw_fit(figure, figure.add_gridspec(rows, 1), wavelength_aa, flux, model, sigma, mask, lines)
    return titled(figure, title)


def plot_result(result: Result) -> Figure:
    """The spectrum of a result with the model that fits it, values in the title.

    Raises:
        DomainError: no model spectrum: labels or window are not those of the packaged emulator.
    """
    model = model_flux(result)
    if model is None:
        raise DomainError(f"{result.file}: no figure: labels or window are not those of the packaged emulator")
    title = ", ".join(
        f"{LABELS[name].symbol} = {number(name, value)} {LABELS[name].unit.partition('dex')[0]}".strip()
        for name, value in result.values.items()
    )
    note = ", lines corrected by standard dwarfs" if "cool_dwarf_standards" in result.flags else ""
    if moved := [name for name, value in drawn_labels(result).items() if value != result.values[name]]:
        note += f", model at the end of the range of {', '.join(LABELS[name].symbol for name in moved)}"
    return plot_spectrum_fit(
        result.wavelength_aa,
        result.spectrum.flux,
        model,
        mask=result.spectrum.mask,
        title=f"{Path(result.file).stem}{note}\n{title}",
    )


def readable_lines(wavelength_aa: ArrayLike, model: ArrayLike, rows: int) -> list[tuple[str, float]]:
    """Names and wavelengths of the deepest strong lines in a model, far enough apart to be read in so many rows."""
    wavelength = np.asarray(wavelength_aa, float)
    apart = _NAME * (wavelength[-1] - wavelength[0]) / rows
    return deepest_lines(wavelength, model, apart)


def _side(position: float, ends: NDArray[np.float64]) -> Literal["left", "center", "right"]:
    """How a name is aligned with its line so that it stays inside its row."""
    share = (position - ends[0]) / (ends[1] - ends[0])
    return "left" if share < _NAME / 2 else "right" if share > 1 - _NAME / 2 else "center"


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    """Round wavelengths in a row, but for those at its ends, whose numbers would stick out and make it narrower."""
    ticks = np.asarray(MaxNLocator(8, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high), float)
    room = 0.025 * (high - low)
    return ticks[(ticks > low + room) & (ticks < high - room)]


def draw_fit(
    figure: Figure,
    grid: GridSpecBase,
    wavelength_aa: ArrayLike,
    flux: ArrayLike,
    model: ArrayLike,
    sigma: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    lines: Sequence[tuple[str, float]] = (),
) -> None:
    """Fill each row of a grid with a piece of the spectrum; arguments as for `plot_spectrum_fit`."""
    wavelength, flux, model = (np.asarray(v, float) for v in (wavelength_aa, flux, model))
    bad = ~np.isfinite(flux) | (np.zeros(flux.shape, bool) if mask is None else np.asarray(mask, bool))
    data, residual = np.where(bad, np.nan, flux), np.where(bad, np.nan, flux - model)
    edges = np.linspace(wavelength[0], wavelength[-1], grid.nrows + 1)
    limit = strip_limit(residual[np.isfinite(residual)], 0.999)
    shown = np.r_[data[np.isfinite(data)], model[np.isfinite(model)]]
    low, high = float(shown.min()), float(np.quantile(shown, 0.9999))
    for row in range(grid.nrows):
        pair = grid[row].subgridspec(2, 1, height_ratios=[2.6, 1], hspace=0.02)
        main, strip = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
        main.plot(wavelength, data, color=INK, lw=1.5, alpha=0.5, label="observed")
        main.plot(wavelength, np.where(bad, flux, np.nan), color=COLOURS[5], lw=1, alpha=0.4)
        main.plot(wavelength, model, color=COLOURS[1], lw=0.7, label="model")
        for name, position in lines:
            if edges[row] <= position <= edges[row + 1]:
                main.plot([position, position], [high + 0.03, high + 0.08], color=INK, lw=0.7)
                main.text(position, high + 0.1, name, ha=_side(position, edges[row : row + 2]), va="bottom", fontsize=7)
        strip.axhline(0, color=INK, lw=0.6)
        if sigma is not None:
            noise = np.where(bad, np.nan, np.asarray(sigma, float))
            strip.fill_between(wavelength, -noise, noise, color=COLOURS[0], alpha=0.25, lw=0, rasterized=True)
        strip.plot(wavelength, residual, color=COLOURS[0], lw=0.5)
        main.set(ylabel="flux", ylim=(low - 0.05, high + (0.22 if lines else 0.06)))
        strip.set(ylabel="difference", ylim=(-limit, limit))
        for axes in (main, strip):
            axes.set_xlim(edges[row], edges[row + 1])
            axes.set_xticks(_ticks(edges[row], edges[row + 1]))
        main.tick_params(labelbottom=False)
    figure.legend(*main.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    strip.set_xlabel("wavelength in air (Å)")
    figure.align_ylabels()
