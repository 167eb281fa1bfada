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
    from maury.files import check_writable
    from maury.lines import apply_changes, read_changes, read_line_file, write_text

    check_writable(output)
    lines, table = read_line_file(path), read_changes(changes)
    write_text(apply_changes(lines, table), output)
    out.print(f"{output}: {len(table.table)} of {len(lines)} lines changed")
