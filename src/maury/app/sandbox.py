"""The sandbox: sliders of the labels, and the emulator's spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
import torch

from maury.app.charts import line_names, sandbox_chart, zoom_to
from maury.designs import VMIC_KMS
from maury.emulator import Emulator, Sampler, load_cached
from maury.labels import LABELS, lowest_logg
from maury.wavelengths import Floats

SUN = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vsini": 2.0, "alpha": 0.0}

_STEP_AA = 0.02
_MARGIN_AA = 0.5
_RESOLUTIONS = (10_000, 20_000, 30_000, 44_000, 60_000, 80_000, 110_000)
_SLIDERS = {
    "teff": ("Teff (K)", "teff", 25.0, "%.0f"),
    "logg": ("log g (cgs)", "logg", 0.05, "%.2f"),
    "mh": ("[M/H] (dex)", "mh", 0.05, "%.2f"),
    "vsini": ("v sin i (km/s)", "vsini", 1.0, "%.0f"),
    "alpha": ("[α/M] (dex): Mg, Ca, Ti", "mg", 0.05, "%.2f"),
}
"""Of each slider: title, label that sets its range, step and number format."""


@st.cache_resource(show_spinner=False)
def _sampler(resolution: float) -> tuple[Floats, Sampler]:
    """Wavelengths and the sampler at them for one resolution."""
    emulator = load_cached()
    low, high = emulator.window_aa
    wavelength = np.arange(low + _MARGIN_AA, high - _MARGIN_AA, _STEP_AA)
    return wavelength, emulator.sampler(wavelength, resolution)


def spectrum(labels: dict[str, float], resolution: float) -> tuple[Floats, Floats]:
    """Wavelengths (p,) and the emulator's flux (p,) for Teff, log g, [M/H], v sin i and [alpha/M].

    Args:
        labels: by name.
        resolution: R = lambda / FWHM.
    """
    emulator: Emulator = load_cached()
    wavelength, sampler = _sampler(resolution)
    known = {"vmic": VMIC_KMS, **dict.fromkeys(("mg", "ca", "ti"), labels["alpha"]), **labels}
    row = torch.tensor([[known.get(name, 0.0) for name in emulator.space.names]])
    with torch.no_grad():
        flux = emulator.flux(row, torch.tensor([labels["vsini"]]), torch.tensor([float(resolution)]), sampler)
    return wavelength, flux[0].double().numpy()


def show(seen: bool) -> None:
    """Draw the sandbox; in a tab that is not open only the sliders, to keep their values.

    Args:
        seen: whether its tab is open.
    """
    left, right = st.columns([1, 3])
    with left:
        labels: dict[str, Any] = {}
        for name, (title, like, step, form) in _SLIDERS.items():
            low, high, about = LABELS[like].lower, LABELS[like].upper, LABELS[name].description
            labels[name] = st.slider(title, low, high, SUN[name], step, form, key=f"sandbox_{name}", help=about)
        resolution = st.select_slider("resolution", _RESOLUTIONS, 60_000, key="sandbox_resolution")
        beside = st.checkbox("beside the Sun", value=True, key="sandbox_sun")
    if seen:
        with right:
            _spectrum(labels, float(resolution), beside)


def _spectrum(labels: dict[str, float], resolution: float, beside: bool) -> None:
    lowest = float(lowest_logg(labels["teff"]))
    if labels["logg"] < lowest:
        st.warning(f"No model atmospheres here: at {labels['teff']:.0f} K log g starts at {lowest:.2f}.")
        return
    wavelength, flux = spectrum(labels, resolution)
    shown = {"this star": flux}
    if beside:
        shown["Sun"] = spectrum(SUN, resolution)[1]
    names = line_names()
    chosen = st.selectbox("Zoom to", ["whole window", *names], key="sandbox_zoom")
    chart = zoom_to(sandbox_chart(wavelength, shown), names.get(chosen))
    st.plotly_chart(chart, key="sandbox_chart", config={"displaylogo": False})
    st.caption(f"Microturbulence {VMIC_KMS:g} km/s, as in the founding grid. One-dimensional LTE, no TiO.")
