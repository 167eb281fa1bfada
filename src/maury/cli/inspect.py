"""`maury inspect`: what a spectrum file holds, and where each number came from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_MANY = 10
"""Files from which on a progress bar is shown; fewer are read in under two seconds."""


def _show(summary: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from maury.cli.console import out
    from maury.readers.summary import in_words

    table = Table(title=escape(str(summary["file"])), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in in_words(summary):
        table.add_row(f"[yellow]{label}[/]" if label == "warning" else label, escape(text))
    out.print(table)


def inspect(
    files: Annotated[list[str], typer.Argument(help="Spectra: FITS, HDF5 or text.")],
    wavelength_file: Annotated[Path | None, typer.Option(help="Wavelengths, for files that hold none.")] = None,
    sigma_file: Annotated[Path | None, typer.Option(help="Noise, for files that hold none.")] = None,
    resolution: Annotated[float | None, typer.Option(help="R = lambda / FWHM; overrides the header.")] = None,
    wavelength_unit: Annotated[
        str | None, typer.Option(help="angstrom, nm, um, m, log10 or ln; overrides the file.")
    ] = None,
    medium: Annotated[str | None, typer.Option(help="air or vacuum; overrides the file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one entry per file.")] = False,
) -> None:
    """Show what spectrum files hold and by which rule each number was found.

    Goes on after a file that cannot be read, names all of them at the end and exits with code 2.

    Example: `maury inspect star.fits` or `maury inspect --json *.fits`
    """
    import json

    from maury.cli.console import fail, progress
    from maury.errors import FormatError
    from maury.readers import WINDOW_AA, read
    from maury.readers.summary import summarise

    results: list[dict[str, Any]] = []
    with progress() as bar:
        task = bar.add_task("reading", total=len(files), visible=len(files) >= _MANY)
        for name in files:
            try:
                observation = read(
                    name,
                    wavelength_file=wavelength_file,
                    sigma_file=sigma_file,
                    resolution=resolution,
                    wavelength_unit=wavelength_unit,
                    medium=medium,  # type: ignore[arg-type]
                )
                results.append(summarise(observation, WINDOW_AA))
            except FormatError as error:
                results.append({"file": name, "error": " ".join(str(error).split())})
            bar.advance(task)
    failed = [result for result in results if "error" in result]
    if as_json:
        typer.echo(json.dumps(results, indent=1))
    for result in results:
        if "error" in result:
            fail(result["error"])
        elif not as_json:
            _show(result)
    if failed:
        if len(files) > 1:
            fail(f"{len(failed)} of {len(files)} files could not be read: {', '.join(f['file'] for f in failed)}")
        raise typer.Exit(2)
