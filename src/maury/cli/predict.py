"""`maury predict`: spectra in, stellar parameters out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from maury.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from maury.inference import Result

_DIGITS = {"teff": 0, "vsini": 1}
_UNITS = {"teff": "K", "vsini": "km/s"}


def predict(
    context: typer.Context,
    files: options.Files,
    resolution: options.ResolutionOrAuto = None,
    velocity: options.Velocity = None,
    mask: options.Mask = None,
    wavelength_file: options.WavelengthFile = None,
    sigma_file: options.SigmaFile = None,
    model: options.Model = "default",
    labels: options.LabelSet = "default",
    prior: options.Prior = None,
    relation: Annotated[
        list[str] | None,
        options.of_model(
            metavar="NAME",
            help="Relations between labels: doyle2014 (macroturbulence), bruntt2012 (microturbulence), "
            "random-axes (v sin i), or none [default: doyle2014 and random-axes]. Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        options.of_model(
            metavar="FILE",
            help="Spectrum of the Sun by the same instrument: the model's residuals in it are removed from the others.",
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        options.of_model(
            metavar="LABEL=VALUE,...",
            help="Labels of a reference that is not the Sun: teff=6582,logg=3.98,mh=0,vmic=1.7,vsini=3,vmac=6.",
        ),
    ] = None,
    refine: options.Refine = None,
    systematics: Annotated[
        bool,
        options.of_model(
            help="Include systematic uncertainties calibrated on benchmark stars; leave out for simulated stars."
        ),
    ] = True,
    emulator: options.Emulator = "packaged",
    samples: options.Samples = None,
    seed: options.Seed = 1,
    output: Annotated[
        Path | None, options.out_file("Table to write: .ecsv, .fits, .csv or .vot, by the name's ending.")
    ] = None,
    samples_output: Annotated[
        Path | None,
        options.of_output("--samples-out", metavar="FILE", help="HDF5 file for the samples of all stars."),
    ] = None,
    as_json: options.AsJson = False,
    plot: options.Plot = None,
) -> None:
    """Stellar parameters of spectra, with uncertainties.

    Spectra are prepared first, unless they are normalised and at rest: radial velocity, continuum, orders merged
    (`maury prepare` shows the steps). The network's posterior is then refined with the likelihood of model spectra.
    Values are medians, uncertainties half of the central 68 %. Flags list what limits the trust in them. A file that
    fails does not stop the others: it is named at the end and the exit code is 2. `--model starnet-spc` is the founding
    network: values without uncertainties. For very many spectra use `maury catalog`.

    Example: `maury predict sun.txt --resolution 78000 --plot figures`
    """
    from maury.cli.startup import imports

    with imports():
        from maury.cli.console import fail, out, progress, show_json, worded
        from maury.errors import MauryError
        from maury.files import check_writable
        from maury.inference import predict as predict_star
        from maury.inference import reference_star, write_samples, write_table
        from maury.inference.predict import RELATIONS, SAMPLES
        from maury.likelihood import parse_prior
        from maury.memory import keep_freed_memory
        from maury.preparation import parse_range
        from maury.readers import read

    r = _resolution(resolution)
    keep_freed_memory()
    for path in (output, samples_output):
        if path is not None:
            check_writable(path)
    priors = [parse_prior(text) for text in prior or ()]
    ranges = [parse_range(text) for text in mask or ()]
    relations = RELATIONS if not relation else tuple(name for name in relation if name != "none")
    hints: dict[str, Any] = {"resolution": r if isinstance(r, float) else None, "window_aa": None}
    known, of_reference = None, _labels(reference_labels)
    if reference is not None:
        known = reference_star(read(reference, **hints), model, resolution=r, labels=of_reference, emulator=emulator)
    hints |= {"wavelength_file": wavelength_file, "sigma_file": sigma_file}
    results, records, failed = [], [], []
    with progress(len(files) > 1 and not as_json) as bar:
        for file in bar.track(files, description="stars"):
            try:
                observation = read(file, **hints)
                result = predict_star(
                    observation, model, resolution=r, velocity_kms=velocity, mask=ranges, emulator=emulator,
                    samples=samples or SAMPLES, seed=seed, labels=labels, refine=refine, priors=priors,
                    relations=relations, systematics=systematics, reference=known,
                )  # fmt: skip
            except MauryError as error:
                failed.append(worded(error, context.command))
                records.append({"file": str(file), "status": "failed", "error": str(error), "model": model})
                continue
            results.append(result)
            records.append(result.record())
            if not as_json:
                out.print(_table(result, observation.provenance.get("truth")))
            if plot is not None:
                _draw(result, plot)
    if as_json:
        show_json(records)
    for path, write, what in ((output, write_table, "rows"), (samples_output, write_samples, "stars with samples")):
        if path is not None and results:
            write(results, path)
            if not as_json:
                out.print(f"{path}: {len(results)} {what}")
    for message in failed:
        fail(message)
    if failed:
        raise typer.Exit(2)


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
    from maury.cli.console import table
    from maury.labels import LABELS

    errors = result.posterior is not None
    last = "68 % of the posterior" if errors else "68 % of synthetic spectra within"
    right = ["value", *(["error"] if errors else []), *(["truth"] if truth else [])]
    made = table(f"{result.file}  (model {result.model})", ["label"], right, "\n".join(_caption(result)))
    made.add_column("unit")
    made.add_column(last)
    for name in result.summary:
        row = _row(result, name)
        if truth:
            digits = _DIGITS.get(name, 2)
            row.insert(-1, f"{truth[name]:.{digits}f}" if name in truth else "")
        made.add_row(*row[:-1], LABELS[name].unit, row[-1])
    return made


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
