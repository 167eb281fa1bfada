"""`maury tune`: search for hyper-parameters of a network that is trained on a grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer


def tune(
    config: Annotated[
        str, typer.Argument(help="Settings of the study (TOML), or the name of a packaged one: founding.")
    ],
    grid: Annotated[Path, typer.Option("--grid", "-g", help="Grid to train on (HDF5).")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    trials: Annotated[int | None, typer.Option(min=1, help="Configurations to try, in place of the file's.")] = None,
) -> None:
    """Search for hyper-parameters: short trainings of equal time, most of which are stopped early (ASHA).

    The sampler is Optuna's TPE; the first trial is the base configuration, to compare with. After a kill the same
    command goes on; with more --trials it continues. The folder then holds the journal of all trials, report.json, a
    figure of importance and parallel coordinates, and best.toml for `maury train --config`.

    Example: `maury tune founding --grid spc.h5 --out studies/founding`
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from maury.cli.console import err, out, progress
    from maury.config import PRESETS
    from maury.grids import open_grid
    from maury.search import load_study, open_study, run_study, write_report
    from maury.search.settings import base_of
    from maury.search.study import finished
    from maury.training.data import Spectra
    from maury.training.network import keep_freed_memory

    packaged = PRESETS / "studies" / f"{config}.toml"
    settings = load_study(packaged if packaged.is_file() and not os.path.exists(config) else config)
    if trials is not None:
        settings = settings.model_copy(update={"trials": trials})
    opened = open_grid(grid)
    study = open_study(output, settings, opened.digest)
    keep_freed_memory()
    before = len(finished(study))
    if before:
        err.print(f"going on: {before} of {settings.trials} trials are there")
    if before < settings.trials:
        base = base_of(settings).model_copy(update={"seed": settings.seed})
        with progress() as bar:
            reading = bar.add_task("reading spectra", total=settings.training + settings.validation)
            limits = (settings.training, settings.validation)
            spectra = Spectra(opened, base, lambda n: bar.advance(reading, n), limits)
            bar.remove_task(reading)
            task = bar.add_task("trials", total=settings.trials, completed=before)
            lowest: list[float] = []

            def done(number: int, state: str, error: float | None) -> None:
                bar.print(f"trial {number}: {'stopped early at' if state == 'pruned' else 'to the end,'} {error:.5f}")
                if state == "complete" and error is not None:
                    lowest.append(error)
                text = f"trials, lowest error {min(lowest):.5f}" if lowest else "trials"
                bar.update(task, advance=1, description=text)

            run_study(study, settings, spectra, done)
    _summarise(write_report(study, settings, output), output, out)


def _summarise(report: dict[str, Any], folder: Path, out: Any) -> None:
    out.print(
        f"{report['trials']} trials: {report['complete']} to the end, {report['stopped_early']} stopped early, "
        f"{report['interrupted']} interrupted and tried again"
    )
    base = report["baseline_error"]
    ratio = "" if base is None else f"; the base configuration has {base:.5f}, {base / report['best_error']:.1f} times"
    out.print(f"lowest validation error {report['best_error']:.5f} (trial {report['best']['trial']}){ratio}")
    most = list(report["importance"].items())[:4]
    if most:
        out.print("most important: " + ", ".join(f"{name} {share:.0%}" for name, share in most))
    out.print(
        f"{folder / 'best.toml'} written; next: maury train --config {folder / 'best.toml'} --grid GRID --out RUN"
    )
