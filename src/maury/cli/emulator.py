"""`maury emulator`: fit it to libraries, test it, choose what to synthesise next, make spectra with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maury.cli.library import read_shown

app = typer.Typer(help="The emulator: labels -> spectrum, in milliseconds.", no_args_is_help=True)

EmulatorFile = Annotated[str, typer.Option("--emulator", help='An emulator file, or "packaged".')]
Libraries = Annotated[list[str], typer.Argument(help="Library files (HDF5) or quoted glob patterns.")]


@app.command()
def fit(
    config: Annotated[Path, typer.Argument(help="Settings (TOML); see presets/emulator.toml in the package.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="The emulator to write (.safetensors).")],
    library: Annotated[
        list[str] | None,
        typer.Option("--library", help="Library file or pattern; may be repeated; replaces the config's."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder for checkpoints and logs [default: OUT.run].")] = None,
) -> None:
    """Fit an emulator to libraries of intrinsic spectra. A killed fit goes on where it was when run again.

    Stars are split by a hash of their labels: the test part is never touched in fitting, also when the library grows.

    Example: `maury emulator fit emulator.toml --library spc_library.h5 --library 'extension/*.h5' --out e.safetensors`
    """
    from maury.cli.console import out, progress
    from maury.config import EmulatorConfig, load_config
    from maury.errors import ConfigError
    from maury.files import check_writable
    from maury.training.emulator import fit_and_measure

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
def info(emulator: EmulatorFile = "packaged") -> None:
    """Say what an emulator is: labels and ranges, basis, training data, figures, size of its errors by region.

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
    libraries: Libraries,
    emulator: EmulatorFile = "packaged",
    output: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for emulator.json and figures.")] = None,
    resolution: Annotated[float, typer.Option(help="R = lambda / FWHM at which spectra are compared.")] = 42_000.0,
    recover: Annotated[
        bool, typer.Option(help="Also fit the test spectra with the emulator and compare labels.")
    ] = True,
) -> None:
    """Compare an emulator with the library stars that its fit never touched.

    Prints the rms error of the flux by Teff and, with --recover, the labels that come back from noise-free fits of the
    test spectra with all labels and the continuum free.

    Example: `maury emulator test spc_library.h5 'extension/*.h5' --out report`
    """
    from maury.cli.console import out, progress
    from maury.emulator import load
    from maury.evaluation.emulator import evaluate_emulator, report_tables

    model = load(emulator)
    with progress() as bar:
        library = read_shown(libraries, bar)
        result = evaluate_emulator(model, library, resolution, recover, bar)
    for table in report_tables(result):
        out.print(table)
    if output is not None:
        from maury.evaluation.emulator import write_report

        write_report(result, output)
        out.print(f"{output}/emulator.json and figures written")


@app.command()
def choose(
    output: Annotated[Path, typer.Option("--out", "-o", help="Table of labels to synthesise (CSV).")],
    count: Annotated[int, typer.Option(min=1, help="How many spectra to ask for.")] = 512,
    candidates: Annotated[int, typer.Option(min=1, help="How many candidates to choose from.")] = 8192,
    teff: Annotated[
        tuple[float, float] | None, typer.Option(help="Range of Teff (K) to choose from [default: the emulator's].")
    ] = None,
    emulator: EmulatorFile = "packaged",
    seed: Annotated[int, typer.Option(help="Seed of the candidates.")] = 1,
) -> None:
    """Choose labels at which the members of the ensemble disagree most: the spectra most worth synthesising next.

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
        Path, typer.Argument(help="CSV with the emulator's labels and vsini, such as teff, logg, mh ..., vsini.")
    ],
    resolution: Annotated[float, typer.Option("--resolution", "-R", help="R = lambda / FWHM, 5,000 to 115,000.")],
    output: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file: wavelength (Å, air), flux, labels.")],
    pixels: Annotated[
        int, typer.Option(help="Pixels over the emulator's window; of the packaged one 29788, or 7447: means of four.")
    ] = 29788,
    emulator: EmulatorFile = "packaged",
) -> None:
    """Write continuum-normalised spectra for a table of labels: rotation and instrument applied.

    Units: teff K, logg dex (cgs), mh and abundances [X/M] dex, vmic and vsini km/s.

    Example: `maury emulator spectra labels.csv --resolution 42000 --out spectra.h5`
    """
    from maury.cli.console import out, progress
    from maury.emulator import load
    from maury.emulator.tables import read_labels, write_spectra
    from maury.files import check_writable

    model = load(emulator)
    table = read_labels(labels, model)
    check_writable(output)
    with progress() as bar:
        task = bar.add_task("spectra", total=len(table))
        write_spectra(model, table, resolution, pixels, output, lambda n: bar.advance(task, n))
    out.print(f"{output}: {len(table)} spectra of {pixels} pixels at R = {resolution:,.0f}")


@app.command()
def star(
    output: Annotated[Path, typer.Option("--out", "-o", help="Spectrum to write (ECSV: wavelength, flux, sigma).")],
    teff: Annotated[float, typer.Option(help="K")] = 5772.0,
    logg: Annotated[float, typer.Option(help="dex, cgs")] = 4.44,
    mh: Annotated[float, typer.Option(help="[M/H], dex")] = 0.0,
    vmic: Annotated[float, typer.Option(help="microturbulence, km/s")] = 2.0,
    alpha: Annotated[float, typer.Option(help="[Mg/M] = [Ca/M] = [Ti/M], dex")] = 0.0,
    vsini: Annotated[float, typer.Option(help="km/s")] = 2.0,
    vmac: Annotated[float, typer.Option(help="radial-tangential macroturbulence, km/s")] = 4.0,
    resolution: Annotated[float, typer.Option("--resolution", "-R", help="R = lambda / FWHM")] = 44_000.0,
    snr: Annotated[
        float, typer.Option(help="Signal-to-noise ratio of the continuum per pixel of 0.01 Å.", min=1)
    ] = 50.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 1,
    emulator: EmulatorFile = "packaged",
) -> None:
    """Write a simulated star, normalised and at rest, with noise; its true labels stand in the file's header.

    Example: `maury emulator star --teff 6100 --vsini 12 --snr 80 --out star.ecsv`, then `maury predict star.ecsv`
    """
    from maury.cli.console import out
    from maury.emulator import load
    from maury.emulator.domain import require_fixed
    from maury.emulator.tables import columns, simulate_star
    from maury.labels import LabelSpace

    model = load(emulator)
    alphas = dict.fromkeys(("mg", "ca", "ti", "alpha"), alpha)
    given = {"teff": teff, "logg": logg, "mh": mh, "vmic": vmic, "vsini": vsini, **alphas}
    require_fixed(model, given, "star")
    LabelSpace.of(["vmac"]).require_inside([vmac], "star")
    simulate_star(model, [given.get(name, 0.0) for name in columns(model)], resolution, snr, seed, output, vmac)
    out.print(f"{output}: Teff {teff:g} K, log g {logg:g}, [M/H] {mh:g}, v sin i {vsini:g} km/s, S/N {snr:g}")
