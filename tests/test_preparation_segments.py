"""Pixels without light are masked: gaps, plateaus, order edges, orders without numbers."""

from __future__ import annotations

import numpy as np
import pytest

from maury.errors import DomainError
from maury.preparation import prepare
from maury.preparation.segments import cut, dead_runs, envelope, fwhm_pixels
from maury.spectra import Observation, Spectrum
from nights import SUN, Instrument, observe, star_flux

WINDOW = (5050.0, 5350.0)
COARSE = Instrument(44_000.0, 0.05)
ECHELLE = Instrument(44_000.0, 0.05, orders=6, blaze=True)


def changed(seen: Observation, change) -> Observation:
    """The observation with ``change(wavelength, flux)`` made to the flux of each order."""
    orders = tuple(order.with_(flux=change(order.wavelength_aa, order.flux.copy())) for order in seen.orders)
    return Observation(orders, None, seen.provenance)


def test_runs_of_one_value_are_dead_and_short_ones_are_not():
    flux = np.random.default_rng(1).normal(1, 0.1, 200)
    flux[50:55], flux[100:104], flux[190:] = 1.0, 1.0, 0.7
    assert list(np.flatnonzero(dead_runs(flux))) == [*range(49, 56), *range(189, 200)]


@pytest.mark.parametrize("value", [0.0, -1.0, 1234.5, 65535.0], ids=["zero", "minus one", "constant", "saturated"])
def test_dead_gaps_and_plateaus_are_masked(value):
    def change(wave, flux):
        flux[(wave > 5200) & (wave < 5210)] = value
        return flux

    (segment,) = cut(changed(observe(SUN, COARSE), change), WINDOW)
    gap = (segment.wavelength_aa > 5200) & (segment.wavelength_aa < 5210)
    assert not segment.good[gap].any()
    assert segment.good[~gap].sum() >= (~gap).sum() - 2
    rule = "zero" if value == 0 else "constant"
    assert segment.masked[rule] == pytest.approx(gap.sum(), abs=2)


def test_a_saturated_plateau_does_not_move_the_continuum():
    """Counts above the well stand at one value: the spectrum beside it comes out as it would have."""

    def change(wave, flux):
        flux[(wave > 5195) & (wave < 5198)] = 9000.0
        return flux

    seen = observe(SUN, COARSE, snr=100)
    plain = prepare(seen, resolution=44_000.0)
    result = prepare(changed(seen, change), resolution=44_000.0)
    wave = plain.spectrum.wavelength_aa
    assert result.spectrum.mask[(wave > 5195.1) & (wave < 5197.9)].all()
    near = ((wave > 5185) & (wave < 5194.8)) | ((wave > 5198.2) & (wave < 5208))
    assert np.abs(result.spectrum.flux - plain.spectrum.flux)[near].max() < 0.005
    assert any("runs of one value" in note for note in result.notes)


def test_an_order_ends_where_its_blaze_does():
    """Orders that run on to no light: not used there, nor in their eight last pixels; what is used is right."""

    orders = []
    for order in observe(SUN, Instrument(44_000.0, 0.05, orders=6)).orders:
        blaze = np.sinc(np.linspace(-0.995, 0.995, order.flux.size)) ** 2
        orders.append(order.with_(flux=order.flux * blaze, sigma=order.sigma * blaze))
    result = prepare(Observation(tuple(orders)), resolution=44_000.0)
    for order in result.orders:
        segment = order.segment
        assert not segment.good[:8].any()
        assert not segment.good[-8:].any()
        assert order.continuum[segment.good].min() > 0.03
        assert 0.6 < segment.good.mean() < 0.98
    spectrum = result.spectrum
    wrong = (spectrum.flux - star_flux(SUN, spectrum.wavelength_aa, 44_000.0)) / spectrum.sigma
    assert np.nanstd(wrong) == pytest.approx(1, abs=0.15)
    assert any("at order edges" in note for note in result.notes)


