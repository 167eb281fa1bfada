"""The web page: Streamlit runs this script again after every change of a field; `maury app` serves it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from maury.app import sandbox, star
from maury.app.analysis import Files, Outcome, Settings, analyse, analyse_together, written
from maury.app.serve import MOST_MB
from maury.app.uploads import plain, safe_name
from maury.app.worker import make_ready
from maury.inference import LABELS_OF
from maury.inference.words import titled
from maury.labels import FOUNDING

MOST_FILES = 50
"""Files in one session."""

_LESS_SPACE = "<style>.stMainBlockContainer {padding-top: 2.5rem}</style>"
"""Smaller margin, so that numbers and fit are visible without scrolling."""

_STEPS = {"teff": 10.0, "logg": 0.05, "mh": 0.05, "vsini": 0.5}
_ERRORS = {"teff": 50.0, "logg": 0.05, "mh": 0.05, "vsini": 0.5}


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="maury", layout="wide")
    st.html(_LESS_SPACE)
    st.title("maury")
    settings, literature = _settings()
    files = _files(_uploads())
    together = st.checkbox(
        "The files are exposures of one star", key="together", disabled=len(files) < 2,
        help="One fit: each file keeps its velocity, continuum and noise, the labels are those of all.",
    )  # fmt: skip
    stars_files = [files] if together and len(files) > 1 else [[file] for file in files]
    outcomes = [_outcome(one, settings) for one in stars_files]
    stars, sand = st.tabs(["Stars", "Sandbox"], key="page", on_change="rerun")  # only the open tab is drawn
    with stars:
        if stars.open:
            _stars(stars_files, outcomes, settings, literature)
    with sand:
        sandbox.show(bool(sand.open))
    make_ready()


def _settings() -> tuple[Settings, star.Literature]:
    """The fields on the left."""
    with st.sidebar:
        st.header("Settings")
        resolution = st.number_input(
            "Resolution R = λ / FWHM", 500.0, 1_000_000.0, None, 1000.0, "%.0f", key="resolution",
            placeholder="from the file", help="Nominal resolving power; overrides the file.",
        )  # fmt: skip
        auto = st.checkbox(
            "Estimate the resolution from the lines", key="auto",
            help="Assumes slow rotation: v sin i is then meaningless, and a fast rotator gets wrong values.",
        )  # fmt: skip
        velocity = st.number_input(
            "Radial velocity (km/s)", -1500.0, 1500.0, None, 1.0, "%.2f", key="velocity",
            placeholder="measured", help="In the file's wavelengths, if known.",
        )  # fmt: skip
        labels = st.selectbox("Labels", list(LABELS_OF), key="labels")
        with st.expander("Priors"):
            st.caption("From a transit, a parallax or interferometry: the posterior is reweighted with it.")
            known = _values("prior")
            st.caption("Parallax and G together give luminosity, radius and mass, and log g through them.")
            parallax = _pair("Parallax (mas)", "parallax", 0.1, 0.1)
            gmag = st.number_input("G (mag)", -5.0, 22.0, None, 0.1, key="gmag")
            ebv = _pair("E(B-V) (mag)", "ebv", 0.01, 0.01)
        masked = st.text_input(
            "Masked wavelengths (Å)", key="mask", placeholder="5183-5184.2, 5269-5271",
            help="In air, in the star's rest frame, as in the chart of the fit: ignored in preparation and fit.",
        )  # fmt: skip
        masks = tuple(text.strip() for text in re.split(r"[,;\n]", masked.replace("–", "-")) if text.strip())
        two = st.checkbox(
            "Fit two stars", key="two",
            help="Both stars of a double-lined binary. Without it, where the lines of a second star are found.",
        )  # fmt: skip
        with st.expander("How the file is read"):
            reading, velocities = _reading()
        with st.expander("Wavelengths or noise in other files"):
            wavelength_file = _file("Wavelengths", "wavelength_file")
            sigma_file = _file("Noise", "sigma_file")
        with st.expander("Compare with the literature"):
            literature = _values("literature")
        st.caption("Files stay in the memory of this machine until the page is closed.")
    found = Settings(
        resolution=resolution,
        auto=auto,
        velocity_kms=velocity,
        labels=labels,
        priors=tuple(f"{name}={written(value)}" for name, value in known.items() if value[1] > 0),
        masks=masks,
        reading=reading,
        velocity_range_kms=velocities,
        wavelength_file=wavelength_file,
        sigma_file=sigma_file,
        parallax=parallax,
        gmag=gmag,
        ebv=ebv or (0.0, 0.0),
        components=2 if two else None,
    )
    return found, literature


def _reading() -> tuple[tuple[tuple[str, Any], ...], tuple[float, float] | None]:
    """Fields for what a file does not state and which of its spectra to read; empty ones are left out."""
    given: dict[str, Any] = {
        "medium": st.selectbox("Medium", ["air", "vacuum"], None, key="medium", placeholder="from the file"),
        "wavelength_unit": st.selectbox(
            "Unit of the wavelengths", ["angstrom", "nm", "um", "m", "log10", "ln"], None, key="wavelength_unit",
            placeholder="from the file",
        ),
        "row": st.number_input("Row", 1, None, None, key="row", help="Of a table or image; the first is 1."),
        "fibre": st.text_input("Fibre", key="fibre", help="Name or number of a fibre, trace or aperture.").strip(),
        "order": st.number_input("Order", None, None, None, 1, key="order", help="The only echelle order to read."),
        "extension": st.text_input("Extension", key="extension", help="Of FITS or HDF5, with the flux.").strip(),
        "ignore_sigma": st.checkbox("Ignore the noise", key="ignore_sigma", help="Measure it in the flux instead."),
    }  # fmt: skip
    left, right = st.columns(2)
    low = left.number_input("Velocities to search from", -1500.0, 1500.0, None, 100.0, key="velocity_low")
    high = right.number_input("to (km/s)", -1500.0, 1500.0, None, 100.0, key="velocity_high")
    searched = None if low is None or high is None else (float(low), float(high))
    return tuple((name, value) for name, value in given.items() if value not in (None, "", False)), searched


def _file(label: str, key: str) -> tuple[str, bytes] | None:
    upload = st.file_uploader(label, key=key, max_upload_size=MOST_MB)
    return None if upload is None else (safe_name(upload.name), upload.getvalue())


def _pair(label: str, key: str, step: float, error: float) -> tuple[float, float] | None:
    """Fields for a value with its error; None where it is empty."""
    left, right = st.columns(2)
    value = left.number_input(label, value=None, step=step, key=key)
    uncertainty = right.number_input("±", 0.0, None, error, key=f"{key}_error")
    return None if value is None else (float(value), float(uncertainty))


def _values(what: str) -> star.Literature:
    """Fields for values with errors, by label; those that are empty are left out."""
    found = {}
    for name in FOUNDING:
        pair = _pair(titled(name), f"{what}_{name}", _STEPS[name], _ERRORS[name])
        if pair is not None:
            found[name] = pair
    return found


def _uploads() -> Sequence[Any]:
    uploads = st.file_uploader(
        "Spectra of any spectrograph: FITS, HDF5 or text", accept_multiple_files=True, key="spectra",
        max_upload_size=MOST_MB,
    )  # fmt: skip
    if len(uploads) > MOST_FILES:
        st.warning(f"The first {MOST_FILES} of {len(uploads)} files are read.")
    return uploads[:MOST_FILES]


def _stars(
    files: Sequence[Files], outcomes: Sequence[Outcome], settings: Settings, literature: star.Literature
) -> None:
    if not outcomes:
        st.info(
            "Drop one or many spectra around the Mg b lines (5050 to 5350 Å), as the spectrograph's pipeline wrote "
            "them. Velocity, continuum and orders are handled here."
        )
        return
    if len(outcomes) > 1:
        _table(outcomes)
    names = [outcome.name for outcome in outcomes]
    chosen = st.selectbox("Star", names, key="star") if len(names) > 1 else names[0]
    index = names.index(chosen)
    other = {}
    if settings.priors or settings.parallax:
        alone = replace(settings, priors=(), parallax=None, gmag=None)
        other["without priors"] = _outcome(files[index], alone).result
    if settings.masks:
        other["without masks"] = _outcome(files[index], replace(settings, masks=(), components=1)).result
    star.show(outcomes[index], [name for name, _ in files[index]], settings, literature, other)


def _files(uploads: Sequence[Any]) -> list[tuple[str, bytes]]:
    """Safe names and bytes of the files; results of files that were removed are forgotten."""
    files: list[tuple[str, bytes]] = []
    for upload in uploads:
        files.append((safe_name(upload.name, [name for name, _ in files]), upload.getvalue()))
    digests = {hashlib.sha256(content).hexdigest() for _, content in files}
    for store in (_session("outcomes"), _session("observations")):
        for key in [key for key in store if not digests.issuperset(key[1])]:
            del store[key]
    return files


def _session(name: str) -> dict[Any, Any]:
    """Dictionary that lasts as long as this browser session."""
    store: dict[Any, Any] = st.session_state.setdefault(name, {})
    return store


def _outcome(files: Files, settings: Settings) -> Outcome:
    """The outcome of a file, or of exposures of one star, computed once per session."""
    known: dict[Any, Outcome] = _session("outcomes")
    names = tuple(name for name, _ in files)
    key = (names, tuple(hashlib.sha256(content).hexdigest() for _, content in files), settings)
    if key not in known:
        with st.spinner(f"{plain(', '.join(names))}: reading, preparing, predicting"):
            read = _session("observations")
            one = len(files) == 1
            known[key] = analyse(*files[0], settings, read) if one else analyse_together(files, settings, read)
    return known[key]


def _table(outcomes: Sequence[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        row: dict[str, Any] = {"file": outcome.name}
        if outcome.result is not None:
            row |= {titled(k): star.measured(outcome.result, k)[0] for k in outcome.result.values}
            row["flags"] = ", ".join(outcome.result.flags) or "none"
        else:
            row["flags"] = "not read" if outcome.summary is None else "no result"
        rows.append(row)
    st.dataframe(rows, hide_index=True)
    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    if results:
        st.download_button(
            "All stars (ECSV)", lambda: star.table_bytes(results, ".ecsv"), "maury.ecsv", key="all", on_click="ignore"
        )


if __name__ == "__main__":
    main()
