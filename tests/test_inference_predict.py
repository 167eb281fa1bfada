"""`predict` prepares what is not normalised and at rest, and nothing else."""

from __future__ import annotations

import importlib
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

from maury.errors import ConfigError, DomainError, FormatError
from maury.inference import model_flux, predict, to_table, write_table
from maury.inference.spectraltype import spectral_type
from maury.likelihood import parse_prior
from maury.networks import packaged_networks
from maury.plots import plot_result
from maury.preparation import prepare
from maury.preparation.velocity import LINE_SHIFT_KMS
from maury.readers import read, write
from maury.spectra import Observation, Spectrum
from nights import SUN, Instrument, observe, star_flux

MODULE = importlib.import_module("maury.inference.ready")
ECHELLE = Instrument(60_000.0, 0.04, orders=6, blaze=True, wave=0.02)


@pytest.fixture(scope="module")
def night() -> Observation:
    return observe({**SUN, "vmic": 2.0}, ECHELLE, velocity_kms=83.0, snr=120)


@pytest.fixture(scope="module")
def result(night):
    return predict(night, resolution=60_000.0)


@pytest.fixture(scope="module")
def simulated(night):
    """The result without the systematic errors of benchmark stars."""
    return predict(night, resolution=60_000.0, systematics=False)


def test_a_raw_echelle_spectrum_goes_all_the_way(result):
    assert result.preparation.velocity_kms == pytest.approx(83, abs=0.05)
    assert result.values["teff"] == pytest.approx(5772, abs=30)
    assert result.values["logg"] == pytest.approx(4.44, abs=0.08)
    assert result.values["mh"] == pytest.approx(0, abs=0.03)
    assert result.flags == ("vsini_upper_limit",)
    record = result.record()
    assert record["status"] == "ok"
    assert record["spectral_type"] == "G2 V"
    assert 0.05 < record["chi2"] < 2
    assert record["refined"]
    assert record["rv_kms"] == pytest.approx(83, abs=0.05)
    assert record["coverage_aa"] == pytest.approx(300, abs=0.1)


def test_the_network_sees_the_star_at_its_own_resolution(result):
    network = packaged_networks()["default"]
    wave = result.wavelength_aa
    true = star_flux({**SUN, "vmic": 2.0}, wave, network["resolution"])
    wrong = result.spectrum.flux.numpy() - true
    assert np.sqrt(np.mean(wrong**2)) < 0.01
    assert np.abs(np.mean(wrong)) < 0.003


def test_a_prepared_spectrum_is_not_prepared_again(result, night, monkeypatch, tmp_path):
    """From Python and from files: the values of the raw orders, without another preparation.

    Not to the bit: the refinement starts from the network alone, as no preparation has found a template.
    """
    window = (float(result.wavelength_aa[0]), float(result.wavelength_aa[-1]))
    done = prepare(night, resolution=60_000.0, window_aa=window)
    monkeypatch.setattr(MODULE, "prepare", lambda *_, **__: pytest.fail("prepared again"))
    again = predict(done.spectrum)
    assert again.preparation is None
    for name, (low, high) in result.intervals.items():
        assert again.values[name] == pytest.approx(result.values[name], abs=0.05 * (high - low)), name
    assert "rv_kms" not in again.record()
    start = predict(done.spectrum, refine=False)
    for ending in (".ecsv", ".fits"):
        write(done.spectrum, tmp_path / f"sun{ending}")
        stored = predict(read(tmp_path / f"sun{ending}"), refine=False)
        assert stored.preparation is None
        for name, (low, high) in result.intervals.items():
            assert stored.values[name] == pytest.approx(start.values[name], abs=0.05 * (high - low)), name


def test_flags_of_the_preparation_are_flags_of_the_result(night):
    half = Observation(night.orders[:3], None, night.provenance)
    result = predict(half, resolution=60_000.0, refine=False)
    assert result.flags.count("short_coverage") == 1
    assert result.spectrum.mask.any()
    assert (result.spectrum.flux[result.spectrum.mask] == 1).all()
    assert result.record()["status"] == "flagged"


def test_flags_of_a_preparation_before_are_not_forgotten(tmp_path):
    """Prepared, written, read, predicted: what was wrong with the spectrum stands in the result."""
    night = observe(SUN, Instrument(60_000.0, 0.04), snr=80, second=({**SUN, "teff": 5500.0}, 70.0, 0.3))
    done = prepare(night, resolution=60_000.0)
    assert done.flags[0] == "double_lined"
    assert predict(done.spectrum, refine=False).flags[0] == "double_lined"
    for ending in (".ecsv", ".fits"):
        write(done.spectrum, tmp_path / f"two{ending}")
        assert predict(read(tmp_path / f"two{ending}"), refine=False).flags[0] == "double_lined"


def test_a_known_velocity_is_passed_on(night):
    result = predict(night, resolution=60_000.0, velocity_kms=80.0, refine=False)
    assert abs(result.preparation.correlation.peak_kms - 80) < 30
    assert result.preparation.velocity_kms == pytest.approx(83, abs=0.05)


