"""One star on the page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from maury.app.analysis import Outcome, Settings, command
from maury.app.charts import fit_chart, line_names, zoom_to
from maury.app.uploads import plain
from maury.flags import limits_trust, meaning_of
from maury.inference import Result, exposures_table, write_samples, write_table
from maury.inference.components import TwoStars
from maury.inference.words import (
    exposure_rows,
    fit_phrases,
    in_solar_units,
    number,
    plain_name,
    titled,
    two_phrase,
    two_rows,
    why_no_value,
)
from maury.plots import figure_bytes, plot_corner, plot_kiel, plot_preparation, plot_spectrum_fit
from maury.preparation.masks import texts
from maury.readers.summary import in_words as file_in_words

Literature = Mapping[str, tuple[float, float]]
"""Values and errors from the literature, by label."""

Model = NDArray[np.float64] | None
"""Flux of the fit on the network's pixels; None where there is none."""

Others = Mapping[str, Result | None]
"""Results of the same star with other settings, by a name for the difference; None after an error."""

_FIRST = ("teff", "logg", "mh", "vsini", "alpha")
_SCREEN_DPI = 150
_COLUMNS = 3
"""Most numbers in a row: with more, their text would be cut off."""


def show(outcome: Outcome, files: Sequence[str], settings: Settings, literature: Literature, other: Others) -> None:
    """Draw one star: numbers, flags, fit, posterior, two stars, exposures, preparation, file, downloads.

    Args:
        outcome: of its file, or of its exposures.
        files: names of these.
        settings: of the page.
        literature: to compare with.
        other: the result without priors or masks, where there are some.
    """
    result, summary, views = outcome.result, outcome.summary, dict[str, Callable[[], Any]]()
    if outcome.error is not None:
        st.error(plain(outcome.error))
    if result is not None:
        _numbers(result)
        _flags(result)
        views["Fit"] = lambda: _fit(result, outcome.model)
        views["Posterior"] = lambda: _posterior(result, literature, other)
        if (two := result.two) is not None:
            views["Two stars"] = lambda: _two_stars(two)
        if result.exposures:
            views["Exposures"] = lambda: st.dataframe(exposure_rows(result), hide_index=True)
        views["Preparation"] = lambda: _preparation(result)
    if summary is not None:
        views["File"] = lambda: st.table({key: plain(text) for key, text in _merged(file_in_words(summary)).items()})
    if result is not None:
        views["Download"] = lambda: _downloads(files, result, outcome.model, settings)
    tabs = st.tabs(list(views), key="view", on_change="rerun") if views else []
    for draw, tab in zip(views.values(), tabs, strict=True):
        with tab:
            if tab.open:  # views that are not seen are not drawn
                draw()


def _merged(lines: Any) -> dict[str, str]:
    """Texts of a summary by their titles; texts with the same title are joined."""
    merged: dict[str, str] = {}
    for label, text in lines:
        merged[label] = f"{merged[label]}; {text}" if label in merged else text
    return merged


