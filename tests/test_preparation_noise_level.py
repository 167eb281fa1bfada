"""Noise: measured where the file has none, raised where the file's is too small, kept where it is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve, firwin

from maury.preparation import Preparation, prepare
from maury.preparation.noise_level import correlation_factor, filtered, lowest_free, measured
from maury.spectra import Observation
from nights import K_DWARF, OLD_GIANT, SUN, Instrument, observe

STARS = {"sun": SUN, "K dwarf": K_DWARF, "old giant": OLD_GIANT}
INSTRUMENTS = {
    "2.4 pixels": Instrument(44_000.0, 0.05),
    "4.3 pixels": Instrument(60_000.0, 0.02, wave=0.02),
    "6 orders": Instrument(44_000.0, 0.04, 6, True, 0.02),
}


def sigma_ratio(result: Preparation, seen: Observation) -> list[float]:
    """Sigma of each order over the true one, the median of the pixels used."""
    true = {order.provenance["order"]: order for order in seen.orders}
    ratios = []
    for order in result.orders:
        segment = order.segment
        of_file = true[segment.name]
        sigma = np.interp(segment.wavelength_aa, of_file.wavelength_aa, of_file.sigma) / segment.scale
        if segment.good.any():
            ratios.append(float(np.median((order.sigma / sigma)[segment.good])))
    return ratios


def with_sigma(seen: Observation, factor: float | None) -> Observation:
    """The observation with its sigma scaled, or without any."""
    orders = tuple(o.with_(sigma=None if factor is None else factor * o.sigma) for o in seen.orders)
    return Observation(orders, None, seen.provenance)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize(("star", "snr"), [("sun", 20), ("K dwarf", 60), ("old giant", 180)])
def test_white_noise_is_measured(star, snr, instrument):
    """Right to 15 %, whatever the lines."""
    used = INSTRUMENTS[instrument]
    seen = observe(STARS[star], used, velocity_kms=-80, snr=snr, seed=2)
    result = prepare(with_sigma(seen, None), resolution=used.resolution)
    assert np.median(sigma_ratio(result, seen)) == pytest.approx(1, abs=0.15)
    assert result.notes[-1].startswith("noise measured")


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_an_understated_sigma_is_raised_and_a_right_one_kept(instrument):
    """Three times too small: raised to the truth, within 15 %; right: kept to the last digit, in every order."""
    used = INSTRUMENTS[instrument]
    seen = observe(SUN, used, velocity_kms=-80, snr=60, seed=2)
    kept = prepare(seen, resolution=used.resolution)
    assert sigma_ratio(kept, seen) == pytest.approx([1] * len(kept.orders))
    assert "noise of the file" in kept.notes
    raised = prepare(with_sigma(seen, 1 / 3), resolution=used.resolution)
    assert np.median(sigma_ratio(raised, seen)) == pytest.approx(1, abs=0.15)
    assert any("raised: less than what is measured" in note for note in raised.notes)
    assert raised.velocity_error_kms == pytest.approx(kept.velocity_error_kms, rel=0.2)


def test_an_overstated_sigma_is_believed():
    seen = with_sigma(observe(SUN, INSTRUMENTS["4.3 pixels"], snr=60), 2.0)
    result = prepare(seen, resolution=60_000.0)
    assert sigma_ratio(result, seen) == pytest.approx([1.0])


def resampled(seen: Observation, step_aa: float) -> Observation:
    """Linearly interpolated to other pixels, as pipelines do; neighbours become correlated. Sigma is left out."""
    order = seen.single()
    wave = np.arange(order.wavelength_aa[0], order.wavelength_aa[-1], step_aa)
    flux = np.interp(wave, order.wavelength_aa, order.flux)
    return Observation((order.with_(wavelength_aa=wave, flux=flux, sigma=None, mask=None),), None, seen.provenance)


@pytest.mark.parametrize("factor", [1.3, 1.6, 2.0])
def test_noise_of_resampled_pixels_is_raised(factor):
    """Finer pixels do not add information: sigma sqrt(factor) times that of the pixels before, within 35 %."""
    used = Instrument(44_000.0, 0.04)
    seen = observe(SUN, used, velocity_kms=-80, snr=60, seed=2)
    fine = resampled(seen, 0.04 / factor)
    result = prepare(fine, resolution=44_000.0)
    (ratio,) = sigma_ratio(result, seen)
    assert ratio == pytest.approx(np.sqrt(factor), rel=0.35)
    assert ratio > 1.05
    assert "raised" in result.notes[-1]


class TestMeasuring:
    """The functions by themselves, on noise of known size."""

    rng = np.random.default_rng(4)

    @pytest.mark.parametrize("fwhm", [1.5, 3.0, 6.0])
    def test_white_noise_in_a_wavy_signal(self, fwhm):
        x = np.arange(4000.0)
        row = (1.5, 3.0, 6.0).index(fwhm)  # the same noise in whatever order the tests run
        noise = np.random.default_rng(4).standard_normal((3, 4000))[row]
        values = 0.02 * noise + np.sin(x / 40)
        found = measured(values, np.ones(4000, bool), np.ones(4000), fwhm)
        assert np.median(found) == pytest.approx(0.02, rel=0.07)

    def test_it_follows_noise_that_changes_along_the_order(self):
        sigma = np.linspace(0.01, 0.05, 6000)
        found = measured(sigma * self.rng.standard_normal(6000), np.ones(6000, bool), np.ones(6000), 3.0)
        assert np.abs(found / sigma - 1)[300:-300].max() < 0.25

    def test_masked_pixels_do_not_enter(self):
        values = self.rng.standard_normal(3000)
        good = np.ones(3000, bool)
        values[1000:1500], good[1000:1500] = 1e6, False
        assert np.median(measured(values, good, np.ones(3000), 3.0)) == pytest.approx(1, abs=0.1)

    def test_too_few_pixels_for_a_filter_give_the_scatter(self):
        values = self.rng.standard_normal(60)
        found = measured(values, np.ones(60, bool), np.ones(60), 3.0)
        assert found[0] == pytest.approx(1.4826 * np.median(np.abs(values)))

    @pytest.mark.parametrize("low", [0.1, 0.25, 0.37])
    def test_the_filter_is_that_of_the_textbook(self, low):
        edges = [low, low + 0.13] if low + 0.13 < 0.49 else low
        taps = firwin(25, edges, pass_zero=False, fs=1.0)
        values, good = self.rng.standard_normal(300), self.rng.random(300) > 0.01
        expected = fftconvolve(np.where(good, values, 0.0), taps / np.sqrt(np.sum(taps**2)), mode="same")
        assert filtered(values, good, low)[0] == pytest.approx(expected, abs=1e-12)
        for size in (1, 10, 24):
            assert filtered(values[:size], good[:size], low)[0].shape == (size,)

    def test_the_filter_keeps_white_noise_and_stops_lines(self):
        white, good = self.rng.standard_normal(20_000), np.ones(20_000, bool)
        for fwhm in (2.5, 4.0, 8.0):
            low = lowest_free(fwhm)
            assert filtered(white, good, low)[0].std() == pytest.approx(1, abs=0.05)
            x = np.arange(20_000) - 10_000
            line = np.exp(-4 * np.log(2) * (x / (1.3 * fwhm)) ** 2)
            assert np.abs(filtered(line, good, low)[0]).max() < 0.1

    def test_correlation_is_seen_in_smoothed_noise_and_not_in_white(self):
        good = np.ones(8000, bool)
        white = self.rng.standard_normal(8000)
        assert correlation_factor(white, good, 6.0) == 1.0
        smooth = np.convolve(white, [0.25, 0.5, 0.25], mode="same")
        assert correlation_factor(smooth, good, 6.0) > 1.15
        assert correlation_factor(smooth, good, 2.0) == 1.0  # no band free of lines to tell it from

    def test_white_noise_is_hardly_ever_taken_for_correlated(self):
        factors = [
            correlation_factor(np.random.default_rng(i).standard_normal(1600), np.ones(1600, bool), 2.9)
            for i in range(100)
        ]
        assert np.mean(np.array(factors) > 1) < 0.05


def test_a_smoothed_spectrum_of_a_metal_poor_star_takes_the_scatter_between_its_lines():
    """Smoothed over many pixels nothing is left at high frequencies; the scatter between lines tells the noise."""
    used = INSTRUMENTS["4.3 pixels"]
    seen = observe(OLD_GIANT, used, snr=12, seed=2)
    order = seen.single()
    clean = observe(OLD_GIANT, used, snr=1e7).single().flux
    noise = order.flux - clean
    for _ in range(3):
        noise = np.convolve(noise, np.ones(5) / 5, mode="same")
    smooth = order.with_(flux=clean + noise, sigma=None)
    result = prepare(Observation((smooth,), None, seen.provenance), resolution=60_000.0)
    assert "the spectrum was smoothed" in result.notes[-1]
    scatter = noise.std() / np.median(order.sigma)
    assert sigma_ratio(result, seen)[0] == pytest.approx(scatter, rel=0.2)


def test_the_right_sigma_of_a_double_star_is_kept():
    """Lines of a second star scatter between those of the first; that is no smoothed noise."""
    used = INSTRUMENTS["2.4 pixels"]
    seen = observe(SUN, used, velocity_kms=-20, snr=150, second=({**SUN, "teff": 5400.0}, 40.0, 0.3))
    result = prepare(seen, resolution=used.resolution)
    assert sigma_ratio(result, seen) == pytest.approx([1.0])


def test_measured_noise_follows_blaze_and_lines():
    """Without a sigma in the file, every tenth of an order has its own noise, and so has the core of a line."""
    used = INSTRUMENTS["6 orders"]
    seen = observe(SUN, used, snr=60, seed=2)
    result = prepare(with_sigma(seen, None), resolution=used.resolution)
    order, true = result.orders[2], seen.orders[2]
    ratio = (
        order.sigma * order.segment.scale / np.interp(order.segment.wavelength_aa, true.wavelength_aa, true.sigma)
    )[8:-8]
    assert max(np.median(part) for part in np.array_split(ratio, 10)) < 1.3
    assert min(np.median(part) for part in np.array_split(ratio, 10)) > 0.75
    deep, high = order.model < 0.4, order.model > 0.95
    assert np.median(order.sigma[deep]) < 0.75 * np.median(order.sigma[high])
