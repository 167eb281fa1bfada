"""`maury predict`: spectra in, stellar parameters out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from maury.inference import Result

_DIGITS = {"teff": 0, "vsini": 1}
_UNITS = {"teff": "K", "vsini": "km/s"}


def predict(
    files: Annotated[list[Path], typer.Argument(help="Spectra of any supported format.")],
    resolution: Annotated[
        float | None, typer.Option("--resolution", "-R", help="R = lambda / FWHM, where the file does not tell it.")
    ] = None,
    model: Annotated[str, typer.Option(help="A packaged network, a run's folder or a network file.")] = "starnet-spc",
    velocity: Annotated[
        float | None,
        typer.Option(help="Radial velocity in the file's wavelengths, km/s, when known; else looked for in -500..500."),
    ] = None,
    wavelength_file: Annotated[Path | None, typer.Option(help="Wavelengths, for files that hold none.")] = None,
    sigma_file: Annotated[Path | None, typer.Option(help="Noise, for files that hold none.")] = None,
    emulator: Annotated[
        str, typer.Option(help="Templates of the preparation: a file, for a network of another window.")
    ] = "packaged",
    samples: Annotated[
        int, typer.Option(min=10, help="Samples of the posterior, from a network that gives one.")
    ] = 4000,
    samples_output: Annotated[
        Path | None, typer.Option("--samples-out", help="HDF5 file for the samples of all stars.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Table to write; .ecsv, .fits, .csv or .vot by its name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a figure of each fit (PNG).")] = None,
) -> None:
    """Stellar parameters of spectra, by a network trained on synthetic spectra.

    Spectra are prepared first, unless they are normalised and at rest already: radial velocity, continuum, orders
    merged (`maury prepare` shows the steps). A network with a posterior gives medians, and half of the central 68 % as
    errors; the founding network gives points without errors. What limits the trust in them is listed as flags. A file
    that fails does not stop the others: it is named at the end and the exit code is 2.

    Example: `maury predict sun.txt --resolution 78000 --plot figures`
    """
    import json

    from maury.cli.console import fail, out
    from maury.errors import MauryError
    from maury.files import check_writable
    from maury.inference import predict as predict_star
    from maury.inference import write_samples, write_table
    from maury.readers import read

    for path in (output, samples_output):
        if path is not None:
            check_writable(path)
    results, records, failed = [], [], []
    for file in files:
        try:
            observation = read(
                file,
                resolution=resolution,
                wavelength_file=wavelength_file,
                sigma_file=sigma_file,
                window_aa=None,
            )
            result = predict_star(
                observation, model, velocity_kms=velocity, emulator=emulator, samples=samples, seed=seed
            )
        except MauryError as error:
            failed.append(str(error))
            records.append({"file": str(file), "status": "failed", "error": str(error), "model": model})
            continue
        results.append(result)
        records.append(result.record())
        if not as_json:
            out.print(_table(result, observation.provenance.get("truth")))
        if plot is not None:
            _draw(result, plot)
    if as_json:
        out.print(json.dumps(records, indent=1), markup=False, soft_wrap=True)
    if output is not None and results:
        write_table(results, output)
        if not as_json:
            out.print(f"{output}: {len(results)} rows")
    if samples_output is not None and results:
        write_samples(results, samples_output)
        if not as_json:
            out.print(f"{samples_output}: samples of {len(results)} stars")
    for message in failed:
        fail(message)
    if failed:
        raise typer.Exit(2)


def _table(result: Result, truth: dict[str, float] | None) -> Table:
    from rich.table import Table

    from maury.labels import LABELS

    table = Table(title=f"{result.file}  (model {result.model})", title_justify="left")
    summary = result.summary
    errors = result.posterior is not None
    last = "68 % of the posterior" if errors else "68 % of synthetic spectra within"
    for name in ["label", "value", *(["error"] if errors else []), *(["truth"] if truth else []), "unit", last]:
        table.add_column(name, justify="right" if name in ("value", "error", "truth") else "left")
    for name, measured in summary.items():
        digits, typical = _DIGITS.get(name, 2), result.typical_errors.get(name)
        row = [name, f"{measured.value:.{digits}f}"]
        if measured.error is not None and measured.interval is not None:
            row.append(f"{measured.error.value:.{digits}f}")
            interval = " to ".join(f"{end:.{digits}f}" for end in measured.interval)
        else:
            interval = "" if typical is None else f"{typical:.{max(digits, 1)}f}"
        if truth:
            row.append(f"{truth[name]:.{digits}f}" if name in truth else "")
        limit = result.posterior.upper_limits.get(name) if result.posterior is not None else None
        table.add_row(*row, LABELS[name].unit, interval if limit is None else f"below {limit:.{digits}f} (95 %)")
    done = result.preparation
    prepared = "" if done is None else f"velocity {done.velocity_kms:+.2f} ± {done.velocity_error_kms:.2f} km/s; "
    table.caption = f"{prepared}flags: {', '.join(result.flags) or 'none'}"
    table.caption_justify = "left"
    return table


def _draw(result: Result, folder: Path) -> None:
    """Draw the spectrum over the emulator's spectrum of the predicted labels."""
    from maury.cli.console import err
    from maury.inference import model_flux
    from maury.labels import LABELS
    from maury.plots import plot_spectrum_fit, save_figure

    prepared, model = result.prepared, model_flux(result)
    if model is None:
        err.print(f"{result.file}: no figure: labels or window are not those of the packaged emulator", markup=False)
        return
    title = ", ".join(
        f"{LABELS[name].symbol} = {value:.{_DIGITS.get(name, 2)}f} {_UNITS.get(name, '')}".strip()
        for name, value in result.values.items()
    )
    stem = Path(result.file).stem
    figure = plot_spectrum_fit(
        prepared.wavelength_aa, prepared.flux, model, mask=~prepared.covered, title=f"{stem}\n{title}"
    )
    save_figure(figure, folder / stem)