def _numbers(result: Result) -> None:
    names = [name for name in (*_FIRST, "vmic") if name in result.values]
    boxes = [(titled(name), *measured(result, name)) for name in names]
    boxes += [(title, text, None) for title, text in in_solar_units(result).items()]
    columns = [column for _ in range(-(-len(boxes) // _COLUMNS)) for column in st.columns(_COLUMNS)]
    for column, (title, text, below) in zip(columns, boxes, strict=False):
        column.metric(title, text, below, delta_color="off", delta_arrow="off", border=True)
    others = {titled(name): measured(result, name)[0] for name in result.values if name not in names}
    if others:
        st.caption(", ".join(f"{plain(name)} {plain(text)}" for name, text in others.items()))
    st.caption(plain("; ".join(fit_phrases(result))))


def measured(result: Result, name: str) -> tuple[str, str | None]:
    """A label's value with its error, and a remark or None."""
    posterior = result.posterior
    if posterior is None or name not in result.intervals:
        return number(name, result.values[name]), None
    if name in posterior.uninformed:
        return why_no_value(result, name), None
    if name in posterior.upper_limits:
        return f"< {number(name, posterior.upper_limits[name])}", "95 % upper limit"
    low, high = result.intervals[name]
    error, k = (high - low) / 2, posterior.names.index(name)
    own, systematic = (float(x[k]) for x in (posterior.statistical, posterior.systematic))
    text = f"{number(name, result.values[name], error)} ± {number(name, error, error)}"
    if not np.isfinite(systematic):
        return text, None
    return text, f"{number(name, own, error)} statistical, {number(name, systematic, error)} systematic"


def _flags(result: Result) -> None:
    if not result.flags:
        st.success("No flags: nothing limits the trust in these values.")
    for flag in result.flags:
        words = meaning_of(flag)
        draw = st.warning if limits_trust(flag) else st.info
        draw(plain(words[0].upper() + words[1:]))


def _fit(result: Result, model: Model) -> None:
    names = line_names()
    chosen = st.selectbox("Zoom to", ["whole window", *names], key="zoom")
    mask = result.mask_aa
    flux, good = result.spectrum.flux.double().numpy(), result.spectrum.good.numpy()
    chart = fit_chart(result.wavelength_aa, flux, good, model, mask)
    st.plotly_chart(zoom_to(chart, names.get(chosen)), key="fit", config={"displaylogo": False})
    if model is None:
        st.caption("No model is drawn: the labels lie outside the emulator's ranges.")
    if mask:
        st.caption(f"Shaded: masked, {plain(', '.join(texts(mask)))} Å.")


def _posterior(result: Result, literature: Literature, other: Others) -> None:
    if literature:
        st.table([_compared(result, name, *known) for name, known in literature.items() if name in result.values])
    if result.posterior is None:
        st.info("Pairs of labels are shown here for networks with a posterior; this one gives no uncertainties.")
        return
    names = list(result.values)
    chosen = st.multiselect(
        "Labels", names, [n for n in names if n in _FIRST], format_func=plain_name, key="corner_labels"
    )
    if len(chosen) > 1:
        columns = [names.index(name) for name in chosen]
        posteriors = {"with the settings" if other else "posterior": result.posterior.samples[:, columns]}
        for what, before in other.items():
            if before is not None and before.posterior is not None:
                posteriors[what] = before.posterior.samples[:, columns]
        truth = {name: value for name, (value, _) in literature.items()}
        _image(plot_corner(posteriors, chosen, truth=truth))
    if {"teff", "logg"} <= set(names):
        known = (*literature["teff"], *literature["logg"]) if {"teff", "logg"} <= set(literature) else None
        t, g = (result.posterior.samples[:, names.index(name)] for name in ("teff", "logg"))
        _image(plot_kiel(t, g, literature=known))


def _two_stars(two: TwoStars) -> None:
    phrase = two_phrase(two)
    st.write(plain(phrase[0].upper() + phrase[1:]))
    st.dataframe(two_rows(two), hide_index=True)


def _image(figure: Any) -> None:
    """A matplotlib figure in the page's own colours."""
    dark = st.context.theme.type == "dark"
    st.image(figure_bytes(figure, "png", dark=dark, dpi=_SCREEN_DPI, clear=True))


def _compared(result: Result, name: str, value: float, error: float) -> dict[str, str]:
    """A row: maury beside the literature."""
    low, high = result.intervals.get(name, (np.nan, np.nan))
    own = (high - low) / 2 if name in result.intervals else result.typical_errors.get(name, np.nan)
    difference, total = result.values[name] - value, float(np.hypot(own, error))
    row = {
        "label": plain_name(name),
        "maury": f"{number(name, result.values[name], own)} ± {number(name, own, own)}",
        "literature": f"{number(name, value)} ± {number(name, error)}",
        "difference": number(name, difference),
        "in standard deviations": f"{difference / total:+.1f}" if total > 0 else "",
    }
    return {key: plain(text) for key, text in row.items()}


def _preparation(result: Result) -> None:
    done = result.preparation
    if ready := {one.file: one.ready for one in result.exposures if one.ready is not None}:
        done = ready[st.selectbox("Exposure", list(ready), key="exposure")].preparation
    if done is None:
        st.info("The spectrum in the file is normalised and at rest: no preparation was needed.")
        return
    for note in done.notes:
        st.markdown(f"- {plain(note)}")
    _image(plot_preparation(done))


def _downloads(names: Sequence[str], result: Result, model: Model, settings: Settings) -> None:
    st.write("The command that gives these numbers:")
    st.code(command(names, settings), language="bash", wrap_lines=True)
    stem = names[0].partition(".")[0]
    files: dict[str, tuple[str, Callable[[], bytes]]] = {
        "Table (ECSV)": (f"{stem}-maury.ecsv", lambda: table_bytes([result], ".ecsv")),
        "Table (CSV)": (f"{stem}-maury.csv", lambda: table_bytes([result], ".csv")),
    }
    if result.exposures:
        table = exposures_table(result.exposures)
        files["Exposures (ECSV)"] = (
            f"{stem}-exposures.ecsv",
            lambda: written(lambda path: table.write(path, format="ascii.ecsv"), ".ecsv"),
        )
    if result.posterior is not None:
        files["Samples (HDF5)"] = (
            f"{stem}-samples.h5",
            lambda: written(lambda path: write_samples([result], path), ".h5"),
        )
    if model is not None:
        files["Figure (PDF)"] = (f"{stem}-fit.pdf", lambda: _drawn(result, model, "pdf"))
        files["Figure (PNG)"] = (f"{stem}-fit.png", lambda: _drawn(result, model, "png"))
    for column, (label, (file, make)) in zip(st.columns(len(files)), files.items(), strict=True):
        column.download_button(label, make, file, key=f"download_{label}", on_click="ignore")


def _drawn(result: Result, model: NDArray[np.float64], kind: str) -> bytes:
    """The fit as a file."""
    figure = plot_spectrum_fit(result.wavelength_aa, result.spectrum.flux, model, mask=result.spectrum.mask)
    return figure_bytes(figure, kind)


def table_bytes(results: Sequence[Result], ending: str) -> bytes:
    """Contents of a table file of results."""
    return written(lambda path: write_table(results, path), ending)


def written(write: Callable[[Path], None], ending: str) -> bytes:
    """The bytes that a function writes to a file."""
    with tempfile.TemporaryDirectory(prefix="maury-app-") as folder:
        path = Path(folder) / f"out{ending}"
        write(path)
        return path.read_bytes()
