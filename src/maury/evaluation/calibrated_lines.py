"""Write tables and figures that show the quality of a line-list calibration, and the ranges left unexplained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from maury import __version__
from maury.files import write_json
from maury.lines.calibrate import Calibration, Outcome
from maury.lines.judge import Verdict
from maury.lines.parameters import Qualities, qualities
from maury.lines.response import Response
from maury.lines.unexplained import candidates, find_unexplained, write_unexplained
from maury.plots import plot_calibration, save_figure
from maury.synthesis.changes import make_changes, write_changes
from maury.synthesis.linefile import Strings, read_line_file

FIGURE_AA = (30.0, 13.0)
"""Widths of the ranges of the figure."""


def write_calibrated(
    run: Calibration, outcome: Outcome, responses: dict[str, Response], folder: str | os.PathLike[str]
) -> dict[str, Any]:
    """Write changes.ecsv into a folder.

    Returns:
        How far lines and stars moved.

    Raises:
        OutputError: the file cannot be written.
    """
    letters = {chr(ord("A") + i): star.name for i, star in enumerate(run.config.calibrating)}
    quality = qualities(run.lines, run.config)
    single, terms = outcome.parameters.rounded(outcome.values)
    shown = _shown(run, responses, letters)
    changes = make_changes(run.lines, single, terms, quality.name, shown, {"stars": letters, "maury": __version__})
    write_changes(changes, Path(folder) / "changes.ecsv")
    solved = {standard.star.name: standard.moved_labels() for standard in outcome.standards}
    anchor = {"offsets": outcome.anchor, "holds": outcome.holds}
    return {"moves": _moves(outcome, quality, run.config.bound), "molecules": terms, "solved": solved, "anchor": anchor}


def write_verdicts(
    run: Calibration,
    verdicts: Sequence[Verdict],
    responses: dict[str, Response],
    folder: str | os.PathLike[str],
    more: dict[str, Any],
    at_bound: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Write unexplained.ecsv, stars.json and the figure stars.png and .pdf into a folder.

    ``more`` is written into stars.json, too; ``at_bound`` marks the lines that moved as far as their bound (n,).

    Returns:
        What stars.json holds.

    Raises:
        OutputError: a file cannot be written.
    """
    folder, config = Path(folder), run.config
    limits = {s.name: config.unexplained * s.sigma / config.calibrating[0].sigma for s in config.calibrating}
    ranges = find_unexplained(verdicts, limits, config.anchor, config.window)
    further = read_line_file(config.further_list) if config.further_list else None
    height = np.max([np.abs(response.lines).max(0).toarray().ravel() for response in responses.values()], 0)
    ranges["candidates"] = np.array(candidates(ranges, run.lines, height, at_bound, further), str)
    write_unexplained(ranges, folder / "unexplained.ecsv", {"limits": limits, "anchor": config.anchor})
    summary = {
        "maury": __version__,
        "list": run.lines.path.name,
        "stars": [verdict.summary() for verdict in verdicts],
        "unexplained": {"ranges": len(ranges), "aa": float((ranges["last"] - ranges["first"]).sum())},
    } | more
    write_json(folder / "stars.json", summary)
    _figure(verdicts, config.figure or absorbed_ranges(verdicts[0], config.window), ranges, folder / "stars")
    return summary


def _shown(run: Calibration, responses: dict[str, Response], letters: dict[str, str]) -> Strings:
    """For each line, the stars in which it is visible, one letter per star."""
    stars = {star.name: star for star in run.config.calibrating}
    anchor = stars[run.config.anchor]
    text = np.full(len(run.lines), "", dtype=f"U{len(letters)}")
    for letter, name in letters.items():
        height = np.abs(responses[name].lines).max(0).toarray().ravel() * anchor.sigma / stars[name].sigma
        text = np.where(height > run.config.threshold, np.char.add(text, letter), text)
    return text


def _moves(outcome: Outcome, quality: Qualities, bound: float) -> list[dict[str, Any]]:
    """How far transitions moved, by the quality of their sources."""
    count = outcome.parameters.transitions
    values, width = outcome.values[:count], outcome.parameters.width[:count]
    source = np.full(count, "", dtype=quality.name.dtype)
    lines, parameters = outcome.parameters.matrix[:, :count].nonzero()
    source[parameters] = quality.name[lines]
    rows = []
    for name in np.unique(source):
        mine = values[source == name]
        in_widths = np.abs(mine / width[source == name])
        rows.append(
            {
                "source": str(name),
                "transitions": len(mine),
                "rms_dex": float(np.sqrt(np.mean(mine**2))),
                "median_dex": float(np.median(mine)),
                "beyond_one_width": int((in_widths > 1).sum()),
                "at_bound": int((in_widths > 0.999 * bound).sum()),
            }
        )
    return rows


def absorbed_ranges(verdict: Verdict, window_aa: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """The ranges of 30 and of 13 Å with the most absorption in a star's model; the whole of a narrow window."""
    low, high = window_aa
    if high - low <= sum(FIGURE_AA):
        return (window_aa,)
    starts = np.arange(low, high)
    bins = np.append(starts, starts[-1] + 1)
    pixels, total = (np.histogram(verdict.wavelength_aa, bins, weights=w)[0] for w in (None, 1 - verdict.new))
    depth = total / np.maximum(pixels, 1)
    chosen: list[tuple[float, float]] = []
    for width in FIGURE_AA:
        places = [
            i for i, a in enumerate(starts) if a + width <= high and all(a + width <= c or a >= d for c, d in chosen)
        ]
        best = max(places, key=lambda i: depth[i : i + int(width)].sum(), default=None)
        if best is not None:
            chosen.append((float(starts[best]), float(starts[best] + width)))
    return tuple(sorted(chosen))


def _figure(verdicts: Sequence[Verdict], shown: Sequence[tuple[float, float]], ranges: Table, stem: Path) -> None:
    chosen = [verdict for verdict in verdicts if verdict.role == "calibrate"]
    stars = [(v.star, v.wavelength_aa, v.observed, v.old, v.new) for v in chosen]
    shaded = list(zip(ranges["first"].tolist(), ranges["last"].tolist(), strict=True))
    save_figure(plot_calibration(stars, shown, shaded), stem)
