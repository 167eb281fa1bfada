"""`maury grid`: build a grid of synthetic spectra, look at one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maury.cli import imports, options
from maury.progress import counted

if TYPE_CHECKING:
    from rich.table import Table

    from maury.grids import Grid

app = typer.Typer(help="Grids of broadened synthetic spectra, to train on.", no_args_is_help=True)

_MOST_COUNTED = 40
_PROVENANCE = ("preset", "emulator_digest", "settings", "maury")


@app.command()
def build(
    context: typer.Context,
    output: Annotated[Path, options.out_file("The grid to write (HDF5).")],
    preset: Annotated[
        str, options.of("PRESET", "Nodes and wavelengths: spc, the founding project's 51,359 spectra.")
    ] = "spc",
    nodes: Annotated[
        Path | None, options.of("TOML", "Nodes, window and pixels of your own; replaces a preset.", "--config")
    ] = None,
    pixels: Annotated[int, options.of("N", "29788, or 7447 for means of 4 neighbouring pixels.")] = 7447,
    resolution: options.ResolutionOfModel = 44_000.0,
    teff: Annotated[options.Range, options.of("LOW HIGH", "Keep nodes in this range of Teff, K.")] = (
        3500.0,
        9750.0,
    ),
    logg: Annotated[options.Range, options.of("LOW HIGH", "Keep nodes in this range of log g.")] = (0.0, 5.0),
    mh: Annotated[options.Range, options.of("LOW HIGH", "Keep nodes in this range of [M/H], dex.")] = (
        -2.5,
        0.5,
    ),
    vsini: Annotated[options.Range, options.of("LOW HIGH", "Keep nodes in this range of v sin i, km/s.")] = (
        0.0,
        200.0,
    ),
    emulator: options.Emulator = "packaged",
    seed: options.Seed = 0,
    ray: options.Ray = None,
) -> None:
    """Build a grid with the emulator. An interrupted build resumes with the same command.

    Examples: `maury grid build --preset spc --out spc.h5`

    `maury grid build --out small.h5 --teff 5000 6500 --vsini 0 20`

    `maury grid build --config nodes.toml --emulator mine.safetensors --out mine.h5`
    """
    import contextlib
    import time

    from maury.cli.console import err, out, progress
    from maury.cluster import RayWorkers
    from maury.config import load_config, make_config
    from maury.emulator import file_of, load
    from maury.files import sha256
    from maury.grids import GridConfig, NodesConfig, build_grid
    from maury.grids.plan import AnyGridConfig, make_plan

    ranges = {"teff": teff, "logg": logg, "mh": mh, "vsini": vsini}
    given = {"preset": preset, "pixels": pixels, "resolution": resolution, "seed": seed, **ranges}
    config: AnyGridConfig = make_config(given, GridConfig, "options")
    if nodes is not None:
        _refuse_options(context, given, "--config")
        config = load_config(nodes, NodesConfig)
    start = time.monotonic()
    model = load(emulator)
    plan = make_plan(config, model)
    digest = sha256(file_of(emulator))
    with contextlib.ExitStack() as stack:
        cluster = None if ray is None else stack.enter_context(RayWorkers(ray))
        bar = stack.enter_context(progress())
        build_grid(
            output, model, digest, config, counted(bar, "spectra", len(plan.labels)), err.print, cluster, emulator
        )
    seconds, size = time.monotonic() - start, output.stat().st_size / 1e6
    out.print(
        f"{output}: {len(plan.labels):,} spectra of {len(plan.wavelength_aa):,} pixels, {size:.0f} MB, {seconds:.0f} s"
    )


def _refuse_options(context: typer.Context, names: Iterable[str], other: str) -> None:
    """Refuse options that were given on the command line beside one that replaces them."""
    from maury.errors import ConfigError

    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"{other} and --{name} exclude each other")


@app.command("import")
def import_(
    kind: imports.Kind,
    sources: imports.Sources,
    output: Annotated[Path, options.out_file("The grid to write (HDF5).")],
    window: options.Window = (5050.0, 5350.0),
    step: imports.Step = None,
    resolution: imports.Resolution = None,
    native_resolution: imports.NativeResolution = None,
    vsini: Annotated[str | None, options.of("KM/S,...", "Rotations to apply to each spectrum, as in 0,5,10.")] = None,
    limb_darkening: Annotated[float, options.of("", "Linear coefficient of the rotation profile.")] = 0.6,
    medium: options.Medium = None,
    labels: options.LabelTable = None,
    wavelength_file: imports.WavelengthFile = None,
    seed: options.Seed = 0,
) -> None:
    """Import public or own synthetic spectra as a grid to train on.

    Nodes that are missing in the grid of labels are listed and allowed. Files that are damaged, doubled, on other
    pixels or do not cover the window are listed, and nothing is written.

    Examples: `maury grid import phoenix PHOENIX/ --window 5050 5350 --step 0.04 -R 42000 --vsini 0,5,10 --out grid.h5`

    `maury grid import files spectra/ --labels labels.csv --medium air -R 42000 --out grid.h5`
    """
    from maury.cli.console import out
    from maury.grids import open_grid
    from maury.grids.importers import import_grid

    settings = {"kind": kind, "window": window, "step": step, "resolution": resolution,
                "native_resolution": native_resolution, "vsini": imports.rotations(vsini),
                "limb_darkening": limb_darkening, "medium": medium, "seed": seed}  # fmt: skip
    imports.run_import(import_grid, output, sources, settings, labels, wavelength_file)
    grid = open_grid(output)
    out.print(
        f"{output}: {len(grid):,} spectra of {len(grid.wavelength_aa):,} pixels, R = {grid.resolution:,.0f}, labels "
        f"{', '.join(grid.names)}, {output.stat().st_size / 1e6:.1f} MB"
    )
    out.print(f"next: maury train --grid {output} --labels {','.join(grid.names)} --out RUN")


@app.command()
def info(grid: Annotated[Path, typer.Argument(help="A grid (HDF5).")]) -> None:
    """Check a grid and describe it: counts by Teff and log g, wavelengths, splits, where it came from.

    Example: `maury grid info spc.h5`
    """
    import numpy as np

    from maury.cli.console import out
    from maury.grids import open_grid
    from maury.labels import LABELS

    opened = open_grid(grid)
    wave = opened.wavelength_aa
    if {"teff", "logg"} <= set(opened.names):
        out.print(_counts(opened))
    else:
        out.print(f"{len(opened):,} spectra")
    for name, unit, column in zip(opened.names, opened.space.units, opened.labels.T, strict=True):
        values = np.unique(column)
        out.print(f"{name}: {values[0]:g} to {values[-1]:g} {unit}, {len(values)} values")
    for name, value in opened.fixed.items():
        out.print(f"{name}: {value:g} {LABELS[name].unit} in all spectra")
    out.print(
        f"wavelengths: {wave[0]:.4f} to {wave[-1]:.4f} Å (air), {wave.size:,} pixels, step {np.diff(wave).mean():.6f} Å"
    )
    out.print(f"resolution: {opened.resolution:g}, limb darkening {opened.attributes.get('limb_darkening')}")
    for name, mask in opened.splits.items():
        held = int(mask.sum())
        out.print(f"split {name}: {len(mask) - held:,} train, {held:,} validation, seed {opened.seeds[name]}")
    shown = ("schema", "kind", "resolution", "limb_darkening", "fixed")
    for key in [*_PROVENANCE, *(key for key in opened.attributes if key not in (*_PROVENANCE, *shown))]:
        out.print(f"{key}: {opened.attributes.get(key, 'not recorded')}", markup=False)


def _counts(grid: Grid) -> Table:
    """Spectra by Teff (rows) and log g (columns), with totals; many values are rounded to 500 K and 0.5 dex."""
    import numpy as np
    from rich.table import Table

    def nodes(name: str, step: float) -> tuple[np.ndarray, np.ndarray]:
        values = grid.column(name)
        many = len(np.unique(values)) > _MOST_COUNTED
        return np.unique(np.round(values / step) * step if many else values, return_inverse=True)

    (teff, row), (logg, column) = nodes("teff", 500), nodes("logg", 0.5)
    counts = np.zeros((len(teff), len(logg)), int)
    np.add.at(counts, (row.ravel(), column.ravel()), 1)
    title = f"{len(grid):,} spectra by Teff (K) and log g"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("Teff", "all", justify="right")
    for value, total in zip(logg, counts.sum(0), strict=True):
        table.add_column(f"{value:.1f}", str(total), justify="right")
    table.add_column("all", f"{len(grid):,}", justify="right")
    for value, cells in zip(teff, counts, strict=True):
        table.add_row(f"{value:.0f}", *(str(n) if n else "" for n in cells), f"{cells.sum():,}")
    return table
