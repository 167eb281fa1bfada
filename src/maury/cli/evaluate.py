"""`maury evaluate`: the errors of a trained network on test spectra; report.html, report.json, figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from maury.cli import options
from maury.progress import counted

if TYPE_CHECKING:
    from rich.table import Table

_SAMPLES, _BOUND_STARS = 499, 400


def evaluate(
    run: options.ModelArgument,
    output: Annotated[Path, options.out_folder("Folder for the report.")],
    grid: options.Grid = None,
    between: Annotated[
        int, options.of("N", "Spectra to make between the grid's nodes with the emulator; 0 for none.", min=0)
    ] = 2048,
    library: options.MoreLibraries = None,
    stars: Annotated[int, options.of("N", "Simulated stars to test a network with a posterior on.", min=200)] = 4000,
    emulator: options.EmulatorOfNetwork = None,
    seed: options.Seed = 1,
) -> None:
    """Measure a network's errors and write a report: report.html, report.json, figures as PNG and PDF.

    A network trained on a grid (--grid; default: the grid that it was trained on) is tested on the validation parts of
    the grid's random and block splits without any spectrum that it was trained on, on spectra between the nodes made
    with the emulator, and, with --library, on the off-node spectra of libraries. A network that gives a posterior is
    tested on new simulated observations: errors by Teff and S/N, coverage and ranks, and its scatter beside the
    Cramér-Rao bound, in posterior.json.

    Examples: `maury evaluate runs/founding --out report`

    `maury evaluate starnet-spc --grid spc.h5 --out report --library spc_library.h5`

    `maury evaluate runs/default --out report --stars 10000`
    """
    from maury.cli.console import note, out, progress, show_paths
    from maury.evaluation.figures import plan_figures
    from maury.evaluation.network import check_grid, find_grid, load_model, make_samples, why_not_between
    from maury.evaluation.report import make_report, write_report
    from maury.files import check_writable
    from maury.networks import is_posterior
    from maury.networks import load as load_network

    header = load_network(run)[1]
    if is_posterior(header):
        _evaluate_posterior(run, output, emulator or header["training"]["emulator"], stars, seed)
        return
    check_writable(output / "report.json")
    model = load_model(run)
    opened = find_grid(model, grid)
    notes = check_grid(model, opened)
    if between and emulator is None:
        reason = why_not_between(opened)
        if reason is not None:
            between = 0
            notes.append(f"No spectra between the nodes: {reason}.")
    for text in notes:
        note(text)
    with progress() as bar:
        samples = make_samples(
            model, opened, bar, between=between, seed=seed, emulator=emulator or "packaged", libraries=library or []
        )
        report = make_report(model.name, model.header, model.space, opened, samples, notes)
        drawings = plan_figures(report, samples, opened, model.history)
        paths = write_report(output, report, drawings, counted(bar, "figures", len(drawings)))
    for split in report["splits"].values():
        out.print(_table(split))
    show_paths(paths)


def _table(split: dict[str, Any]) -> Table:
    """One line per label of one set of spectra."""
    from maury.cli.console import table
    from maury.evaluation.figures import in_unit

    title = f"{split['title']}: MSE {split['mse']:.5f}, MAE {split['mae']:.4f} ({split['n']:,} spectra)"
    made = table(title, ["label"], ["bias", "scatter", "robust scatter", "95 % within"])
    for name, label in split["labels"].items():
        rest = [in_unit(label[key], label["unit"]) for key in ("scatter", "robust_scatter", "p95")]
        made.add_row(name, in_unit(label["bias"], label["unit"], sign=True), *rest)
    return made


def _evaluate_posterior(run: str, output: Path, emulator: str, stars: int, seed: int) -> None:
    from maury.cli.console import out, progress, show_paths
    from maury.cli.validate import write
    from maury.emulator import load as load_emulator
    from maury.evaluation import recovery
    from maury.files import check_writable
    from maury.likelihood import simulator_for
    from maury.networks import load_posterior

    check_writable(output / "posterior.json")
    network, header = load_posterior(run)
    simulator = simulator_for(header, load_emulator(emulator))
    with progress() as bar:
        recovered = recovery.recover(network, simulator, stars, _SAMPLES, seed, counted(bar, "simulated stars", stars))
        count = min(_BOUND_STARS, stars // 8)
        least = recovery.bound_report(
            network, simulator, count, _SAMPLES, seed + 1, counted(bar, "Cramér-Rao bound", len(recovery.BOUND_SNR))
        )
    calibration = recovery.calibration_report(recovered, network.config.labels)
    report = recovery.report(Path(run).name, header, emulator, seed, calibration, least)
    paths = write(output / "posterior.json", report, recovered, calibration, least)
    out.print(_posterior_table(calibration, least))
    show_paths(paths)


def _posterior_table(calibration: dict[str, Any], least: dict[str, Any]) -> Table:
    """One line per label: errors, coverage, probability of the ranks, scatter over the bound at S/N 100."""
    from maury.cli.console import table
    from maury.evaluation.figures import in_unit

    title = f"{calibration['n']:,} simulated stars: negative log density {calibration['nll']:.3f} nats a star"
    columns = ["bias", "scatter", "95 % within", "in 50 %", "in 68 %", "in 95 %", "ranks p", "/ bound"]
    made = table(title, ["label"], columns)
    for name, label in calibration["labels"].items():
        sizes = [in_unit(label[key], label["unit"]) for key in ("robust_scatter", "p95")]
        shares = [f"{share:.3f}" for share in label["coverage"].values()]
        ratio = next(row["scatter_ratio"] for row in least["labels"][name] if row["snr"] == 100)
        bias = in_unit(label["bias"], label["unit"], sign=True)
        made.add_row(name, bias, *sizes, *shares, f"{label['sbc']['p']:.2g}", f"{ratio:.2f}")
    return made
