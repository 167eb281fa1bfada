"""Orders merged: flux conserved, averaged with the right noise, what does not agree left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maury.errors import DomainError
from maury.preparation import OrderRecord, prepare
from maury.preparation.merge import log_pixels, merge, step_of
from maury.preparation.segments import OrderSegment
from maury.spectra import Observation
from maury.wavelengths import C_KMS, pixel_edges, rebin
from nights import SUN, Instrument, observe, star_flux

finite = st.floats(-10, 10)
widths = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=40)


class TestRebin:
    @settings(max_examples=60, deadline=None)
    @given(widths, st.lists(st.floats(0.02, 0.98), min_size=1, max_size=20, unique=True), st.data(), st.booleans())
    def test_the_integral_is_conserved(self, steps, cuts, data, smooth):
        """Whatever the pixels: the integral between two new edges that are old ones too, to 1e-9."""
        old = 5000 + np.r_[0.0, np.cumsum(steps)]
        values = np.array(data.draw(st.lists(finite, min_size=len(steps), max_size=len(steps))))
        new = np.unique(np.r_[old[0], old[0] + (old[-1] - old[0]) * np.sort(cuts), old[-1]])
        result = rebin(old, values, new, smooth=smooth)
        assert np.sum(result * np.diff(new)) == pytest.approx(np.sum(values * np.diff(old)), abs=1e-9 * 10 * len(steps))

    @settings(max_examples=40, deadline=None)
    @given(widths, st.integers(1, 30), st.data())
    def test_without_a_spline_it_is_the_average_of_what_overlaps(self, steps, count, data):
        """Compared with the sum over all pairs of pixels."""
        old = 5000 + np.r_[0.0, np.cumsum(steps)]
        values = np.array(data.draw(st.lists(finite, min_size=len(steps), max_size=len(steps))))
        new = np.linspace(old[0], old[-1], count + 1)
        overlap = np.clip(
            np.minimum(old[1:, None], new[None, 1:]) - np.maximum(old[:-1, None], new[None, :-1]), 0, None
        )
        expected = (values[:, None] * overlap).sum(0) / np.diff(new)
        np.testing.assert_allclose(rebin(old, values, new, smooth=False), expected, atol=1e-8)

    def test_the_same_pixels_give_the_same_values(self):
        edges, values = 5000 + np.cumsum(np.linspace(0.02, 0.03, 301)), np.random.default_rng(1).normal(1, 0.1, 300)
        for smooth in (True, False):
            np.testing.assert_allclose(rebin(edges, values, edges, smooth=smooth), values, atol=1e-9)

    def test_lines_at_the_limit_of_the_sampling_stay_sharp(self):
        """A line of 2.5 pixels FWHM onto half-shifted pixels: right to 1 % of its height; linear overlap blurs it."""
        x = np.arange(-40.0, 41.0)
        fine = np.linspace(-0.5, 0.5, 41)

        def line(centres):
            return np.exp(-4 * np.log(2) * ((centres[:, None] + fine) / 2.5) ** 2).mean(1)

        edges, new = pixel_edges(x), pixel_edges(x[5:-5] + 0.5)
        assert np.abs(rebin(edges, line(x), new) - line(x[5:-5] + 0.5)).max() < 0.01
        assert np.abs(rebin(edges, line(x), new, smooth=False) - line(x[5:-5] + 0.5)).max() > 0.05

    def test_beyond_the_old_pixels_it_goes_on_as_it_ended(self):
        result = rebin(np.arange(5.0), np.array([3.0, 1.0, 1.0, 2.0]), np.arange(-3.0, 9.0))
        np.testing.assert_allclose(result[:2], 3.0)
        np.testing.assert_allclose(result[-3:], 2.0)

    def test_edges_lie_halfway(self):
        np.testing.assert_allclose(pixel_edges([1.0, 2.0, 4.0]), [0.5, 1.5, 3.0, 5.0])


def segment_of(wave, flux, envelope, scale) -> OrderSegment:
    mask = np.zeros(wave.size, bool)
    return OrderSegment(
        name="1", wavelength_aa=wave, flux=flux, sigma=None, mask=mask, envelope=envelope, scale=scale, masked={}
    )


def flat_order(wave, seed, sigma=0.02, level=1.0, scale=1.0) -> OrderRecord:
    """An order of continuum ``level`` with white noise, and a template of 1."""
    rng = np.random.default_rng(seed)
    ones = np.ones(wave.size)
    flux = level * (1 + sigma * rng.standard_normal(wave.size))
    segment = segment_of(wave, flux, level * ones, scale)
    return OrderRecord(segment, level * ones, 0.001 * ones, ones, level * sigma * ones)


WAVE = 5100 + 0.03 * np.arange(4000)
PIXELS = 5105 * np.exp(np.arange(5000) * 1.2 / C_KMS)


def inside(low: float, high: float) -> np.ndarray:
    """New pixels between two wavelengths."""
    return (low < PIXELS) & (high > PIXELS)


def noise_ratio(merged) -> float:
    """Scatter about 1 over the sigma given."""
    return float(np.nanstd((merged.flux - 1) / merged.sigma))


def test_two_orders_average_with_the_right_noise():
    one, other = flat_order(WAVE, 1), flat_order(WAVE + 0.013, 2, level=3.0)
    wide = 5105 * np.exp(np.arange(2000) * 3.0 / C_KMS)
    alone, both = merge([one], 0.0, wide), merge([one, other], 0.0, wide)
    np.testing.assert_allclose(both.sigma, alone.sigma / np.sqrt(2), rtol=1e-3)
    assert noise_ratio(both) == pytest.approx(1, abs=0.06)
    assert np.std(both.flux - 1) == pytest.approx(np.std(alone.flux - 1) / np.sqrt(2), rel=0.06)
    assert both.discordant == 0
    np.testing.assert_allclose(both.continuum_error, 0.001)
    np.testing.assert_allclose(both.model, 1)


def test_the_better_order_counts_more():
    """Weights are inverse variances: 1 at sigma 0.02 against 1.02 at 0.01 gives 1.016."""
    good, poor = flat_order(WAVE, 1, 0.01), flat_order(WAVE, 2, 0.02)
    one = OrderRecord(good.segment, good.continuum / 1.02, good.continuum_error, good.model, good.sigma / 1.02)
    merged = merge([one, poor], 0.0, PIXELS)
    assert np.mean(merged.flux) == pytest.approx(1.016, abs=0.001)


@pytest.mark.parametrize("step_kms", [0.9, 1.73, 4.0, 8.0])
def test_noise_keeps_the_information_of_the_pixels(step_kms):
    """Sum of 1 / sigma^2 over an interval is that of the file, for finer and for wider pixels."""
    pixels = 5110 * np.exp(np.arange(int(8000 / step_kms / 4)) * step_kms / C_KMS)
    merged = merge([flat_order(WAVE, 1)], 0.0, pixels)
    length = np.log(pixels[-1] / pixels[0]) * C_KMS + step_kms
    per_kms = 1 / 0.02**2 / (0.03 / 5120 * C_KMS)
    assert np.sum(merged.sigma**-2) == pytest.approx(length * per_kms, rel=0.01)
    if step_kms > 3:
        assert noise_ratio(merged) == pytest.approx(1, abs=0.06)


def test_where_orders_disagree_the_better_one_is_kept():
    one, other = flat_order(WAVE, 1, 0.01), flat_order(WAVE, 2, 0.02)
    other.segment.flux[1000:1200] += 0.3
    merged = merge([one, other], 0.0, PIXELS)
    wrong = inside(WAVE[1001], WAVE[1198])
    assert merged.discordant == pytest.approx(wrong.sum(), abs=8)
    assert np.abs(merged.flux - 1)[wrong].max() < 0.06
    np.testing.assert_allclose(merged.sigma[wrong], merge([one], 0.0, PIXELS).sigma[wrong])


def test_masked_pixels_give_nothing_and_leave_no_trace():
    """Of an order alone they are missing; with another order that one is taken."""
    order = flat_order(WAVE, 1)
    order.segment.flux[2000:2020], order.segment.mask[2000:2020] = 1e5, True
    hidden = inside(WAVE[2000], WAVE[2019])
    alone, both = merge([order], 0.0, PIXELS), merge([order, flat_order(WAVE, 2)], 0.0, PIXELS)
    assert np.isnan(alone.flux[hidden]).all()
    assert np.isnan(alone.sigma[hidden]).all()
    assert np.isfinite(np.delete(alone.flux, np.flatnonzero(np.convolve(hidden, np.ones(5), "same")))).all()
    assert np.nanmax(np.abs(alone.flux - 1)) < 0.12
    assert np.isfinite(both.flux).all()
    np.testing.assert_allclose(both.sigma[hidden], merge([flat_order(WAVE, 2)], 0.0, PIXELS).sigma[hidden])


def test_lines_are_brought_to_rest():
    line = 1 - 0.5 * np.exp(-0.5 * ((WAVE / (1 + 80 / C_KMS) - 5130) / 0.1) ** 2)
    order = flat_order(WAVE, 1, 1e-4)
    segment = segment_of(WAVE, line, order.segment.envelope, 1.0)
    merged = merge(
        [OrderRecord(segment, order.continuum, order.continuum_error, order.model, order.sigma)], 80.0, PIXELS
    )
    assert PIXELS[np.nanargmin(merged.flux)] == pytest.approx(5130, abs=0.02)
    expected = 1 - 0.5 * np.exp(-0.5 * ((PIXELS - 5130) / 0.1) ** 2)
    assert np.nanmax(np.abs(merged.flux - expected)) < 0.002


def test_pixels_are_uniform_in_ln_wavelength_and_one_is_the_first_of_the_window():
    pixels = log_pixels((5050.0, 5350.0), 1.7, 2.0)
    np.testing.assert_allclose(np.diff(np.log(pixels)) * C_KMS, 1.7, rtol=1e-6)
    assert np.abs(pixels - 5050).min() < 1e-9
    assert 5048 <= pixels[0] < 5048.1
    assert 5351.9 < pixels[-1] <= 5352


def test_the_step_is_that_of_the_file():
    segments = [flat_order(WAVE, 1).segment]
    assert step_of(segments) == pytest.approx(0.03 / 5160 * C_KMS, abs=0.05)
    assert step_of([flat_order(5100 + 0.001 * np.arange(4000), 1).segment]) == 0.3


@pytest.mark.parametrize("step_kms", [None, 1.0, 5.0])
def test_the_pixel_can_be_chosen(step_kms):
    seen = observe(SUN, Instrument(44_000.0, 0.05), snr=50)
    result = prepare(seen, resolution=44_000.0, step_kms=step_kms)
    assert result.step_kms == pytest.approx(step_kms or 2.9, rel=1e-3)
    wave = result.spectrum.wavelength_aa
    assert wave[0] == pytest.approx(5048, abs=0.1)
    assert wave[-1] == pytest.approx(5352, abs=0.1)


def part(seen: Observation, low: float, high: float) -> Observation:
    """The observation between two wavelengths."""
    order = seen.single()
    keep = (order.wavelength_aa > low) & (order.wavelength_aa < high)
    cut = {name: getattr(order, name)[keep] for name in ("wavelength_aa", "flux", "sigma", "mask")}
    return Observation((order.with_(**cut),), None, seen.provenance)


@pytest.mark.parametrize(("low", "high"), [(5040, 5200), (5120, 5270), (5200, 5360)])
def test_half_a_window_is_enough_and_flagged(low, high):
    seen = part(observe(SUN, Instrument(44_000.0, 0.05), velocity_kms=-60, snr=80), low, high)
    result = prepare(seen, resolution=44_000.0)
    assert "short_coverage" in result.flags
    assert result.coverage_aa == pytest.approx(150, abs=3)
    assert result.velocity_kms == pytest.approx(-60, abs=0.05)
    spectrum = result.spectrum
    observed = spectrum.wavelength_aa * (1 - 60 / C_KMS)
    assert spectrum.mask[(observed < low - 0.1) | (observed > high + 0.1)].all()
    assert np.isnan(spectrum.flux[spectrum.mask]).all()
    used = (observed > low + 1) & (observed < high - 1) & (spectrum.wavelength_aa > 5048)
    assert not spectrum.mask[used].any()
    wrong = (spectrum.flux - star_flux(SUN, spectrum.wavelength_aa, 44_000.0)) / spectrum.sigma
    assert wrong[used].std() == pytest.approx(1, abs=0.15)


def test_less_than_60_aa_is_refused_with_both_numbers():
    seen = part(observe(SUN, Instrument(44_000.0, 0.05), snr=80), 5160, 5210)
    reason = r"^night\.fits: covers (49|50)\.\d Å of the window 5050 to 5350 Å; at least 60 Å are needed$"
    with pytest.raises(DomainError, match=reason):
        prepare(seen, resolution=44_000.0)
    assert prepare(part(observe(SUN, Instrument(44_000.0, 0.05), snr=80), 5160, 5222), resolution=44_000.0)


def test_a_discordant_order_is_left_out_and_told():
    """One order shifted by 15 km/s: where it overlaps the better order is kept."""
    seen = observe(SUN, Instrument(44_000.0, 0.05, orders=3), velocity_kms=10, snr=100)
    orders = list(seen.orders)
    orders[1] = orders[1].with_(wavelength_aa=orders[1].wavelength_aa * (1 + 15 / C_KMS))
    result = prepare(Observation(tuple(orders), None, seen.provenance), resolution=44_000.0)
    assert any("where orders disagree" in note for note in result.notes)
    assert not any("disagree" in note for note in prepare(seen, resolution=44_000.0).notes)
