"""`maury inspect`: what a spectrum file holds, and where each number came from."""

from __future__ import annotations

from typing import Any

from maury.cli import options

_MANY = 10
"""Files from which on a progress bar is shown; fewer are read in under two seconds."""


def inspect(
    files: options.Files,
    resolution: options.Resolution = None,
    wavelength_file: options.WavelengthFile = None,
    sigma_file: options.SigmaFile = None,
    wavelength_unit: options.WavelengthUnit = None,
    medium: options.Medium = None,
    extension: options.Extension = None,
    row: options.Row = None,
    fibre: options.Fibre = None,
    order: options.Order = None,
    ignore_sigma: options.IgnoreSigma = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what spectrum files hold and by which rule each number was found.

    A file that cannot be read does not stop the others: it is named at the end and the exit code is 2.

    Example: `maury inspect star.fits` or `maury inspect --json *.fits`
    """
    from maury.cli.console import progress, show_failures, show_json
    from maury.errors import FormatError
    from maury.readers import WINDOW_AA, read
    from maury.readers.summary import summarise

    hints: dict[str, Any] = {
        "resolution": resolution, "wavelength_file": wavelength_file, "sigma_file": sigma_file, "medium": medium,
        "wavelength_unit": wavelength_unit, "extension": extension, "row": row, "fibre": fibre, "order": order,
        "ignore_sigma": ignore_sigma,
    }  # fmt: skip
    results: list[dict[str, Any]] = []
    with progress(len(files) >= _MANY) as bar:
        for name in bar.track(files, description="reading"):
            try:
                results.append(summarise(read(name, **hints), WINDOW_AA))
            except FormatError as error:
                results.append({"file": str(name), "error": " ".join(str(error).split())})
    if as_json:
        show_json(results)
    show_failures(results, None if as_json else _show)


def _show(summary: dict[str, Any]) -> None:
    from rich.markup import escape

    from maury.cli.console import facts, out
    from maury.readers.summary import in_words

    table = facts(str(summary["file"]))
    for label, text in in_words(summary):
        table.add_row(f"[yellow]{label}[/]" if label == "warning" else label, escape(text))
    out.print(table)
