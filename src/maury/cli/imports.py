"""What `maury grid import` and `maury library import` share: finding the files, progress, the list of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument

from maury.cli import options
from maury.progress import counted

if TYPE_CHECKING:
    from maury.grids.importers import Survey

Kind = Annotated[
    str,
    Argument(
        help="Kind of the files: phoenix, atlas, bosz, pollux, ambre, ferre, turbospectrum, moog, hdf5, zarr, library, "
        "or files (any that maury inspect reads, with --labels)."
    ),
]
Sources = Annotated[list[str], Argument(metavar="SOURCE...", help="Folders, files or quoted glob patterns.")]
Step = Annotated[float | None, options.of("ANGSTROM", "Width of a pixel, flux conserved [default: that of the files].")]
Resolution = Annotated[float | None, options.resolution("Degrade the spectra to this nominal resolving power.")]
NativeResolution = Annotated[
    float | None, options.of("R", "Resolving power of the files, if they do not give it [default: infinite].")
]
WavelengthFile = Annotated[
    Path | None, options.of("FILE", "Wavelengths of phoenix or bosz, if not beside the spectra.")
]
_SHOWN = 20


def rotations(text: str | None) -> tuple[float, ...]:
    """Numbers with commas between.

    Raises:
        ConfigError: something else.
    """
    from maury.errors import ConfigError

    try:
        return tuple(float(word) for word in (text or "").split(",") if word.strip())
    except ValueError as error:
        raise ConfigError(f"--vsini {text}: must be numbers with commas between, as in 0,5,10") from error


def run_import(
    write: Callable[..., list[str]],
    output: Path,
    sources: Sequence[str],
    settings: dict[str, Any],
    labels: Path | None,
    wavelength_file: Path | None,
) -> None:
    """Survey the files, list what is missing or wrong, and write.

    ``write`` is `maury.grids.importers.import_grid` or `import_library`.
    """
    from maury.cli.console import fail, note, progress
    from maury.config import make_config
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.grids.importers import ImportConfig, ImportProblemsError, make_family, survey

    config = make_config(settings, ImportConfig, "options")
    family = make_family(config.kind, wavelength_file)
    if labels is None and not family.tells_labels:
        raise ConfigError(f"{config.kind}: give a table of labels with --labels")
    check_writable(output)
    try:
        with progress() as bar:
            paths = family.find(sources)
            found = survey(family, paths, labels, counted(bar, "labels", len(paths)))
            _list_missing(found)
            notes = write(output, family, found, config, sources, counted(bar, "spectra", len(found.entries)))
    except ImportProblemsError as error:
        for problem in error.problems:
            fail(problem)
        raise typer.Exit(2) from error
    for text in notes:
        note(text)


def _list_missing(found: Survey) -> None:
    """List the nodes of the tensor grid of all values that have no spectrum."""
    from maury.cli.console import err, note

    if found.missing is None:
        note("the labels are scattered: no grid of nodes")
        return
    for node in found.missing[:_SHOWN]:
        values = ", ".join(f"{name} {value:g}" for name, value in zip(found.names, node, strict=True))
        err.print(f"[yellow]missing:[/] {values}", markup=True)
    if len(found.missing):
        total = len(found.missing) + len(found.entries)
        err.print(f"{len(found.missing):,} of {total:,} nodes are missing; the file lists them")
