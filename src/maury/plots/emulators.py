"""Errors of the emulator by label, wavelength and size of the library, and of the physics by wavelength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.plots.style import COLOURS, DOUBLE, INK, MARKERS, SINGLE, axis_label, log_ticks, styled, titled

_BINS = 10


@styled
def plot_emulator_error(labels: ArrayLike, rms: ArrayLike, names: Sequence[str], *, title: str = "") -> Figure:
    """Rms over pixels of emulator minus synthesis of each held-out star, against each label.

    The lines are the median and the 90th percentile in ten bins of equal numbers of stars.

    Args:
        labels: labels (n, k) of the stars in their units.
        rms: rms over pixels (n,), in units of the continuum.
        names: the k labels.
        title: title of the figure.
    """
    table, rms = np.asarray(labels, float), np.asarray(rms, float)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(DOUBLE, 2.35 * rows + 0.4))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index >= len(names):
            axes.set_axis_off()
            continue
        x = table[:, index]
        axes.scatter(x, rms, s=5, lw=0, alpha=0.5, color=COLOURS[5], rasterized=True)
        groups = [part for part in np.array_split(np.argsort(x, kind="stable"), _BINS) if len(part)]
        centre = [float(np.median(x[part])) for part in groups]
        for quantile, colour, style in ((0.5, COLOURS[0], "-"), (0.9, COLOURS[1], "--")):
            values = [float(np.quantile(rms[part], quantile)) for part in groups]
            axes.plot(centre, values, color=colour, ls=style, label="median" if quantile == 0.5 else "90 %")
        axes.set_xlabel(axis_label(names[index]))
        log_ticks(axes)
        axes.grid(True)
        if index % columns == 0:
            axes.set_ylabel("rms over pixels")
    panels[0, 0].legend(loc="upper right")
    return titled(figure, title)


@styled
def plot_emulator_pixels(wavelength_aa: ArrayLike, rms: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Rms over held-out stars of emulator minus synthesis at each pixel, one line per region of label space.

    Args:
        wavelength_aa: wavelengths (p,) in Å, air.
        rms: for each region's name, the rms over its stars (p,), in units of the continuum.
        title: title of the figure.
    """
    figure = Figure(figsize=(DOUBLE, 1.5 * len(rms) + 0.6))
    panels = figure.subplots(len(rms), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, rms.items(), strict=True):
        axes.fill_between(wavelength_aa, 0, np.asarray(values, float), color=COLOURS[0], lw=0, rasterized=True)
        axes.text(0.012, 0.93, name, transform=axes.transAxes, va="top")
        axes.set_ylabel("rms")
        axes.grid(True, axis="y")
    panels[0].set(xlim=(np.min(np.asarray(wavelength_aa)), np.max(np.asarray(wavelength_aa))), ylim=(0, None))
    panels[-1].set_xlabel("wavelength in air (Å)")
    return titled(figure, title)


@styled
def plot_library_size(
    sizes: ArrayLike, errors: Mapping[str, ArrayLike], *, targets: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Error of the emulator against the number of spectra in its training library, both on logarithmic axes.

    A power law error = a N^-b is fitted to each curve with three sizes or more; b stands in the legend.

    Args:
        sizes: numbers of training spectra (m,), positive.
        errors: for each name, the error (m,) in units of the continuum.
        targets: for some of the names, the error that is aimed at: a dotted line in the same colour.
        title: title of the figure.
    """
    sizes = np.asarray(sizes, float)
    figure = Figure(figsize=(1.35 * SINGLE, 3.5))
    axes = figure.subplots()
    for index, (name, values) in enumerate(errors.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        y = np.asarray(values, float)
        label = name
        if len(sizes) >= 3:
            slope, offset = np.polyfit(np.log(sizes), np.log(y), 1)
            label = rf"{name} ($\propto N^{{{slope:.2f}}}$)"
            axes.plot(sizes, np.exp(offset) * sizes**slope, color=colour, lw=0.8, ls="--")
        axes.plot(sizes, y, color=colour, marker=marker, ls="none" if len(sizes) >= 3 else "-", label=label)
        if targets and name in targets:
            axes.axhline(targets[name], color=colour, lw=0.9, ls=":")
    axes.set(xscale="log", xlabel="training spectra", ylabel="rms over pixels", title=title)
    log_ticks(axes)
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.grid(True, color=INK)
    axes.legend(loc="best")
    return figure


@styled
def plot_physics_errors(wavelength: ArrayLike, factor: ArrayLike) -> Figure:
    """Errors of the physics in single lines relative to the typical error, over the window in three rows.

    Args:
        wavelength: Å in air (p,).
        factor: of `maury.standards.factors` (p,).
    """
    wavelength, factor = np.asarray(wavelength, float), np.asarray(factor, float)
    figure = Figure(figsize=(DOUBLE, 4.8), layout="constrained")
    rows = figure.subplots(3, 1, sharey=True)
    for axes, part in zip(rows, np.array_split(np.arange(len(wavelength)), 3), strict=True):
        axes.plot(wavelength[part], factor[part], lw=0.7)
        axes.axhline(1, lw=0.6, ls=":", color="0.5")
        axes.set_xlim(wavelength[part[0]], wavelength[part[-1]])
    rows[1].set_ylabel("error of the physics / typical error")
    rows[2].set_xlabel("wavelength (Å, air)")
    return figure


@styled
def plot_cool_dwarfs(wavelength: ArrayLike, log_ratio: ArrayLike, names: Sequence[str]) -> Figure:
    """Corrections of cool dwarfs star by star, in the middle of the window.

    Args:
        wavelength: Å in air (p,).
        log_ratio: ln of model over observed flux (n, p).
        names: of the stars.
    """
    wavelength, ratio = np.asarray(wavelength, float), np.exp(np.asarray(log_ratio, float))
    figure = Figure(figsize=(DOUBLE, 4.2), layout="constrained")
    rows = figure.subplots(2, 1, sharey=True)
    middle = len(wavelength) // 2
    for axes, part in zip(
        rows, np.array_split(np.arange(len(wavelength))[middle - 600 : middle + 600], 2), strict=True
    ):
        for index, name in enumerate(names):
            axes.plot(wavelength[part], ratio[index, part], lw=0.8, color=COLOURS[index % len(COLOURS)], label=name)
        axes.axhline(1, lw=0.6, ls=":", color="0.5")
        axes.set_xlim(wavelength[part[0]], wavelength[part[-1]])
        axes.set_ylabel("model / observed flux")
    rows[0].legend(loc="best", ncols=len(names))
    rows[1].set_xlabel("wavelength (Å, air)")
    return figure
