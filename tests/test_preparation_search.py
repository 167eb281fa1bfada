"""Velocities beyond those of usual stars: given, searched in a range, refused."""

from __future__ import annotations

import numpy as np
import pytest

import maury
from maury.errors import ConfigError, FormatError
from maury.preparation import prepare
from maury.readers import write
from maury.wavelengths import add_velocities, air_to_vacuum, subtract_velocities
from nights import SUN, Instrument, observe
from verbs import run

FAST_KMS = 900.0


@pytest.fixture(scope="module")
def runaway():
    """The Sun at 900 km/s: observed at rest, its wavelengths moved."""
    star = observe(SUN, Instrument(30_000.0, 0.1), velocity_kms=0.0, snr=60).single()
    return star.with_(wavelength_aa=star.wavelength_aa * (1 + FAST_KMS / 299_792.458))


def test_velocities_of_frames_add_as_factors():
    assert add_velocities(subtract_velocities(1234.0, -800.0), -800.0) == pytest.approx(1234.0, abs=1e-9)
    assert add_velocities(1000.0, 1000.0) == pytest.approx(2000.0 + 1000.0**2 / 299_792.458)


def test_a_given_velocity_of_900_km_s(runaway):
    made = prepare(runaway, resolution=30_000.0, velocity_kms=FAST_KMS)
    assert made.velocity_kms == pytest.approx(FAST_KMS, abs=0.3)
    assert made.flags == ()
    assert 5050 < np.median(made.spectrum.wavelength_aa) < 5350
    assert made.correlation.peak_kms == pytest.approx(FAST_KMS, abs=2)
    np.testing.assert_allclose(made.orders[0].segment.wavelength_aa[[0, -1]].mean(), 5216, atol=12)


@pytest.mark.parametrize("given", [(-1500, 1500), (600, 1200), (880, 920)])
def test_it_is_found_in_a_range(runaway, given):
    made = prepare(runaway, resolution=30_000.0, velocity_range_kms=given)
    assert made.velocity_kms == pytest.approx(FAST_KMS, abs=0.3)
    assert "velocity_uncertain" not in made.flags


def test_outside_of_the_range_it_is_not_found(runaway):
    made = prepare(runaway, resolution=30_000.0)
    assert abs(made.velocity_kms) < 500
    assert "poor_template" in made.flags


def test_a_range_may_be_narrower_than_usual():
    star = observe(SUN, Instrument(30_000.0, 0.1), velocity_kms=-37.0, snr=60)
    usual, narrow = (prepare(star, resolution=30_000.0, velocity_range_kms=given) for given in (None, (-60, 0)))
    assert narrow.velocity_kms == usual.velocity_kms


@pytest.mark.parametrize(
    "settings", [{"velocity_kms": 1600.0}, {"velocity_range_kms": (0, 2000)}, {"velocity_range_kms": (5, 6)}]
)
def test_beyond_1500_km_s_is_refused(runaway, settings):
    with pytest.raises(ConfigError, match="1500"):
        prepare(runaway, resolution=30_000.0, **settings)


def test_the_verbs_take_it(runaway, tmp_path, capsys):
    write(runaway, tmp_path / "fast.fits")
    assert run("prepare", tmp_path / "fast.fits", "-R", 30_000, "--velocity-range", 500, 1500) == 0
    assert " +900.0" in capsys.readouterr().out
    options = ("--no-refine", "--samples", 50, "--json")
    assert run("predict", tmp_path / "fast.fits", "-R", 30_000, "--velocity", 900, *options) == 0
    assert run("predict", tmp_path / "fast.fits", "-R", 30_000, "--velocity-range", 9, 1600, *options) == 2
    assert "--velocity-range" in capsys.readouterr().err


def test_a_file_may_stand_for_the_star(tmp_path):
    """With options of the reader: vacuum wavelengths in a file that does not say so."""
    star = observe(SUN, Instrument(30_000.0, 0.1), velocity_kms=10.0, snr=60).single()
    np.savetxt(tmp_path / "star.txt", np.c_[air_to_vacuum(star.wavelength_aa), star.flux])
    made = maury.prepare(tmp_path / "star.txt", resolution=30_000.0, medium="vacuum")
    assert made.velocity_kms == pytest.approx(10.0, abs=0.3)
    fit = maury.predict(str(tmp_path / "star.txt"), resolution=30_000.0, refine=False, medium="vacuum")
    assert fit.preparation.velocity_kms == pytest.approx(10.0, abs=0.3)
    with pytest.raises(ConfigError, match="medium: for files alone"):
        maury.predict(star, medium="vacuum")
    with pytest.raises(FormatError, match="does not exist"):
        maury.prepare(tmp_path / "none.txt")


@pytest.mark.parametrize("verb", ["prepare", "predict"])
def test_the_reader_s_options_reach_it(verb, tmp_path, capsys):
    star = observe(SUN, Instrument(30_000.0, 0.1), velocity_kms=10.0, snr=60).single()
    np.savetxt(tmp_path / "star.txt", np.c_[air_to_vacuum(star.wavelength_aa) / 10, star.flux, np.ones(star.flux.size)])
    words = (verb, tmp_path / "star.txt", "-R", 30_000, "--medium", "vacuum", "--wavelength-unit", "nm")
    more = ("--ignore-sigma", *(("--no-refine", "--samples", 50) if verb == "predict" else ()))
    assert run(*words, *more) == 0
    assert "+9.9" in (text := capsys.readouterr().out) or "+10.0" in text
    assert run(verb, tmp_path / "star.txt", "--medium", "water") == 2
    assert "must be air or vacuum" in capsys.readouterr().err
