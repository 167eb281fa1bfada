"""The whole of a preparation: what it holds, its flags, the same every time, written and read without loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import QTable

from fakes import tiny_emulator
from maury.errors import ConfigError, DomainError
from maury.flags import of_stage
from maury.inference.ready import is_prepared
from maury.preparation import Preparation, prepare
from maury.preparation.observed import observed
from maury.preparation.velocity import LINE_SHIFT_KMS
from maury.readers import from_specutils, read, to_specutils, write
from maury.spectra import Observation, Spectrum
from maury.wavelengths import C_KMS
from nights import OLD_GIANT, SUN, Instrument, observe, star_flux

COARSE = Instrument(44_000.0, 0.05)
ECHELLE = Instrument(44_000.0, 0.05, orders=6, blaze=True, wave=0.02)


@pytest.fixture(scope="module")
def sun() -> Preparation:
    return prepare(observe(SUN, ECHELLE, velocity_kms=-37.0, snr=80), resolution=44_000.0)


def test_the_result_is_the_star_at_rest(sun):
    spectrum = sun.spectrum
    assert (spectrum.frame, spectrum.normalised, spectrum.resolution) == ("rest", True, 44_000.0)
    good = ~spectrum.mask
    wrong = spectrum.flux - star_flux(SUN, spectrum.wavelength_aa, 44_000.0)
    assert np.sqrt(np.mean(wrong[good] ** 2)) < 1.2 / 80 * 1.3
    assert sun.flags == ()
    assert sun.snr == pytest.approx(80, rel=0.25)
    assert sun.coverage_aa == pytest.approx(300, abs=0.1)
    np.testing.assert_allclose(np.diff(np.log(spectrum.wavelength_aa)) * C_KMS, sun.step_kms, rtol=1e-6)
    assert np.nanmax(sun.continuum_error) < 0.02
    assert spectrum.provenance["velocity_kms"] == sun.velocity_kms
    assert spectrum.provenance["prepared"] == sun.notes


def test_the_record_is_plain_and_complete(sun):
    record = json.loads(json.dumps(sun.record()))
    assert record["velocity_kms"] == pytest.approx(-37, abs=0.05)
    assert record["velocity_kms"] == record["barycentric_velocity_kms"]
    assert record["orders"] == 6
    assert record["file"] == "night.fits"
    assert record["second_star_kms"] is None
    assert record["template"].keys() >= {"teff", "logg", "mh", "vmic", "vsini"}
    assert record["coverage_aa"] == pytest.approx(300, abs=0.1)
    assert record["notes"] == list(sun.notes)


def test_it_is_the_same_every_time(sun):
    again = prepare(observe(SUN, ECHELLE, velocity_kms=-37.0, snr=80), resolution=44_000.0)
    np.testing.assert_array_equal(again.spectrum.flux, sun.spectrum.flux)
    np.testing.assert_array_equal(again.spectrum.sigma, sun.spectrum.sigma)
    assert again.record() == sun.record()


def test_the_order_of_the_orders_and_the_unit_of_the_flux_do_not_matter(sun):
    seen = observe(SUN, ECHELLE, velocity_kms=-37.0, snr=80)
    scaled = [order.with_(flux=order.flux * 1e-13, sigma=order.sigma * 1e-13) for order in seen.orders]
    result = prepare(Observation(tuple(scaled)), resolution=44_000.0)
    assert result.velocity_kms == pytest.approx(sun.velocity_kms, abs=1e-4)
    np.testing.assert_allclose(result.spectrum.flux, sun.spectrum.flux, atol=1e-5)


@pytest.mark.parametrize(
    ("labels", "flag"),
    [
        ({**SUN, "teff": 3700.0, "logg": 4.7}, "cool_star"),
        ({**SUN, "vsini": 80.0}, "fast_rotator"),
    ],
)
def test_stars_that_need_care_are_flagged(labels, flag):
    result = prepare(observe(labels, COARSE, velocity_kms=-37.0, snr=80), resolution=44_000.0)
    assert flag in result.flags
    assert result.velocity_kms == pytest.approx(-37, abs=3 * result.velocity_error_kms + 0.05)


def test_low_signal_to_noise_is_flagged():
    assert prepare(observe(SUN, COARSE, snr=8), resolution=44_000.0).flags == ("low_snr",)
    assert prepare(observe(SUN, COARSE, snr=14), resolution=44_000.0).flags == ()


def test_every_flag_is_explained_here_and_in_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "preparation.md").read_text()
    for flag, text in ((f.name, f.meaning) for f in of_stage("preparation").values()):
        assert len(text.split()) > 3
        assert f"| `{flag}` |" in page


def test_without_a_resolution_the_velocity_is_found_all_the_same():
    result = prepare(observe(SUN, COARSE, velocity_kms=-37.0, snr=80))
    assert "resolution_unknown" in result.flags
    assert result.spectrum.resolution is None
    assert result.velocity_kms == pytest.approx(-37, abs=0.05)
    assert result.template["vsini"] > SUN["vsini"]


def test_a_resolution_in_the_observation_is_used():
    order = observe(SUN, COARSE, velocity_kms=-37.0, snr=80).single()
    result = prepare(order.with_(resolution=44_000.0))
    assert result.spectrum.resolution == 44_000.0
    assert prepare(order.with_(resolution=20_000.0), resolution=44_000.0).spectrum.resolution == 44_000.0


def test_a_spectrum_divided_by_its_continuum_already_stays_as_it_is():
    order = observe(SUN, Instrument(44_000.0, 0.05, counts=1.0), velocity_kms=-37.0, snr=80).single()
    level = Instrument(44_000.0, 0.05, counts=1.0).continuum(0, order.wavelength_aa)
    flat = order.with_(flux=order.flux / level, sigma=order.sigma / level, normalised=True)
    result = prepare(flat, resolution=44_000.0)
    continuum = result.orders[0].continuum * result.orders[0].segment.scale
    assert np.abs(continuum - 1)[result.orders[0].segment.good].max() < 0.012


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"velocity_kms": 1900.0}, "velocity 1900 km/s: must be between -1500 and 1500"),
        ({"velocity_kms": float("nan")}, "velocity nan km/s: must be between"),
        ({"step_kms": 0.0}, "pixel of 0 km/s: must be between 0.2 and 20"),
        ({"resolution": -5.0}, "resolution -5: must be between 500 and 1,000,000"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        prepare(observe(SUN, COARSE), **settings)


def test_templates_of_another_emulator():
    """Gaussian lines of a small emulator: found with it, moved by the velocity that they were observed at."""
    model = tiny_emulator()
    wave = np.arange(5046, 5350, 0.05)
    rest = wave / (1 + (55 + LINE_SHIFT_KMS) / C_KMS)
    inside = (rest > 5046) & (rest < 5350)
    flux = np.ones(wave.size)
    labels = torch.tensor([[5772.0, 4.44, 0.0, 1.0, 0, 0, 0, 0, 0, 0]])
    sampler = model.sampler(rest[inside], 44_000.0)
    flux[inside] = model.flux(labels, torch.tensor([2.0]), torch.tensor([44_000.0]), sampler)[0].double().numpy()
    noisy = flux + 0.01 * np.random.default_rng(1).standard_normal(wave.size)
    star = Spectrum(wave[inside], noisy[inside], sigma=np.full(inside.sum(), 0.01), frame="barycentric")
    result = prepare(star, resolution=44_000.0, window_aa=(5100.0, 5300.0), emulator=model)
    assert result.velocity_kms == pytest.approx(55, abs=0.1)
    assert result.window_aa == (5100.0, 5300.0)
    assert result.coverage_aa == pytest.approx(200, abs=0.2)
    assert result.spectrum.wavelength_aa[0] == pytest.approx(5098, abs=0.1)


class TestRoundTrip:
    @pytest.mark.parametrize("ending", [".ecsv", ".fits"])
    def test_what_is_written_is_a_prepared_spectrum(self, sun, ending, tmp_path):
        write(sun.spectrum, tmp_path / f"sun{ending}")
        seen = read(tmp_path / f"sun{ending}")
        assert is_prepared(seen)
        self.same(seen.single(), sun.spectrum)

    def test_the_file_says_what_was_done(self, sun, tmp_path):
        half = Observation(observe(SUN, ECHELLE, velocity_kms=-37.0, snr=80).orders[:3])
        done = prepare(half, resolution=44_000.0)
        write(done.spectrum, tmp_path / "half.ecsv")
        meta = QTable.read(tmp_path / "half.ecsv").meta
        assert meta["velocity_kms"] == done.velocity_kms
        assert meta["velocity_error_kms"] == done.velocity_error_kms
        assert meta["prepared"] == list(done.notes)
        assert meta["flags"] == ["short_coverage"]
        write(done.spectrum, tmp_path / "half.fits")
        header = fits.getheader(tmp_path / "half.fits")
        assert header["STARVEL"] == done.velocity_kms
        assert header["STARVELE"] == done.velocity_error_kms
        assert header["PREPFLAG"] == "short_coverage"
        assert list(done.notes) == list(header["HISTORY"])
        for ending in (".ecsv", ".fits"):
            assert read(tmp_path / f"half{ending}").provenance["flags"] == ("short_coverage",)

    def test_through_specutils_and_back(self, sun):
        pytest.importorskip("specutils")
        seen = from_specutils(to_specutils(Observation((sun.spectrum,))))
        assert is_prepared(seen)
        self.same(seen.single(), sun.spectrum)
        self.same(observed(to_specutils(Observation((sun.spectrum,)))).single(), sun.spectrum)

    def test_preparing_it_again_changes_little(self, sun):
        again = prepare(sun.spectrum)
        assert abs(again.velocity_kms) < 3 * sun.velocity_error_kms + 0.01
        both = ~again.spectrum.mask & ~sun.spectrum.mask
        assert np.sqrt(np.mean((again.spectrum.flux - sun.spectrum.flux)[both] ** 2)) < 0.004

    @staticmethod
    def same(one, other):
        np.testing.assert_array_equal(one.mask, other.mask)
        good = ~one.mask
        np.testing.assert_allclose(one.wavelength_aa, other.wavelength_aa, rtol=1e-12)
        np.testing.assert_allclose(one.flux[good], other.flux[good], rtol=1e-12)
        np.testing.assert_allclose(one.sigma[good], other.sigma[good], rtol=1e-12)
        assert one.resolution == other.resolution


def test_what_is_not_prepared_is_not_taken_for_it():
    order = observe(OLD_GIANT, COARSE).single()
    assert not is_prepared(Observation((order,)))
    assert not is_prepared(Observation((order.with_(normalised=True),)))
    assert not is_prepared(Observation((order.with_(frame="rest"),)))
    two = order.with_(normalised=True, frame="rest")
    assert is_prepared(Observation((two,)))
    assert not is_prepared(Observation((two, two)))


def test_no_order_in_the_window_is_an_error_that_names_the_file():
    seen = observe(SUN, COARSE)
    with pytest.raises(DomainError, match=r"^night\.fits: covers 50\d\d.* Å; 6500 to 6600 Å is needed"):
        prepare(seen, resolution=44_000.0, window_aa=(6500.0, 6600.0))
