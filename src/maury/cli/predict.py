"""`maury predict`: spectra in, stellar parameters out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from maury.inference import Result

_DIGITS = {"teff": 0, "vsini": 1}
_UNITS = {"teff": "K", "vsini": "km/s"}


def predict(
    files: Annotated[list[Path] | None, typer.Argument(help="Spectra of any supported format.")] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            "--resolution",
            "-R",
            metavar="R|auto",
            help="R = lambda / FWHM, where the file does not tell it; auto: from the width of the lines.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A packaged network, a run's folder or a network file.")] = "default",
    labels: Annotated[
        str, typer.Option(help="What to show: default, alpha or abundances ([C, Mg, Ca, Ti, Cr, Ni / Fe]).")
    ] = "default",
    prior: Annotated[
        list[str] | None,
        typer.Option(help="What is known from elsewhere: logg=4.29+-0.03, teff=5800+50-80, mh=-0.2..0.1. Repeatable."),
    ] = None,
    relation: Annotated[
        list[str] | None,
        typer.Option(
            help="Relations that labels obey: doyle2014 (macroturbulence), bruntt2012 (microturbulence), random-axes "
            "(v sin i), or none. Default: doyle2014 and random-axes. Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Spectrum of the Sun by the same instrument: what the model gets wrong in it is taken out of others."
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        typer.Option(
            help="Labels of another reference than the Sun: teff=6582,logg=3.98,mh=0,vmic=1.7,vsini=3,vmac=6."
        ),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option("--refine/--no-refine", help="Weigh by the likelihood of model spectra; default: when it can be."),
    ] = None,
    systematics: Annotated[
        bool, typer.Option(help="Errors hold what real stars are off beyond noise; not for simulated stars.")
    ] = True,
    velocity: Annotated[
        float | None,
        typer.Option(help="Radial velocity in the file's wavelengths, km/s, when known; else looked for in -500..500."),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="Wavelengths to leave out, Å in air, at rest: 5183-5184.2. Repeatable."),
    ] = None,
    wavelength_file: Annotated[Path | None, typer.Option(help="Wavelengths, for files that hold none.")] = None,
    sigma_file: Annotated[Path | None, typer.Option(help="Noise, for files that hold none.")] = None,
    emulator: Annotated[
        str, typer.Option(help="Templates of the preparation: a file, for a network of another window.")
    ] = "packaged",
    samples: Annotated[
        int | None,
        typer.Option(min=10, help="Samples of the posterior, from a network that gives one [default: 4000]."),
    ] = None,
    samples_output: Annotated[
        Path | None, typer.Option("--samples-out", help="HDF5 file for the samples of all stars.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Table to write; .ecsv, .fits, .csv or .vot by its name. Of a catalogue: .parquet, .fits.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Folder for a figure of each fit (PNG).")] = None,
    catalog: Annotated[
        str | None,
        typer.Option(help="List (CSV, ECSV), folder or HDF5 of any number of spectra, in place of files; needs --out."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share a catalogue.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster that shares a catalogue, or local."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try rejects of a catalogue's earlier run again.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away an earlier catalogue in the folder.")] = False,
) -> None:
    """Stellar parameters of spectra, with errors.

    Spectra are prepared first, unless they are normalised and at rest already: radial velocity, continuum, orders
    merged (`maury prepare` shows the steps). The network's posterior is then refined by the likelihood of the model
    spectra; values are medians, errors half of the central 68 %, in which systematic errors of real stars are counted.
    What limits the trust in them is listed as flags. A file that fails does not stop the others: it is named at the end
    and the exit code is 2. `--model starnet-spc` is the founding network: points without errors.

    A catalogue is predicted in parts; after a kill the same command goes on. Spectra that cannot be used are in a table
    of rejects.

    Examples: `maury predict sun.txt --resolution 78000 --plot figures`

    `maury predict --catalog list.csv --out results.parquet --workers 2`
    """
    import json

    from maury.cli.startup import imports

    with imports():
        from maury.cli.console import fail, out, progress
        from maury.errors import ConfigError, MauryError
        from maury.files import check_writable
        from maury.inference import predict as predict_star
        from maury.inference import reference_star, write_samples, write_table
        from maury.inference.predict import RELATIONS, SAMPLES
        from maury.likelihood import parse_prior
        from maury.memory import keep_freed_memory
        from maury.preparation import parse_range
        from maury.readers import read

    r = _resolution(resolution)
    if catalog is not None or workers > 1 or ray or retry or fresh:
        alone = {"FILES": files, "--prior": prior, "--relation": relation, "--velocity": velocity, "--plot": plot,
                 "--reference": reference, "--mask": mask,
                 "--wavelength-file": wavelength_file, "--sigma-file": sigma_file, "--samples-out": samples_output,
                 "--json": as_json, "--no-systematics": not systematics, "--resolution auto": r == "auto"}  # fmt: skip
        settings = {"model": model, "emulator": emulator, "labels": labels, "refine": refine, "samples": samples,
                    "seed": seed, "resolution": r}  # fmt: skip
        _predict_catalogue(catalog, output, [name for name, value in alone.items() if value], settings)(
            workers, ray, fresh, retry
        )
        return
    if not files:
        raise ConfigError("no spectra: name files, or a catalogue with --catalog")
    keep_freed_memory()
    for path in (output, samples_output):
        if path is not None:
            check_writable(path)
    priors = [parse_prior(text) for text in prior or ()]
    ranges = [parse_range(text) for text in mask or ()]
    relations = RELATIONS if not relation else tuple(name for name in relation if name != "none")
    of_reference, known = _labels(reference_labels), None
    if reference is not None:
        given = r if isinstance(r, float) else None
        known = reference_star(
            read(reference, resolution=given, window_aa=None), model, resolution=r, labels=of_reference,
            emulator=emulator,
        )  # fmt: skip
    results, records, failed = [], [], []
    with progress(len(files) > 1 and not as_json) as bar:
        for file in bar.track(files, description="stars"):
            try:
                observation = read(
                    file,
                    resolution=r if isinstance(r, float) else None,
                    wavelength_file=wavelength_file,
                    sigma_file=sigma_file,
                    window_aa=None,
                )
                result = predict_star(
                    observation, model, resolution=r, velocity_kms=velocity, mask=ranges, emulator=emulator,
                    samples=samples or SAMPLES, seed=seed, labels=labels, refine=refine, priors=priors,
                    relations=relations, systematics=systematics, reference=known,
                )  # fmt: skip
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


def _predict_catalogue(
    catalog: str | None, output: Path | None, alone: list[str], settings: dict[str, Any]
) -> Callable[[int, str | None, bool, bool], None]:
    """What predicts a catalogue with the settings of this verb, given workers, Ray's address, fresh and retry.

    Raises:
        ConfigError: an option that goes with single files alone, no output, or settings out of range.
    """
    from maury.catalogue import CatalogueConfig
    from maury.cli.catalogue import predict_catalogue
    from maury.config import make_config
    from maury.errors import ConfigError

    if catalog is None:
        raise ConfigError("--workers, --ray, --retry and --fresh are for catalogues: name one with --catalog")
    if alone:
        raise ConfigError(f"{', '.join(alone)}: not with --catalog; a list tells resolution and velocity of each file")
    if output is None:
        raise ConfigError("--catalog needs --out, a folder to write that ends with .parquet or .fits")
    return partial(predict_catalogue, catalog, output, make_config(settings, CatalogueConfig, "options"))


def _labels(text: str | None) -> dict[str, float]:
    """Labels of a reference star as they were written; those of the Sun by default."""
    from maury.errors import ConfigError
    from maury.inference.differential import SUN
    from maury.labels import LABELS

    if text is None:
        return SUN
    labels = {}
    for part in text.split(","):
        name, _, value = (x.strip() for x in part.partition("="))
        try:
            labels[LABELS[name].name] = float(value)
        except (KeyError, ValueError):
            raise ConfigError(f"--reference-labels: {part!r} is no label=number; labels: {', '.join(LABELS)}") from None
    return {"vmic": SUN["vmic"], "vmac": SUN["vmac"], **labels}


def _resolution(text: str | None) -> float | Literal["auto"] | None:
    """R as it was written: a number or "auto"."""
    from maury.errors import ConfigError

    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--resolution {text}: give a number, R = lambda / FWHM, or auto") from None


def _table(result: Result, truth: dict[str, float] | None) -> Table:
    from rich.table import Table

    from maury.labels import LABELS

    table = Table(title=f"{result.file}  (model {result.model})", title_justify="left")
    errors = result.posterior is not None
    last = "68 % of the posterior" if errors else "68 % of synthetic spectra within"
    for name in ["label", "value", *(["error"] if errors else []), *(["truth"] if truth else []), "unit", last]:
        table.add_column(name, justify="right" if name in ("value", "error", "truth") else "left")
    for name in result.summary:
        row = _row(result, name)
        if truth:
            digits = _DIGITS.get(name, 2)
            row.insert(3 if errors else 2, f"{truth[name]:.{digits}f}" if name in truth else "")
        table.add_row(*row[:-1], LABELS[name].unit, row[-1])
    table.caption, table.caption_justify = "\n".join(_caption(result)), "left"
    return table


def _row(result: Result, name: str) -> list[str]:
    """Label, value, error where there is one, and interval, limit or typical error."""
    from maury.inference.result import column_of

    measured, posterior = result.summary[name], result.posterior
    digits, typical = _DIGITS.get(name, 2), result.typical_errors.get(name)
    shown = column_of(name)
    if measured.error is None or measured.interval is None or posterior is None:
        text = "" if typical is None else f"{typical:.{max(digits, 1)}f}"
        return [shown, f"{measured.value:.{digits}f}", text]
    if name in posterior.uninformed:
        return [shown, "", "", "no information"]
    limit = posterior.upper_limits.get(name)
    text = " to ".join(f"{end:.{digits}f}" for end in measured.interval)
    text = text if limit is None else f"below {limit:.{digits}f} (95 %)"
    return [shown, f"{measured.value:.{digits}f}", f"{measured.error.value:.{digits}f}", text]


def _caption(result: Result) -> list[str]:
    """Velocity, quality of the fit, what was left out and flags."""
    from maury.preparation.masks import texts

    done, fit, lines = result.preparation, result.refinement, []
    if done is not None:
        lines.append(
            f"velocity {done.velocity_kms:+.2f} ± {done.velocity_error_kms:.2f} km/s; S/N {done.snr:.0f} per "
            f"{done.step_kms:.1f} km/s; about {result.spectral_type}"
        )
    if fit is not None:
        lines.append(
            f"refined: {fit.effective:.0f} effective samples (efficiency {fit.efficiency:.0%}), "
            f"reduced chi-square {fit.chi2:.2f}"
        )
        if fit.shift:
            lines.append(f"raised as other metal-poor stars come out too low: {fit.shift_in_words}")
        if fit.prior_efficiency < 1:
            lines.append(f"external information leaves {fit.prior_efficiency:.0%} of the samples")
    elif result.posterior is not None:
        lines.append("the network's own posterior, not refined")
    if result.mask_aa:
        lines.append(f"left out: {', '.join(texts(result.mask_aa))} Å at rest")
    return [*lines, f"flags: {', '.join(result.flags) or 'none'}"]


def _draw(result: Result, folder: Path) -> None:
    """Draw the spectrum over the emulator's spectrum of the predicted labels."""
    from maury.cli.console import err
    from maury.inference import model_flux
    from maury.labels import LABELS
    from maury.plots import plot_spectrum_fit, save_figure

    prepared = result.prepared
    model = model_flux(result) if result.refinement is None else result.refinement.model
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
