"""`maury calibrate`: do the errors of refined posteriors hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def calibrate(
    model: Annotated[str, typer.Argument(help="A packaged network, a run's folder or a network file.")] = "default",
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for calibration.json and figures.")] = Path(
        "calibration"
    ),
    stars: Annotated[int, typer.Option(min=20, help="Simulated stars with all errors.")] = 300,
    own_stars: Annotated[
        int, typer.Option(min=0, help="Stars whose errors are drawn from the likelihood itself; 0 for none.")
    ] = 300,
    bound_stars: Annotated[
        int, typer.Option(min=0, help="Stars with white noise alone, each at four S/N, beside the Cramer-Rao bound.")
    ] = 60,
    emulator: Annotated[str, typer.Option(help="The network's emulator.")] = "packaged",
    target_ess: Annotated[int, typer.Option(min=50, help="Effective samples of each star.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of stars and samples.")] = 11,
) -> None:
    """Test refined posteriors on simulated stars that no network has seen.

    Coverage of intervals by label, S/N, Teff, v sin i and R; ranks (simulation-based calibration); coverage about
    random points (TARP): of stars with all errors that the simulation knows, which are spread over pixels by rotation
    and instrument, and of stars whose errors are as the likelihood has them, independent from pixel to pixel. Factors
    that make error bars of catalogues sure (split conformal); and the scatter of stars with white noise as a ratio to
    the Cramer-Rao bound. About a second a star. What real stars are off by in addition is not in it: see the benchmark
    stars.

    Example: `maury calibrate default --stars 100 --bound-stars 20 --out calibration`
    """
    import json
    from functools import partial

    from maury import __version__
    from maury.cli.console import out, progress
    from maury.emulator import load as load_emulator
    from maury.evaluation.posterior import calibration_report
    from maury.evaluation.refined import judge_refined, refined_bound
    from maury.files import atomic_path, check_writable
    from maury.inference.refinement import digest_of
    from maury.likelihood import simulator_for
    from maury.networks import load_posterior
    from maury.plots import plot_bound, plot_coverage, plot_ranks, save_figure

    check_writable(output / "calibration.json")
    network, header = load_posterior(model)
    physics = load_emulator(emulator)
    simulator = simulator_for(header, physics)
    with progress() as bar:
        task = bar.add_task("simulated stars", total=stars)
        names, judged, extra = judge_refined(
            network, simulator, stars, _SAMPLES, seed, float(target_ess), partial(bar.advance, task)
        )
        own: dict[str, Any] = {}
        if own_stars:
            task = bar.add_task("the likelihood's own errors", total=own_stars)
            _, strict, more = judge_refined(
                network, simulator, own_stars, _OWN_SAMPLES, seed + 2, float(target_ess), partial(bar.advance, task),
                own_errors=True,
            )  # fmt: skip
            own = {"simulated": calibration_report(strict, names), **more}
        least: dict[str, Any] = {"labels": {}}
        if bound_stars:
            task = bar.add_task("Cramer-Rao bound", total=4 * bound_stars)
            least = refined_bound(network, physics, bound_stars, _SAMPLES, seed + 1, partial(bar.advance, task))
    calibration = calibration_report(judged, names)
    report = {
        "schema": 1, "maury": __version__, "model": model, "emulator": digest_of(emulator), "seed": seed,
        "simulated": calibration, **extra, "own_errors": own, "cramer_rao": least,
    }  # fmt: skip
    with atomic_path(output / "calibration.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    figures = {
        "coverage": plot_coverage(dict(zip(names, judged.rank.T, strict=True))),
        "ranks": plot_ranks({name: calibration["labels"][name]["sbc"]["counts"] for name in names}),
    }
    if bound_stars:
        figures["bound"] = plot_bound(least["labels"])
    paths = [path for name, figure in figures.items() for path in save_figure(figure, output / "figures" / name)]
    out.print(_table("all errors of the simulation", calibration, extra, least))
    if own:
        out.print(_table("errors as the likelihood has them", own["simulated"], own, {"labels": {}}))
    for path in (output / "calibration.json", *paths):
        out.print(str(path))


_SAMPLES = 2000
_OWN_SAMPLES = 500
"""Enough for ranks; what counts is the number of stars."""


def _table(what: str, calibration: dict[str, Any], extra: dict[str, Any], least: dict[str, Any]) -> Table:
    """One line per label: coverage, probability of the ranks, scatter over the bound at four S/N."""
    from rich import box
    from rich.table import Table

    nats = f"negative log density {calibration['nll']:.2f} nats a star"
    title = f"{calibration['n']:,} simulated stars, {what}, refined: {nats}"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("label")
    ratios = [f"/ bound, S/N {row['snr']:.0f}" for row in next(iter(least["labels"].values()), [])]
    for column in ("in 50 %", "in 68 %", "in 95 %", "ranks p", "conformal 68 %", *ratios):
        table.add_column(column, justify="right")
    for name, label in calibration["labels"].items():
        shares = [f"{share:.3f}" for share in label["coverage"].values()]
        scatter = [f"{row['scatter_ratio']:.2f}" for row in least["labels"].get(name, [])]
        factor = f"{extra['conformal'][name]['0.68']:.2f}"
        table.add_row(name, *shares, f"{label['sbc']['p']:.2g}", factor, *scatter)
    inside = ", ".join(f"{share:.3f} in {level}" for level, share in extra["tarp"]["coverage"].items())
    table.caption = (
        f"efficiency {extra['efficiency']:.0%}, median of {extra['effective']:.0f} effective samples; weights not "
        f"to be trusted for {extra['not_dependable']:.1%}; TARP: {inside}, p {extra['tarp']['p']:.2g}"
    )
    table.caption_justify = "left"
    return table
