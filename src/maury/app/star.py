"""What the page shows of one star."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from maury.app.analysis import Outcome, Settings, command, in_words
from maury.app.charts import fit_chart, line_names, zoom_to
from maury.app.uploads import plain
from maury.inference import Result, write_samples, write_table
from maury.inference.words import about, number, plain_name, titled
from maury.plots import figure_bytes, plot_corner, plot_kiel, plot_preparation, plot_spectrum_fit
from maury.preparation.masks import texts
from maury.readers.summary import in_words as file_in_words

Literature = Mapping[str, tuple[float, float]]
"""Values and errors from elsewhere, by label."""

Others = Mapping[str, Result | None]
"""Results of the same star with other settings, by what differs; None where there was an error."""

_FIRST = ("teff", "logg", "mh", "vsini", "alpha")
_SCREEN_DPI = 150
_COLUMNS = 3
"""Numbers in a row: more would be cut."""


def show(outcome: Outcome, settings: Settings, literature: Literature, other: Others) -> None:
    """Draw one star: numbers, flags, fit, posterior, preparation, file, downloads.

    Args:
        outcome: what became of its file.
        settings: of the page.
        literature: to compare with.
        other: what the result is without priors or masks, where there are some.
    """
    if outcome.error is not None:
        st.error(plain(outcome.error))
    if outcome.result is not None:
        _numbers(outcome.result)
        _flags(outcome.result)
    titles = ["Fit", "Posterior", "Preparation"] if outcome.result is not None else []
    titles += ["File"] if outcome.summary is not None else []
    titles += ["Download"] if outcome.result is not None else []
    if not titles:
        return
    for title, tab in zip(titles, st.tabs(titles, key="view", on_change="rerun"), strict=True):
        with tab:
            if tab.open:
                _view(title, outcome, settings, literature, other)


def _view(title: str, outcome: Outcome, settings: Settings, literature: Literature, other: Others) -> None:
    """One of the views of a star; those that are not seen are not drawn."""
    if title == "File":
        assert outcome.summary is not None
        st.table({key: plain(text) for key, text in _merged(file_in_words(outcome.summary)).items()})
        return
    assert outcome.result is not None
    if title == "Fit":
        _fit(outcome)
    elif title == "Posterior":
        _posterior(outcome.result, literature, other)
    elif title == "Preparation":
        _preparation(outcome.result)
    else:
        _downloads(outcome, settings)


def _merged(lines: Any) -> dict[str, str]:
    """Lines of a summary by their labels, of which some come twice."""
    merged: dict[str, str] = {}
    for label, text in lines:
        merged[label] = f"{merged[label]}; {text}" if label in merged else text
    return merged


def _numbers(result: Result) -> None:
    names = [name for name in (*_FIRST, "vmic") if name in result.values]
    columns = [column for _ in range(-(-len(names) // _COLUMNS)) for column in st.columns(_COLUMNS)]
    for column, name in zip(columns, names, strict=False):
        text, below = measured(result, name)
        column.metric(titled(name), text, below, delta_color="off", delta_arrow="off", border=True)
    others = {titled(name): measured(result, name)[0] for name in result.values if name not in names}
    if others:
        st.caption(", ".join(f"{plain(name)} {plain(text)}" for name, text in others.items()))
    st.caption(plain("; ".join(about(result))))


def measured(result: Result, name: str) -> tuple[str, str | None]:
    """A label's value with its error, and in a few words what else is to be known."""
    posterior = result.posterior
    if posterior is None or name not in result.intervals:
        return number(name, result.values[name]), None
    if name in posterior.uninformed:
        return "no information", None
    if name in posterior.upper_limits:
        return f"< {number(name, posterior.upper_limits[name])}", "95 % upper limit"
    low, high = result.intervals[name]
    error = (high - low) / 2
    return f"{number(name, result.values[name], error)} ± {number(name, error, error)}", None


def _flags(result: Result) -> None:
    if not result.flags:
        st.success("No flags: nothing limits the trust in these values.")
    for flag in result.flags:
        words = in_words(flag)
        draw = st.warning if replace(result, flags=(flag,)).status == "flagged" else st.info
        draw(plain(words[0].upper() + words[1:]))


