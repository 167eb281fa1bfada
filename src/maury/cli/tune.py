"""`maury tune`: search for hyper-parameters of a network that is trained on a grid."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maury.cli import options

if TYPE_CHECKING:
    from rich.progress import Progress


def tune(
    config: Annotated[
        str, typer.Argument(metavar="STUDY", help="Settings of the study (TOML), or a packaged one's name: founding.")
    ],
    grid: options.RequiredGrid,
    output: Annotated[Path, options.out_folder("Folder of the study.")],
    trials: Annotated[int | None, options.of("N", "Configurations to try [default: that of the study].", min=1)] = None,
    ray: options.Ray = None,
    workers: options.RayWorkers = None,
    cpus: Annotated[
        float | None, options.of_resources("N", "With --ray: processors of a trial [default: 1].", min=0.01)
    ] = None,
    gpus: Annotated[
        float | None, options.of_resources("N", "With --ray: GPUs of a trial, as in 0.25 [default: none].", min=0.01)
    ] = None,
) -> None:
    """Search for hyper-parameters: short trainings of equal time, most of which are stopped early (ASHA).

    The sampler is Optuna's TPE; the first trial is the base configuration, for comparison. An interrupted study resumes
    with the same command, or with more --trials, on a cluster or without one. The folder then holds the journal of all
    trials, report.json, a figure of importance and parallel coordinates, and best.toml for `maury train --config`.

    Examples: `maury tune founding --grid spc.h5 --out studies/founding`

    `maury tune founding --grid spc.h5 --out studies/founding --ray host:6379 --gpus 0.25`
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from maury.cli.console import err, out, progress
    from maury.cluster import RayWorkers
    from maury.config import PRESETS
    from maury.errors import ConfigError
    from maury.grids import open_grid
    from maury.search import load_study, open_study, run_on_cluster, write_report
    from maury.search.study import finished

    if ray is None and (workers, cpus, gpus) != (None, None, None):
        raise ConfigError("--workers, --cpus and --gpus are of trials on a cluster: give --ray as well")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers = {workers}: must be at least 1", parameter="workers", value=workers)
    packaged = PRESETS / "studies" / f"{config}.toml"
    settings = load_study(packaged if packaged.is_file() and not os.path.exists(config) else config)
    if trials is not None:
        settings = settings.model_copy(update={"trials": trials})
    opened = open_grid(grid)
    study = open_study(output, settings, opened.digest)
    before = len(finished(study))
    if before:
        err.print(f"resuming: {before} of {settings.trials} trials are there")
    if ray is None and before < settings.trials:
        with progress() as bar:
            _run_here(study, settings, opened, bar, _shown(bar, settings.trials, before))
    if ray is not None and before < settings.trials:
        with RayWorkers(ray, workers, 1.0 if cpus is None else cpus, gpus or 0.0) as cluster, progress() as bar:
            run_on_cluster(output, grid, settings, cluster, _shown(bar, settings.trials, before))
    _summarise(write_report(study, settings, output), output, out)


def _run_here(study: Any, settings: Any, grid: Any, bar: Progress, done: Callable[..., None]) -> None:
    """Run trials one by one in this process."""
    from maury.memory import keep_freed_memory
    from maury.search import run_study
    from maury.search.space import base_of
    from maury.search.trial import spectra_of

    keep_freed_memory()
    reading = bar.add_task("reading spectra", total=settings.training + settings.validation)
    spectra = spectra_of(grid, settings, base_of(settings), lambda n: bar.advance(reading, n))
    bar.remove_task(reading)
    run_study(study, settings, spectra, done)


def _shown(bar: Progress, total: int, before: int) -> Callable[[int, str, float | None], None]:
    """Shows trials as they end."""
    task = bar.add_task("trials", total=total, completed=before)
    lowest: list[float] = []

    def done(number: int, state: str, error: float | None) -> None:
        if error is None:
            bar.print(f"trial {number}: its process died; to be tried again")
            return
        bar.print(f"trial {number}: {'stopped early at' if state == 'pruned' else 'to the end,'} {error:.5f}")
        if state == "complete":
            lowest.append(error)
        text = f"trials, lowest error {min(lowest):.5f}" if lowest else "trials"
        bar.update(task, advance=1, description=text)

    return done


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
