"""`maury lines`: check a line list, calibrate its log gf on standard stars, put calibrated values into a list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Line lists in VALD's short format.", no_args_is_help=True)

ListFile = Annotated[Path, typer.Argument(metavar="LIST", help="Line list, VALD 'extract all, short format'.")]


@app.command()
def check(
    path: ListFile,
    window: Annotated[
        tuple[float, float], typer.Option(metavar="FIRST LAST", help="Wavelengths of the spectra wanted, Å air.")
    ] = (5050.0, 5350.0),
    as_json: Annotated[bool, typer.Option("--json", help="JSON for programs.")] = False,
) -> None:
    """Look for gaps, missing damping, duplicates, disorder and implausible log gf in a line list.

    Example: `maury lines check mgb.lin --window 5050 5350`
    """
    import json
    from dataclasses import asdict

    from rich.table import Table

    from maury.cli.console import out
    from maury.lines import check_lines, read_line_file, species_table

    lines = read_line_file(path)
    findings, species = check_lines(lines, window), species_table(lines)
    if as_json:
        out.print_json(
            json.dumps(
                {
                    "file": str(path),
                    "lines": len(lines),
                    "wavelength_aa": [float(lines.wavelength_aa.min()), float(lines.wavelength_aa.max())],
                    "findings": [asdict(finding) for finding in findings],
                    "species": species,
                }
            )
        )
        return
    wave = lines.wavelength_aa
    out.print(f"[bold]{len(lines)} lines[/] of {len(species)} species, {wave.min():.2f} to {wave.max():.2f} Å (air)")
    table = Table("check", "found", "what it means", "the first of them", title="Findings")
    for finding in findings:
        colour = "green" if not finding.count else "red" if finding.serious else "yellow"
        table.add_row(finding.name, f"[{colour}]{finding.count}[/]", finding.meaning, "\n".join(finding.examples[:3]))
    out.print(table)
    table = Table("species", "lines", "radiative", "Stark", "van der Waals", "log gf", title="Lines with damping")
    for row in species[:20]:
        low, high = row["loggf"]
        table.add_row(
            row["species"], *(str(row[k]) for k in ("lines", "radiative", "stark", "waals")), f"{low:.2f} to {high:.2f}"
        )
    out.print(table)
    if len(species) > 20:
        out.print(f"and {len(species) - 20} species with fewer lines (all with --json)")


@app.command()
def apply(
    path: ListFile,
    changes: Annotated[Path, typer.Argument(help="Table of changes (ECSV) that `maury lines calibrate` wrote.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="The new list.")],
) -> None:
    """Put calibrated values into the list that they were made for; all other bytes stay.

    Example: `maury lines apply mgb.lin changes.ecsv --out mgb_cal.lin`
    """
    from maury.cli.console import out
    from maury.files import atomic_path, check_writable
    from maury.lines import apply_changes, read_changes, read_line_file

    check_writable(output)
    lines, table = read_line_file(path), read_changes(changes)
    new = apply_changes(lines, table)
    with atomic_path(output) as temporary:
        temporary.write_bytes(new)
    out.print(f"{output}: {len(table.table)} of {len(lines)} lines changed one by one, molecules by {table.terms}")


@app.command()
def calibrate(
    settings: Annotated[Path, typer.Argument(help="Settings (TOML): list, atmospheres, stars; paths from its folder.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that synthesise.")] = 1,
    cross_validate: Annotated[
        bool, typer.Option("--cross-validate", help="Also calibrate without each star in turn, and look at that star.")
    ] = False,
) -> None:
    """Fit log gf to standard stars, within the error of each source, and tell what moved and what stays unexplained.

    Writes changes.ecsv (for `maury lines apply`), unexplained.ecsv, calibration.json and a figure.

    Example: `maury lines calibrate docs/results/lines/calibrate.toml --out calibration --workers 2`
    """
    from rich.table import Table

    from maury.cli.console import out, progress
    from maury.evaluation.lines import write_calibration
    from maury.files import check_writable
    from maury.lines import read_line_file
    from maury.lines.calibrate import Calibration, calibrate, count_spectra
    from maury.lines.judge import judge
    from maury.lines.settings import load_calibration
    from maury.synthesis import Workers, read_atmospheres, read_lines

    config = load_calibration(settings)
    check_writable(output / "calibration.json")
    lines, atmospheres = read_line_file(config.list), read_atmospheres(config.atmospheres)
    with Workers(workers) as pool, progress() as bar:
        table = read_lines(config.list, pool)
        task = bar.add_task("synthesising", total=count_spectra(config, table, cross_validate))
        run = Calibration(config, lines, table, atmospheres, pool, lambda n: bar.advance(task, n))
        responses = {star.name: run.respond(star) for star in config.stars}
        outcome = calibrate(run, responses)
        verdicts = judge(run, outcome, responses, cross_validate)
        summary = write_calibration(run, outcome, responses, verdicts, output)
    shown = Table(
        "star", "role", "before %", "after %", "left out %", "Teff", "log g", "[M/H]", title="Robust residuals"
    )
    for row in summary["stars"]:
        left, offsets = row["left_out"], row["after"]["offsets"]
        shown.add_row(
            row["star"],
            row["role"],
            f"{100 * row['before']['robust']:.2f}",
            f"{100 * row['after']['robust']:.2f}",
            f"{100 * left['robust']:.2f}" if left else "",
            f"{offsets['teff']:+.0f} K",
            f"{offsets['logg']:+.2f}",
            f"{offsets['mh']:+.2f}",
        )
    out.print(shown)
    out.print(
        f"{summary['unexplained']['ranges']} ranges unexplained, {summary['unexplained']['aa']:.1f} Å; see {output}"
    )
