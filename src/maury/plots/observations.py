"""Observed spectra beside simulated observations of stars with similar labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from maury.pixelspectra import PixelSpectra
from maury.plots.style import COLOURS, DOUBLE, INK, styled


@styled
def plot_observations(
    wavelength_aa: ArrayLike, observed: Sequence[PixelSpectra], simulated: Sequence[PixelSpectra], titles: Sequence[str]
) -> Figure:
    """One row for each star: the observed spectrum on the left, a simulated observation on the right.

    Args:
        wavelength_aa: pixels to draw (p,), Å; spectra are drawn from the first of them on.
        observed: spectra (p,).
        simulated: as many, each of a star like the observed one.
        titles: of the rows.
    """
    wavelength = np.asarray(wavelength_aa, float)
    figure = Figure(figsize=(DOUBLE, 1.35 * len(titles) + 0.5))
    axes = figure.subplots(len(titles), 2, sharex=True, sharey="row", squeeze=False)
    for row, left, right, title in zip(axes, observed, simulated, titles, strict=True):
        for panel, seen in zip(row, (left, right), strict=True):
            _draw(panel, wavelength, seen)
        row[0].set_ylabel("flux")
        row[0].set_title(title, loc="left")
    for panel, name in zip(axes[0], ("observed", "simulated"), strict=True):
        panel.set_title(name, loc="right", color=COLOURS[0])
    for panel in axes[-1]:
        panel.set_xlabel("wavelength in air (Å)")
    return figure


def _draw(axes: Axes, wavelength: np.ndarray, seen: PixelSpectra) -> None:
    """Flux with its noise; masked pixels are left blank and marked below."""
    mask = seen.mask.numpy()
    flux, sigma = (np.where(mask, np.nan, x.double().numpy()) for x in (seen.flux, seen.sigma))
    axes.fill_between(wavelength, flux - sigma, flux + sigma, color=COLOURS[0], alpha=0.3, lw=0)
    axes.plot(wavelength, flux, color=INK, lw=0.6)
    axes.plot(wavelength, np.where(mask, 0.02, np.nan), color=COLOURS[1], lw=2.5, solid_capstyle="butt")
    axes.set(xlim=(wavelength[0], wavelength[-1]), ylim=(0, None))
