"""`maury validate`: simulation-based calibration of refined posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from maury.cli import options
from maury.files import write_text
from maury.progress import counted

if TYPE_CHECKING:
    from rich.table import Table

_SAMPLES = 2000
_OWN_SAMPLES = 500
"""Enough for ranks; what counts is the number of stars."""


def validate(
    model: options.ModelArgument = "default",
    output: Annotated[Path, options.out_folder("Folder for calibration.json and figures.")] = Path("calibration"),
    stars: Annotated[int, options.of("N", "Simulated stars with all errors.", min=20)] = 300,
    own_stars: Annotated[
        int, options.of("N", "Stars whose errors are drawn from the likelihood itself; 0 for none.", min=0)
    ] = 300,
    bound_stars: Annotated[
        int, options.of("N", "Stars with white noise alone, each at four S/N, for the Cramér-Rao bound.", min=0)
    ] = 60,
    target_ess: Annotated[int, options.of("N", "Target effective sample size of each star.", min=50)] = 400,
    emulator: options.Emulator = "packaged",
    seed: options.Seed = 11,
) -> None:
    """Test refined posteriors on simulated stars that no network has seen (simulation-based calibration).

    Reports the coverage of intervals by label, S/N, Teff, v sin i and R, ranks, and coverage about random points
    (TARP), for two sets of stars: with all errors of the simulation, which rotation and instrument correlate between
    pixels, and with errors drawn from the likelihood, independent between pixels. Also factors that guarantee the
    coverage of a catalogue's intervals (split conformal), and the scatter of stars with white noise as a ratio to the
    Cramér-Rao bound. Takes about a second per star. Systematic errors of real stars are not included: see the benchmark
    stars.

    Example: `maury validate default --stars 100 --bound-stars 20 --out calibration`
    """
    from maury import __version__
    from maury.cli.console import out, progress, show_paths
    from maury.emulator import load as load_emulator
    from maury.evaluation.recovery import calibration_report
    from maury.evaluation.refined import recover_refined, refined_bound
    from maury.files import check_writable
    from maury.inference.refinement import digest_of
    from maury.likelihood import simulator_for
    from maury.networks import load_posterior

    check_writable(output / "calibration.json")
    network, header = load_posterior(model)
    physics = load_emulator(emulator)
    simulator = simulator_for(header, physics)
    with progress() as bar:
        names, recovered, extra = recover_refined(
            network, simulator, stars, _SAMPLES, seed, float(target_ess), counted(bar, "simulated stars", stars)
        )
        own: dict[str, Any] = {}
        if own_stars:
            step = counted(bar, "the likelihood's own errors", own_stars)
            _, strict, more = recover_refined(
                network, simulator, own_stars, _OWN_SAMPLES, seed + 2, float(target_ess), step, own_errors=True
            )
            own = {"simulated": calibration_report(strict, names), **more}
        least: dict[str, Any] = {"labels": {}}
        if bound_stars:
            least = refined_bound(
                network, physics, bound_stars, _SAMPLES, seed + 1, counted(bar, "Cramér-Rao bound", 4 * bound_stars)
            )
    calibration = calibration_report(recovered, names)
    report = {
        "schema": 1, "maury": __version__, "model": model, "emulator": digest_of(emulator), "seed": seed,
        "simulated": calibration, **extra, "own_errors": own, "cramer_rao": least,
    }  # fmt: skip
    paths = write(output / "calibration.json", report, recovered, calibration, least)
    out.print(_table("all errors of the simulation", calibration, extra, least))
    if own:
        out.print(_table("errors drawn from the likelihood", own["simulated"], own, {"labels": {}}))
    show_paths(paths)


def write(
    path: Path, report: dict[str, Any], recovered: Any, calibration: dict[str, Any], bound: dict[str, Any]
) -> list[Path]:
    """Write a report of posteriors as JSON, and its figures in a folder beside it.

    ``calibration`` is that of `maury.evaluation.recovery.calibration_report`; ``bound`` has no labels if not asked for.
    """
    import json

    from maury.plots import plot_bound, plot_coverage, plot_ranks, save_figure

    write_text(path, json.dumps(report, indent=1, allow_nan=False) + "\n")
    labels = calibration["labels"]
    figures = {
        "coverage": plot_coverage(dict(zip(labels, recovered.rank.T, strict=True))),
        "ranks": plot_ranks({name: label["sbc"]["counts"] for name, label in labels.items()}),
    }
    if bound["labels"]:
        figures["bound"] = plot_bound(bound["labels"])
    folder = path.parent / "figures"
    return [path, *(made for name, figure in figures.items() for made in save_figure(figure, folder / name))]


def _table(what: str, calibration: dict[str, Any], extra: dict[str, Any], least: dict[str, Any]) -> Table:
    """One line per label: coverage, probability of the ranks, scatter over the bound at four S/N."""
    from maury.cli.console import table

    inside = ", ".join(f"{share:.3f} in {level}" for level, share in extra["tarp"]["coverage"].items())
    ratios = [f"/ bound, S/N {row['snr']:.0f}" for row in next(iter(least["labels"].values()), [])]
    made = table(
        f"{calibration['n']:,} simulated stars, {what}, refined: negative log density "
        f"{calibration['nll']:.2f} nats a star",
        ["label"],
        ["in 50 %", "in 68 %", "in 95 %", "ranks p", "conformal 68 %", *ratios],
        f"efficiency {extra['efficiency']:.0%}, median of {extra['effective']:.0f} effective samples; unreliable "
        f"weights for {extra['unreliable_weights']:.1%}; TARP: {inside}, p {extra['tarp']['p']:.2g}",
    )
    for name, label in calibration["labels"].items():
        shares = [f"{share:.3f}" for share in label["coverage"].values()]
        scatter = [f"{row['scatter_ratio']:.2f}" for row in least["labels"].get(name, [])]
        factor = f"{extra['conformal'][name]['0.68']:.2f}"
        made.add_row(name, *shares, f"{label['sbc']['p']:.2g}", factor, *scatter)
    return made
