"""`maury synthesize`: line list and model atmospheres to a library of intrinsic spectra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maury.cli import options

if TYPE_CHECKING:
    from maury.synthesis import SynthesisConfig, Workers
    from maury.synthesis.pool import Pool

_SHOWN = 20


def synthesize(
    output: Annotated[Path, options.out_file("The library to write (HDF5).")],
    config: Annotated[
        Path | None, typer.Argument(help="Settings (TOML), with any design of labels; options replace them.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Settings that ship with maury: packaged, the library of the packaged emulator.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="Folder from which the settings' relative paths of inputs are taken.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV with the columns teff, logg, mh, and any of vmic, alpha, c, mg, ca ...")
    ] = None,
    line_list: Annotated[Path | None, typer.Option(help="Extract of VALD: long or short, stellar or all.")] = None,
    atmospheres: Annotated[
        Path | None, typer.Option(help="Folder or tar archive of ATLAS9 (.krz, .dat) or MARCS (.mod) models.")
    ] = None,
    window: Annotated[
        tuple[float, float] | None, typer.Option(help="First and last wavelength, Å (air); margins are added.")
    ] = None,
    step: Annotated[float | None, typer.Option(help="Width of a pixel, Å; by default the founding 300/29787.")] = None,
    sampling: Annotated[
        str | None, typer.Option(help="adaptive, as the founding library; or uniform: faster, more exact.")
    ] = None,
    extrapolate_logg: Annotated[
        bool | None, typer.Option("--extrapolate-logg", help="Allow log g below the lowest atmospheres.")
    ] = None,
    extrapolate_mh: Annotated[
        bool | None, typer.Option("--extrapolate-mh", help="Below the lowest [M/H], take the lowest atmospheres.")
    ] = None,
    workers: options.RayWorkers = None,
    ray: options.Ray = None,
) -> None:
    """Synthesise a library of intrinsic spectra with PySME. After an interruption the same command resumes.

    A spectrum that fails is tried once more. What fails twice is listed, also in the library, and the exit code is 2.

    Examples: `maury synthesize synthesis.toml --out lib.h5 --workers 2`

    `maury synthesize --preset packaged --inputs data --out library.h5`

    `maury synthesize synthesis.toml --out lib.h5 --ray host:6379`

    `maury synthesize --labels labels.csv --line-list lines.vald --atmospheres models --window 5060 5080 --out lib.h5`
    """
    from maury.cli.console import err, fail, out, progress
    from maury.files import check_writable
    from maury.synthesis import build_library, make_plan

    given = {"window": window, "step": step, "workers": workers}
    given |= {"extrapolate_logg": extrapolate_logg, "extrapolate_mh": extrapolate_mh}
    files = {"line_list": line_list, "atmospheres": atmospheres}
    settings = _settings(
        config, preset, labels, sampling, given | {k: str(v) for k, v in files.items() if v is not None}
    )
    if inputs is not None:
        settings = settings.located(inputs)
    check_writable(output)
    with _pools(settings, ray) as (processes, pool), progress() as bar:
        task = bar.add_task("inputs", total=None)
        plan = make_plan(settings, processes)
        for note in plan.notes:
            err.print(f"note: {note}", markup=False)
        bar.update(task, description="spectra", total=len(plan.targets))
        failures = build_library(output, plan, pool, lambda n: bar.advance(task, n), err.print)
    count, pixels = len(plan.targets) - len(failures), len(settings.wavelength_aa)
    out.print(f"{output}: {count:,} spectra of {pixels:,} pixels, {output.stat().st_size / 1e6:.1f} MB")
    for failure in failures[:_SHOWN]:
        fail(str(failure))
    if failures:
        fail(f"{len(failures)} of {len(plan.targets)} spectra could not be made; {output} lists them under failures")
        raise typer.Exit(2)


@contextlib.contextmanager
def _pools(settings: SynthesisConfig, ray: str | None) -> Iterator[tuple[Workers, Pool]]:
    """Processes here that read the inputs, and what makes the spectra: they, or a cluster."""
    from maury.cluster import RayWorkers
    from maury.synthesis import ClusterPool, Workers

    if ray is None:
        with Workers(settings.workers) as processes:
            yield processes, processes
        return
    with RayWorkers(ray, settings.workers if settings.workers > 1 else None) as cluster, Workers(1) as processes:
        yield processes, ClusterPool(cluster, settings.physics)


def _settings(
    config: Path | None, preset: str | None, labels: Path | None, sampling: str | None, given: dict[str, Any]
) -> SynthesisConfig:
    """Settings of a file or preset, or the defaults, with what the command line says in their place."""
    from maury.config import make_config, preset_path, read_toml
    from maury.errors import ConfigError
    from maury.synthesis import SynthesisConfig

    if config is not None and preset is not None:
        raise ConfigError("give a file of settings or --preset, not both")
    if preset is not None:
        config = preset_path("synthesis", preset)
    values = read_toml(config) if config is not None else {}
    if config is None and labels is None:
        raise ConfigError("give a file of settings, --preset, or --labels, --line-list and --atmospheres")
    values |= {name: value for name, value in given.items() if value is not None}
    if labels is not None:
        values["design"] = {"kind": "table", "file": str(labels)}
    if sampling is not None:
        values["physics"] = {**values.get("physics", {}), "sampling": sampling}
    return make_config(values, SynthesisConfig, str(config or "options"))
