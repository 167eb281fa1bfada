"""`maury library`: look at and join libraries of intrinsic spectra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maury.cli import imports, options
from maury.progress import counted

if TYPE_CHECKING:
    import numpy as np
    from rich.progress import Progress
    from rich.table import Table

    from maury.library import Library

app = typer.Typer(help="Libraries of intrinsic synthetic spectra (no rotation, no instrument).", no_args_is_help=True)


@app.command()
def info(files: options.Libraries) -> None:
    """Check libraries and describe them: spectra, wavelengths, range of each label, counts by Teff and [M/H].

    Example: `maury library info spc_library.h5 'extension/*.h5'`
    """
    import numpy as np
    from rich.table import Table

    from maury.cli.console import out
    from maury.labels import LABELS
    from maury.library import NODE, read_libraries

    library = read_libraries(files)
    nodes = int((library.kind == NODE).sum())
    wave = library.wavelength_aa
    out.print(f"[bold]{len(library)} spectra[/] from {len(library.sources)} file(s)")
    if nodes:
        out.print(f"{nodes} nodes of the SPC grid, {len(library) - nodes} off-node")
    out.print(f"{wave[0]:.2f} to {wave[-1]:.2f} Å (air), {wave.size} pixels, step {np.median(np.diff(wave)):.6f} Å")
    for key, value in library.attributes.items():
        out.print(f"{key}: {str(value).splitlines()[0] if str(value) else ''}")
    labels = Table("label", "unit", "lowest", "median", "highest", title="Labels")
    for name, column in zip(library.names, library.labels.T, strict=True):
        labels.add_row(
            name, LABELS[name].unit, f"{column.min():.2f}", f"{np.median(column):.2f}", f"{column.max():.2f}"
        )
    out.print(labels)
    if {"teff", "mh"} <= set(library.names):
        out.print(_counts(library))


def _counts(library: Library) -> Table:
    """Spectra by Teff (rows) and [M/H] (columns), with totals."""
    from itertools import pairwise

    import numpy as np
    from rich.table import Table

    def edges(values: np.ndarray, inner: Sequence[float]) -> list[float]:
        low, high = float(values.min()), float(values.max())
        return [low, *(edge for edge in inner if low < edge < high), high]

    teff, mh = library.column("teff"), library.column("mh")
    t_edges = edges(teff, [4000, 4500, 5000, 5500, 6000, 7000, 8000])
    m_edges = edges(mh, [-2, -1.5, -1, -0.5, 0])
    upper = [t_edges[-1] + 0.1, m_edges[-1] + 1e-3]  # the highest values belong to the last bins
    counts = np.histogram2d(teff, mh, [[*t_edges[:-1], upper[0]], [*m_edges[:-1], upper[1]]])[0].astype(int)
    table = Table(
        "Teff (K)",
        *[f"{low:g} to {high:.1f}" for low, high in pairwise(m_edges)],
        "all",
        title="Spectra by Teff and [M/H]",
    )
    for low, high, row in zip(t_edges[:-1], t_edges[1:], counts, strict=True):
        table.add_row(f"{low:g} to {high:.0f}", *map(str, row), str(row.sum()))
    return table


@app.command("import")
def import_(
    kind: imports.Kind,
    sources: imports.Sources,
    output: Annotated[Path, options.out_file("The library to write (HDF5).")],
    window: options.Window = (5050.0, 5350.0),
    step: imports.Step = None,
    resolution: imports.Resolution = None,
    native_resolution: imports.NativeResolution = None,
    medium: options.Medium = None,
    labels: options.LabelTable = None,
    wavelength_file: imports.WavelengthFile = None,
) -> None:
    """Import public or own synthetic spectra as a library, to which an emulator can be fitted.

    Like `maury grid import`, without rotation; the files have to reach 280 km/s (5 Å at 5200 Å) beyond the window.

    Example: `maury library import phoenix PHOENIX/ --window 5050 5350 --out phoenix.h5`, then `maury emulator fit`
    """
    from maury.cli.console import out
    from maury.grids.importers import import_library
    from maury.library import read_library

    settings = {"kind": kind, "window": window, "step": step, "resolution": resolution,
                "native_resolution": native_resolution, "medium": medium}  # fmt: skip
    imports.run_import(import_library, output, sources, settings, labels, wavelength_file)
    library = read_library(output)
    size, names = output.stat().st_size / 1e6, ", ".join(library.names)
    out.print(
        f"{output}: {len(library):,} spectra of {library.wavelength_aa.size:,} pixels, labels {names}, {size:.1f} MB"
    )


@app.command()
def merge(
    files: options.Libraries,
    output: Annotated[Path, options.out_file("The merged library (HDF5).")],
) -> None:
    """Join several libraries on one wavelength grid into one file; spectra with identical labels are kept once.

    Example: `maury library merge spc_library.h5 'extension/*.h5' --out all.h5`
    """
    from maury.cli.console import out, progress
    from maury.files import check_writable
    from maury.library import write_library

    check_writable(output)
    with progress() as bar:
        library = read_shown(files, bar)
    write_library(library, output)
    out.print(f"{output}: {len(library)} spectra from {len(library.sources)} file(s)")


def read_shown(patterns: Sequence[str], bar: Progress) -> Library:
    """Read libraries into one, counting their files on a progress bar."""
    from maury.library import expand, read_libraries

    paths = expand(patterns)
    return read_libraries(paths, counted(bar, "reading", len(paths)))
