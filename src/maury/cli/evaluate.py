"""`maury evaluate`: how good a trained network is, on which spectra; report.html, report.json, figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    run: Annotated[
        str, typer.Argument(help="A run directory of `maury train`, a model file, or a packaged model's name.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report.")],
    grid: Annotated[
        Path | None, typer.Option(help="The grid (HDF5) to judge it on [default: the one a run was trained on].")
    ] = None,
    between: Annotated[
        int, typer.Option(min=0, help="Spectra to make between the grid's nodes with the emulator; 0 for none.")
    ] = 2048,
    emulator: Annotated[
        str | None,
        typer.Option(help="'packaged' or the file of an emulator [default: packaged, if it suits the grid]."),
    ] = None,
    library: Annotated[
        list[str] | None,
        typer.Option(help="Library file or quoted pattern: its off-node spectra are a test set too; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the labels between nodes.")] = 1,
) -> None:
    """Measure a network's errors and write a report: report.html, report.json, figures as PNG and PDF.

    It is judged on the validation parts of the grid's random and block splits without any spectrum that it was
    trained on, on spectra between the nodes made with the emulator, and, with --library, on synthesised ones.

    Examples: `maury evaluate runs/founding --out report`

    `maury evaluate starnet-spc --grid spc.h5 --out report --library spc_library.h5`
    """
    from functools import partial

    from maury.cli.console import err, out, progress
    from maury.evaluation.figures import plan_figures
    from maury.evaluation.network import check_grid, find_grid, load_model, make_samples, why_not_between
    from maury.evaluation.report import make_report, write_report
    from maury.files import check_writable

    check_writable(output / "report.json")
    model = load_model(run)
    opened = find_grid(model, grid)
    notes = check_grid(model, opened)
    if between and emulator is None:
        reason = why_not_between(opened)
        if reason is not None:
            between = 0
            notes.append(f"No spectra between the nodes: {reason}.")
    for note in notes:
        err.print(f"[yellow]note:[/] {note}")
    with progress() as bar:
        samples = make_samples(
            model, opened, bar, between=between, seed=seed, emulator=emulator or "packaged", libraries=library or []
        )
        report = make_report(model.name, model.header, model.space, opened, samples, notes)
        drawings = plan_figures(report, samples, opened, model.history)
        task = bar.add_task("figures", total=len(drawings))
        paths = write_report(output, report, drawings, partial(bar.advance, task))
    for split in report["splits"].values():
        out.print(_table(split))
    for path in paths:
        out.print(str(path))


def _table(split: dict[str, Any]) -> Table:
    """One line per label of one set of spectra."""
    from rich import box
    from rich.table import Table

    from maury.evaluation.figures import in_unit

    title = f"{split['title']}: MSE {split['mse']:.5f}, MAE {split['mae']:.4f} ({split['n']:,} spectra)"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("label")
    for column in ("bias", "scatter", "robust scatter", "95 % within"):
        table.add_column(column, justify="right")
    for name, label in split["labels"].items():
        rest = [in_unit(label[key], label["unit"]) for key in ("scatter", "robust_scatter", "p95")]
        table.add_row(name, in_unit(label["bias"], label["unit"], sign=True), *rest)
    return table
