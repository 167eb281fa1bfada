"""`maury prepare`: from files of spectrographs to normalised spectra at rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from maury.cli import options

if TYPE_CHECKING:
    from rich.table import Table


@options.reads_files
def prepare(
    files: options.Files,
    reading: dict[str, Any],
    resolution: options.Resolution = None,
    velocity: options.Velocity = None,
    velocity_range: options.VelocityRange = None,
    mask: options.Mask = None,
    step: Annotated[
        float | None, options.of_output("KM/S", "Width of a pixel of the result [default: that of the file].")
    ] = None,
    output: Annotated[Path | None, options.out_folder("Folder for the prepared spectra, one file each.")] = None,
    form: Annotated[str, options.of_output("ecsv|fits", "Format of the prepared spectra.", "--format")] = "ecsv",
    as_json: options.AsJson = False,
    plot: options.Plot = None,
    workers: options.Workers = 1,
) -> None:
    """Measure radial velocity, continuum and noise of spectra; merge orders at rest.

    The continuum is fitted together with a synthetic template, so that line blanketing is not mistaken for continuum.
    The steps taken, and flags that limit the trust in them, are listed for each file. A file that fails does not stop
    the others. Files that fail or are damaged are named at the end and the exit code is 2.

    Example: `maury prepare night/*.fits --resolution 67000 --out prepared --plot figures --workers 2`
    """
    from maury.cli.console import out, progress, show_failures, show_json
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.preparation import parse_range
    from maury.preparation.many import Options, prepare_files

    if form not in ("ecsv", "fits"):
        raise ConfigError(f"format {form!r}: must be ecsv or fits")
    settings = {"velocity_kms": velocity, "velocity_range_kms": velocity_range, "step_kms": step,
                "mask": tuple(map(parse_range, mask or ()))}  # fmt: skip
    jobs = Options({**reading, "resolution": resolution}, settings, output, form, keep=plot is not None)
    for folder, ending in ((output, form), (plot, "png")):
        if folder is not None:
            check_writable(folder / f"{files[0].stem}.{ending}")
    records: list[dict[str, Any]] = []
    with progress(len(files) > 1) as bar:
        for result in bar.track(prepare_files(files, jobs, workers), total=len(files), description="preparing"):
            if result.error is not None:
                records.append({"file": str(result.file), "error": result.error})
                continue
            records.append(result.record | ({} if result.written is None else {"prepared": str(result.written)}))
            if plot is not None and result.preparation is not None:
                from maury.plots import plot_preparation, save_figure

                save_figure(plot_preparation(result.preparation), plot / result.file.stem)
    if as_json:
        show_json(records)
    show_failures(records, None if as_json else lambda record: out.print(_table(record)))


def _table(record: dict[str, Any]) -> Table:
    from rich.markup import escape

    from maury.cli.console import facts
    from maury.flags import meaning_of
    from maury.labels import LABELS
    from maury.preparation.masks import texts

    table = facts(str(record["file"]))
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
    table.add_row("template", ", ".join(words) + " (a by-product, not a result)")
    table.add_row("misfit", f"{100 * record['model_error']:.1f} % of the continuum beyond the noise")
    for note in record["notes"]:
        table.add_row("done", escape(note))
    for flag in record["flags"]:
        table.add_row("[yellow]flag[/]", f"{flag}: {meaning_of(flag)}")
    if "prepared" in record:
        table.add_row("written", escape(record["prepared"]))
    return table
