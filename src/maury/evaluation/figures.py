"""The figures of a report, with their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from maury import plots
from maury.evaluation.samples import Sample
from maury.grids import Grid
from maury.labels import LABELS

_SPREAD = (
    "True labels are nodes of the grid: points are spread sideways within a third of the step to the next node, "
    "to show their density. "
)
_COLOUR = "Colour is {}; the line is equality; the strip shows predicted minus true."


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn."""

    name: str  # of its files, and its anchor in the page
    caption: str  # what stands below it
    draw: Callable[[], Any]  # makes the matplotlib figure


def in_unit(number: float, unit: str, sign: bool = False) -> str:
    """A number with as many decimals as its unit deserves: "38.2 K", "0.031 dex", "+1.24 km/s"."""
    decimals = {"K": 1, "dex": 3, "km/s": 2}[unit]
    value = round(number, decimals) + 0.0  # no negative zero
    return f"{value:{'+' if sign else ''}.{decimals}f} {unit}".replace("-", "−")


def plan_figures(
    report: Mapping[str, Any], samples: Sequence[Sample], grid: Grid, history: Mapping[str, Any] | None
) -> list[Drawing]:
    """All figures of a report, in the order in which they stand in the page.

    ``report`` is that of `maury.evaluation.report.make_report`; ``history`` is the log of the training, if any.
    """
    splits, names = report["splits"], tuple(report["labels"]["names"])
    drawings = [drawing for sample in samples for drawing in _of_sample(splits[sample.name], sample, grid, names)]
    curves = {
        sample.title: {name: label["by"] for name, label in splits[sample.name]["labels"].items()} for sample in samples
    }
    drawings += [
        Drawing(
            "errors",
            "Robust scatter (solid, 1.4826 times the median absolute deviation) and 95 % of absolute errors (dashed) "
            "of each predicted label in bins of every label.",
            partial(plots.plot_errors, curves),
        ),
        Drawing("bias", "Mean error of each predicted label in bins of every label.", partial(plots.plot_bias, curves)),
    ]
    if history is not None:
        caption = (
            "Learning curve: mean squared and mean absolute error of normalised labels. The weights kept are those of "
            "the lowest validation loss (circle)."
        )
        drawings.append(
            Drawing(
                "learning_curve", caption, partial(plots.plot_learning_curve, history, reference=report["reference"])
            )
        )
    return [*drawings, _coverage(samples, grid)] if {"teff", "logg"} <= set(grid.names) else drawings


def _of_sample(split: Mapping[str, Any], sample: Sample, grid: Grid, names: tuple[str, ...]) -> list[Drawing]:
    """Temperature alone, all labels, residuals."""
    columns = [grid.names.index(name) for name in names]
    true = sample.true[:, columns]
    by = "vsini" if "vsini" in grid.names else grid.names[0]
    colour = sample.true[:, grid.names.index(by)]
    legend = _COLOUR.format(LABELS[by].description.split(",")[0])
    notes = [_note(split["labels"][name]) for name in names]
    spread = _SPREAD if sample.on_nodes else ""
    drawings = []
    if "teff" in names:
        k = names.index("teff")
        caption = f"Predicted against true effective temperature: {sample.title}. {spread}{legend}"
        draw = partial(
            plots.plot_predicted,
            true[:, [k]],
            sample.predicted[:, [k]],
            ["teff"],
            colour=colour,
            colour_name=by,
            notes=[notes[k]],
        )
        drawings.append(Drawing(f"predicted_teff_{sample.name}", caption, draw))
    if names != ("teff",):
        caption = f"Predicted against true labels: {sample.title}. {spread}{legend}"
        draw = partial(plots.plot_predicted, true, sample.predicted, names, colour=colour, colour_name=by, notes=notes)
        drawings.append(Drawing(f"predicted_all_{sample.name}", caption, draw))
    bands = {name: split["labels"][name]["by"][name] for name in names}
    caption = f"Predicted minus true against truth: {sample.title}. {spread}Bias and robust scatter per bin in blue."
    draw = partial(plots.plot_residuals, true, sample.predicted, names, bands=bands)
    return [*drawings, Drawing(f"residuals_{sample.name}", caption, draw)]


def _note(label: Mapping[str, Any]) -> str:
    unit = label["unit"]
    return (
        f"bias {in_unit(label['bias'], unit, sign=True)}\nrobust scatter {in_unit(label['robust_scatter'], unit)}\n"
        f"95 % within {in_unit(label['p95'], unit)}"
    )


def _coverage(samples: Sequence[Sample], grid: Grid) -> Drawing:
    teff, logg = grid.column("teff"), grid.column("logg")
    off = [sample for sample in samples if not sample.on_nodes]
    t, g = grid.names.index("teff"), grid.names.index("logg")
    between = (off[0].true[:, t], off[0].true[:, g]) if off else None
    caption = (
        f"The grid: {len(grid):,} spectra at {len(set(zip(teff, logg, strict=True)))} nodes in Teff and log g. Colour "
        "is the share of the spectra of a node that the block split holds out."
        + (f" Crosses: {off[0].title}." if off else "")
    )
    draw = partial(plots.plot_grid_coverage, teff, logg, held_out=grid.split("block"), between=between)
    return Drawing("grid_coverage", caption, draw)
