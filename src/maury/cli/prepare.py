"""`maury prepare`: from files of spectrographs to normalised spectra at rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from maury.preparation import Preparation


def prepare(
    files: Annotated[list[Path], typer.Argument(help="Spectra of any supported format.")],
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the prepared spectra, one file each.")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option("--resolution", "-R", help="R = lambda / FWHM, where the file does not tell it.")
    ] = None,
    velocity: Annotated[
        float | None,
        typer.Option(help="Radial velocity in the file's wavelengths, km/s, when known; else looked for in -500..500."),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="Wavelengths to leave out, Å in air, at rest: 5183-5184.2. Repeatable."),
    ] = None,
    wavelength_file: Annotated[Path | None, typer.Option(help="Wavelengths, for files that hold none.")] = None,
    sigma_file: Annotated[Path | None, typer.Option(help="Noise, for files that hold none.")] = None,
    step: Annotated[float | None, typer.Option(help="Pixel of the result, km/s; by default that of the file.")] = None,
    form: Annotated[str, typer.Option("--format", help="ecsv or fits.")] = "ecsv",
    plot: Annotated[Path | None, typer.Option(help="Folder for a figure of the steps of each file (PNG, PDF).")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the files.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one entry per file.")] = False,
) -> None:
    """Radial velocity, continuum, masks and noise of spectra; orders merged at rest.

    The continuum is fitted together with a synthetic template, so that line blanketing is not taken for continuum. What
    was done, and what limits the trust in it, is listed for each file. A file that fails does not stop the others: it
    is named at the end and the exit code is 2.

    Example: `maury prepare night/*.fits --resolution 67000 --out prepared --plot figures --workers 2`
    """
    import json

    from maury.cli.console import fail, out, progress
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.preparation import parse_range
    from maury.preparation.batch import Options, prepare_files

    if form not in ("ecsv", "fits"):
        raise ConfigError(f"format {form!r}: must be ecsv or fits")
    hints: dict[str, Any] = {"resolution": resolution, "wavelength_file": wavelength_file, "sigma_file": sigma_file}
    settings = {"velocity_kms": velocity, "step_kms": step, "mask": tuple(map(parse_range, mask or ()))}
    options = Options(hints, settings, output, form, keep=plot is not None)
    for folder, ending in ((output, form), (plot, "png")):
        if folder is not None:
            check_writable(folder / f"{files[0].stem}.{ending}")
    records, failed = [], []
    with progress(len(files) > 1) as bar:
        task = bar.add_task("preparing", total=len(files))
        for result in prepare_files(files, options, workers):
            bar.advance(task)
            if result.error is not None:
                failed.append(result)
                records.append({"file": str(result.file), "error": result.error})
                continue
            records.append(result.record | ({} if result.written is None else {"prepared": str(result.written)}))
            if plot is not None and result.preparation is not None:
                _draw(result.preparation, plot / result.file.stem)
    if as_json:
        out.print(json.dumps(records, indent=1), markup=False, soft_wrap=True)
    for record in records:
        if "error" in record:
            fail(record["error"])
        elif not as_json:
            out.print(_table(record))
    if failed:
        if len(files) > 1:
            fail(f"{len(failed)} of {len(files)} files failed: {', '.join(str(r.file) for r in failed)}")
        raise typer.Exit(2)


def _draw(preparation: Preparation, stem: Path) -> None:
    from maury.plots import plot_preparation, save_figure

    save_figure(plot_preparation(preparation), stem)


def _table(record: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from maury.labels import LABELS
    from maury.preparation import FLAGS
    from maury.preparation.masks import texts

    table = Table(title=escape(str(record["file"])), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    velocity = f"{record['velocity_kms']:+.3f} ± {record['velocity_error_kms']:.3f} km/s, {record['frame']} frame"
    if record["barycentric_velocity_kms"] is not None and record["frame"] != "barycentric":
        velocity += f"; barycentric {record['barycentric_velocity_kms']:+.3f} km/s"
    table.add_row("velocity", velocity)
    if record["second_star_kms"] is not None and "double_lined" in record["flags"]:
        table.add_row("second star", f"suspected at {record['second_star_kms']:+.0f} km/s")
    table.add_row("S/N", f"{record['snr']:.0f} per pixel of {record['step_kms']:.1f} km/s")
    if record["mask_aa"]:
        table.add_row("masked", ", ".join(texts(record["mask_aa"])) + " Å at rest")
    table.add_row("coverage", f"{record['coverage_aa']:.0f} Å of the window, {record['orders']} orders")
    shown = {name: record["template"][name] for name in ("teff", "logg", "mh", "vsini")}
    words = [f"{name} {value:.{0 if name == 'teff' else 1}f} {LABELS[name].unit}" for name, value in shown.items()]
    table.add_row("template", ", ".join(words) + " (a by-product, no result)")
    table.add_row("misfit", f"{100 * record['model_error']:.1f} % of the continuum beyond the noise")
    for note in record["notes"]:
        table.add_row("done", escape(note))
    for flag in record["flags"]:
        table.add_row("[yellow]flag[/]", f"{flag}: {FLAGS[flag]}")
    if "prepared" in record:
        table.add_row("written", escape(record["prepared"]))
    return table
