"""`maury explain`: which pixels and lines speak for which label, to the physics and to a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from maury.cli import options
from maury.progress import counted

if TYPE_CHECKING:
    from rich.table import Table

    from maury.evaluation.explain import Explanation

_MARKED = 40


def explain(
    label: Annotated[list[str], options.of("LABEL", "The label to explain, such as teff, mg_fe or alpha. Repeatable.")],
    teff: options.Teff = None,
    logg: options.Logg = None,
    mh: options.Metallicity = 0.0,
    vmic: options.Vmic = None,
    alpha: options.Alpha = 0.0,
    vsini: options.Vsini = 3.0,
    vmac: options.Vmac = 3.0,
    fix: options.Fixed = None,
    resolution: options.ResolutionOfModel = 44_000.0,
    snr: Annotated[float, options.of_spectrum("", f"{options.SNR}.")] = 100.0,
    model: options.Model = "default",
    emulator: options.EmulatorOfNetwork = None,
    model_error: options.ModelError = False,
    realisations: Annotated[int, options.of_model("", "Noisy spectra over which the network is averaged.", min=1)] = 64,
    seed: options.Seed = 1,
    count: Annotated[int, options.of_output("", "Ranges of pixels in the table.", min=1)] = 15,
    output: Annotated[
        Path | None,
        options.out_folder("Folder for LABEL.ecsv, figures LABEL.png and .pdf, of elements LABEL-lines.png and .pdf."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Which pixels constrain a label of a star, according to the physics and to a network.

    The physics: the best linear estimator from the emulator's derivatives, orthogonal to the other labels, continuum,
    velocity, zero level and resolution (`maury limits`). The network: the gradient of its posterior's median with
    respect to the flux, averaged over noisy spectra. Both are changes of the label per change of a pixel; shares are of
    the variance that noise causes in the estimate. Lines are named from a table of strong ones.

    Example: `maury explain --label teff --label mg_fe --teff 5000 --logg 3 --snr 100 --out explained`
    """
    from maury.cli.console import note, out, progress, show_json, show_paths
    from maury.emulator import load as load_emulator
    from maury.errors import DomainError
    from maury.evaluation.bound import pixel_sigma
    from maury.evaluation.explain import explain, has_label, require_label
    from maury.evaluation.limits import Bound, star_labels
    from maury.files import check_writable
    from maury.inference.posterior import ELEMENTS
    from maury.labels import named
    from maury.likelihood import simulator_for
    from maury.networks import load_posterior
    from maury.plots import plot_model_lines, save_figure

    label = [named(name) for name in label]
    for name in label if output is not None else ():
        check_writable(output / f"{name}.ecsv")  # type: ignore[operator]
    network, header = load_posterior(model)
    physics = load_emulator(emulator or header["training"]["emulator"])
    simulator = simulator_for(header, physics)
    bound = Bound(simulator, min(resolution, simulator.pixels.resolution), fix or (), model_error)
    labels = star_labels(physics, simulator, options.star(teff, logg, mh, vmic, alpha, vsini, vmac))
    for name in label:
        require_label(bound, name)
        if not has_label(network, name):
            note(f"{model} does not give {name}: the physics alone is shown")
    with progress() as bar:
        step = counted(bar, "noisy spectra", realisations * sum(has_label(network, name) for name in label))
        found = [explain(bound, labels, name, snr, network, realisations, seed, step) for name in label]
    if as_json:
        show_json([one.record() for one in found])
    for one in found:
        if not as_json:
            out.print(_table(one, count))
        paths = [] if output is None else _write(one, count, output)
        if output is not None and one.label in ELEMENTS:
            sigma, star = pixel_sigma(simulator, snr), labels[0].double()
            try:
                figure = plot_model_lines(simulator, star, one.label, sigma, bound.resolution)
                paths += save_figure(figure, output / f"{one.label}-lines")
            except DomainError as error:
                note(str(error))
        show_paths([] if as_json else paths)


def _table(found: Explanation, count: int) -> Table:
    from maury.cli.console import table
    from maury.evaluation.explain import strongest
    from maury.evaluation.figures import in_unit

    caption = None
    if found.network is not None:
        response = found.network.response.get(found.label)
        caption = (
            f"network: noise {in_unit(found.network.noise, found.unit)}"
            + ("" if response is None else f", answers a change of 1 with {response:.2f}")
            + f"; cosine with the physics {found.agreement:.2f}"
        )
    title = f"{found.label}: smallest error {in_unit(found.error, found.unit)} at S/N {found.snr:g} per 2.3 km/s"
    made = table(title, right=["Å", "physics %", "network %"], caption=caption)
    made.add_column("brighter: label")
    made.add_column("lines")
    for row in strongest(found, count):
        network = "" if found.network is None else f"{row['network']:.1f}"
        made.add_row(f"{row['wavelength']:.2f}", f"{row['physics']:.1f}", network, row["brighter"], row["lines"])
    return made


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
