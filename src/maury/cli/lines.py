"""`maury lines`: check, convert and merge line lists, calibrate log gf on standard stars, apply calibrated values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maury.cli import options
from maury.files import write_text
from maury.progress import counted

if TYPE_CHECKING:
    from maury.lines.calibrate import Calibration
    from maury.lines.calibration_settings import CalibrateConfig
    from maury.lines.convert import Converted
    from maury.synthesis import LineList

app = typer.Typer(help="Line lists in VALD's short format.", no_args_is_help=True)

ListFile = Annotated[Path, typer.Argument(metavar="LIST", help="Line list, VALD 'extract all, short format'.")]


@app.command()
def check(
    path: ListFile,
    window: options.Window = (5050.0, 5350.0),
    as_json: options.AsJson = False,
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
    output: Annotated[Path, options.out_file("The new list.")],
) -> None:
    """Put calibrated values into a list; all other bytes stay.

    In another list than the one they were made for, lines are found by species, wavelength, energy and old log gf; the
    changes whose line is missing are listed.

    Example: `maury lines apply mgb.lin changes.ecsv --out mgb_cal.lin`
    """
    from maury.cli.console import out
    from maury.files import atomic_path, check_writable
    from maury.lines import apply_changes, read_changes, read_line_file, without_partner

    check_writable(output)
    lines, table = read_line_file(path), read_changes(changes)
    new = apply_changes(lines, table)
    with atomic_path(output) as temporary:
        temporary.write_bytes(new)
    missing = without_partner(lines, table)
    changed = len(table.table) - len(missing)
    out.print(f"{output}: {changed} of {len(lines)} lines changed one by one, molecules by {table.terms}")
    _show_missing(missing, len(table.table))


def _show_missing(missing: Any, count: int) -> None:
    """List the changes that found no line."""
    from maury.cli.console import note, out

    if len(missing):
        note(f"{len(missing)} of {count} changes found no line in this list:")
    for row in missing:
        out.print(f"{row['species']} {row['wavelength']:.3f} Å, {row['excitation']:.3f} eV: {row['change']:+.2f} dex")


@app.command()
def convert(
    path: Annotated[Path, typer.Argument(metavar="IN", help="Line list; for ExoMol the .states file.")],
    kind: Annotated[str, options.of("NAME", "gaia-eso, turbospectrum, moog, kurucz or exomol.", "--format")],
    output: Annotated[Path, options.out_file("The list in VALD's short format.")],
    window: Annotated[options.Range | None, options.of("LOW HIGH", "Lines to take, Å in air [default: all].")] = None,
    isotopes: Annotated[
        str,
        options.of("FILE|solar|scaled", "Isotopic fractions: CSV (element, mass, fraction); scaled: log gf has them."),
    ] = "solar",
    medium: options.Medium = None,
    unit: Annotated[
        str | None, options.of("UNIT", "Unit of the wavelengths, if not the format's: nm, 1/cm.", "--wavelength-unit")
    ] = None,
) -> None:
    """Convert a line list of Gaia-ESO, Turbospectrum, MOOG, Kurucz or ExoMol to VALD's short format.

    Wavelengths become Å in air, energies eV, and log gf is scaled by isotopic fractions. What is missing is listed.

    Example: `maury lines convert gf0600.100 --format kurucz --window 5985 6270 --out kurucz.lin`
    """
    from maury.files import check_writable
    from maury.lines.convert import convert
    from maury.lines.isotopes import FRACTIONS, read_fractions

    check_writable(output)
    known = {"solar": FRACTIONS, "scaled": None}
    fractions = known[isotopes] if isotopes in known else read_fractions(isotopes)
    _write_list(convert(path, kind, window, fractions, medium, unit), output)


@app.command()
def merge(
    first: Annotated[Path, typer.Argument(metavar="A", help="Line list in VALD's short format.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    output: Annotated[Path, options.out_file("The merged list.")],
    gf: Annotated[str, options.of("a|b", "List whose log gf, components and wavelengths count.")] = "a",
    damping: Annotated[str, options.of("a|b", "List whose damping counts, where it has some.")] = "a",
) -> None:
    """Merge two line lists: each transition once, found by species, wavelength and energy.

    Transitions whose log gf differ by over 1 dex between the lists are named.

    Example: `maury lines merge gaia-eso.lin kurucz.lin --gf a --damping b --out merged.lin`
    """
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.lines import read_line_file
    from maury.lines.convert import merge

    for name, value in (("gf", gf), ("damping", damping)):
        if value not in ("a", "b"):
            raise ConfigError(f"{name} {value!r}: must be a or b", parameter=name)
    check_writable(output)
    _write_list(merge(read_line_file(first), read_line_file(second), gf, damping), output)  # type: ignore[arg-type]


def _write_list(made: Converted, output: Path) -> None:
    """Write a list, and print its range and what there is to know."""
    from maury.cli.console import note, out

    write_text(output, made.text, encoding="latin-1")
    for text in made.notes:
        note(text)
    out.print(f"{output}: {made.lines:,} lines, {made.span_aa[0]:.2f} to {made.span_aa[1]:.2f} Å (air)")


Config = Annotated[Path, typer.Argument(help="Settings (TOML): list, atmospheres, stars; paths from its folder.")]
Folder = Annotated[Path, options.out_folder("Folder of the results.")]


@app.command()
def calibrate(
    settings: Config,
    output: Folder,
    workers: options.Workers = 1,
    validate: Annotated[
        bool, typer.Option("--cross-validate", help="Also calibrate without each star in turn, and look at that star.")
    ] = False,
) -> None:
    """Fit log gf to standard stars, within the error of each source, and list what moved and what stays unexplained.

    Writes changes.ecsv (for `maury lines apply`), unexplained.ecsv, stars.json and a figure. Derivatives of each star
    are kept in the folder: after an interruption the same command resumes.

    Example: `maury lines calibrate docs/results/lines/calibrate.toml --out calibration --workers 2`
    """
    from maury.evaluation.calibrated_lines import write_calibrated, write_verdicts
    from maury.files import check_writable
    from maury.lines.calibrate import calibrate, count_spectra
    from maury.lines.calibration_settings import load_calibration
    from maury.lines.judge import cross_validate, judge
    from maury.lines.kept import all_responses

    config = load_calibration(settings)
    check_writable(output / "changes.ecsv")
    with _running(config, workers, lambda table: count_spectra(config, table, True, validate)) as run:
        responses = all_responses(run, output)
        outcome = calibrate(run, responses)
        moved = write_calibrated(run, outcome, responses, output)
        verdicts = judge(run, outcome.change, responses, cross_validate(run, responses) if validate else None)
        summary = write_verdicts(run, verdicts, responses, output, moved, outcome.at_bound)
    _show(summary, output)
    _warn(config, moved)


@app.command("judge")
def judge_changes(
    settings: Config,
    changes: Annotated[Path, typer.Argument(help="Table of changes (ECSV).")],
    output: Folder,
    workers: options.Workers = 1,
) -> None:
    """Compare stars with their models before and after changes: residuals, labels fitted back, what is unexplained.

    Writes unexplained.ecsv, stars.json and a figure.

    Example: `maury lines judge calibrate.toml changes.ecsv --out judged`
    """
    from maury.evaluation.calibrated_lines import write_verdicts
    from maury.files import check_writable
    from maury.lines import change_of, read_changes, without_partner
    from maury.lines.calibrate import count_spectra
    from maury.lines.calibration_settings import load_calibration
    from maury.lines.judge import judge
    from maury.lines.kept import all_responses

    config, table = load_calibration(settings), read_changes(changes)
    check_writable(output / "stars.json")
    with _running(config, workers, lambda lines: count_spectra(config, lines, False, False)) as run:
        change = change_of(run.lines, table)
        _show_missing(without_partner(run.lines, table), len(table.table))
        responses = all_responses(run, output)
        verdicts = judge(run, change, responses)
        summary = write_verdicts(run, verdicts, responses, output, {"molecules": table.terms})
    _show(summary, output)


@contextmanager
def _running(config: CalibrateConfig, workers: int, count: Callable[[LineList], int]) -> Iterator[Calibration]:
    """Inputs read, processes started, a progress bar over the spectra to be made."""
    from maury.cli.console import progress
    from maury.lines import read_line_file
    from maury.lines.calibrate import Calibration
    from maury.synthesis import Workers, read_atmospheres, read_lines

    lines, atmospheres = read_line_file(config.list), read_atmospheres(config.atmospheres)
    with Workers(workers) as pool, progress() as bar:
        table = read_lines(config.list, pool)
        cool = read_lines(config.cool_lines, pool) if config.cool_lines else None
        yield Calibration(config, lines, table, atmospheres, pool, counted(bar, "synthesising", count(table)), cool)


def _warn(config: CalibrateConfig, moved: dict[str, Any]) -> None:
    """Print how many transitions are at their bound, and whether the anchor kept its labels."""
    from maury.cli.console import note, out

    at_bound, transitions = (sum(row[key] for row in moved["moves"]) for key in ("at_bound", "transitions"))
    if at_bound:
        sources = ", ".join(f"{row['source']} {row['at_bound']}" for row in moved["moves"] if row["at_bound"])
        note(
            f"{at_bound} of {transitions} transitions are at their bound of {config.bound:g} widths ({sources}): "
            "their widths may be too small, or lines are missing beside them"
        )
    anchor = moved["anchor"]
    last = ", ".join(f"{name} {value:+.3g}" for name, value in anchor["offsets"][-1].items())
    iterations = len(anchor["offsets"])
    if anchor["holds"]:
        out.print(f"{config.anchor} holds after {iterations} iterations: {last}")
    else:
        note(
            f"the labels of {config.anchor}, fitted back, are off after {iterations} iterations: {last}. "
            "Set iterations higher, or look for missing lines in unexplained.ecsv"
        )


def _show(summary: dict[str, Any], folder: Path) -> None:
    from rich.table import Table

    from maury.cli.console import out

    columns = ("star", "role", "before %", "after %", "left out %", "Teff", "log g", "[M/H]")
    table = Table(*columns, title="Robust residuals; labels fitted back less literature")
    for row in summary["stars"]:
        without, offsets = row["left_out"], row["after"]["offsets"]
        table.add_row(
            row["star"],
            row["role"],
            f"{100 * row['before']['robust']:.2f}",
            f"{100 * row['after']['robust']:.2f}",
            f"{100 * without['robust']:.2f}" if without else "",
            f"{offsets['teff']:+.0f} K",
            f"{offsets['logg']:+.2f}",
            f"{offsets['mh']:+.2f}",
        )
    out.print(table)
    unexplained = summary["unexplained"]
    out.print(f"{unexplained['ranges']} ranges unexplained, {unexplained['aa']:.1f} Å; see {folder}")
