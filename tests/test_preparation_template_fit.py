"""Continua: right where the truth is known, their errors too; gaps do no harm."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from maury.preparation import Preparation, prepare
from maury.preparation.continuum import KNOT_AA, curvature_penalty, knot_distance, spline_basis
from maury.spectra import Observation
from maury.wavelengths import C_KMS
from nights import K_DWARF, OLD_GIANT, SUN, Instrument, observe, star_flux

WAVES = Instrument(44_000.0, 0.05, wave=0.04)
BLAZE = Instrument(44_000.0, 0.05, orders=6, blaze=True, wave=0.04)
INSTRUMENTS = {"waves": WAVES, "blaze and waves": BLAZE}
STARS = {"old giant": OLD_GIANT, "K dwarf": K_DWARF, "sun": SUN}


@cache
def prepared(star: str, instrument: str, seed: int) -> Preparation:
    used = INSTRUMENTS[instrument]
    return prepare(observe(STARS[star], used, velocity_kms=35.0, snr=50, seed=seed), resolution=used.resolution)


def errors_of(result: Preparation, instrument: Instrument, velocity_kms: float = 35.0):
    """Continuum over the true one minus 1, and its error, of all pixels used in the window."""
    wrong, error = [], []
    for order in result.orders:
        wave = order.segment.wavelength_aa
        rest = wave / (1 + velocity_kms / C_KMS)
        use = order.segment.good & (rest > 5050) & (rest < 5350)
        true = instrument.continuum(int(order.segment.name) - 1, wave)
        wrong.append((order.continuum * order.segment.scale / true - 1)[use])
        error.append(order.continuum_error[use])
    return np.concatenate(wrong), np.concatenate(error)


@pytest.mark.parametrize(("star", "limit"), [("old giant", 0.005), ("K dwarf", 0.01), ("sun", 0.005)])
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_continua_are_right(star, limit, instrument):
    """S/N 50, waves of 4 % with 45 Å: 0.5 % rms for metal-poor stars and the Sun, 1 % for a metal-rich K dwarf."""
    wrong, _ = errors_of(prepared(star, instrument, 1), INSTRUMENTS[instrument])
    assert np.sqrt(np.mean(wrong**2)) < limit


def test_continuum_errors_cover_what_is_wrong():
    pulls = []
    for star in STARS:
        for name, instrument in INSTRUMENTS.items():
            wrong, error = errors_of(prepared(star, name, 1), instrument)
            pulls.append(wrong / error)
    pulls = np.concatenate(pulls)
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1.0, abs=0.35)
    assert np.quantile(np.abs(pulls), 0.68) == pytest.approx(1.0, abs=0.35)


def test_the_normalised_flux_scatters_about_the_star_by_its_noise():
    for star in STARS:
        spectrum = prepared(star, "blaze and waves", 1).spectrum
        good = ~spectrum.mask
        true = star_flux(STARS[star], spectrum.wavelength_aa[good], 44_000.0)
        pull = (spectrum.flux[good] - true) / spectrum.sigma[good]
        assert pull.std() == pytest.approx(1.0, abs=0.12)
        assert abs(np.mean(spectrum.flux[good] - true)) < 0.003


def test_gaps_do_no_harm():
    """Zeros over 20 Å and no numbers over 10 Å: masked; velocity and continuum elsewhere as without."""
    seen = observe(SUN, WAVES, velocity_kms=35.0, snr=50)
    order = seen.single()
    flux, wave = order.flux.copy(), order.wavelength_aa
    flux[(wave > 5120) & (wave < 5140)] = 0.0
    flux[(wave > 5250) & (wave < 5260)] = np.nan
    result = prepare(Observation((order.with_(flux=flux),), None, seen.provenance), resolution=44_000.0)
    rest = result.spectrum.wavelength_aa * (1 + 35 / C_KMS)
    assert result.spectrum.mask[((rest > 5120.1) & (rest < 5139.9)) | ((rest > 5250.1) & (rest < 5259.9))].all()
    assert not result.spectrum.mask[(rest > 5060) & (rest < 5119.8)].any()
    assert not result.spectrum.mask[(rest > 5260.2) & (rest < 5340)].any()
    wrong, _ = errors_of(result, WAVES)
    assert np.sqrt(np.mean(wrong**2)) < 0.005
    assert result.velocity_kms == pytest.approx(35, abs=0.05)
    assert result.coverage_aa == pytest.approx(270, abs=1)
    assert "short_coverage" in result.flags
    assert any("exactly zero" in note for note in result.notes)
    assert any("not finite" in note for note in result.notes)


def test_gaps_in_every_order_do_no_harm():
    seen = observe(K_DWARF, BLAZE, velocity_kms=35.0, snr=50)
    orders = []
    for order in seen.orders:
        middle = order.wavelength_aa.size // 2
        flux = order.flux.copy()
        flux[middle - 100 : middle + 100] = flux[middle]
        orders.append(order.with_(flux=flux))
    result = prepare(Observation(tuple(orders), None, seen.provenance), resolution=44_000.0)
    wrong, _ = errors_of(result, BLAZE)
    assert np.sqrt(np.mean(wrong**2)) < 0.01
    assert result.velocity_kms == pytest.approx(35, abs=0.05)


def test_template_and_misfit_are_those_of_the_star():
    result = prepare(observe(SUN, WAVES, velocity_kms=35.0, snr=200), resolution=44_000.0)
    assert result.template["teff"] == pytest.approx(SUN["teff"], abs=100)
    assert result.template["logg"] == pytest.approx(SUN["logg"], abs=0.2)
    assert result.template["mh"] == pytest.approx(SUN["mh"], abs=0.1)
    assert result.template["vsini"] == pytest.approx(SUN["vsini"], abs=1.5)
    assert result.model_error < 0.002
    true = star_flux(SUN, result.spectrum.wavelength_aa, 44_000.0)
    inside = ~result.spectrum.mask
    assert np.abs(result.model - true)[inside].max() < 0.02


def test_a_star_unlike_any_template_is_flagged():
    """Lines where no star has any."""
    seen = observe(SUN, WAVES, velocity_kms=35.0, snr=100)
    order, rng = seen.single(), np.random.default_rng(3)
    flux = order.flux.copy()
    for centre in rng.uniform(5050, 5350, 400):
        flux *= 1 - rng.uniform(0.2, 0.6) * np.exp(-0.5 * ((order.wavelength_aa - centre) / 0.1) ** 2)
    result = prepare(Observation((order.with_(flux=flux),), None, seen.provenance), resolution=44_000.0)
    assert "poor_template" in result.flags
    assert result.model_error > 0.05


class TestSplines:
    def test_coefficients_of_one_are_a_continuum_of_one(self):
        wave = np.linspace(5060, 5120, 400)
        np.testing.assert_allclose(spline_basis(wave, 5060.0, 5120.0, KNOT_AA).sum(1), 1)

    @pytest.mark.parametrize("length", [3.0, 12.0, 13.0, 66.0, 300.0])
    def test_knots_are_at_most_as_far_apart_as_wanted(self, length):
        """A spline of p pieces has p + 3 coefficients."""
        pieces = spline_basis(np.array([5050.0]), 5050.0, 5050.0 + length, KNOT_AA).shape[1] - 3
        assert length / pieces <= KNOT_AA
        assert length / pieces > 0.5 * KNOT_AA or pieces == 1

    def test_fast_rotators_have_stiffer_continua(self):
        assert knot_distance(0.0) == KNOT_AA
        assert knot_distance(200.0) == 3 * KNOT_AA

    def test_a_slope_costs_nothing_and_a_bend_does(self):
        penalty, x = curvature_penalty(9), np.arange(9.0)
        assert (1 + 0.3 * x) @ penalty @ (1 + 0.3 * x) == pytest.approx(0, abs=1e-9)
        bend = 0.1 * (x == 4)
        assert bend @ penalty @ bend == pytest.approx(1 + 4 + 1)
