"""`maury grid`: build a grid of synthetic spectra, look at one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from maury.grids import Grid

app = typer.Typer(help="Grids of broadened synthetic spectra, to train on.", no_args_is_help=True)

Range = tuple[float, float]

_PROVENANCE = ("preset", "emulator_digest", "settings", "maury")


@app.command()
def build(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--out", "-o", help="The grid to write (HDF5).")],
    preset: Annotated[
        str, typer.Option(help="Nodes and wavelengths: spc, the founding project's 51,359 spectra.")
    ] = "spc",
    emulator: Annotated[str, typer.Option(help="'packaged' or the file of an emulator.")] = "packaged",
    nodes: Annotated[
        Path | None, typer.Option("--config", help="Nodes, window and pixels of your own (TOML) in place of a preset.")
    ] = None,
    pixels: Annotated[int, typer.Option(help="29788, or 7447 for the average of 4 neighbouring pixels.")] = 7447,
    resolution: Annotated[float, typer.Option(help="R = lambda / FWHM of the instrument profile.")] = 44_000.0,
    teff: Annotated[Range, typer.Option(help="Keep nodes with Teff within LOW HIGH (K).")] = (3500.0, 9750.0),
    logg: Annotated[Range, typer.Option(help="Keep nodes with log g within LOW HIGH.")] = (0.0, 5.0),
    mh: Annotated[Range, typer.Option(help="Keep nodes with [M/H] within LOW HIGH (dex).")] = (-2.5, 0.5),
    vsini: Annotated[Range, typer.Option(help="Keep v sin i within LOW HIGH (km/s).")] = (0.0, 200.0),
    seed: Annotated[int, typer.Option(help="Seed of the two splits.")] = 0,
) -> None:
    """Build a grid with the emulator. After an interruption the same command goes on where it was.

    Examples: `maury grid build --preset spc --out spc.h5`

    `maury grid build --out small.h5 --teff 5000 6500 --vsini 0 20`

    `maury grid build --config nodes.toml --emulator mine.safetensors --out mine.h5`
    """
    import time

    from maury.cli.console import err, out, progress
    from maury.config import load_config, make_config
    from maury.emulator import PACKAGED, load
    from maury.files import sha256
    from maury.grids import GridConfig, NodesConfig, build_grid
    from maury.grids.plan import AnyGridConfig, make_plan

    ranges = {"teff": teff, "logg": logg, "mh": mh, "vsini": vsini}
    options = {"preset": preset, "pixels": pixels, "resolution": resolution, "seed": seed, **ranges}
    config: AnyGridConfig = make_config(options, GridConfig, "options")
    if nodes is not None:
        _refuse_options(context, options, "--config")
        config = load_config(nodes, NodesConfig)
    start = time.monotonic()
    model = load(emulator)
    plan = make_plan(config, model)
    digest = sha256(PACKAGED if emulator == "packaged" else emulator)
    with progress() as bar:
        task = bar.add_task("spectra", total=len(plan.labels))
        build_grid(output, model, digest, config, lambda n: bar.advance(task, n), err.print)
    seconds, size = time.monotonic() - start, output.stat().st_size / 1e6
    out.print(
        f"{output}: {len(plan.labels):,} spectra of {len(plan.wavelength_aa):,} pixels, {size:.0f} MB, {seconds:.0f} s"
    )


def _refuse_options(context: typer.Context, options: Iterable[str], other: str) -> None:
    """Refuse options that were given on the command line beside one that stands in their place."""
    from maury.errors import ConfigError

    for name in options:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"{other} and --{name} exclude each other")


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
    """Spectra by Teff (rows) and log g (columns), with totals."""
    import numpy as np
    from rich.table import Table

    (teff, row), (logg, column) = (np.unique(grid.column(n), return_inverse=True) for n in ("teff", "logg"))
    counts = np.zeros((len(teff), len(logg)), int)
    np.add.at(counts, (row.ravel(), column.ravel()), 1)
    table = Table(
        title=f"{len(grid):,} spectra by Teff (K) and log g", box=None, padding=(0, 1, 0, 0), show_footer=True
    )
    table.add_column("Teff", "all", justify="right")
    for value, total in zip(logg, counts.sum(0), strict=True):
        table.add_column(f"{value:.1f}", str(total), justify="right")
    table.add_column("all", f"{len(grid):,}", justify="right")
    for value, cells in zip(teff, counts, strict=True):
        table.add_row(f"{value:.0f}", *(str(n) if n else "" for n in cells), f"{cells.sum():,}")
    return table
