"""`maury emulator`: fit it to libraries, test it, choose what to synthesise next, make spectra with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maury.cli import options
from maury.cli.library import read_shown
from maury.progress import counted

app = typer.Typer(help="The emulator: labels -> spectrum, in milliseconds.", no_args_is_help=True)


@app.command()
def fit(
    config: Annotated[Path, typer.Argument(metavar="TOML", help="Settings; see presets/emulator.toml in the package.")],
    output: Annotated[Path, options.out_file("The emulator to write (.safetensors).")],
    library: options.MoreLibraries = None,
    run: Annotated[Path | None, options.of("FOLDER", "Folder for checkpoints and logs [default: OUT.run].")] = None,
) -> None:
    """Fit an emulator to libraries of intrinsic spectra. An interrupted fit resumes with the same command.

    Libraries given with --library replace those of the settings. Stars are split by a hash of their labels: the test
    part is never used in fitting, even when the library grows.

    Example: `maury emulator fit emulator.toml --library spc_library.h5 --library 'extension/*.h5' --out e.safetensors`
    """
    from maury.cli.console import out, progress
    from maury.config import load_config
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.training.emulator_fit import fit_and_measure
    from maury.training.recipes import EmulatorConfig

    settings = load_config(config, EmulatorConfig)
    sources = library or settings.libraries
    if not sources:
        raise ConfigError(f"{config}: libraries is empty; name files there or with --library")
    check_writable(output)
    with progress() as bar:
        spectra = read_shown(sources, bar)
        emulator = fit_and_measure(spectra, settings, run or output.with_suffix(".run"), bar)
    emulator.save(output)
    figures = emulator.header["figures"]
    out.print(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, fitted to {emulator.header['training']['stars']} spectra"
    )
    for name, value in figures.items():
        out.print(f"  validation, R = 42,000, {name}: {value:.4f}")


@app.command()
def info(emulator: options.Emulator = "packaged") -> None:
    """Describe an emulator: labels and ranges, basis, training data, accuracy, errors by region.

    Example: `maury emulator info --emulator mine.safetensors`
    """
    from itertools import pairwise

    import numpy as np
    from rich.table import Table

    from maury.cli.console import out
    from maury.emulator import MAX_RESOLUTION, load
    from maury.emulator.accuracy import window
    from maury.emulator.errormap import MH_EDGES, TEFF_EDGES
    from maury.labels import LABELS

    model = load(emulator)
    members, components = len(model.networks.biases[0]), len(model.basis)
    wave = model.grid.wavelength_aa[[0, -1]]
    limit = min(MAX_RESOLUTION, model.native_resolution)
    out.print(
        f"{components} components, ensemble of {members}, {wave[0]:.2f} to {wave[1]:.2f} Å (air), R up to {limit:,.0f}"
    )
    out.print(f"for {model.window_aa[0]:g} to {model.window_aa[1]:g} Å; beyond lie margins for broadening")
    for part in ("training", "figures"):
        for name, value in model.header.get(part, {}).items():
            out.print(f"{part}: {name} = {value}")
    labels = Table("label", "unit", "lowest", "highest", title="Domain")
    for row in zip(model.space.names, model.space.units, model.space.lower, model.space.upper, strict=True):
        labels.add_row(row[0], row[1], f"{row[2]:g}", f"{row[3]:g}")
    for name, value in model.fixed.items():
        labels.add_row(name, LABELS[name].unit, f"{value:g}", "fixed")
    out.print(labels)
    if model.errors is not None:
        table = Table("Teff (K)", *[f"[M/H] {a:g} to {b:g}" for a, b in pairwise(MH_EDGES)])
        table.title = f"Rms error of flux on validation stars (number of stars), R = {model.errors.resolution:,.0f}"
        rms = model.errors.rms[..., window(model.errors.grid, model.window_aa)].square().mean(-1).sqrt().numpy()
        for i, (low, high) in enumerate(pairwise(TEFF_EDGES)):
            cells = [
                f"{value:.4f} ({int(n)})" for value, n in zip(np.atleast_1d(rms[i]), model.errors.stars[i], strict=True)
            ]
            table.add_row(f"{low:g} to {high:g}", *cells)
        out.print(table)


@app.command("test")
def compare(
    libraries: options.Libraries,
    emulator: options.Emulator = "packaged",
    output: Annotated[Path | None, options.out_folder("Folder for emulator.json and figures.")] = None,
    resolution: options.ResolutionOfModel = 42_000.0,
    recover: Annotated[bool, options.of("", "Also fit the test spectra with the emulator and compare labels.")] = True,
) -> None:
    """Compare an emulator with library stars that were not used in its fit.

    Prints the rms error of the flux by Teff and, with --recover, the labels recovered by noise-free
    fits of the test spectra with all labels and the continuum free.

    Example: `maury emulator test spc_library.h5 'extension/*.h5' --out report`
    """
    from maury.cli.console import out, progress
    from maury.emulator import load
    from maury.evaluation.emulator_errors import evaluate_emulator, report_tables

    model = load(emulator)
    with progress() as bar:
        library = read_shown(libraries, bar)
        result = evaluate_emulator(model, library, resolution, recover, bar)
    for table in report_tables(result):
        out.print(table)
    if output is not None:
        from maury.evaluation.emulator_errors import write_report

        write_report(result, output)
        out.print(f"{output}/emulator.json and figures written")


@app.command()
def choose(
    output: Annotated[Path, options.out_file("Table of labels to synthesise (CSV).")],
    count: Annotated[int, options.of("N", "Spectra to choose.", min=1)] = 512,
    candidates: Annotated[int, options.of("N", "Candidates to choose from.", min=1)] = 8192,
    teff: Annotated[
        options.Range | None, options.of("LOW HIGH", "Range of Teff to choose from, K [default: that of the emulator].")
    ] = None,
    emulator: options.Emulator = "packaged",
    seed: options.Seed = 1,
) -> None:
    """Choose labels at which the members of the ensemble disagree most, to synthesise next.

    Example: `maury emulator choose --count 512 --teff 3500 4500 --out wanted.csv`
    """
    from maury.cli.console import out
    from maury.emulator import load
    from maury.emulator.design import choose_labels, write_label_table

    model = load(emulator)
    chosen, disagreement = choose_labels(model, count, candidates, teff, seed)
    write_label_table(chosen, output, model.space.names)
    out.print(f"{output}: {len(chosen)} rows; rms disagreement {disagreement.min():.4f} to {disagreement.max():.4f}")


@app.command()
def spectra(
    labels: Annotated[
        Path,
        typer.Argument(metavar="CSV", help="Table with the emulator's labels and vsini: teff, logg, mh ..., vsini."),
    ],
    resolution: options.ResolutionOfModel,
    output: Annotated[Path, options.out_file("HDF5 file: wavelength (Å, air), flux, labels.")],
    pixels: Annotated[
        int, options.of("N", "Pixels over the emulator's window; for packaged 29788, or 7447: means of four.")
    ] = 29788,
    emulator: options.Emulator = "packaged",
) -> None:
    """Write continuum-normalised spectra for a table of labels: rotation and instrument applied.

    Units: teff K, logg dex (cgs), mh and abundances [X/M] dex, vmic and vsini km/s.

    Example: `maury emulator spectra labels.csv --resolution 42000 --out spectra.h5`
    """
    from maury.cli.console import out, progress
    from maury.emulator import load
    from maury.emulator.label_tables import read_labels, write_spectra
    from maury.files import check_writable

    model = load(emulator)
    table = read_labels(labels, model)
    check_writable(output)
    with progress() as bar:
        write_spectra(model, table, resolution, pixels, output, counted(bar, "spectra", len(table)))
    out.print(f"{output}: {len(table)} spectra of {pixels} pixels at R = {resolution:,.0f}")


@app.command()
def star(
    output: Annotated[Path, options.out_file("Spectrum to write (ECSV: wavelength, flux, sigma).")],
    teff: Annotated[float, options.of_star("K", "Effective temperature.")] = 5772.0,
    logg: Annotated[float, options.of_star("DEX", "Surface gravity log g, cgs.")] = 4.44,
    mh: options.Metallicity = 0.0,
    vmic: Annotated[float, options.of_star("KM/S", "Microturbulence.")] = 2.0,
    alpha: options.Alpha = 0.0,
    vsini: options.Vsini = 2.0,
    vmac: options.Vmac = 4.0,
    resolution: options.ResolutionOfModel = 44_000.0,
    snr: Annotated[
        float, options.of_spectrum("", "Signal-to-noise ratio of the continuum per pixel of 0.01 Å.", min=1)
    ] = 50.0,
    seed: options.Seed = 1,
    emulator: options.Emulator = "packaged",
) -> None:
    """Write a simulated star, normalised and at rest, with noise; its true labels are in the file's header.

    Example: `maury emulator star --teff 6100 --vsini 12 --snr 80 --out star.ecsv`, then `maury predict star.ecsv`
    """
    from maury.cli.console import out
    from maury.emulator import load
    from maury.emulator.domain import require_fixed
    from maury.emulator.label_tables import columns, simulate_star
    from maury.labels import LabelSpace

    model = load(emulator)
    given = options.star(teff, logg, mh, vmic, alpha, vsini, None)
    require_fixed(model, given, "star")
    LabelSpace.of(["vmac"]).require_inside([vmac], "star")
    simulate_star(model, [given.get(name, 0.0) for name in columns(model)], resolution, snr, seed, output, vmac)
    out.print(f"{output}: Teff {teff:g} K, log g {logg:g}, [M/H] {mh:g}, v sin i {vsini:g} km/s, S/N {snr:g}")
