"""The learning curve of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maury.plots.style import COLOURS, DOUBLE, INK, log_ticks, note_outside, styled, titled

_PANELS = (("loss", "mean squared error"), ("mae", "mean absolute error"))


@styled
def plot_learning_curve(
    curve: Mapping[str, Any], *, reference: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Mean squared and mean absolute error of normalised labels against epoch, for training and validation.

    The mean over the steps of an epoch is drawn in its middle, validation at its end.

    Args:
        curve: ``epoch`` (finished, from 1) with ``train_loss``, ``train_mae``, ``val_loss``, ``val_mae`` (NaN
            where nothing was logged) and, if steps were logged, ``step_epoch`` (in epochs), ``step_loss``,
            ``step_mae``.
        reference: ``loss`` and ``mae`` of an earlier result, drawn as a line with its name ``label``.
        title: title of the figure.
    """
    figure = Figure(figsize=(DOUBLE, 3.1))
    epoch = np.asarray(curve["epoch"], float)
    loss = np.asarray(curve["val_loss"], float)
    best = int(np.nanargmin(loss)) if np.isfinite(loss).any() else None
    for axes, (key, name) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        if len(curve.get("step_epoch", ())):
            axes.plot(
                curve["step_epoch"],
                curve[f"step_{key}"],
                color=COLOURS[5],
                alpha=0.45,
                lw=0.5,
                label="training, steps",
                rasterized=True,
            )
        for part, colour, marker in (("train", COLOURS[0], "o"), ("val", COLOURS[1], "s")):
            values = np.asarray(curve[f"{part}_{key}"], float)
            seen = np.isfinite(values)
            label, shift = ("training, mean", -0.5) if part == "train" else ("validation", 0.0)
            axes.plot(epoch[seen] + shift, values[seen], color=colour, marker=marker, ms=3, label=label)
        if best is not None:
            value = float(np.asarray(curve[f"val_{key}"], float)[best])
            axes.plot(epoch[best], value, "o", ms=9, mfc="none", mec=INK, mew=0.9, label=f"kept: {value:.3g}")
        if reference and key in reference:
            axes.axhline(reference[key], color=INK, ls=":", lw=1, label=f"{reference['label']}: {reference[key]:g}")
        axes.set(xlabel="epoch", ylabel=f"{name}, normalised labels")
        log_ticks(axes)
        _limit(axes, curve, key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(True)
        axes.legend(loc="upper right")
    return titled(figure, title)


def _limit(axes: Axes, curve: Mapping[str, Any], key: str) -> None:
    """Set the vertical range without the first steps, in which the loss may change by orders of magnitude."""
    steps = np.asarray(curve.get(f"step_{key}", ()), float)
    if steps.size:
        epochs = np.r_[curve[f"train_{key}"], curve[f"val_{key}"]].astype(float)
        low, high = np.quantile(steps, [0.001, 0.98])
        axes.set_ylim(min(low, np.nanmin(epochs)) / 1.3, max(high, np.nanmax(epochs)) * 1.5)
        note_outside(axes, steps)
