"""Light that is not the star's and that the continuum follows: flagged; waves of the continuum are not."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from maury import predict
from maury.preparation import Preparation, ghosts, prepare
from maury.spectra import Observation, Spectrum
from nights import K_DWARF, SUN, Instrument, observe, star_flux

ECHELLE = Instrument(44_000.0, 0.04, orders=4, blaze=True)
MERGED = Instrument(60_000.0, 0.03, wave=0.05)


def smooth(x):
    return np.sin(np.pi * x) ** 2


def sharp(x):
    return np.ones_like(x)


def with_light(labels, instrument, shape, part, width_aa, times: bool = False) -> Preparation:
    """A star with foreign light in a stretch from 5150 Å on: a part of the typical flux, or a factor 1 + part."""
    star, orders = observe(labels, instrument, velocity_kms=12.0, snr=90), []
    for order in star.orders:
        x = (order.wavelength_aa - 5150) / width_aa
        level = np.where((x > 0) & (x < 1), part * shape(np.clip(x, 0, 1)), 0.0)
        orders.append(order.with_(flux=order.flux + level * (order.flux if times else np.median(order.flux))))
    return prepare(Observation(tuple(orders), None, star.provenance), resolution=instrument.resolution)


@pytest.mark.parametrize("shape", [smooth, sharp])
@pytest.mark.parametrize("part", [0.3, -0.3])
@pytest.mark.parametrize(
    ("labels", "instrument", "width_aa"), [(SUN, ECHELLE, 30), (SUN, MERGED, 90), (K_DWARF, ECHELLE, 60)]
)
def test_foreign_light_in_a_stretch_is_flagged_where_it_is(labels, instrument, width_aa, shape, part):
    star = with_light(labels, instrument, shape, part, width_aa)
    assert "damaged_pixels" in star.flags
    (note,) = [note for note in star.notes if "a ghost" in note]
    assert note.isascii()  # FITS headers hold it
    places = [float(word) for word in note.split() if word.isdigit() and len(word) == 4]
    assert all(5140 < place < 5150 + width_aa + 10 for place in places)


@pytest.mark.parametrize("instrument", [ECHELLE, MERGED])
def test_a_wave_of_the_continuum_is_none(instrument):
    """Light and lines grow together, as a blaze makes them: the continuum takes it, and nothing is lost."""
    star = with_light(SUN, instrument, smooth, 0.3, 90, times=True)
    assert star.flags == ()
    assert star.velocity_kms == pytest.approx(12, abs=0.1)


def spectrum(flux, model, sigma=0.01):
    wave = 5050 + 0.02 * np.arange(flux.size)
    return SimpleNamespace(wavelength_aa=wave, flux=flux, model=model, sigma=np.full(flux.size, sigma))


def ghost(star, model_error):
    return ghosts.ghost(star, model_error, (5050.0, 5350.0))


def test_how_much_shallower_lines_are_and_where():
    rng = np.random.default_rng(3)
    depth = 0.6 * np.exp(-0.5 * ((np.arange(15_000) % 125 - 62) / 5) ** 2)  # a line each 2.5 Å
    wave = 5050 + 0.02 * np.arange(15_000)
    added = np.where((wave > 5150) & (wave < 5200), 0.25, 0.0)
    model = 1 - depth
    flux = 1 - depth / (1 + added) + 0.01 * rng.standard_normal(depth.size)
    note = ghost(spectrum(flux, model), 0.0)
    assert note.startswith("lines between 5150 and 5200 Angstrom (at rest) are 20 % shallower than elsewhere")
    assert ghost(spectrum(model + 0.01 * rng.standard_normal(depth.size), model), 0.0) is None
    hole = np.where((wave > 5170) & (wave < 5180), np.nan, flux)
    assert "lines between" in ghost(spectrum(hole, model), 0.0)
    assert ghost(spectrum(np.full(15_000, np.nan), model), 0.0) is None


def test_a_step_needs_to_be_larger_than_the_misfit():
    flux = np.where(np.arange(15_000) < 7500, 1.08, 0.92)
    note = ghost(spectrum(flux, np.ones(15_000)), 0.0)
    assert re.match(r"at (5199|5200|5201) Angstrom \(at rest\) the flux has a step of 16 %", note)
    assert ghost(spectrum(flux, np.ones(15_000)), 0.06) is None


def test_the_ends_of_the_window_where_templates_end_are_left_out():
    flux = np.where(np.arange(15_000) < 100, 1.3, 1.0)
    assert ghost(spectrum(flux, np.ones(15_000)), 0.0) is None
    wave = np.arange(5040.0, 5360.0, 0.03)
    inside = (wave > 5050) & (wave < 5350)
    flux = np.where(inside, star_flux(SUN, wave, 50_000.0), 1.0)  # no lines beyond the window
    noisy = flux + 0.01 * np.random.default_rng(1).standard_normal(wave.size)
    assert prepare(Spectrum(wave, noisy, frame="barycentric"), resolution=50_000.0).flags == ()


@pytest.mark.parametrize("shape", [smooth, sharp])
def test_a_spectrum_that_another_program_prepared_is_tested_too(shape):
    wave = np.exp(np.arange(np.log(5048), np.log(5352), 6e-6))
    clean = star_flux(SUN, wave, 60_000.0)
    x = np.clip((wave - 5150) / 60, 0, 1)
    noise = 0.01 * np.random.default_rng(4).standard_normal(wave.size)

    def flags(flux):
        star = Spectrum(
            wave, flux + noise, sigma=np.full(wave.size, 0.01), frame="rest", normalised=True, resolution=6e4
        )
        fit = predict(star, refine=False, samples=200)
        assert fit.preparation is None
        return fit.flags

    assert "damaged_pixels" not in flags(clean)
    light = np.where((x > 0) & (x < 1), 0.3 * shape(x), 0.0)
    assert "damaged_pixels" in flags((clean + light) / (1 + light * (shape is smooth)))
