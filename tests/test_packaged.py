"""What ships: the packaged emulator and network, on real library spectra and a real star when they are at hand."""

import json

import numpy as np
import pytest
import torch

from maury.config import make_config, preset_path, read_toml
from maury.emulator import PACKAGED, grid_for, load, rms_per_star, to_modes
from maury.labels import SYNTHESISED
from maury.library import OFF_NODE, read_library
from maury.networks import load as load_network
from maury.networks import packaged_networks
from maury.training.emulator_fit import to_modes_of
from verbs import run


def test_packaged_emulator_says_what_it_is():
    emulator = load()
    assert PACKAGED.stat().st_size < 20e6
    assert emulator.header["training"]["stars"] >= 900
    assert emulator.errors is not None
    assert torch.isfinite(emulator.errors.rms).all()


@pytest.mark.shared
def test_packaged_emulator_against_spectra_made_for_the_test(shared):
    """By the packaged recipe, at labels that no library has."""
    pytest.importorskip("pysme", reason="needs the extra 'synthesis'")
    from maury.synthesis import SynthesisConfig, read_atmospheres, read_lines, synthesize
    from maury.synthesis.changes import changed_lines
    from maury.synthesis.settings import PACKAGED_CHANGES

    recipe = preset_path("synthesis", "packaged")
    config = make_config(read_toml(recipe), SynthesisConfig, str(recipe)).located(shared / "data")
    labels = np.zeros((5, len(SYNTHESISED)))
    labels[:, :10] = [
        [5772.0, 4.44, 0.0, 1.0, 0, 0, 0, 0, 0, 0],
        [4750.0, 2.6, -0.55, 1.6, -0.1, 0.25, 0.2, 0.25, 0.02, 0.03],
        [6480.0, 4.1, -0.25, 1.7, 0.05, 0.05, 0.0, 0.1, -0.05, 0.0],
        [4150.0, 4.6, 0.1, 0.9, 0.0, 0.0, 0.05, 0.0, 0.0, 0.05],
        [4650.0, 1.3, -2.7, 1.8, 0.0, 0.4, 0.3, 0.25, -0.1, 0.0],
    ]
    labels[1:, SYNTHESISED.index("y")] = 0.2
    wavelength = 5050 + 300 / 29787 * (np.arange(29788 + 1000) - 500)
    atmospheres = read_atmospheres(config.atmospheres, extrapolate_mh=True)
    lines = changed_lines(read_lines(config.line_list), PACKAGED_CHANGES)
    cool = read_lines(config.cool_lines)
    lines.joined(cool)
    spectra = synthesize(lines, atmospheres, labels, wavelength, config.physics, cool=cool)
    assert not spectra.failures
    emulator = load()
    modes = torch.from_numpy(to_modes(spectra.flux, wavelength, grid_for(wavelength)))
    rms = rms_per_star(emulator, torch.tensor(labels).float(), modes)
    assert (rms < [0.003, 0.005, 0.003, 0.008, 0.004]).all(), rms


@pytest.mark.shared
def test_packaged_emulator_beside_the_older_library(shared):
    """That was made in LTE, with the line list before its calibrations and without TiO: close where it is hot."""
    emulator = load()
    library = read_library(shared / "data" / "library" / "spc_library.h5")
    library = library.subset((library.kind == OFF_NODE) & (library.labels[:, 0] > 5500) & (library.labels[:, 2] > -0.5))
    labels = np.zeros((len(library), len(emulator.space)))
    labels[:, :10] = library.labels
    rms = rms_per_star(emulator, torch.from_numpy(labels).float(), torch.from_numpy(to_modes_of(library)))
    assert np.median(rms) < 0.013  # the lists differ by that much


def test_packaged_founding_network_keeps_its_promise():
    header = packaged_networks()["starnet-spc"]
    assert header["validation"]["mse"] <= 0.0014
    assert header["validation"]["mae"] <= 0.0245
    network, _ = load_network("starnet-spc")
    assert sum(p.numel() for p in network.parameters()) == 7_658_520


def test_simulated_star_comes_back(tmp_path, capsys):
    star = tmp_path / "star.ecsv"
    assert run("emulator", "star", "--teff", 6100, "--logg", 4.2, "--vsini", 12, "--snr", 80, "-o", star) == 0
    capsys.readouterr()
    assert run("predict", star, "--json", "--out", tmp_path / "table.ecsv", "--plot", tmp_path) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["status"] == "ok"
    assert record["teff"] == pytest.approx(6100, abs=60)
    assert record["logg"] == pytest.approx(4.2, abs=0.12)
    assert record["mh"] == pytest.approx(0.0, abs=0.04)
    assert record["vsini"] == pytest.approx(12, abs=1)
    assert (tmp_path / "star.png").exists()
    assert (tmp_path / "table.ecsv").exists()


@pytest.mark.shared
def test_the_sun(shared, capsys):
    sun = shared / "data" / "observed" / "UVES_Sun-1_cleaned_norm.txt"
    assert run("predict", sun, "--resolution", 78_000, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["teff"] == pytest.approx(5772, abs=60)
    assert record["logg"] == pytest.approx(4.44, abs=0.10)
    assert record["mh"] == pytest.approx(0.0, abs=0.05)
    assert record["vsini"] < record["vsini_upper"] < 5
    assert 20 < record["teff_err"] < 100


def test_a_batch_goes_on_and_names_what_failed(tmp_path, capsys):
    star, wrong = tmp_path / "star.ecsv", tmp_path / "wrong.txt"
    assert run("emulator", "star", "-o", star) == 0
    wrong.write_text("no spectrum\n")
    capsys.readouterr()
    assert run("predict", wrong, star, "--json") == 2
    printed = capsys.readouterr()
    assert [record["status"] for record in json.loads(printed.out)] == ["failed", "ok"]
    assert "wrong.txt" in printed.err
    assert "Traceback" not in printed.err


def test_user_errors_are_one_line_and_exit_code_2(tmp_path, capsys):
    table = tmp_path / "l.csv"
    table.write_text("teff,logg\n5772,4.4\n")
    assert run("emulator", "spectra", table, "-R", 42_000, "-o", tmp_path / "s.h5") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "s.h5").exists()


def test_python_road(tmp_path):
    import astropy.units as u

    import maury

    star = tmp_path / "star.ecsv"
    assert run("emulator", "star", "--teff", 5200, "--vsini", 15, "--snr", 100, "-o", star) == 0
    result = maury.predict(maury.read(star), resolution=44_000)
    assert result.summary["teff"].to_value(u.K) == pytest.approx(5200, abs=60)
    assert result.summary["vsini"].to_value(u.km / u.s) == pytest.approx(15, abs=1)
    assert result.flags == ()
    assert not result.spectrum.mask.any()
