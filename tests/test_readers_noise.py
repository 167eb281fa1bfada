"""Sigma, variance, inverse variance and relative error are told apart by name and unit, never by chance."""

import numpy as np
import pytest

from maury.readers.noise import der_snr, kind_of_unit, named_noise, noise_ratio, to_sigma, unnamed_noise
from maury.readers.roles import classify, named, select
from maury.readers.source import Log


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "star.fits")


def star(scale, snr=100.0, size=20_000):
    rng = np.random.default_rng(3)
    model = scale * (1 - 0.6 * np.exp(-0.5 * ((np.arange(size) % 500 - 250) / 8.0) ** 2))
    sigma = np.sqrt(model * scale) / snr
    return model + sigma * rng.standard_normal(size), sigma


FORMS = {
    "sigma": lambda flux, sigma: sigma,
    "variance": lambda flux, sigma: sigma**2,
    "inverse variance": lambda flux, sigma: sigma**-2,
    "relative error": lambda flux, sigma: sigma / flux,
    "signal-to-noise": lambda flux, sigma: flux / sigma,
}


def test_der_snr_measures_white_noise_and_nothing_of_a_slope():
    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal(100_000)
    assert der_snr(noise + np.linspace(0, 50, 100_000)) == pytest.approx(0.02, rel=0.02)
    assert np.isnan(der_snr(np.array([1.0, np.nan])))


@pytest.mark.parametrize("kind", FORMS)
def test_each_kind_becomes_sigma(kind):
    flux, sigma = star(2000.0)
    np.testing.assert_allclose(to_sigma(FORMS[kind](flux, sigma), kind, flux), sigma, rtol=1e-9)


def test_noise_ratio_is_one_for_white_noise_and_scales():
    flux, sigma = star(1.0, snr=30)
    assert noise_ratio(flux, sigma) == pytest.approx(0.9, abs=0.15)  # 10th percentile of blocks
    assert noise_ratio(flux, 10 * sigma) == pytest.approx(noise_ratio(flux, sigma) / 10)


@pytest.mark.parametrize("kind", ["sigma", "variance", "inverse variance", "relative error"])
@pytest.mark.parametrize("scale", [3e6, 1e-13])
def test_an_array_without_a_name_is_read_only_as_what_agrees(kind, scale, log):
    flux, sigma = star(scale)
    read, source = unnamed_noise(FORMS[kind](flux, sigma), flux, log, "extension 1")
    np.testing.assert_allclose(read, sigma, rtol=1e-9)
    assert kind in source
    assert "only reading" in log.rules[0]


@pytest.mark.parametrize("scale", [100.0, 400.0])
def test_an_array_without_a_name_that_two_readings_fit_is_not_used(scale, log):
    flux, sigma = star(scale)  # sigma of 1 or 4: its root agrees with the noise as well
    read, source = unnamed_noise(sigma, flux, log, "extension 1")
    assert read is None
    assert source.startswith("none")
    assert "not used" in log.warnings[0]


def test_counts_of_another_spectrum_are_no_variance(log):
    flux, _ = star(1e4)  # photon noise: sigma is the root of the counts
    read, _ = unnamed_noise(flux[::-1].copy(), flux, log, "extension 1")
    assert read is None
    assert "counts of something else" in log.warnings[0]


def test_an_array_without_a_name_that_no_reading_fits_is_not_used(log):
    flux, _ = star(1e5)
    read, _ = unnamed_noise(np.full(flux.shape, 37.0e8), flux, log, "extension 1")
    assert read is None


def test_names_are_believed_against_all_sizes_but_flagged(log):
    flux, sigma = star(1.0)
    read, _ = named_noise(sigma / 1000, "sigma", flux, log, "err")
    np.testing.assert_allclose(read, sigma / 1000)
    assert "times what it says" in log.warnings[0]


def test_a_relative_error_named_sigma_is_found_out(log):
    flux, sigma = star(3000.0)
    read, source = named_noise(sigma / flux, "sigma", flux, log, "input_sigma")
    np.testing.assert_allclose(read, sigma, rtol=1e-9)
    assert "relative" in source


@pytest.mark.parametrize("values", [0.0, np.nan, -1.0])
def test_empty_noise_is_none(values, log):
    flux, _ = star(1.0)
    read, source = named_noise(np.full(flux.shape, values), "sigma", flux, log, "ERR")
    assert read is None
    assert source == "none (ERR is empty)"


def test_the_unit_corrects_the_name(log):
    assert kind_of_unit("sigma", "(adu)**2", "adu", log, "err") == "variance"
    assert kind_of_unit("sigma", "1/(adu)^2", "adu", log, "err") == "inverse variance"
    assert kind_of_unit("sigma", "adu", "adu", log, "err") == "sigma"
    assert kind_of_unit("variance", None, "adu", log, "var") == "variance"
    assert len(log.warnings) == 1


@pytest.mark.parametrize(
    ("name", "role", "tags"),
    [
        ("WAVE", "wavelength", ()),
        ("waveobs", "wavelength", ()),
        ("ERR_REDUCED", "sigma", ("reduced",)),
        ("FLUX_REDUCED", "flux", ("reduced",)),
        ("fluxErr", "sigma", ()),
        ("flux_error", "sigma", ()),
        ("ivar", "inverse variance", ()),
        ("invvar", "inverse variance", ()),
        ("Var", "variance", ()),
        ("serr", "sigma", ()),
        ("normalised_sigma", "sigma", ("normalised",)),
        ("no_sky_sigma", None, ()),
        ("BGFLUX_REDUCED", None, ("reduced",)),
        ("sky", None, ()),
        ("continuum", None, ()),
        ("QUALDATA", "quality", ()),
        ("WAVEDATA_AIR_BARY", "wavelength", ("air", "bary")),
        ("temperature", None, ()),
    ],
)
def test_roles(name, role, tags):
    found = classify(name)
    assert found[0] == role
    if role is not None:
        assert found[1] == tags


@pytest.mark.parametrize(
    ("name", "unit"), [("wavelength (nm)", "nm"), ("lambda_aa", "aa"), ("wave [micron]", "micron"), ("wl_nm", "nm")]
)
def test_units_in_names(name, unit):
    assert classify(name) == ("wavelength", (), unit)


def test_each_flux_gets_its_own_noise():
    names = ["WAVE", "FLUX_REDUCED", "ERR_REDUCED", "FLUX", "ERR", "SNR"]
    arrays = [named(name, np.full(5, float(i))) for i, name in enumerate(names)]
    chosen = select(arrays)
    assert chosen.flux.name == "FLUX"
    assert chosen.noise.name == "ERR"
    main = named("FLUX_REDUCED", np.ones(5), ucd="phot.flux;meta.main")
    chosen = select([main if array.name == "FLUX_REDUCED" else array for array in arrays])
    assert chosen.noise.name == "ERR_REDUCED"


def test_air_before_vacuum():
    arrays = [named(name, np.ones(5)) for name in ("wavelength", "wavelength_air", "flux")]
    assert select(arrays).wavelength.name == "wavelength_air"
