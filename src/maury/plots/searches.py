"""Figure of a search for hyper-parameters: importance of settings, and trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from maury.plots.style import COLOURS, DOUBLE, INK, styled


@styled
def plot_search(
    importance: Mapping[str, float],
    values: Sequence[Sequence[Any]],
    logarithmic: Sequence[bool],
    errors: Sequence[float],
    complete: Sequence[bool],
    baseline: float | None = None,
) -> Figure:
    """Importance of settings, and parallel coordinates of trials coloured by their error.

    Args:
        importance: share of each of k settings.
        values: of n trials (n, k), in the order of ``importance``; text for choices.
        logarithmic: settings whose axis is logarithmic (k,).
        errors: last validation error of each trial (n,), positive.
        complete: trained to the end (n,); others are drawn thinner.
        baseline: error of the settings to compare with, for the title.
    """
    names = list(importance)
    figure = Figure(figsize=(DOUBLE, 5.4))
    top, bottom = figure.subplots(2, 1, height_ratios=[max(1.2, 0.28 * len(names)), 3.2])
    top.barh(names[::-1], [importance[name] for name in names[::-1]], color=COLOURS[0])
    top.set(xlabel="importance", xlim=(0, 1))
    top.spines[["top", "right"]].set_visible(False)
    columns = [_scaled([row[k] for row in values], logarithmic[k]) for k in range(len(names))]
    norm = LogNorm(min(errors), max(max(errors), 1.0001 * min(errors)))
    colours = colormaps["viridis"](norm(np.asarray(errors, float)))
    for n in np.argsort(errors)[::-1]:
        heights = [column[0][n] for column in columns]
        width, alpha = (1.6, 0.9) if complete[n] else (0.7, 0.5)
        bottom.plot(range(len(names)), heights, color=colours[n], lw=width, alpha=alpha)
    for k, (_, low, high) in enumerate(columns):
        bottom.axvline(k, color=INK, lw=0.6)
        bottom.annotate(low, (k, 0), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=7)
        bottom.annotate(high, (k, 1), xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=7)
    bottom.set(ylim=(-0.02, 1.02), yticks=[])
    bottom.set_xticks(range(len(names)), names, rotation=20, ha="right")
    bottom.tick_params(axis="x", pad=14, length=0)
    bottom.spines[:].set_visible(False)
    bottom.minorticks_off()
    top.tick_params(axis="y", which="both", length=0)
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=bottom, label="validation error", pad=0.02)
    best = min(e for e, whole in zip(errors, complete, strict=True) if whole or not any(complete))
    text = f"best {best:.3g}" + ("" if baseline is None else f", baseline {baseline:.3g}")
    top.set_title(f"{len(errors)} trials, {sum(complete)} trained to the end: {text}", loc="left")
    return figure


def _scaled(values: Sequence[Any], logarithmic: bool) -> tuple[np.ndarray, str, str]:
    """Heights between 0 and 1, and what stands at the ends of the axis."""
    if any(isinstance(value, str) for value in values):
        kinds = sorted(sorted(set(values)), key=_order)
        heights = np.array([kinds.index(value) for value in values]) / max(1, len(kinds) - 1)
        return heights, kinds[0].strip('"'), kinds[-1].strip('"')
    numbers = np.asarray(values, float)
    scaled = np.log(numbers) if logarithmic else numbers
    span = float(np.ptp(scaled)) or 1.0
    return (scaled - scaled.min()) / span, f"{numbers.min():.2g}", f"{numbers.max():.2g}"


def _order(text: str) -> tuple[float, ...]:
    """Sort key of a choice (JSON text): the numbers in it; choices without numbers come together."""
    value = json.loads(text)
    return tuple(map(float, value)) if isinstance(value, list) else () if isinstance(value, str) else (float(value),)
