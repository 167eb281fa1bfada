"""The lines of an element in a star: observed, the fit, and the fit with less of the element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from maury.errors import DomainError
from maury.inference import Result
from maury.inference.element_lines import MEASURES_DEX, derivative, element_lines, features, with_least, without_element
from maury.labels import LABELS
from maury.plots.style import COLOURS, DOUBLE, INK, styled
from maury.simulation import Simulator
from maury.wavelengths import Floats

_PANELS, _COLUMNS = 9, 3
_HALF_AA = 0.9


@styled
def plot_element_lines(result: Result, element: str, *, emulator: str = "packaged") -> Figure:
    """The lines that measure an element best, in order of wavelength, each with a strip of observed minus model.

    Args:
        result: of `maury.predict`, refined.
        element: such as ``"y"``.
        emulator: "packaged" or the emulator's file of the prediction.

    Raises:
        DomainError: no element of the model, a result that is not refined, or no line that measures the element.
    """
    table = element_lines(result, element, emulator)
    if not len(table):
        raise DomainError(f"{result.file}: no figure, as no line in the window measures {LABELS[element].symbol}")
    least, without = without_element(result, element, emulator)
    fit, meta = result.refinement, table.meta
    assert fit is not None  # element_lines would have refused
    symbol = LABELS[element].symbol
    mean = f"{symbol} = {meta['mean']:+.2f} ± {meta['error_of_mean']:.2f} from {meta['number']} lines"
    scatter = "" if meta["scatter"] is None else f", scatter {meta['scatter']:.2f} dex"
    lines = []
    for row in table:
        centre, first, last, value, error = (
            float(row[name].value) for name in ("wavelength", "first", "last", "abundance", "error")
        )
        lines.append(_Line(centre, first, last, error, f"{value:+.2f} ± {error:.2f}"))
    data = np.where(np.isfinite(fit.sigma), result.spectrum.flux.double().numpy(), np.nan)
    title = f"{Path(result.file).stem}: {mean}{scatter}"
    spectra = {"fit": fit.model, f"fit with {symbol} = {least:g}": without}
    return _panels(result.wavelength_aa, spectra, lines, fit.sigma, data, title)


@styled
def plot_model_lines(
    simulator: Simulator, labels: torch.Tensor, element: str, sigma: float, resolution: float
) -> Figure:
    """As `plot_element_lines`, for a model spectrum without noise.

    Args:
        simulator: the physics.
        labels: of the star (k,), in the simulator's order.
        element: such as ``"y"``.
        sigma: standard deviation of the noise of a pixel, by which lines are chosen.
        resolution: R = lambda / FWHM.

    Raises:
        DomainError: no line measures the element.
    """
    wave, symbol = simulator.pixels.wavelength_aa, LABELS[element].symbol
    slope = derivative(simulator, labels, resolution, element)
    lines = []
    for one in features(wave, slope, np.full(len(wave), 1 / sigma)):
        inside = wave[one.inside]
        lines.append(_Line(float(one.share @ inside), inside[0], inside[-1], one.error, f"± {one.error:.2f}"))
    if not lines:
        raise DomainError(f"no figure of lines, as no line in the window measures {symbol} of this star")
    least, flux, without = with_least(simulator, labels, resolution, element)
    title = (
        f"{symbol}: {len(lines)} lines that each measure it to {MEASURES_DEX:g} dex at S/N {1 / sigma:.0f} per pixel"
    )
    spectra = {"model": flux, f"model with {symbol} = {least:g}": without}
    return _panels(wave, spectra, lines, np.full(len(wave), sigma), None, title)


@dataclass(frozen=True)
class _Line:
    """A panel: centre, first and last wavelength (Å), error (dex) and text."""

    centre: float
    first: float
    last: float
    error: float
    text: str


def _panels(
    wave: Floats, spectra: Mapping[str, Floats], lines: Sequence[_Line], sigma: Floats, data: Floats | None, title: str
) -> Figure:
    """The best lines, each with the spectra about it; with data also a strip of data minus the first spectrum."""
    best = sorted(sorted(lines, key=lambda line: line.error)[:_PANELS], key=lambda line: line.centre)
    rows = -(-len(best) // _COLUMNS)
    figure = Figure(figsize=(DOUBLE, (2.3 if data is not None else 1.8) * rows + 0.8))
    grid = figure.add_gridspec(rows, _COLUMNS)
    styles = zip(spectra.items(), ((COLOURS[1], "-", 1.1), (COLOURS[0], "--", 0.9)), strict=True)
    looks: list[tuple[str, Floats, dict[str, Any]]] = [
        (name, flux, {"color": colour, "ls": style, "lw": width}) for (name, flux), (colour, style, width) in styles
    ]
    for k, line in enumerate(best):
        near, ends = np.abs(wave - line.centre) < _HALF_AA, (line.centre - _HALF_AA, line.centre + _HALF_AA)
        last = k + _COLUMNS >= len(best)
        place = grid[k // _COLUMNS, k % _COLUMNS]
        strip = None
        if data is None:
            main = figure.add_subplot(place)
        else:
            pair = place.subgridspec(2, 1, height_ratios=[2.4, 1], hspace=0.03)
            main, strip = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
            main.plot(wave[near], data[near], ".", color=INK, ms=3.5, label="observed")
        main.axvspan(line.first, line.last, color=INK, alpha=0.07, lw=0)
        shown = [] if data is None else [data[near]]
        for name, flux, look in looks:
            main.plot(wave[near], flux[near], label=name, **look)
            shown.append(flux[near])
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        main.set(ylim=(low - 0.08 * (high - low), high + 0.3 * (high - low)))
        main.text(0.04, 0.96, line.text, transform=main.transAxes, va="top", fontsize=9)
        if strip is not None and data is not None:
            strip.axhline(0, color=INK, lw=0.6)
            strip.fill_between(wave[near], -sigma[near], sigma[near], color=COLOURS[5], alpha=0.35, lw=0)
            strip.plot(wave[near], (data - looks[0][1])[near], ".", color=INK, ms=3)
            strip.set(ylabel="obs. - fit" if k % _COLUMNS == 0 else "", xlim=ends)
            main.tick_params(labelbottom=False)
        main.set(ylabel="flux" if k % _COLUMNS == 0 else "", xlim=ends)
        lowest = main if strip is None else strip
        lowest.ticklabel_format(axis="x", useOffset=False)
        if last:
            lowest.set_xlabel("wavelength in air (Å)")
    figure.legend(*main.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title, wrap=True)
    figure.align_ylabels()
    return figure
