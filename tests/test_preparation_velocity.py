"""Radial velocities: right within their errors, found anywhere, doubted where there is nothing to find."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from maury.preparation import prepare
from maury.preparation.templates import MARGIN_KMS, bank, usable_aa
from maury.preparation.velocity import LINE_SHIFT_KMS, explained
from maury.spectra import Observation, Spectrum
from maury.wavelengths import C_KMS
from nights import K_DWARF, OLD_GIANT, SUN, Instrument, draw_star, emulator, observe

COARSE = Instrument(44_000.0, 0.05)
ECHELLE = Instrument(44_000.0, 0.05, orders=6, blaze=True, wave=0.02)
STARS = {"sun": SUN, "K dwarf": K_DWARF, "old giant": OLD_GIANT}


@lru_cache(maxsize=1)
def drawn(count: int = 40):
    """Velocities and preparations of stars drawn over the domain: S/N 10 to 200, -450 to 450 km/s."""
    rng = np.random.default_rng(20261124)
    results = []
    for seed in range(count):
        labels, snr = draw_star(rng), float(np.exp(rng.uniform(np.log(10), np.log(200))))
        velocity = -450 + 900 * seed / (count - 1)
        instrument = (COARSE, ECHELLE)[seed % 2]
        seen = observe(labels, instrument, velocity_kms=velocity, snr=snr, seed=seed, sigma=bool(seed % 3))
        results.append((velocity, prepare(seen, resolution=instrument.resolution)))
    return results


def test_errors_are_as_large_as_they_say():
    """Pulls of 40 stars: rms 1 within 2.5 of its standard deviations, none beyond 3.7."""
    pulls = np.array([(result.velocity_kms - true) / result.velocity_error_kms for true, result in drawn()])
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1, abs=2.5 / np.sqrt(2 * len(pulls)))
    assert np.abs(pulls).max() < 3.7
    assert abs(pulls.mean()) < 3 / np.sqrt(len(pulls))


def test_velocities_are_found_anywhere_and_believed():
    for true, result in drawn():
        assert abs(result.velocity_kms - true) < 3
        assert "velocity_uncertain" not in result.flags
        assert "double_lined" not in result.flags
        assert result.barycentric_velocity_kms == result.velocity_kms


@pytest.mark.parametrize("star", STARS)
@pytest.mark.parametrize("snr", [15, 50, 150])
def test_single_stars_are_not_taken_for_double(star, snr):
    result = prepare(observe(STARS[star], COARSE, velocity_kms=-120, snr=snr, seed=3), resolution=44_000.0)
    assert "double_lined" not in result.flags
    assert result.record()["second_star_kms"] is None
    assert result.velocity_kms == pytest.approx(-120, abs=0.1)


@pytest.mark.parametrize("star", STARS)
@pytest.mark.parametrize(("instrument", "snr"), [(COARSE, 20), (ECHELLE, 100)])
def test_a_second_star_is_flagged_with_its_velocity(star, instrument, snr):
    """30 % of the light, 60 km/s away; the first star's velocity stays right."""
    other = {**STARS[star], "teff": STARS[star]["teff"] - 300}
    seen = observe(STARS[star], instrument, velocity_kms=-20, snr=snr, second=(other, 40.0, 0.3))
    result = prepare(seen, resolution=instrument.resolution)
    assert "double_lined" in result.flags
    assert result.second_star[0] == pytest.approx(40, abs=2)
    assert 0.25 < result.second_star[1] < 0.6
    assert result.velocity_kms == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("snr", [10, 50, 200])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_spectrum_without_lines_has_no_believable_velocity(snr, seed):
    wave = np.arange(5040, 5360, 0.04)
    flux = 1000 * (1 + np.random.default_rng(seed).standard_normal(wave.size) / snr)
    result = prepare(
        Spectrum(wave, flux, sigma=np.full(wave.size, 1000 / snr), frame="barycentric"), resolution=44_000.0
    )
    assert "velocity_uncertain" in result.flags
    assert not result.correlation.believable


def test_a_given_velocity_is_refined_not_searched():
    seen = observe(SUN, COARSE, velocity_kms=100, snr=50)
    near = prepare(seen, resolution=44_000.0, velocity_kms=97.0)
    assert near.velocity_kms == pytest.approx(100, abs=0.05)
    assert abs(near.correlation.peak_kms - 97) < 30
    wrong = prepare(seen, resolution=44_000.0, velocity_kms=-50.0)
    assert abs(wrong.velocity_kms + 50) < 31
    assert "velocity_uncertain" in wrong.flags


def test_the_lines_of_a_star_at_rest_are_shifted_unless_the_file_says_at_rest():
    order = observe(SUN, COARSE, velocity_kms=-LINE_SHIFT_KMS, snr=100).single()  # lines at their laboratory places
    seen = {frame: prepare(order.with_(frame=frame), resolution=44_000.0) for frame in ("barycentric", "rest")}
    assert seen["barycentric"].velocity_kms == pytest.approx(-LINE_SHIFT_KMS, abs=0.03)
    assert seen["rest"].velocity_kms == pytest.approx(0, abs=0.03)
    assert seen["rest"].correlation.peak_kms - seen["barycentric"].correlation.peak_kms == pytest.approx(LINE_SHIFT_KMS)
    np.testing.assert_array_equal(seen["rest"].spectrum.flux, seen["barycentric"].spectrum.flux)


def test_the_velocity_is_referred_to_the_barycentre_where_the_frame_allows():
    order = observe(SUN, COARSE, velocity_kms=12.0, snr=50).single()
    done = [
        prepare(Observation((order.with_(frame=frame),), kms), resolution=44_000.0)
        for frame, kms in (("topocentric", -20.0), ("topocentric", None), ("unknown", None))
    ]
    assert done[0].barycentric_velocity_kms == done[0].velocity_kms - 20.0
    assert done[1].barycentric_velocity_kms is done[2].barycentric_velocity_kms is None
    assert [result.record()["frame"] for result in done] == ["topocentric", "topocentric", "unknown"]
    assert len({result.velocity_kms for result in done}) == 1


def moved(template: int, lag: int, sign: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A template of the bank as data, moved by whole pixels, seen everywhere."""
    templates = bank(emulator())
    size = templates.grid.size
    depth = torch.fft.irfft(templates.lines[template].conj(), n=size)
    margin = round(MARGIN_KMS / templates.grid.step_kms)
    return sign * torch.roll(depth, margin + lag), torch.ones(size)


def test_a_template_explains_all_of_itself_at_its_velocity():
    """Part explained and amplitude are 1 there, -1 for emission; less anywhere else."""
    templates = bank(emulator())
    for template, lag in ((0, -300), (40, 7), (100, 450)):
        velocity, part, amplitude = explained(*moved(template, lag), templates)
        at = int(np.abs(velocity - C_KMS * np.expm1(lag * templates.grid.step_kms / C_KMS)).argmin())
        assert float(part[template, at]) == pytest.approx(1, abs=1e-3)
        assert float(amplitude[template, at]) == pytest.approx(1, abs=1e-3)
        others = part[template].clone()
        others[at] = 0
        assert others.max() < 0.999
        emission = explained(*moved(template, lag, -1.0), templates)[1]
        assert float(emission[template, at]) == pytest.approx(-1, abs=1e-3)


def test_templates_end_where_the_emulator_ends():
    low, high = usable_aa(emulator())
    window = emulator().window_aa
    assert low < window[0]
    assert window[1] < high
    assert low / window[0] == pytest.approx(window[1] / high, rel=1e-3)
