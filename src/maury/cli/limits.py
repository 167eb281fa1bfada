"""`maury limits`: the smallest errors that a spectrum allows, for one star or over the Kiel diagram."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from maury.cli import options
from maury.progress import counted

if TYPE_CHECKING:
    from rich.table import Table

    from maury.emulator import Emulator
    from maury.evaluation.limits import Bound, Limits

_SHOWN = ("teff", "logg", "mh", "vmic", "vsini", "vmac")


def limits(
    teff: options.Teff = None,
    logg: options.Logg = None,
    mh: options.Metallicity = 0.0,
    vmic: options.Vmic = None,
    alpha: options.Alpha = 0.0,
    vsini: options.Vsini = 3.0,
    vmac: options.Vmac = 3.0,
    fix: options.Fixed = None,
    resolution: options.ResolutionOfModel = 44_000.0,
    snr: Annotated[list[float] | None, options.of_spectrum("", f"{options.SNR} [default: 100]. Repeatable.")] = None,
    emulator: options.Emulator = "packaged",
    model_error: options.ModelError = False,
    map_folder: Annotated[
        Path | None,
        options.of_output(
            "FOLDER", "Folder for maps over Teff and log g: limits.ecsv, limits.png, limits.pdf.", "--map"
        ),
    ] = None,
    output: Annotated[Path | None, options.out_file("Table to write (.ecsv).")] = None,
    as_json: options.AsJson = False,
) -> None:
    """The Cramér-Rao bound: the smallest standard deviation of each label that a spectrum of the window allows.

    All labels of the emulator are free except those of --fix. Continuum, radial velocity, zero level and resolution
    are uncertain as in the simulation, and projected out. Labels that the spectrum does not constrain are bounded by
    the simulation's prior. No unbiased method can do better, unless it knows more (--fix).

    Examples: `maury limits --teff 5800 --logg 4.4 --mh 0 --vsini 3 --resolution 44000 --snr 50 --snr 100 --fix logg`

    `maury limits --map maps --mh -0.5 --resolution 110000 --snr 100`
    """
    from maury.cli.console import out, show_json
    from maury.emulator import load
    from maury.errors import ConfigError
    from maury.evaluation.limits import Bound, limits, simulator_at, star_labels, write_limits
    from maury.files import check_writable

    given = options.star(teff, logg, mh, vmic, alpha, vsini, vmac)
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
    found = limits(bound, star_labels(model, bound.simulator, given), levels)
    if as_json:
        show_json(found.record())
    else:
        out.print(_table(found))
    if output is not None:
        write_limits(found.table(), output)
        if not as_json:
            out.print(f"{output}: {len(found.names)} rows")


def _table(found: Limits) -> Table:
    from maury.cli.console import table

    named = ", ".join(f"{name} {found.star[name]:g}" for name in found.names if name in _SHOWN)
    errors = "noise and errors of the synthetic spectra" if found.model_error else "noise alone, spectra known exactly"
    made = table(
        f"Smallest standard deviations at {named}, R = {found.resolution:,.0f}",
        ["label"],
        [*(f"S/N {snr:g}" for snr in found.snr), "prior"],
        f"S/N per 2.3 km/s, white noise; {errors}; continuum, velocity, zero level and R projected out",
    )
    made.add_column("unit")
    units = found.record()["units"]
    for k, name in enumerate(found.names):
        cells = ["held"] * (len(found.snr) + 1)
        if name not in found.fixed:
            cells = [f"{value:.3g}" for value in (*found.errors[:, k], found.prior[k])]
        made.add_row(name, *cells, units[name])
    return made


def _map(bound: Bound, model: Emulator, given: dict[str, float], snr: float, folder: Path) -> None:
    from maury.cli.console import progress, show_paths
    from maury.evaluation.limits import limits_map, map_nodes, map_title, write_limits
    from maury.files import check_writable
    from maury.plots import plot_limits_map, save_figure

    check_writable(folder / "limits.ecsv")
    nodes = map_nodes(model)
    with progress() as bar:
        table = limits_map(bound, model, given, snr, nodes, counted(bar, "stars", len(nodes)))
    write_limits(table, folder / "limits.ecsv")
    errors = {name.removesuffix("_err"): table[name] for name in table.colnames if name.endswith("_err")}
    figure = plot_limits_map(table["teff"], table["logg"], errors, title=map_title(table.meta))
    show_paths([folder / "limits.ecsv", *save_figure(figure, folder / "limits")])