def test_the_table_holds_velocities_with_units(result, tmp_path):
    table = to_table([result])
    assert table["rv_kms"][0].to_value(u.m / u.s) == pytest.approx(83_000, abs=50)
    assert table["rv_err"].unit == u.km / u.s
    write_table([result], tmp_path / "t.ecsv")
    assert "rv_err" in (tmp_path / "t.ecsv").read_text()
    assert "bjd_tdb" not in table.colnames  # the file states no date
    cards = {"RA": 258.725708, "DEC": -22.29055, "EXPTIME": 299.9959, "DATE-OBS": "2007-04-13T09:40:23.812",
             "TELESCOP": "ESO-3P6", "INSTRUME": "HARPS"}  # fmt: skip
    spectrum = result.preparation.spectrum
    known = spectrum.provenance | {"when_and_where": cards, "instrument": "HARPS"}
    dated = to_table(
        [replace(result, preparation=replace(result.preparation, spectrum=spectrum.with_(provenance=known)))]
    )
    assert dated["bjd_tdb"][0].to_value("d") == pytest.approx(2454203.908706, abs=2e-5)
    assert dated["rv_zero_err"][0].to_value("km/s") == 0.001


def test_an_unknown_resolution_is_asked_for(night):
    message = r"^night\.fits: its resolution is not in the file; give the nominal R = lambda / FWHM"
    with pytest.raises(DomainError, match=message):
        predict(night)


def test_no_emulator_of_the_networks_window(night, monkeypatch):
    class Elsewhere:
        window_aa = (6400.0, 6700.0)

    monkeypatch.setattr(MODULE, "load_emulator", lambda _: Elsewhere())
    with pytest.raises(DomainError, match=r"network's window 5050 to 5350 Å, but the emulator .* 6400 to 6700 Å"):
        predict(night, resolution=60_000.0)


def test_an_emulator_that_cannot_be_read_is_named(night, tmp_path):
    (tmp_path / "no.safetensors").write_text("no")
    with pytest.raises(FormatError, match=r"no\.safetensors"):
        predict(night, resolution=60_000.0, emulator=str(tmp_path / "no.safetensors"))


def test_a_spectrum_of_the_wrong_place_is_refused(night):
    moved = tuple(order.with_(wavelength_aa=order.wavelength_aa * 1.3) for order in night.orders)
    with pytest.raises(
        DomainError, match=r"^night\.fits: covers 6538\.4 to 6981\.6 Å; 5050\.03 to 5349\.98 Å is needed"
    ):
        predict(Observation(moved, None, night.provenance), resolution=60_000.0)


def test_what_is_at_rest_but_not_normalised_is_not_searched_for_a_velocity(night):
    lines_at_rest = observe(SUN, Instrument(60_000.0, 0.04), velocity_kms=-LINE_SHIFT_KMS, snr=100)
    order = lines_at_rest.single().with_(frame="rest")
    result = predict(Observation((order,)), resolution=60_000.0, refine=False)
    assert abs(result.preparation.correlation.peak_kms) < 30
    assert result.preparation.velocity_kms == pytest.approx(0, abs=0.05)


def test_abundances_and_what_cannot_be_measured(night):
    """Single elements of a star like the Sun; of a fast rotator without metals, nothing is said on most of them."""
    sun = predict(night, resolution=60_000.0, labels="abundances")
    record = sun.record()
    for name in ("c", "mg", "ca", "ti", "cr", "ni"):
        assert record[f"{name}_fe"] == pytest.approx(0, abs=0.15)
        assert 0.02 < record[f"{name}_fe_err"] < 0.2
    poor = observe({**SUN, "teff": 6300.0, "mh": -2.3, "vsini": 60.0}, ECHELLE, snr=60)
    record = predict(poor, resolution=60_000.0, velocity_kms=0.0, labels="abundances").record()
    assert record["ni_fe"] is None
    assert record["ni_fe_err"] is None
    assert "no_information_ni" in record["flags"]


def test_a_prior_moves_what_it_is_on(night, result):
    held = predict(night, resolution=60_000.0, priors=(parse_prior("logg=4.60+-0.05"),))
    assert held.values["logg"] > result.values["logg"] + 0.05
    assert held.record()["logg_err"] < 0.06
    assert held.refinement.prior_efficiency < 1
    assert "prior_conflict" not in held.flags
    far = predict(night, resolution=60_000.0, priors=(parse_prior("logg=1.0+-0.05"),))
    assert "prior_conflict" in far.flags
    assert all(np.isfinite(value) for value in far.numbers().values())


def test_without_systematic_errors_and_without_refinement(night, result, simulated):
    own = predict(night, resolution=60_000.0, refine=False)
    assert simulated.record()["teff_err"] < 0.7 * result.record()["teff_err"]
    assert own.refinement is None
    assert own.record()["refined"] is False
    assert own.values["teff"] == pytest.approx(result.values["teff"], abs=4 * own.record()["teff_err"])


