"""Air and vacuum, Doppler shifts, ln-wavelength grids, band-limited resampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maury.errors import DomainError
from maury.wavelengths import (
    C_KMS,
    LogGrid,
    air_to_vacuum,
    average_pixels,
    doppler,
    fast_size,
    founding_wavelengths,
    refractive_index,
    sinc_weights,
    vacuum_to_air,
)


@pytest.mark.parametrize(
    ("vacuum", "air"),
    [
        (5185.0479, 5183.6042),  # Mg b1, NIST
        (5897.5581, 5895.9242),  # Na D1, NIST
        (5891.5833, 5889.9509),  # Na D2, NIST
        (5008.240, 5006.843),  # [O III], SDSS
    ],
)
def test_lines_have_their_published_air_wavelengths(vacuum, air):
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=4e-4)
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=4e-4)


def test_the_refractive_index_agrees_with_birch_and_downs():
    """Another fit to other measurements (Birch & Downs 1994, the formula of VALD): 5e-9 is 0.00003 Å."""
    wavelength = np.linspace(3000, 10_000, 50)
    s2 = (1e4 / wavelength) ** 2
    expected = 1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2)
    np.testing.assert_allclose(refractive_index(wavelength), expected, atol=5e-9, rtol=0)


@given(st.floats(3000, 25_000))
def test_air_and_vacuum_are_inverse_to_each_other(wavelength):
    assert vacuum_to_air(wavelength) < wavelength - 0.5
    assert air_to_vacuum(vacuum_to_air(wavelength)) == pytest.approx(wavelength, abs=1e-9)


def test_a_receding_star_is_redshifted():
    assert doppler(5000.0, 0.01 * C_KMS) == pytest.approx(5050.0)
    assert doppler(5000.0, -0.01 * C_KMS) == pytest.approx(4950.0)


def test_a_step_of_the_grid_is_a_step_in_velocity():
    grid = LogGrid(5000.0, 2.5, 1000)
    wavelength = grid.wavelength_aa
    assert wavelength[0] == 5000.0
    np.testing.assert_allclose(np.diff(np.log(wavelength)) * C_KMS, 2.5, rtol=1e-9)
    np.testing.assert_allclose(grid.position(wavelength), np.arange(1000), atol=1e-8)
    assert grid.position(5000.0 * np.exp(1.25 / C_KMS)) == pytest.approx(0.5, abs=1e-9)
    assert grid.frequency[-1] == pytest.approx(1 / (2 * 2.5))


def test_another_size_keeps_start_and_period():
    grid, finer = LogGrid(5000.0, 2.0, 600), LogGrid(5000.0, 2.0, 600).with_size(900)
    assert finer.size * finer.step_kms == pytest.approx(1200)
    np.testing.assert_allclose(finer.wavelength_aa[::3], grid.wavelength_aa[::2])
    np.testing.assert_allclose(finer.frequency[:300], grid.frequency[:300])


@pytest.mark.parametrize(("taps", "beta", "error"), [(16, 10.0, 3e-5), (12, 8.0, 1.5e-3), (20, 12.0, 1.3e-6)])
def test_interpolation_reproduces_band_limited_signals(taps, beta, error):
    """A sum of waves up to 0.6 of the Nyquist frequency, between its samples and across the seam of the period."""
    size = 400
    rng = np.random.default_rng(0)
    wave, phase = np.arange(0, 121), rng.uniform(0, 2 * np.pi, 121)
    amplitude = rng.uniform(0, 1, 121)
    amplitude /= amplitude.sum()

    def signal(x):
        return (amplitude * np.cos(2 * np.pi * np.multiply.outer(x, wave) / size + phase)).sum(-1)

    x = rng.uniform(-20, size + 20, 500)
    expected = signal(x)
    assert np.abs(signal(np.floor(x)) - expected).max() > 0.02
    got = sinc_weights(x, size, taps, beta) @ signal(np.arange(size))
    assert np.abs(got - expected).max() < error


def test_interpolation_at_the_samples_returns_them_and_keeps_a_constant():
    values = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(sinc_weights(np.arange(50), 50) @ values, values, atol=1e-12)
    np.testing.assert_allclose(sinc_weights([0.3, 49.9], 50) @ np.ones(50), 1)


def test_averaging_takes_the_mean_of_neighbours():
    values = np.array([1.0, 2.0, 3.0, 6.0, 5.0, 7.0])
    np.testing.assert_allclose(average_pixels(6, 3) @ values, [2, 6])
    np.testing.assert_allclose(average_pixels(6, 1) @ values, values)


@pytest.mark.parametrize(("count", "factor"), [(7, 2), (6, 0), (6, -2)])
def test_averaging_needs_a_divisor(count, factor):
    with pytest.raises(DomainError, match=f"{count} pixels cannot be averaged by {factor}"):
        average_pixels(count, factor)


def test_the_founding_window():
    coarse, fine, average = founding_wavelengths(7447)
    assert (fine[0], fine[-1], len(fine), len(coarse), average) == (5050, 5350, 29_788, 7447, 4)
    np.testing.assert_allclose(average_pixels(29_788, 4) @ fine, coarse)
    with pytest.raises(DomainError, match=r"pixels must divide 29788 .* got 7000"):
        founding_wavelengths(7000)


@given(st.integers(1, 100_000))
def test_fast_sizes_are_even_and_have_small_factors(minimum):
    size = rest = fast_size(minimum)
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    assert size % 2 == 0
    assert minimum <= size <= max(minimum + 1, 1.3 * minimum)
