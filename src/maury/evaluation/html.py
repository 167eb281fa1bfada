"""The report as one self-contained HTML page, light or dark as the browser is set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from maury.evaluation.figures import in_unit

_SYMBOLS = {
    "teff": "<i>T</i><sub>eff</sub>",
    "logg": "log <i>g</i>",
    "mh": "[M/H]",
    "vsini": "<i>v</i> sin <i>i</i>",
}


def render_page(report: Mapping[str, Any], figures: Sequence[tuple[str, str, str]]) -> str:
    """The page as text.

    Of a report of `maury.evaluation.report.make_report`, with name, caption and SVG of each figure.
    """
    template = Template(resources.files("maury.evaluation").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        model=escape(str(report["model"])),
        lead=_lead(report),
        cards="\n".join(_card(name, split, report) for name, split in report["splits"].items()),
        notes="".join(f"<p class='note'>{escape(note)}</p>" for note in report["notes"]),
        tables="\n".join(_table(split) for split in report["splits"].values()),
        figures="\n".join(_figure(number, *figure) for number, figure in enumerate(figures, start=1)),
        header=escape(json.dumps(report["header"], indent=2, sort_keys=True)),
        grid=escape(json.dumps(report["grid"], indent=2)),
        version=escape(str(report["maury"])),
    )


def symbol(name: str) -> str:
    """A label's symbol in HTML."""
    return _SYMBOLS.get(name, escape(name))


def _lead(report: Mapping[str, Any]) -> str:
    labels, grid = report["labels"], report["grid"]
    names = ", ".join(symbol(name) for name in labels["names"])
    low, high = grid["wavelength_aa"]
    return (
        f"A network that predicts {names} from {grid['pixels']:,} pixels, {low:.0f} to {high:.0f} Å at "
        f"<i>R</i> = {grid['resolution']:,.0f}, judged on spectra that it was not trained on. MSE and MAE are of "
        "labels normalised to 0..1 over the ranges of the grid."
    )


def _card(name: str, split: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    reference = report["reference"] if name == "random" else None
    was = (
        f"<p class='was'>{escape(reference['label'])}: {reference['loss']:.4f} and {reference['mae']:.4f}</p>"
        if reference
        else ""
    )
    return (
        f"<section class='card'><h3>{escape(split['title'])}</h3><dl><div><dt>MSE</dt><dd>{split['mse']:.5f}</dd></div>"
        f"<div><dt>MAE</dt><dd>{split['mae']:.4f}</dd></div><div><dt>spectra</dt><dd>{split['n']:,}</dd></div></dl>"
        f"{was}<p>{escape(split['description'])}</p></section>"
    )


def _table(split: Mapping[str, Any]) -> str:
    rows = []
    for name, label in split["labels"].items():
        cells = [in_unit(label["bias"], label["unit"], sign=True)]
        cells += [in_unit(label[key], label["unit"]) for key in ("scatter", "robust_scatter", "p95")]
        cells += [f"{label['mse']:.5f}", f"{label['mae']:.4f}"]
        rows.append(f"<tr><th scope='row'>{symbol(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f"<table><caption>{escape(split['title'])}, {split['n']:,} spectra</caption><thead><tr><th></th><th>bias</th>"
        "<th>scatter</th><th>robust scatter</th><th>95 % within</th><th>MSE</th><th>MAE</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _figure(number: int, name: str, caption: str, svg: str) -> str:
    files = " ".join(f"<a href='figures/{escape(name)}.{kind}'>{kind.upper()}</a>" for kind in ("pdf", "png"))
    text = f"<b>Figure {number}.</b> {escape(caption)} {files}"
    return f"<figure id='{escape(name)}'>{svg}<figcaption>{text}</figcaption></figure>"
