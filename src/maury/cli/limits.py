"""`maury limits`: the smallest errors that a spectrum allows, for one star or over the Kiel diagram."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maury.cli import star

if TYPE_CHECKING:
    from rich.table import Table

    from maury.emulator import Emulator
    from maury.evaluation.limits import Bound, Limits


def limits(
    teff: star.Teff = None,
    logg: star.Logg = None,
    mh: star.Metallicity = 0.0,
    vmic: star.Vmic = None,
    alpha: star.Alpha = 0.0,
    vsini: star.Vsini = 3.0,
    vmac: star.Macroturbulence = 3.0,
    resolution: star.Resolution = 44_000.0,
    snr: Annotated[
        list[float] | None,
        typer.Option(help="S/N of the continuum per 2.3 km/s; may be repeated [default: 100]", show_default=False),
    ] = None,
    fix: star.Fixed = None,
    model_error: star.ModelError = False,
    map_folder: Annotated[
        Path | None,
        typer.Option("--map", help="Folder for maps over Teff and log g: limits.ecsv, limits.png, limits.pdf."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Table to write (.ecsv).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    emulator: Annotated[str, typer.Option(help="The physics: an emulator file.")] = "packaged",
) -> None:
    """The Cramér-Rao bound: the smallest standard deviation of each label that a spectrum of the window allows.

    All labels that the emulator knows are free but those of --fix; continuum, radial velocity, zero level and
    resolution are uncertain as in the simulated observations and projected out; the prior of the simulation bounds what
    a spectrum says nothing of. No method without bias can do better, unless it knows more (--fix).

    Examples: `maury limits --teff 5800 --logg 4.4 --mh 0 --vsini 3 --resolution 44000 --snr 50 --snr 100 --fix logg`

    `maury limits --map maps --mh -0.5 --resolution 110000 --snr 100`
    """
    import json

    from maury.cli.console import out
    from maury.emulator import load
    from maury.errors import ConfigError
    from maury.evaluation.limits import Bound, limits, simulator_at, star_labels, write_limits
    from maury.files import check_writable

    given = star.others(mh, vmic, alpha, vsini, vmac)
    levels = snr or [100.0]
    if map_folder is not None and (teff, logg, output, as_json) != (None, None, None, False):
        raise ConfigError(
            "--map: Teff and log g are its axes and it has its own files; leave out --teff, --logg, --out, --json"
        )
    if map_folder is not None and len(levels) > 1:
        raise ConfigError(f"--map: a map has one S/N, got {len(levels)}")
    if output is not None:
        check_writable(output)
    model = load(emulator)
    bound = Bound(simulator_at(model, resolution), resolution, fix or (), model_error)
    if map_folder is not None:
        _map(bound, model, given, levels[0], map_folder)
        return
    given |= star.place(teff, logg)
    found = limits(bound, star_labels(model, bound.simulator, given), levels)
    if as_json:
        out.print(json.dumps(found.record(), indent=1), markup=False, soft_wrap=True)
    else:
        out.print(_table(found))
    if output is not None:
        write_limits(found.table(), output)
        if not as_json:
            out.print(f"{output}: {len(found.names)} rows")


def _table(found: Limits) -> Table:
    from rich import box
    from rich.table import Table

    named = ", ".join(
        f"{name} {found.star[name]:g}"
        for name in found.names
        if name in ("teff", "logg", "mh", "vmic", "vsini", "vmac")
    )
    title = f"Smallest standard deviations at {named}, R = {found.resolution:,.0f}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("label")
    for snr in found.snr:
        table.add_column(f"S/N {snr:g}", justify="right")
    table.add_column("prior", justify="right")
    table.add_column("unit")
    units = found.record()["units"]
    for k, name in enumerate(found.names):
        cells = ["held"] * (len(found.snr) + 1)
        if name not in found.fixed:
            cells = [f"{value:.3g}" for value in (*found.errors[:, k], found.prior[k])]
        table.add_row(name, *cells, units[name])
    errors = "noise and errors of the synthetic spectra" if found.model_error else "noise alone, spectra known exactly"
    table.caption = f"S/N per 2.3 km/s, white noise; {errors}; continuum, velocity, zero level and R projected out"
    table.caption_justify = "left"
    return table


def _map(bound: Bound, model: Emulator, given: dict[str, float], snr: float, folder: Path) -> None:
    from maury.cli.console import out, progress
    from maury.evaluation.limits import limits_map, map_nodes, map_title, write_limits
    from maury.files import check_writable
    from maury.plots import plot_limits_map, save_figure

    check_writable(folder / "limits.ecsv")
    nodes = map_nodes(model)
    with progress() as bar:
        task = bar.add_task("stars", total=len(nodes))
        table = limits_map(bound, model, given, snr, nodes, lambda n: bar.advance(task, n))
    write_limits(table, folder / "limits.ecsv")
    errors = {name.removesuffix("_err"): table[name] for name in table.colnames if name.endswith("_err")}
    figure = plot_limits_map(table["teff"], table["logg"], errors, title=map_title(table.meta))
    for path in (folder / "limits.ecsv", *save_figure(figure, folder / "limits")):
        out.print(str(path))
