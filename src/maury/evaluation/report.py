"""The report on a network: its figures as numbers (report.json), as drawings, and as one page that holds everything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maury import __version__
from maury.evaluation.figures import Drawing
from maury.evaluation.html import render_page
from maury.evaluation.metrics import bin_edges, score
from maury.evaluation.samples import Sample
from maury.files import write_text
from maury.grids import Grid
from maury.labels import LabelSpace
from maury.plots import figure_svg, save_figure
from maury.progress import Advance, silent

SCHEMA = 1
"""Version of the layout of report.json."""

FOUNDING = {"starnet-spc": {"label": "founding project", "loss": 0.0014, "mae": 0.0245}}
"""Validation figures of the founding project, by preset, on its random split."""


def make_report(
    model: str,
    header: Mapping[str, Any],
    space: LabelSpace,
    grid: Grid,
    samples: Sequence[Sample],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """All figures of a network as plain JSON values.

    Returns:
        ``splits.<name>`` holds ``title``, ``description``, the sample's facts and what `maury.evaluation.metrics.score`
        returns: ``n``, ``mse``, ``mae``, ``labels.<label>.bias`` ...
    """
    columns = [grid.names.index(name) for name in space.names]
    edges = {name: bin_edges(grid.labels[:, k]) for k, name in enumerate(grid.names)}
    splits = {}
    for sample in samples:
        against = {name: (sample.true[:, k], edges[name]) for k, name in enumerate(grid.names)}
        figures = score(sample.true[:, columns], sample.predicted, space, against)
        splits[sample.name] = {
            "title": sample.title,
            "description": sample.description,
            **sample.facts,
            **figures,
        }
    wavelength = grid.wavelength_aa
    return {
        "schema": SCHEMA,
        "maury": __version__,
        "model": model,
        "labels": {"names": space.names, "lower": space.lower, "upper": space.upper, "units": space.units},
        "header": dict(header),
        "grid": {
            "file": grid.path.name,
            "digest": grid.digest,
            "spectra": len(grid),
            "pixels": len(wavelength),
            "wavelength_aa": [float(wavelength[0]), float(wavelength[-1])],
            "resolution": grid.resolution,
        },
        "reference": FOUNDING.get(str(header.get("preset"))),
        "notes": list(notes),
        "splits": splits,
    }


def write_report(
    folder: str | os.PathLike[str],
    report: Mapping[str, Any],
    drawings: Sequence[Drawing],
    advance: Advance = silent,
) -> list[Path]:
    """Draw the figures (PNG and PDF in ``figures/``), then write report.html and report.json into ``folder``.

    Returns:
        Paths of report.html and report.json.

    Raises:
        OutputError: a file cannot be written.
    """
    folder = Path(folder)
    figures = []
    for drawing in drawings:
        figure = drawing.draw()
        save_figure(figure, folder / "figures" / drawing.name)
        figures.append((drawing.name, drawing.caption, figure_svg(figure, drawing.name, drawing.caption)))
        advance(1)
    texts = {
        "report.html": render_page(report, figures),
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