def _fit(outcome: Outcome) -> None:
    assert outcome.result is not None
    result, names = outcome.result, line_names()
    chosen = st.selectbox("Zoom to", ["whole window", *names], key="zoom")
    mask = result.mask_aa
    flux, good = result.spectrum.flux.double().numpy(), result.spectrum.good.numpy()
    chart = fit_chart(result.wavelength_aa, flux, good, outcome.model, mask)
    st.plotly_chart(zoom_to(chart, names.get(chosen)), key="fit", config={"displaylogo": False})
    if outcome.model is None:
        st.caption("No model is drawn: the labels lie outside the emulator's ranges.")
    if mask:
        st.caption(f"Shaded: masked, {plain(', '.join(texts(mask)))} Å.")


def _posterior(result: Result, literature: Literature, other: Others) -> None:
    if literature:
        st.table([_compared(result, name, *known) for name, known in literature.items() if name in result.values])
    if result.samples is None:
        st.info("Pairs of labels are shown here for networks with a posterior; this one gives no uncertainties.")
        return
    names = list(result.values)
    chosen = st.multiselect(
        "Labels", names, [n for n in names if n in _FIRST], format_func=plain_name, key="corner_labels"
    )
    if len(chosen) > 1:
        columns = [names.index(name) for name in chosen]
        posteriors = {"with the settings" if other else "posterior": result.samples[:, columns]}
        for what, before in other.items():
            if before is not None and before.samples is not None:
                posteriors[what] = before.samples[:, columns]
        truth = {name: value for name, (value, _) in literature.items()}
        _image(plot_corner(posteriors, chosen, truth=truth))
    if {"teff", "logg"} <= set(names):
        known = (*literature["teff"], *literature["logg"]) if {"teff", "logg"} <= set(literature) else None
        t, g = (result.samples[:, names.index(name)] for name in ("teff", "logg"))
        _image(plot_kiel(t, g, literature=known))


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
    if done is None:
        st.info("The spectrum in the file is normalised and at rest: no preparation was needed.")
        return
    for note in done.notes:
        st.markdown(f"- {plain(note)}")
    _image(plot_preparation(done))


def _downloads(outcome: Outcome, settings: Settings) -> None:
    result = outcome.result
    assert result is not None
    st.write("The command that gives these numbers:")
    st.code(command(outcome.name, settings), language="bash", wrap_lines=True)
    stem = outcome.name.partition(".")[0]
    files: dict[str, tuple[str, Callable[[], bytes]]] = {
        "Table (ECSV)": (f"{stem}-maury.ecsv", lambda: table_bytes([result], ".ecsv")),
        "Table (CSV)": (f"{stem}-maury.csv", lambda: table_bytes([result], ".csv")),
    }
    if result.samples is not None:
        files["Samples (HDF5)"] = (
            f"{stem}-samples.h5",
            lambda: written(lambda path: write_samples([result], path), ".h5"),
        )
    if outcome.model is not None:
        files["Figure (PDF)"] = (f"{stem}-fit.pdf", lambda: _drawn(outcome, "pdf"))
        files["Figure (PNG)"] = (f"{stem}-fit.png", lambda: _drawn(outcome, "png"))
    for column, (label, (name, make)) in zip(st.columns(len(files)), files.items(), strict=True):
        column.download_button(label, make, name, key=f"download_{label}", on_click="ignore")


def _drawn(outcome: Outcome, kind: str) -> bytes:
    """The fit as a file."""
    assert outcome.result is not None
    assert outcome.model is not None
    result = outcome.result
    figure = plot_spectrum_fit(result.wavelength_aa, result.spectrum.flux, outcome.model, mask=result.spectrum.mask)
    return figure_bytes(figure, kind)


def table_bytes(results: Sequence[Result], ending: str) -> bytes:
    """A table of results as a file's bytes."""
    return written(lambda path: write_table(results, path), ending)


def written(write: Callable[[Path], None], ending: str) -> bytes:
    """What a function writes to a file, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="maury-app-") as folder:
        path = Path(folder) / f"out{ending}"
        write(path)
        return path.read_bytes()
