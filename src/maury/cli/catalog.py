"""`maury catalog`: stellar parameters of any number of spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from maury.cli import options

_REASONS = 20


@options.reads_files
def catalog(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A list of files (CSV, ECSV), a folder, or an HDF5 file of spectra.")
    ],
    output: Annotated[Path, options.out_folder("Folder to write; its name ends with .parquet or .fits.")],
    reading: dict[str, Any],
    resolution: options.Resolution = None,
    velocity_range: options.VelocityRange = None,
    model: options.Model = "default",
    labels: options.LabelSet = "default",
    refine: options.Refine = None,
    components: options.Components = None,
    samples: options.Samples = None,
    emulator: options.Emulator = "packaged",
    seed: options.Seed = 1,
    workers: options.Workers = 1,
    ray: options.Ray = None,
    retry: Annotated[bool, options.of_output("", "Try the rejects of an earlier run again.", "--retry")] = False,
    fresh: options.Fresh = False,
) -> None:
    """Stellar parameters of any number of spectra, with uncertainties.

    The columns of a list hold the values of each file: velocity_kms, resolution, medium, wavelength_unit, row, fibre,
    order, extension, wavelength_file, sigma_file, ignore_sigma, components, and of the star: star, parallax, gmag, ebv.
    Options hold for files of which the list has no value. Results are written in parts: an interrupted run resumes with
    the same command. Spectra that cannot be used are in a table of rejects, and the exit code is 2.

    Example: `maury catalog list.csv --out results.parquet --workers 2`
    """
    from maury.catalogue import CatalogueConfig, run_catalogue
    from maury.cli.console import err, out, progress
    from maury.config import make_config
    from maury.memory import keep_freed_memory

    keep_freed_memory()
    settings = {"model": model, "emulator": emulator, "labels": labels, "refine": refine,
                "components": components, "samples": samples, "seed": seed, "resolution": resolution,
                "velocity_range": velocity_range,
                "reading": {name: value for name, value in reading.items() if value not in (None, False)}}  # fmt: skip
    config = make_config(settings, CatalogueConfig, "options")
    with progress() as bar:
        task = bar.add_task("checking the catalogue", total=None)
        counted: dict[str, Any] = {"rejected": 0}

        def start(total: int, results: int, rejects: int) -> None:
            bar.remove_task(task)
            counted.update(task=bar.add_task("spectra", total=total, completed=results + rejects), rejected=rejects)

        def advance(results: int, rejects: int) -> None:
            counted["rejected"] += rejects
            bar.advance(counted["task"], results + rejects)
            speed = bar.tasks[-1].finished_speed or bar.tasks[-1].speed
            rate = f", {speed:,.1f}/s" if speed is not None else ""
            bar.update(counted["task"], description=f"spectra{rate}, {counted['rejected']:,} rejected")

        summary = run_catalogue(
            source, output, config, workers=workers, ray=ray, fresh=fresh, retry=retry, start=start, advance=advance,
            notify=lambda message: err.print(message, markup=False),
        )  # fmt: skip
    speed = summary.made / summary.seconds
    rate = f"; {summary.made:,} in {summary.seconds:.1f} s, {speed:,.{0 if speed >= 10 else 1}f}/s"
    out.print(f"{output}: {summary.results:,} spectra{rate if summary.made else ', all of them there already'}")
    if summary.rejects:
        _show_rejects(output, summary.rejects)
        raise typer.Exit(2)


def _show_rejects(output: Path, count: int) -> None:
    from itertools import islice

    from maury.catalogue.parts import REJECTS, each_reject
    from maury.cli.console import err

    err.print(f"{count:,} rejected; {output / REJECTS} lists them:", markup=False)
    for reject in islice(each_reject(output), _REASONS):
        err.print(f"  {reject['id']}: {reject['reason']}", markup=False)
    if count > _REASONS:
        err.print(f"  and {count - _REASONS:,} more", markup=False)
