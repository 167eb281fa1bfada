"""`maury predict`: spectra in, stellar parameters out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from maury.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from maury.inference import Result
    from maury.inference.components import TwoStars


@options.reads_files
def predict(
    context: typer.Context,
    files: options.Files,
    reading: dict[str, Any],
    resolution: options.ResolutionOrAuto = None,
    velocity: options.Velocity = None,
    velocity_range: options.VelocityRange = None,
    mask: options.Mask = None,
    together: Annotated[
        bool,
        options.of_spectrum("", "The files are exposures of one star: one fit, one row.", "--together"),
    ] = False,
    model: options.Model = "default",
    labels: options.LabelSet = "default",
    prior: options.Prior = None,
    parallax: options.Parallax = None,
    gmag: options.Gmag = None,
    ebv: options.Reddening = "0",
    relation: Annotated[
        list[str] | None,
        options.of_model(
            "NAME",
            "Relations between labels: doyle2014 (macroturbulence), bruntt2012 (microturbulence), "
            "random-axes (v sin i), or none [default: doyle2014 and random-axes]. Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        options.of_model(
            "FILE",
            "Spectrum of the Sun by the same instrument: the model's residuals in it are removed from the others.",
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        options.of_model(
            "LABEL=VALUE,...",
            "Labels of a reference that is not the Sun: teff=6582,logg=3.98,mh=0,vmic=1.7,vsini=3,vmac=6.",
        ),
    ] = None,
    refine: options.Refine = None,
    components: options.Components = None,
    systematics: Annotated[
        bool,
        options.of_model(
            "", "Include systematic uncertainties calibrated on benchmark stars; leave out for simulated stars."
        ),
    ] = True,
    emulator: options.Emulator = "packaged",
    samples: options.Samples = None,
    seed: options.Seed = 1,
    output: Annotated[
        Path | None, options.out_file("Table to write: .ecsv, .fits, .csv, .vot, .tex or .mrt, by the name's ending.")
    ] = None,
    samples_output: Annotated[
        Path | None, options.of_output("FILE", "HDF5 file for the samples of all stars.", "--samples-out")
    ] = None,
    lines_output: Annotated[
        Path | None,
        options.of_output("FOLDER", "A table and a figure of the lines of each element in --labels.", "--lines"),
    ] = None,
    as_json: options.AsJson = False,
    plot: options.Plot = None,
) -> None:
    """Stellar parameters of spectra, with uncertainties.

    Spectra are prepared first, unless they are normalised and at rest: radial velocity, continuum, orders merged
    (`maury prepare` shows the steps). The network's posterior is then refined with the likelihood of model spectra.
    Values are medians, uncertainties half of the central 68 %. Flags list what limits the trust in them. A file that
    fails does not stop the others. Files that fail or are damaged are named at the end, and the exit code is 2.
    `--model starnet-spc` is the founding network: values without uncertainties. For very many spectra: `maury catalog`.

    With `--together` all files are exposures of one star, of one or several instruments: each keeps its velocity,
    continuum and noise, and the labels are those of all. A file that fails is left out by name.

    Example: `maury predict sun.txt --resolution 78000 --medium air --plot figures`
    """
    from maury.cli.startup import imports

    with imports():
        from maury.cli.console import damage, fail, out, progress, show_json, worded
        from maury.errors import MauryError, in_one_line
        from maury.files import check_writable
        from maury.inference import predict as predict_star
        from maury.inference import reference_star, write_exposures, write_samples, write_table
        from maury.inference.single import RELATIONS, SAMPLES
        from maury.inference.write import check_table_name
        from maury.likelihood import parse_prior, parse_value
        from maury.memory import keep_freed_memory
        from maury.preparation import parse_range
        from maury.preparation.settings import check_settings
        from maury.readers import ReadOptions, read

    r = _resolution(resolution)
    keep_freed_memory()
    if output is not None:
        check_table_name(output)
    in_folders = [folder and folder / "figure.png" for folder in (plot, lines_output)]
    for path in (output, samples_output, *in_folders):
        if path is not None:
            check_writable(path)
    priors = [parse_prior(text) for text in prior or ()]
    light = None if parallax is None else parse_value(parallax, "parallax")
    reddening = parse_value(ebv, "ebv")
    ranges = [parse_range(text) for text in mask or ()]
    relations = RELATIONS if not relation else tuple(name for name in relation if name != "none")
    hints: dict[str, Any] = {"resolution": r if isinstance(r, float) else None}
    ReadOptions(**hints, **reading)
    check_settings(velocity_kms=velocity, velocity_range_kms=velocity_range)
    known, of_reference = None, _labels(reference_labels)
    if reference is not None:
        known = reference_star(read(reference, **hints), model, resolution=r, labels=of_reference, emulator=emulator)
    results, records, failed = [], [], []
    with progress(len(files) > 1 and not as_json) as bar:
        for file in bar.track(files[:1] if together else files, description="stars"):
            try:
                star = files if together else read(file, **hints, **reading)
                result = predict_star(
                    star, model, resolution=r, velocity_kms=velocity, velocity_range_kms=velocity_range,
                    mask=ranges, emulator=emulator, samples=samples or SAMPLES, seed=seed, labels=labels,
                    refine=refine, priors=priors, relations=relations, systematics=systematics, reference=known,
                    parallax=light, gmag=gmag, ebv=reddening, components=components,
                    **(reading if together else {}),
                )  # fmt: skip
                record = result.record() if as_json else {}
            except Exception as error:  # one file must not end the batch
                text = in_one_line(error, file)
                failed.append(worded(error, context.command) if isinstance(error, MauryError) else text)
                records.append({"file": str(file), "status": "failed", "error": text, "model": model})
                continue
            results.append(result)
            records.append(record)
            failed += [exposure.error for exposure in result.exposures if exposure.status == "failed"]
            if result.two is None:  # lines of a second star look like damage in the fit of one
                failed += damage(result.file, result.flags)
            if not as_json:
                out.print(_table(result, None if isinstance(star, list) else star.provenance.get("truth")))
                if result.exposures:
                    out.print(_exposures(result))
                if result.two is not None:
                    out.print(_two_stars(result.two))
            try:
                if plot is not None:
                    _draw(result, plot)
                if lines_output is not None:
                    _lines(result, lines_output, emulator)
            except Exception as error:  # a figure must not end the batch
                failed.append(in_one_line(error, result.file))
    if as_json:
        show_json(records)
    for path, write, what in ((output, write_table, "rows"), (samples_output, write_samples, "stars with samples")):
        if path is not None and results:
            write(results, path)
            if not as_json:
                out.print(f"{path}: {len(results)} {what}")
    if output is not None and results and results[0].exposures:
        beside = write_exposures(results[0], output)
        if not as_json:
            out.print(f"{beside}: {len(results[0].exposures)} exposures")
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
    from maury.inference.words import fit_phrases, in_solar_units, number
    from maury.labels import LABELS
    from maury.preparation.masks import texts

    errors = result.posterior is not None
    last = "68 % of the posterior" if errors else "68 % of synthetic spectra within"
    parts = errors and result.refinement is not None and bool(result.refinement.systematic)
    shown = ["±", *(["± stat.", "± syst."] if parts else [])] if errors else []
    right = ["value", *shown, *(["truth"] if truth else [])]
    light = ", ".join(f"{title} {text}" for title, text in in_solar_units(result).items())
    caption = [*fit_phrases(result), *([light] if light else []), f"flags: {', '.join(result.flags) or 'none'}"]
    if result.mask_aa:
        caption.insert(-1, f"masked: {', '.join(texts(result.mask_aa))} Å at rest")
    made = table(f"{result.file}  (model {result.model})", ["label"], right, "\n".join(caption))
    made.add_column("unit")
    made.add_column(last)
    for name in result.summary:
        *row, interval = _row(result, name, parts)
        if truth:
            row.append(number(name, truth[name]) if name in truth else "")
        made.add_row(*row, LABELS[name].unit, interval)
    return made


def _exposures(result: Result) -> Table:
    """One row per exposure: velocity, signal-to-noise, noise and fit beside the others."""
    from maury.cli.console import table
    from maury.inference.words import exposure_rows

    rows = exposure_rows(result)
    first, *numbers, last = rows[0]
    made = table("exposures", [first], numbers)
    made.add_column(last)
    for row in rows:
        made.add_row(*row.values())
    return made


def _two_stars(two: TwoStars) -> Table:
    """One row per label of both stars."""
    from maury.cli.console import table
    from maury.inference.words import two_phrase, two_rows

    made = table("two components", ["column"], ["value", "±"], two_phrase(two))
    made.add_column("unit")
    for row in two_rows(two):
        made.add_row(*row.values())
    return made


def _row(result: Result, name: str, parts: bool) -> list[str]:
    """Label, value, uncertainty and its parts where there are such, and interval, limit or typical error."""
    from maury.inference.columns import column_of
    from maury.inference.words import number, why_no_value

    measured, posterior, typical = result.summary[name], result.posterior, result.typical_errors.get(name)
    value = number(name, measured.value)
    if measured.error is None or measured.interval is None or posterior is None:
        return [column_of(name), value, "" if typical is None else number(name, typical, typical)]
    if name in posterior.uninformed:
        return [column_of(name), "", *[""] * (3 if parts else 1), why_no_value(result, name)]
    error = measured.error.value
    value = number(name, measured.value, error)
    interval = " to ".join(number(name, float(end), error) for end in measured.interval)
    if name in posterior.upper_limits:
        interval = f"below {number(name, posterior.upper_limits[name])} (95 %)"
    k = posterior.names.index(name)
    own = (posterior.statistical[k], posterior.systematic[k]) if parts else ()
    return [column_of(name), value, *(number(name, float(x), error) for x in (error, *own)), interval]


def _lines(result: Result, folder: Path, emulator: str) -> None:
    """Write a table and a figure of the lines of each element shown; one that no line measures is named."""
    from maury.cli.console import err
    from maury.files import atomic_path
    from maury.inference import element_lines
    from maury.inference.columns import column_of
    from maury.plots import plot_element_lines, save_figure

    for element, count in result.lines.items():
        stem = f"{Path(result.file).stem}-{column_of(element)}"
        if not count:
            err.print(f"{result.file}: no line measures {column_of(element)}", markup=False)
            continue
        with atomic_path(folder / f"{stem}.ecsv") as temporary:
            element_lines(result, element, emulator).write(temporary, format="ascii.ecsv", overwrite=True)
        save_figure(plot_element_lines(result, element, emulator=emulator), folder / stem)


def _draw(result: Result, folder: Path) -> None:
    """Draw the spectrum with the model that fits it."""
    from maury.plots import plot_result, save_figure

    save_figure(plot_result(result), folder / Path(result.file).stem)
