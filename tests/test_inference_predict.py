"""`predict` prepares what is not normalised and at rest, and nothing else."""

from __future__ import annotations

import importlib

import astropy.units as u
import numpy as np
import pytest

from maury.errors import DomainError, FormatError
from maury.inference import predict, to_table, write_table
from maury.networks import packaged_networks
from maury.preparation import prepare
from maury.readers import read, write
from maury.spectra import Observation
from nights import SUN, Instrument, observe, star_flux

MODULE = importlib.import_module("maury.inference.predict")  # the package shows the function of that name
ECHELLE = Instrument(60_000.0, 0.04, orders=6, blaze=True, wave=0.02)


@pytest.fixture(scope="module")
def night() -> Observation:
    return observe({**SUN, "vmic": 2.0}, ECHELLE, velocity_kms=83.0, snr=150)


@pytest.fixture(scope="module")
def result(night):
    return predict(night, resolution=60_000.0)


def test_a_raw_echelle_spectrum_goes_all_the_way(result):
    assert result.preparation.velocity_kms == pytest.approx(83, abs=0.05)
    assert result.values["teff"] == pytest.approx(5772, abs=400)
    assert result.values["mh"] == pytest.approx(0, abs=0.4)
    assert result.flags == ()
    record = result.record()
    assert record["velocity_kms"] == pytest.approx(83, abs=0.05)
    assert record["coverage_aa"] == pytest.approx(300, abs=0.1)


def test_the_network_sees_the_star_at_its_own_resolution(result):
    network = packaged_networks()["starnet-spc"]
    wave = result.prepared.wavelength_aa
    true = star_flux({**SUN, "vmic": 2.0}, wave, network["resolution"])
    wrong = result.prepared.flux - true
    assert np.sqrt(np.mean(wrong**2)) < 0.01
    assert np.abs(np.mean(wrong)) < 0.003


def test_a_prepared_spectrum_is_not_prepared_again(result, night, monkeypatch, tmp_path):
    """From Python and from files: the same values as from the raw orders, without another preparation."""
    window = (float(result.prepared.wavelength_aa[0]), float(result.prepared.wavelength_aa[-1]))
    done = prepare(night, resolution=60_000.0, window_aa=window)
    monkeypatch.setattr(MODULE, "prepare", lambda *_, **__: pytest.fail("prepared again"))
    for ending in (None, ".ecsv", ".fits"):
        star = done.spectrum
        if ending:
            write(done.spectrum, tmp_path / f"sun{ending}")
            star = read(tmp_path / f"sun{ending}")
        again = predict(star)
        assert again.preparation is None
        assert again.values == pytest.approx(result.values, rel=1e-6)
        assert "velocity_kms" not in again.record()


def test_flags_of_the_preparation_are_flags_of_the_result(night):
    half = Observation(night.orders[:3], None, night.provenance)
    result = predict(half, resolution=60_000.0)
    assert result.flags.count("short_coverage") == 1
    assert not result.prepared.covered.all()
    assert (result.prepared.flux[~result.prepared.covered] == 1).all()
    assert result.record()["status"] == "flagged"


def test_flags_of_a_preparation_before_are_not_forgotten(tmp_path):
    """Prepared, written, read, predicted: what was wrong with the spectrum stands in the result."""
    night = observe(SUN, Instrument(60_000.0, 0.04), snr=80, second=({**SUN, "teff": 5500.0}, 70.0, 0.3))
    done = prepare(night, resolution=60_000.0)
    assert done.flags == ("double_lined",)
    assert predict(done.spectrum).flags[0] == "double_lined"
    for ending in (".ecsv", ".fits"):
        write(done.spectrum, tmp_path / f"two{ending}")
        assert predict(read(tmp_path / f"two{ending}")).flags[0] == "double_lined"


def test_a_known_velocity_is_passed_on(night):
    result = predict(night, resolution=60_000.0, velocity_kms=80.0)
    assert abs(result.preparation.correlation.peak_kms - 80) < 30
    assert result.preparation.velocity_kms == pytest.approx(83, abs=0.05)


def test_the_table_holds_velocities_with_units(result, tmp_path):
    table = to_table([result])
    assert table["velocity"][0].to_value(u.m / u.s) == pytest.approx(83_000, abs=50)
    assert table["velocity_error"].unit == u.km / u.s
    write_table([result], tmp_path / "t.ecsv")
    assert "velocity_error" in (tmp_path / "t.ecsv").read_text()


def test_an_unknown_resolution_is_asked_for(night):
    with pytest.raises(DomainError, match=r"^night\.fits: its resolution is not in the file; give R"):
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
    with pytest.raises(DomainError, match=r"^night\.fits: fewer than 40 pixels with light"):
        predict(Observation(moved, None, night.provenance), resolution=60_000.0)


def test_what_is_at_rest_but_not_normalised_is_not_searched_for_a_velocity(night):
    order = observe(SUN, Instrument(60_000.0, 0.04), snr=100).single().with_(frame="rest")
    result = predict(Observation((order,)), resolution=60_000.0)
    assert abs(result.preparation.correlation.peak_kms) < 30
    assert result.preparation.velocity_kms == pytest.approx(0, abs=0.05)
