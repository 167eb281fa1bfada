"""Pixels that hold neither star nor noise: a flagged result with the star's velocity; no flag for clean spectra."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maury.errors import DomainError
from maury.inference import predict
from maury.preparation import Preparation, prepare
from maury.preparation.prepared import without_damage
from maury.preparation.segments import gross_errors
from maury.readers import write
from maury.spectra import Observation
from nights import SUN, Instrument, observe
from verbs import run

VELOCITY_KMS = -12.0
ECHELLE = Instrument(44_000.0, 0.04, orders=4, blaze=True)


def constant(flux, at, rng):
    flux[at] = 0.7 * np.nanmedian(flux)


def spikes(flux, at, rng):
    flux[at] += np.nanmedian(flux) * rng.uniform(0.3, 20, at.size)


def uniform(flux, at, rng):
    flux[at] = rng.uniform(0, 1.2 * np.nanmedian(flux), at.size)


def negative(flux, at, rng):
    flux[at] *= -1


def huge(flux, at, rng):
    flux[at] = 10 ** rng.uniform(5, 30, at.size)


def brighter(flux, at, rng):
    flux[at] *= 1.25


KINDS = (constant, spikes, uniform, negative, huge, brighter)


def damaged(kind, share: float, velocity_kms: float | None = None, instrument: Instrument = ECHELLE) -> Preparation:
    """The Sun with that share of the pixels replaced, prepared."""
    star, rng = observe(SUN, instrument, velocity_kms=VELOCITY_KMS, snr=70), np.random.default_rng(5)
    orders = []
    for order in star.orders:
        flux = order.flux.copy()
        kind(flux, rng.choice(flux.size, round(share * flux.size), replace=False), rng)
        orders.append(order.with_(flux=flux))
    observation = Observation(tuple(orders), star.barycentric_kms, star.provenance)
    return prepare(observation, resolution=44_000.0, velocity_kms=velocity_kms)


@pytest.mark.parametrize("kind", KINDS)
def test_six_percent_of_junk_is_flagged_and_hardly_moves_the_velocity(kind):
    star = damaged(kind, 0.06)
    assert "damaged_pixels" in star.flags
    assert star.velocity_kms == pytest.approx(VELOCITY_KMS, abs=0.15)
    assert any("pixels are damaged" in note for note in star.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_third_of_junk_gives_a_flagged_result(kind):
    star = damaged(kind, 0.3, velocity_kms=VELOCITY_KMS)
    assert "damaged_pixels" in star.flags
    assert star.velocity_kms == pytest.approx(VELOCITY_KMS, abs=2)


def test_hot_pixels_of_any_height_leave_the_star_as_it_is():
    star = damaged(huge, 0.3)
    assert star.velocity_kms == pytest.approx(VELOCITY_KMS, abs=0.1)
    assert star.snr == pytest.approx(70, rel=0.35)
    good = ~star.spectrum.mask
    assert np.abs(star.spectrum.flux[good] - star.model[good]).max() < 0.3


@pytest.mark.parametrize("snr", [12, 70, 500])
def test_a_clean_star_gets_no_flag(snr):
    for instrument in (ECHELLE, Instrument(30_000.0, 0.08)):
        star = prepare(observe(SUN, instrument, velocity_kms=VELOCITY_KMS, snr=snr), resolution=instrument.resolution)
        assert "damaged_pixels" not in star.flags


def test_what_no_template_fits_is_refused_in_one_line():
    with pytest.raises(DomainError, match=r"^night.fits: no template fits: too many pixels are damaged") as refused:
        damaged(huge, 0.7)
    assert "\n" not in str(refused.value)


def test_gross_errors_are_those_that_no_line_and_no_noise_make():
    wavelength, rng = np.arange(5100.0, 5160.0, 0.02), np.random.default_rng(2)
    lines = 1 - 0.9 * np.exp(-0.5 * ((wavelength - 5130) / 1.0) ** 2)
    blaze = np.sinc((wavelength - 5130) / 80) ** 2
    flux = 1000 * lines * blaze + rng.normal(0, 100, wavelength.size)
    good = np.full(flux.shape, True)
    assert not gross_errors(wavelength, flux, good).any()
    at = rng.choice(flux.size, 300, replace=False)
    flux[at] = np.where(at % 2, -5000, 50_000)
    np.testing.assert_array_equal(np.flatnonzero(gross_errors(wavelength, flux, good)), np.sort(at))


@pytest.mark.parametrize("kind", KINDS)
def test_a_spectrum_that_comes_prepared_is_looked_at_too(kind, tmp_path):
    made = prepare(observe(SUN, ECHELLE, velocity_kms=VELOCITY_KMS, snr=70), resolution=44_000.0).spectrum
    same, part = without_damage(made, 44_000.0)
    assert (same, part < 0.001) == (made, True)
    flux, rng = made.flux.copy(), np.random.default_rng(6)
    kind(flux, rng.choice(flux.size, flux.size // 16, replace=False), rng)
    write(made.with_(flux=flux), tmp_path / "star.ecsv")
    fit = predict(tmp_path / "star.ecsv", refine=False, samples=200)
    assert fit.preparation is None
    assert "damaged_pixels" in fit.flags
    clean = predict(made, refine=False, samples=200)
    assert "damaged_pixels" not in clean.flags
    if kind in (spikes, negative, huge):
        assert abs(fit.values["teff"] - clean.values["teff"]) < 150


@pytest.mark.parametrize("verb", [("predict", "--no-refine", "--samples", "200"), ("prepare",)])
def test_a_damaged_file_in_a_batch_has_a_result_a_line_and_exit_code_2(verb, tmp_path, capsys):
    good = observe(SUN, Instrument(44_000.0, 0.05), velocity_kms=VELOCITY_KMS, snr=70)
    (order,), rng = good.orders, np.random.default_rng(4)
    flux = order.flux.copy()
    spikes(flux, rng.choice(flux.size, flux.size // 12, replace=False), rng)
    bad = Observation((order.with_(flux=flux),), good.barycentric_kms, good.provenance)
    paths = [tmp_path / "damaged.fits", tmp_path / "good.fits"]
    for star, path in zip((bad, good), paths, strict=True):
        write(star, path)
    assert run(*verb, *paths, "-R", 44_000, "--json") == 2
    printed = capsys.readouterr()
    records = json.loads(printed.out)
    assert [("damaged_pixels" in record["flags"], "error" in record) for record in records] == [
        (True, False),
        (False, False),
    ]
    errors = [line for line in printed.err.splitlines() if line.startswith("error")]
    assert errors == [f"error: {paths[0]}: its flux is damaged in part (flag damaged_pixels): check the values"]
    assert run(*verb, paths[1], "-R", 44_000, "--json") == 0
