"""`maury explain`: which pixels and lines speak for which label, to the physics and to a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maury.cli import star

if TYPE_CHECKING:
    from rich.table import Table

    from maury.evaluation.explain import Explanation

_MARKED = 40


def explain(
    label: Annotated[list[str], typer.Option(help="The label, such as teff, mg_fe or alpha; may be repeated.")],
    teff: star.Teff = None,
    logg: star.Logg = None,
    mh: star.Metallicity = 0.0,
    vmic: star.Vmic = None,
    alpha: star.Alpha = 0.0,
    vsini: star.Vsini = 3.0,
    vmac: star.Macroturbulence = 3.0,
    resolution: star.Resolution = 44_000.0,
    snr: Annotated[float, typer.Option(help="S/N of the continuum per 2.3 km/s")] = 100.0,
    fix: star.Fixed = None,
    model_error: star.ModelError = False,
    model: Annotated[
        str, typer.Option(help="A network with a posterior: a packaged one, a run's folder or a file.")
    ] = "default",
    emulator: Annotated[
        str | None, typer.Option(help="The physics: an emulator file [default: the one of the network's training].")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Ranges of pixels in the table.")] = 15,
    realisations: Annotated[int, typer.Option(min=1, help="Noisy spectra over which the network is averaged.")] = 64,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for LABEL.ecsv, LABEL.json and figures LABEL.png, .pdf.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise and samples.")] = 1,
) -> None:
    """Which pixels speak for a label of a star: the physics beside a network.

    The physics: the best linear estimator from the emulator's derivatives, with what the other labels, continuum,
    velocity, zero level and resolution could explain projected out (`maury limits`). The network: the gradient of its
    posterior's median by the flux, averaged over noisy spectra. Both are changes of the label per change of a pixel;
    shares are those of the estimate's variance by noise. Lines are named from a table of strong ones.

    Example: `maury explain --label teff --label mg_fe --teff 5000 --logg 3 --snr 100 --out explained`
    """
    import json
    from functools import partial

    from maury.cli.console import err, out, progress
    from maury.emulator import load as load_emulator
    from maury.evaluation.explain import can_tell, explain, require_label
    from maury.evaluation.limits import Bound, star_labels
    from maury.files import check_writable
    from maury.labels import named
    from maury.likelihood import simulator_for
    from maury.networks import load_posterior

    label = [named(name) for name in label]
    for name in label if output is not None else ():
        check_writable(output / f"{name}.ecsv")  # type: ignore[operator]
    network, header = load_posterior(model)
    physics = load_emulator(emulator or header["training"]["emulator"])
    simulator = simulator_for(header, physics)
    bound = Bound(simulator, min(resolution, simulator.pixels.resolution), fix or (), model_error)
    given = star.others(mh, vmic, alpha, vsini, vmac) | star.place(teff, logg)
    labels = star_labels(physics, simulator, given)
    for name in label:
        require_label(bound, name)
        if not can_tell(network, name):
            err.print(f"[yellow]note:[/] {model} does not give {name}: the physics alone is shown")
    with progress() as bar:
        task = bar.add_task("noisy spectra", total=realisations * sum(can_tell(network, name) for name in label))
        step = partial(bar.advance, task)
        found = [explain(bound, labels, name, snr, network, realisations, seed, step) for name in label]
    if as_json:
        out.print(json.dumps([one.record() for one in found], indent=1), markup=False, soft_wrap=True)
    for one in found:
        if not as_json:
            out.print(_table(one, count))
        if output is not None:
            paths = _write(one, count, output)
            if not as_json:
                for path in paths:
                    out.print(str(path))


def _table(found: Explanation, count: int) -> Table:
    from rich import box
    from rich.table import Table

    from maury.evaluation.explain import strongest
    from maury.evaluation.figures import in_unit

    title = f"{found.label}: smallest error {in_unit(found.error, found.unit)} at S/N {found.snr:g} per 2.3 km/s"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("Å", justify="right")
    for column in ("physics %", "network %"):
        table.add_column(column, justify="right")
    table.add_column("brighter: label")
    table.add_column("lines")
    for row in strongest(found, count):
        network = "" if found.network is None else f"{row['network']:.1f}"
        table.add_row(f"{row['wavelength']:.2f}", f"{row['physics']:.1f}", network, row["brighter"], row["lines"])
    if found.network is not None:
        response = found.network.response.get(found.label)
        table.caption = (
            f"network: noise {in_unit(found.network.noise, found.unit)}"
            + ("" if response is None else f", answers a change of 1 with {response:.2f}")
            + f"; cosine with the physics {found.agreement:.2f}"
        )
        table.caption_justify = "left"
    return table


def _write(found: Explanation, count: int, folder: Path) -> list[Path]:
    """Write the table and the figure of one label."""
    from maury.evaluation.explain import marked_lines, strongest, title_of
    from maury.evaluation.limits import write_limits
    from maury.plots import plot_explanation, save_figure

    path = folder / f"{found.label}.ecsv"
    write_limits(strongest(found, count), path)
    weights = {"physics": found.physics.weight}
    if found.network is not None:
        weights["network"] = found.network.weight
    figure = plot_explanation(
        found.wavelength_aa, found.flux, weights, found.label, lines=marked_lines(found, _MARKED), title=title_of(found)
    )
    return [path, *save_figure(figure, folder / found.label)]
