"""The steps of a preparation: raw orders with their continua, the cross-correlation, the spectrum that results."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maury.plots.fits import draw_fit
from maury.plots.style import COLOURS, DOUBLE, INK, styled
from maury.preparation import Preparation


@styled
def plot_preparation(result: Preparation, rows: int = 3) -> Figure:
    """Raw orders and continua beside the cross-correlation; below, the normalised spectrum with the template.

    Args:
        result: what `maury.prepare` returns.
        rows: rows of equal wavelength range for the normalised spectrum.
    """
    figure = Figure(figsize=(DOUBLE, 2.2 + 2.2 * rows))
    grid = figure.add_gridspec(2, 1, height_ratios=[1, rows])
    top = grid[0].subgridspec(1, 2, width_ratios=[2.6, 1])
    _draw_orders(figure.add_subplot(top[0]), result)
    _draw_correlation(figure.add_subplot(top[1]), result)
    spectrum = result.spectrum
    draw_fit(
        figure,
        grid[1].subgridspec(rows, 1),
        spectrum.wavelength_aa,
        spectrum.flux,
        result.model,
        spectrum.sigma,
        spectrum.mask,
    )
    figure.suptitle(_title(result), fontsize=9.5)
    return figure


def _title(result: Preparation) -> str:
    name = Path(result.spectrum.name).name.replace("_", " ")
    template = result.template
    flags = textwrap.fill("flags: " + (", ".join(flag.replace("_", " ") for flag in result.flags) or "none"), 105)
    return (
        f"{name}: $v$ = {result.velocity_kms:.2f} ± {result.velocity_error_kms:.2f} km s$^{{-1}}$, "
        f"S/N {result.snr:.0f} per pixel, {result.coverage_aa:.0f} Å\n"
        f"template {template['teff']:.0f} K, log g {template['logg']:.1f}, [M/H] {template['mh']:+.1f}, "
        f"$v$ sin $i$ {template['vsini']:.0f} km s$^{{-1}}$\n{flags}"
    )


def _draw_orders(axes: Axes, result: Preparation) -> None:
    scale = max(order.segment.scale for order in result.orders)
    for number, order in enumerate(result.orders):
        segment, unit = order.segment, order.segment.scale / scale
        wave = segment.wavelength_aa
        axes.plot(
            wave, np.where(segment.good, segment.flux, np.nan) * unit, color=INK, lw=0.35, alpha=0.6, rasterized=True
        )
        masked = np.where(segment.good, np.nan, np.clip(segment.flux, -0.05, 1.3)) * unit
        axes.plot(wave, masked, ".", ms=1.2, color=COLOURS[1], rasterized=True, label="masked" if number == 0 else None)
        drawn = np.where(segment.good, order.continuum, np.nan) * unit
        axes.plot(wave, drawn, color=COLOURS[0], lw=1.2, label="continuum" if number == 0 else None)
    used = [order for order in result.orders if order.segment.good.any()]
    top = max(float(np.quantile(o.segment.flux[o.segment.good], 0.999)) * o.segment.scale / scale for o in used)
    axes.set(xlabel="observed wavelength (Å)", ylabel="flux as in the file", ylim=(-0.06 * top, 1.3 * top))
    axes.legend(loc="upper left", ncols=2, markerscale=5, fontsize=8)


def _draw_correlation(axes: Axes, result: Preparation) -> None:
    correlation = result.correlation
    axes.plot(correlation.velocity_kms, correlation.value, color=COLOURS[0], lw=0.8)
    axes.axvline(result.velocity_kms, color=COLOURS[1], lw=0.8, ls="--")
    velocity, strength = result.second_star
    if strength:
        axes.axvline(velocity, color=COLOURS[3], lw=0.8, ls=":")
    axes.set(xlabel="velocity (km s$^{-1}$)", ylabel="variance explained", xlim=(-500, 500))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