def test_a_merged_spectrum_keeps_its_ends():
    (segment,) = cut(observe(SUN, COARSE), WINDOW)
    assert segment.good.all()


def test_orders_without_numbers_or_light_are_left_out():
    seen = observe(SUN, ECHELLE)
    orders = list(seen.orders)
    flux = np.full(orders[1].flux.size, np.nan)
    flux[:30] = 1.0
    orders[1] = orders[1].with_(flux=flux)
    orders[3] = orders[3].with_(flux=-np.abs(orders[3].flux))
    segments = cut(Observation(tuple(orders), None, seen.provenance), WINDOW)
    assert [segment.name for segment in segments] == ["1", "3", "5", "6"]


def test_pixels_the_file_masks_stay_masked():
    order = observe(SUN, COARSE).single()
    mask = (order.wavelength_aa > 5100) & (order.wavelength_aa < 5101)
    result = prepare(order.with_(mask=mask), resolution=44_000.0)
    wave = result.spectrum.wavelength_aa * (1 + result.velocity_kms / 299_792.458)
    assert result.spectrum.mask[(wave > 5100.1) & (wave < 5100.9)].all()
    assert any(note == f"{mask.sum()} pixels masked: by the file or not finite" for note in result.notes)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (6400.0, "covers 6400.0 to 6499.9 Å; 5050 to 5350 Å is needed"),
        (5356.0, "covers 5356.0 to 5455.9 Å; 5050 to 5350 Å is needed"),
    ],
)
def test_a_spectrum_outside_the_window_says_so(start, reason):
    wave = start + 0.05 * np.arange(2000)
    flux = 1000 + 10 * np.random.default_rng(1).standard_normal(2000)
    with pytest.raises(DomainError, match=rf"^far\.fits: {reason}"):
        prepare(Spectrum(wave, flux, provenance={"file": "far.fits"}), resolution=44_000.0)


def test_noise_about_zero_is_no_light():
    wave = 5040 + 0.05 * np.arange(6400)
    for seed in range(3):
        flux = 100 * np.random.default_rng(seed).standard_normal(wave.size)
        with pytest.raises(DomainError, match=r"^dark\.fits: fewer than 40 pixels with light"):
            prepare(Spectrum(wave, flux, provenance={"file": "dark.fits"}), resolution=44_000.0)


def test_next_to_no_light_is_no_light():
    with pytest.raises(DomainError, match=r"^night\.fits: fewer than 40 pixels with light"):
        prepare(observe(SUN, COARSE, snr=0.05), resolution=44_000.0)


@pytest.mark.parametrize("snr", [0.15, 1.0, 3.0])
def test_in_little_light_the_velocity_is_doubted_or_right(snr):
    result = prepare(observe(SUN, COARSE, velocity_kms=30, snr=snr), resolution=44_000.0)
    assert "low_snr" in result.flags
    if "velocity_uncertain" not in result.flags:
        assert abs(result.velocity_kms - 30) < 4 * result.velocity_error_kms


def test_the_envelope_runs_along_the_continuum():
    seen = observe(SUN, Instrument(44_000.0, 0.05, wave=0.02), snr=200)
    order = seen.single()
    level = envelope(order.wavelength_aa, order.flux, np.ones(order.flux.size, bool))
    true = Instrument(44_000.0, 0.05, wave=0.02).continuum(0, order.wavelength_aa)
    assert np.median(level / true) == pytest.approx(0.98, abs=0.03)
    assert np.abs(level / true - 1).max() < 0.25


def test_the_profile_is_measured_in_pixels():
    (segment,) = cut(observe(SUN, COARSE), WINDOW)
    assert fwhm_pixels(segment, 44_000.0) == pytest.approx(5200 / 44_000 / 0.05, rel=0.01)
    assert fwhm_pixels(segment, 1_000_000.0) == 1.0