def test_uncertainties_have_two_parts(result, simulated):
    """The statistical part is that of the fit, the systematic one that of benchmark stars; their sum is the whole."""
    real, without = result.record(), simulated.record()
    for name in ("teff", "logg", "mh", "alpha"):
        stat, sys = (real[f"{name}_{part}"] for part in ("stat", "sys"))
        assert stat == pytest.approx(without[f"{name}_err"], rel=0.25)
        assert real[f"{name}_err"] == pytest.approx(np.hypot(stat, sys), rel=0.25)
        assert without[f"{name}_sys"] is None


def test_an_estimate_outside_the_range_is_drawn_at_its_end(night):
    """A network that was trained for seconds gives negative v sin i: the figure is drawn for 0 and says so."""
    found = predict(night, "starnet-spc", resolution=60_000.0)
    inside = replace(found, values={**found.values, "vsini": 0.0, "mh": 0.5}, flags=())
    outside = replace(found, values={**found.values, "vsini": -4.5, "mh": 0.7}, flags=("outside_mh", "outside_vsini"))
    assert np.array_equal(model_flux(outside), model_flux(inside))
    assert model_flux(replace(outside, flags=("outside_vsini",))) is None
    assert "at the end" not in plot_result(inside).get_suptitle()
    assert ", model at the end of the range of [M/H]," in plot_result(outside).get_suptitle()
    narrow = replace(inside, flags=("outside_mh",))  # outside the range of its network, within that of the model
    assert np.array_equal(model_flux(narrow), model_flux(inside))
    assert "at the end" not in plot_result(narrow).get_suptitle()


def test_a_wrong_resolution_is_told(night):
    """Told to be 35 % less sharp than it is: no rotation can make lines sharper."""
    assert "resolution_doubtful" in predict(night, resolution=39_000.0).flags


def test_the_resolution_from_the_lines(night):
    result = predict(night, resolution="auto")
    assert "resolution_assumed" in result.flags
    assert result.status == "flagged"
    assert result.values["teff"] == pytest.approx(5772, abs=150)


def test_noise_alone_is_refused(night):
    wave = np.arange(5049.0, 5351.0, 0.02)
    noise = 1 + 0.8 * np.random.default_rng(1).standard_normal(wave.size)
    star = Spectrum(
        wave, noise, sigma=np.full(wave.size, 2.0), frame="rest", normalised=True, resolution=45_000.0,
        provenance={"file": "n"},
    )  # fmt: skip
    with pytest.raises(DomainError, match=r"^n: signal-to-noise 0\.\d per pixel of 2 km/s; at least 3 is needed"):
        predict(star)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "starnet-spc", "refine": True}, "gives point estimates"),
        ({"priors": (parse_prior("logg=4+-1"),), "refine": False}, "priors: not possible"),
    ],
)
def test_what_is_not_possible(night, options, message):
    with pytest.raises(DomainError, match=message):
        predict(night, resolution=60_000.0, **options)


def test_priors_that_contradict_each_other(night):
    priors = (parse_prior("logg=4.5+-0.01"), parse_prior("logg=3.5+-0.01"))
    with pytest.raises(ConfigError, match=r"'logg=4.5\+-0.01' and 'logg=3.5\+-0.01' contradict"):
        predict(night, resolution=60_000.0, priors=priors)


@pytest.mark.parametrize(
    ("teff", "logg", "expected"),
    [(5772, 4.44, "G2 V"), (6582, 3.98, "F5 IV"), (4810, 2.55, "K0 III"), (9602, 3.95, "A0 IV"), (3660, 4.9, "M1 V")],
)
def test_spectral_types(teff, logg, expected):
    assert spectral_type(teff, logg) == expected


def test_a_reference_takes_the_models_errors_out():
    """Lines that the model gets wrong in the same way in the Sun and in a star do not count any more."""

    def spoiled(labels):
        """A spectrum whose lines are wrong by a pattern in rest wavelength."""
        clean = observe({**labels, "vmic": 1.0}, ECHELLE, velocity_kms=0.0, snr=300)
        orders = [o.with_(flux=o.flux * (1 + 0.05 * np.sin(7 * np.asarray(o.wavelength_aa)))) for o in clean.orders]
        return Observation(tuple(orders), None, clean.provenance)

    bad_sun, bad_star = spoiled({**SUN, "vsini": 1.6}), spoiled({**SUN, "teff": 5600.0})
    plain = predict(bad_star, resolution=60_000.0)
    differential = predict(bad_star, resolution=60_000.0, reference=bad_sun)
    assert differential.refinement.chi2 < 0.5 * plain.refinement.chi2
    assert differential.values["teff"] == pytest.approx(5600, abs=40)


def test_a_reference_that_does_not_suit(night):
    other = observe({**SUN, "vmic": 1.0}, Instrument(30_000.0, 0.04, orders=6), snr=100)
    prepared = prepare(other, resolution=30_000.0).spectrum
    with pytest.raises(DomainError, match=r"they must be the same within 10 %"):
        predict(night, resolution=60_000.0, reference=prepared)
    with pytest.raises(DomainError, match=r"labels of the reference outside the ranges of the model: teff=50"):
        predict(night, resolution=60_000.0, reference=night, reference_labels={"teff": 50.0})
