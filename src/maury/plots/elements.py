"""The lines of an element in a star: observed, the fit, and the fit with less of the element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maury.errors import DomainError
from maury.inference import Result
from maury.inference.element_lines import element_lines, without_element
from maury.labels import LABELS
from maury.plots.style import COLOURS, DOUBLE, INK, styled

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
        raise DomainError(f"{result.file}: no line of the window measures {LABELS[element].symbol}: no figure")
    least, without = without_element(result, element, emulator)
    fit, wave = result.refinement, result.wavelength_aa
    assert fit is not None  # element_lines would have refused
    best = table[np.sort(np.argsort(table["error"])[:_PANELS])]
    data = np.where(np.isfinite(fit.sigma), result.spectrum.flux.double().numpy(), np.nan)
    rows = -(-len(best) // _COLUMNS)
    figure = Figure(figsize=(DOUBLE, 2.3 * rows + 0.8))
    grid = figure.add_gridspec(rows, _COLUMNS)
    symbol = LABELS[element].symbol
    for k, line in enumerate(best):
        centre = float(line["wavelength"].value)
        near = np.abs(wave - centre) < _HALF_AA
        pair = grid[k // _COLUMNS, k % _COLUMNS].subgridspec(2, 1, height_ratios=[2.4, 1], hspace=0.03)
        main, strip = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
        main.axvspan(float(line["first"].value), float(line["last"].value), color=INK, alpha=0.07, lw=0)
        main.plot(wave[near], data[near], ".", color=INK, ms=3.5, label="observed")
        main.plot(wave[near], fit.model[near], color=COLOURS[1], lw=1.1, label="fit")
        main.plot(wave[near], without[near], "--", color=COLOURS[0], lw=0.9, label=f"fit with {symbol} = {least:g}")
        shown = np.r_[data[near], fit.model[near], without[near]]
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        main.set_ylim(low - 0.08 * (high - low), high + 0.3 * (high - low))
        value = f"{float(line['abundance'].value):+.2f} ± {float(line['error'].value):.2f}"
        main.text(0.04, 0.96, value, transform=main.transAxes, va="top", fontsize=9)
        strip.axhline(0, color=INK, lw=0.6)
        strip.fill_between(wave[near], -fit.sigma[near], fit.sigma[near], color=COLOURS[5], alpha=0.35, lw=0)
        strip.plot(wave[near], (data - fit.model)[near], ".", color=INK, ms=3)
        for axes in (main, strip):
            axes.set_xlim(centre - _HALF_AA, centre + _HALF_AA)
        main.tick_params(labelbottom=False)
        if k % _COLUMNS == 0:
            main.set_ylabel("flux")
            strip.set_ylabel("obs. - fit")
        if k + _COLUMNS >= len(best):
            strip.set_xlabel("wavelength in air (Å)")
    figure.legend(*main.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    meta = table.meta
    mean = f"{symbol} = {meta['mean']:+.2f} ± {meta['error_of_mean']:.2f} by {meta['number']} lines"
    scatter = "" if meta["scatter"] is None else f", scatter {meta['scatter']:.2f} dex"
    figure.suptitle(f"{Path(result.file).stem}: {mean}{scatter}", wrap=True)
    figure.align_ylabels()
    return figure
