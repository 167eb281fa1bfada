"""`maury model-error`, `physics-errors`, `systematic-errors`: errors measured on standard stars of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from typer import Argument, Exit

from maury.cli import options
from maury.files import write_json, write_text
from maury.progress import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from maury.inference.refinement import RefinementModel
    from maury.standards import Standard

Found = TypeVar("Found")

Table = Annotated[
    Path,
    Argument(
        metavar="STANDARDS",
        help="CSV with the columns file, star, resolution, teff, logg, mh, e_teff ... and options of reading.",
    ),
]
Nodes = Annotated[
    list[float] | None,
    options.of("K", "Temperatures of the table [default: those of the packaged one in the emulator's range]."),
]


def model_error(
    table: Table,
    emulator: options.Emulator = "packaged",
    nodes: Nodes = None,
    output: Annotated[Path, options.out_file("Settings for maury train --model-error (TOML).")] = Path(
        "model-error.toml"
    ),
) -> None:
    """Measure how wrong model spectra are on standard stars, for the simulation that trains a network.

    Each spectrum is prepared; observed minus template beyond the noise gives the error between lines and in deep ones.
    Its dependence on Teff and [M/H] is fitted. Stars whose labels miss teff or mh are left out by name.

    Example: `maury model-error standards.csv --emulator mine.safetensors --out model-error.toml`
    """
    import numpy as np

    from maury import __version__
    from maury.cli.console import out, show_paths
    from maury.config import to_toml
    from maury.emulator import NetworkPixels, load
    from maury.files import check_writable
    from maury.standards import fit_levels, measure_model_error, read_standards
    from maury.standards.model_error import default_nodes

    check_writable(output)
    model, stars = load(emulator), read_standards(table)
    pixels = NetworkPixels.of(model)
    rows = _each(stars, lambda star: measure_model_error(star, model, pixels))
    fitted = fit_levels(rows, default_nodes(model) if nodes is None else np.array(sorted(nodes)))
    for star in sorted(rows, key=lambda row: float(row["teff"])):
        known = star["level"] == star["level"]
        errors = f"between lines {star['level']:.2%}, of the depth {star['line']:.1%}" if known else "below the noise"
        out.print(f"{star['star']}: {star['teff']:.0f} K, {errors}", markup=False)
    head = f"# maury model-error {table.name} {__version__}: {fitted.stars} spectra\n"
    write_text(output, head + to_toml(fitted.settings))
    report = output.with_suffix(".json")
    plain = [{key: None if value != value else value for key, value in star.items()} for star in rows]
    write_json(report, {"fit": fitted.settings, "stars": plain})
    show_paths([output, report])
    _end(len(stars) - len(rows))


def physics_errors(
    run: options.ModelArgument,
    table: Table,
    emulator: options.Emulator = "packaged",
    output: Annotated[Path | None, options.out_folder("Folder for the report [default: RUN/physics-errors].")] = None,
) -> None:
    """Measure the errors of lines on standard stars; refinement with this network then uses them.

    Each star is refined without such knowledge; residuals of slow rotators of 4600 to 6800 K, averaged over stars, give
    the error of the physics at each wavelength in units of the usual one. As a test each star is refined again with the
    errors that the *other* stars give. Dwarfs of 3500 to 5200 K with labels of the literature (log g above 4) give
    corrections, with which dwarfs below 4500 K are then measured relative to them. Writes
    RUN/physics-errors.safetensors, RUN/cool-dwarfs.safetensors, and a report with a figure. Of a packaged network all
    goes to the report.

    Example: `maury physics-errors runs/window standards.csv --emulator mine.safetensors`
    """
    from maury.cli.console import out, progress, show_paths
    from maury.inference.cool_dwarfs import PACKAGED as DWARFS
    from maury.likelihood.profile import PACKAGED
    from maury.plots import plot_cool_dwarfs, plot_physics_errors, save_figure
    from maury.standards import (
        compare,
        compare_dwarfs,
        dwarf_table,
        factors,
        fit_star,
        measure_cool_dwarfs,
        read_standards,
        save_factors,
        summary,
    )

    folder = _report_folder(run, output, "physics-errors")
    physics, stars = _physics(run, emulator), read_standards(table)
    fits = _each(stars, lambda star: fit_star(star, physics, run, emulator))
    wavelength, factor = physics.coordinates.simulator.pixels.wavelength_aa, factors(fits)
    with progress() as bar:
        rows = compare(fits, physics, run, counted(bar, "refined with the errors of the others", len(fits)))
    text, dwarfs, of_dwarfs, figures = summary(rows), measure_cool_dwarfs(fits, physics), [], []
    beside = folder if _is_packaged(run) else _own(run, PACKAGED).parent
    written = [beside / PACKAGED.name]
    voters = save_factors(written[0], wavelength, factor, fits)
    if dwarfs is not None:
        written.append(beside / DWARFS.name)
        dwarfs.save(written[-1])
        with progress() as bar:
            of_dwarfs = compare_dwarfs(
                fits, dwarfs, run, emulator, counted(bar, "cool dwarfs corrected by the others", len(fits))
            )
        figures = save_figure(plot_cool_dwarfs(wavelength, dwarfs.log_ratio, dwarfs.names), folder / "cool-dwarfs")
    report = {"voters": voters, "stars": rows, "cool_dwarfs": of_dwarfs}
    write_json(folder / "physics-errors.json", report)
    texts = {"table.md": text} | ({"cool-dwarfs.md": dwarf_table(of_dwarfs)} if of_dwarfs else {})
    for name, content in texts.items():
        write_text(folder / name, content)
    written += [folder / name for name in ("physics-errors.json", *texts)]
    out.print(text, f"{len(voters)} stars count: {', '.join(voters)}", markup=False)
    figures = [*figures, *save_figure(plot_physics_errors(wavelength, factor), folder / "physics-errors")]
    show_paths([*written, *figures])
    _end(len(stars) - len(fits))


def systematic_errors(
    run: options.ModelArgument,
    table: Table,
    emulator: options.Emulator = "packaged",
    output: Annotated[
        Path | None, options.out_folder("Folder for the report [default: RUN/systematic-errors].")
    ] = None,
) -> None:
    """Fit the systematic errors of labels to standard stars; results with this network then include them.

    The scatter of fit minus literature that neither statistical errors nor those of the literature explain, as a
    function of Teff and [M/H]. Stars whose labels are not of the literature (labels_verified: false) do not count. Each
    star is left out in turn and asked whether it lies within its own error. Writes RUN/systematic-errors.json, and a
    report. Of a packaged network only the report is written.

    Example: `maury systematic-errors runs/window standards.csv --emulator mine.safetensors`
    """
    from maury.cli.console import note, out, show_paths
    from maury.likelihood.systematics import PACKAGED
    from maury.standards import of_labels, predicted, read_standards

    folder = _report_folder(run, output, "systematic-errors")
    _physics(run, emulator)
    stars = [star for star in read_standards(table) if star.verified]
    spectra = _each(stars, lambda star: predicted(star, run, emulator))
    stored, report = of_labels(spectra)
    for name, label in report.items():
        if not label["stars"]:
            note(f"{name}: no star with a value of the literature; the error is a guess")
        sizes = ", ".join(f"{size:.3g}" for size in stored["size"][name])
        inside = f"{label['within_own_68_percent']:.0%} within their own error, left out" if label["stars"] else ""
        out.print(f"{name}: {sizes} at {stored['teff_k']} K; {label['stars']} stars {inside}", markup=False)
    files = {folder / PACKAGED.name: stored | {"labels": report, "spectra": [row for _, row, _, _ in spectra]}}
    if not _is_packaged(run):
        files[_own(run, PACKAGED)] = stored
    for path, content in files.items():
        write_json(path, content)
    show_paths(files)
    _end(len(stars) - len(spectra))


def _each(stars: list[Standard], measure: Callable[[Standard], Found]) -> list[Found]:
    """What is found for each spectrum, with progress; those that cannot be used are named."""
    from maury.cli.console import fail, progress
    from maury.standards import measured

    with progress() as bar:
        return measured(stars, measure, fail, counted(bar, "spectra", len(stars)))


def _end(failed: int) -> None:
    """Exit code 2 where spectra could not be used, as of other verbs for many files."""
    if failed:
        raise Exit(2)


def _physics(run: str, emulator: str) -> RefinementModel:
    """What refinement needs.

    Raises:
        DomainError: the network was not trained with the emulator, or gives no posterior.
    """
    from maury.errors import DomainError
    from maury.inference.refinement import physics_of

    physics = physics_of(run, emulator, False)
    if physics is None:
        raise DomainError(
            f"{run}: errors of real stars need a network with posterior, trained with emulator {emulator}"
        )
    return physics


def _own(run: str, packaged: Path) -> Path:
    """File beside a network of the same name as the packaged one."""
    from maury.networks import find

    return find(run).parent / packaged.name


def _is_packaged(run: str) -> bool:
    from maury.checkpoints import MODELS
    from maury.networks import find

    return find(run).parent == MODELS


def _report_folder(run: str, output: Path | None, name: str) -> Path:
    from maury.files import check_writable

    folder = output or (Path(name) if _is_packaged(run) else _own(run, Path(name)))
    check_writable(folder / "report.json")
    return folder
