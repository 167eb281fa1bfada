"""Cosmic rays and bad pixels are masked; lines are not, whether the template has them or not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from maury.preparation import Preparation, prepare
from maury.preparation.clean import spikes
from maury.spectra import Observation
from nights import K_DWARF, OLD_GIANT, SUN, Instrument, observe

STARS = {"sun": SUN, "K dwarf": K_DWARF, "old giant": OLD_GIANT}
INSTRUMENTS = {"2.7 pixels": Instrument(44_000.0, 0.044), "4.3 pixels": Instrument(60_000.0, 0.02, wave=0.02)}
CASES = [("sun", "2.7 pixels", 30), ("K dwarf", "4.3 pixels", 50), ("old giant", "2.7 pixels", 200)]


def run(star: str, instrument: str, snr: float, change=None) -> tuple[Preparation, Observation]:
    """Prepare a star, its flux changed by ``change(wavelength, flux, continuum)``."""
    used = INSTRUMENTS[instrument]
    seen = observe(STARS[star], used, velocity_kms=20, snr=snr, seed=3)
    if change is not None:
        order = seen.single()
        flux = change(order.wavelength_aa, order.flux.copy(), used.continuum(0, order.wavelength_aa))
        seen = Observation((order.with_(flux=flux),), None, seen.provenance)
    return prepare(seen, resolution=used.resolution), seen


@cache
def plain(star: str, instrument: str, snr: float) -> Preparation:
    return run(star, instrument, snr)[0]


def used_at(result: Preparation, wavelength_aa: np.ndarray) -> np.ndarray:
    """Whether the pixels at observed wavelengths were used."""
    segment = result.orders[0].segment
    return segment.good[np.abs(segment.wavelength_aa[:, None] - wavelength_aa).argmin(0)]


def places(count: int, seed: int = 5) -> np.ndarray:
    """Observed wavelengths, Å, well apart and inside the window."""
    return np.linspace(5060, 5340, count) + np.random.default_rng(seed).uniform(-1.5, 1.5, count)


@pytest.mark.parametrize(("star", "instrument", "snr"), CASES)
def test_no_pixel_of_a_clean_spectrum_is_masked(star, instrument, snr):
    segment = plain(star, instrument, snr).orders[0].segment
    inside = (segment.wavelength_aa > 5051) & (segment.wavelength_aa < 5350)
    assert segment.good[inside].all()


@pytest.mark.parametrize(("star", "instrument", "snr"), CASES)
def test_cosmic_rays_are_masked_and_their_surroundings_are_not(star, instrument, snr):
    """Half the continuum in one pixel, or 0.4, 0.8 and 0.4 in three; in lines too."""
    single, triple = np.split(places(60), 2)

    def change(wave, flux, continuum):
        for at in single:
            flux[np.abs(wave - at).argmin()] += 0.5 * continuum[0]
        for at in triple:
            middle = np.abs(wave - at).argmin()
            flux[middle - 1 : middle + 2] += np.array([0.4, 0.8, 0.4]) * continuum[0]
        return flux

    result, _ = run(star, instrument, snr, change)
    assert not used_at(result, single).any()
    assert used_at(result, triple).mean() <= 0.1
    segment = result.orders[0].segment
    step = np.diff(segment.wavelength_aa)[0]
    far = np.abs(segment.wavelength_aa[:, None] - np.r_[single, triple]).min(1) > 4 * step
    inside = (segment.wavelength_aa > 5051) & (segment.wavelength_aa < 5350)
    assert segment.good[far & inside].all()
    assert any("cosmic rays" in note for note in result.notes)
    difference = result.velocity_kms - plain(star, instrument, snr).velocity_kms
    assert abs(difference) < 0.5 * result.velocity_error_kms
    both = ~result.spectrum.mask & ~plain(star, instrument, snr).spectrum.mask
    change_of_flux = (result.spectrum.flux - plain(star, instrument, snr).spectrum.flux)[both]
    assert np.sqrt(np.mean(change_of_flux**2)) < 0.002 + 0.4 / snr


@pytest.mark.parametrize(("star", "instrument", "snr"), CASES)
def test_lines_that_no_template_has_are_kept(star, instrument, snr):
    """As narrow as the instrument allows, 5 to 50 % deep: what a line list lacks is no dead pixel."""
    lines, rng = places(40), np.random.default_rng(8)
    depths, resolution = rng.uniform(0.05, 0.5, 40), INSTRUMENTS[instrument].resolution

    def change(wave, flux, continuum):
        for line, depth in zip(lines, depths, strict=True):
            width = line / resolution / 2.355 * 1.1
            flux *= 1 - depth * np.exp(-0.5 * ((wave - line) / width) ** 2)
        return flux

    result, _ = run(star, instrument, snr, change)
    segment = result.orders[0].segment
    inside = (segment.wavelength_aa > 5051) & (segment.wavelength_aa < 5350)
    assert segment.good[inside].all()


@pytest.mark.parametrize(("star", "instrument", "snr"), CASES)
def test_dead_pixels_are_masked(star, instrument, snr):
    """Single pixels at a tenth of the continuum, on pixels with enough light to tell."""
    dead = places(50, seed=9)
    reference = plain(star, instrument, snr).orders[0]
    at = np.abs(reference.segment.wavelength_aa[:, None] - dead).argmin(0)
    dead = reference.segment.wavelength_aa[at[reference.model[at] > 0.75]]
    assert dead.size > 10

    def change(wave, flux, continuum):
        flux[np.abs(wave[:, None] - dead).argmin(0)] = 0.1 * continuum[0]
        return flux

    result, _ = run(star, instrument, snr, change)
    assert not used_at(result, dead).any()


def test_a_spike_must_be_sharper_than_the_profile():
    """In standard deviations of 0.01: the same height in one pixel and in a Gaussian of three pixels FWHM."""
    x, ones = np.arange(200.0), np.ones(200)
    noise = 0.01 * np.random.default_rng(2).standard_normal(200)
    good = np.ones(200, bool)
    for height in (0.3, -0.3, -0.6):
        single = 0.6 + height * (x == 100) + noise
        line = 0.6 + height * np.exp(-4 * np.log(2) * ((x - 100.3) / 3) ** 2) + noise
        found = spikes(single, 0.6 * ones, 0.01 * ones, good, 3.0)
        assert list(np.flatnonzero(found)) == [99, 100, 101]
        assert not spikes(line, 0.6 * ones, 0.01 * ones, good, 3.0).any()


def test_emission_above_the_continuum_is_a_spike_only_when_narrow():
    x, ones, good = np.arange(400.0), np.ones(400), np.ones(400, bool)
    for width, is_spike in ((2.0, True), (40.0, False)):
        flux = 1 + 0.5 * np.exp(-4 * np.log(2) * ((x - 200) / width) ** 2)
        assert spikes(flux, ones, 0.01 * ones, good, 3.0)[200] == is_spike


def test_without_good_pixels_nothing_is_found():
    none = np.zeros(50, bool)
    assert not spikes(np.ones(50), np.ones(50), np.ones(50), none, 3.0).any()
