import csv
import json
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

import nights
from maury import checkpoints
from maury.checkpoints import MODELS
from maury.emulator import load_cached
from maury.errors import DomainError, FormatError
from maury.inference import predict
from maury.inference.refinement import measured_on_standards, physics_of
from maury.likelihood.profile import KIND, PACKAGED, error_profile
from maury.likelihood.systematics import PACKAGED as SIZES
from maury.likelihood.systematics import size_at, systematic
from maury.readers import write
from maury.simulation.conditions import ModelErrorSettings
from maury.standards import factors, fit_levels, fit_star, of_labels, read_standards, systematic_errors
from maury.standards.model_error import default_nodes
from maury.standards.systematic_errors import NODES_K, differences, fit_sizes, predicted
from verbs import run

COLUMNS = ("file", "star", "resolution", "teff", "logg", "mh", "e_teff", "labels_verified")


def table_of(folder, *rows, columns=COLUMNS):
    path = folder / "standards.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A table of three simulated stars, whose spectra are wrong by 0.7 % of the continuum, and of a missing file."""
    folder = tmp_path_factory.mktemp("standards")
    rows = []
    for number, teff in enumerate((5300.0, 5772.0, 6200.0)):
        star = nights.SUN | {"teff": teff}
        spectrum = nights.observe(star, nights.Instrument(65_000.0, 0.04), velocity_kms=5.0, snr=300, seed=number + 1)
        errors = np.random.default_rng(number).normal(0, 1, spectrum.single().flux.shape)
        errors = gaussian_filter1d(errors, 1.3)  # 1.5 km/s of 0.02 Å
        flux = spectrum.single().flux * (1 + 0.007 * errors / errors.std())
        write(spectrum.single().with_(flux=flux), folder / f"{number}.fits")
        rows.append((f"{number}.fits", f"star {number} (HD {number})", 65_000, teff, 4.44, 0.0, 40, True))
    rows.append(("missing.fits", "missing", 65_000, 5500, 4.4, 0.0, 40, True))
    return table_of(folder, *rows)


def test_a_table_has_labels_errors_and_what_counts(tmp_path):
    columns = (*COLUMNS, "role", "medium", "velocity_kms")
    rows = [
        ("a.fits", "Sun (HD 0)", 47000, 5772, 4.438, "", 1, "True", "calibrate", "air", -3.5),
        ("b.fits", "X", 50000, 5000, 4.0, -1, "", "False", "", "", ""),
    ]
    sun, other = read_standards(table_of(tmp_path, *rows, columns=columns))
    assert (sun.star, sun.labels, sun.errors) == ("Sun", {"teff": 5772.0, "logg": 4.438}, {"teff": 1.0})
    assert sun.reading == {"resolution": 47000.0, "medium": "air"}
    assert (sun.velocity_kms, other.velocity_kms) == (-3.5, None)
    assert (sun.scored, sun.verified) == (False, True)
    assert (other.scored, other.verified, other.labels["mh"]) == (False, False, -1.0)
    assert other.path == tmp_path / "b.fits"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a.fits", "Sun", 47000, "hot", 4.4, 0, 1, True), "a.fits: teff = 'hot' is not a number"),
        (("a.fits", "Sun", "high", 5772, 4.4, 0, 1, True), "resolution 'high' is not a number"),
    ],
)
def test_a_table_with_text_for_numbers_is_refused(tmp_path, row, message):
    with pytest.raises(FormatError, match=message):
        read_standards(table_of(tmp_path, row))


def test_a_folder_is_no_table_and_rows_of_one_file_keep_their_own_labels(tmp_path):
    with pytest.raises(FormatError, match="is a folder; a CSV table of standard stars is needed"):
        read_standards(tmp_path)
    rows = [
        ("a.fits", "X", 50000, teff, 4.0, 0, "", True, name, number)
        for number, teff, name in ((1, 5000, "x"), (2, 6000, "y"))
    ]
    stars = read_standards(table_of(tmp_path, *rows, columns=(*COLUMNS, "id", "row")))
    assert [(star.labels["teff"], star.reading["row"]) for star in stars] == [(5000.0, 1), (6000.0, 2)]


def test_a_known_velocity_is_used(observed, monkeypatch):
    """At the star's velocity its Teff, 300 km/s away another; both by the network, without refinement."""
    without = {"refine": False, "reference": None}
    monkeypatch.setattr(systematic_errors, "predict", lambda *given, **more: predict(*given, **more | without))
    star = read_standards(observed)[1]
    right, wrong = (predicted(replace(star, velocity_kms=v), "default", "packaged")[1]["teff"] for v in (5.0, 305.0))
    assert right == pytest.approx(5772, abs=150)
    assert abs(wrong - 5772) > 300


def test_levels_of_errors_are_found_again():
    nodes = np.array([4000.0, 5000.0, 6000.0])
    teff = np.linspace(4000, 6000, 30)
    mh = np.tile([-1.0, 0.0, 0.3], 10)
    level = np.hypot(np.exp(np.interp(teff, nodes, np.log([0.04, 0.02, 0.01]))) * 10 ** (0.5 * mh), 0.004)
    stars = [
        {"teff": t, "mh": m, "level": float(f"{x:.6f}"), "line": 0.05, "vsini": 3.0, "noise": 0.001}
        for t, m, x in zip(teff, mh, level, strict=True)
    ]
    table = fit_levels(stars, nodes)
    assert table.stars == 30
    assert table.settings["level"] == pytest.approx([0.04, 0.02, 0.01], rel=0.05)
    assert table.settings["mh_slope"] == pytest.approx(0.5, abs=0.03)
    assert table.settings["floor"] == pytest.approx(0.004, rel=0.15)
    assert table.settings["line"] == 0.05
    with pytest.raises(DomainError, match="found in 2 of 2 spectra of slow rotators; at least 3 are needed"):
        fit_levels(stars[:2], nodes)


def test_default_temperatures_are_those_of_the_packaged_table():
    assert tuple(default_nodes(load_cached())) == ModelErrorSettings().teff_k


def test_the_scatter_of_labels_is_found_again_and_unknown_labels_get_a_guess():
    rng = np.random.default_rng(1)
    spectra = []
    for number in range(40):
        known = {"teff": float(rng.uniform(5000, 6500)), "logg": 4.4, "mh": 0.0}
        result = {
            name: value + rng.normal(0, {"teff": 80, "logg": 0.2, "mh": 0.02}[name]) for name, value in known.items()
        }
        result |= {"teff_stat": 10.0, "logg_stat": 0.02, "mh_stat": 0.005, "alpha": 0.0, "alpha_stat": 0.01}
        spectra += [(f"star {number}", result, known, {"teff": 20.0})] * 2
    for name, size in {"teff": 77, "logg": 0.2, "mh": 0.02, "alpha": 0.04}.items():  # no star has a value of alpha
        stars = differences(spectra, name)
        sizes, poor, dwarf = fit_sizes(stars, name)
        assert len(stars) == (0 if name == "alpha" else 40)
        assert size_at(5750.0, 0.0, NODES_K, sizes, poor, dwarf, 4.4) == pytest.approx(size, rel=0.35)
    stored, report = of_labels(spectra[:8])
    assert (report["teff"]["stars"], report["alpha"]["stars"]) == (4, 0)
    assert [row["star"] for row in report["teff"]["leave_one_out"]] == ["star 0", "star 1", "star 2", "star 3"]
    assert stored["size"]["alpha"] == pytest.approx([0.04] * 4, rel=0.01)


def test_files_beside_a_network_replace_the_packaged_ones(tmp_path):
    shutil.copy(MODELS / "default.safetensors", tmp_path / "model.safetensors")
    assert measured_on_standards(str(tmp_path), PACKAGED) == PACKAGED
    wavelength = np.array([5000.0, 5400.0])
    parts = {"wavelength": torch.from_numpy(wavelength).float(), "factor": torch.full((2,), 2.0).half()}
    checkpoints.save(tmp_path / PACKAGED.name, KIND, parts, {"voters": []})
    (tmp_path / SIZES.name).write_text(
        json.dumps({"teff_k": [4000, 6000], "size": {n: [7.0, 7.0] for n in ("teff", "logg", "mh", "alpha")},
                    "poor": dict.fromkeys(("teff", "logg", "mh", "alpha"), 0.0)})
    )  # fmt: skip
    physics = physics_of(str(tmp_path), "packaged", True)
    assert physics.errors.profile.unique().tolist() == [2.0]
    assert systematic({"teff": 5000.0}, physics.sizes)["teff"] == pytest.approx(7.0)
    assert systematic({"teff": 5000.0})["teff"] > 10
    assert float(error_profile(np.array([5200.0]))) != 2.0
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(FormatError, match=r"bad\.json: not a file of systematic errors"):
        systematic({"teff": 5000.0}, tmp_path / "bad.json")


def test_a_wrong_line_gets_a_larger_error(observed):
    physics = physics_of("default", "packaged", False)
    star = fit_star(read_standards(observed)[1], physics, "default", "packaged")
    assert star.votes
    assert star.labels["teff"] == pytest.approx(5772, abs=60)
    flux = star.data.flux.clone()
    flux[3000:3060] -= 0.1
    wrong = replace(star, data=star.data.with_(flux=flux))
    plain, known = factors([star]), factors([wrong])
    assert np.sqrt((known**2).mean()) == pytest.approx(1, abs=0.02)
    assert known[3010:3050].mean() > 1.5 * plain[3010:3050].mean()
    assert np.allclose(factors([wrong], without="star 1"), 1)
    with pytest.raises(DomainError, match="no star is suitable to measure errors of the physics"):
        factors([replace(wrong, labels=wrong.labels | {"mh": -2.0})])


def test_commands_on_simulated_stars(observed, tmp_path, capsys):
    network, settings = tmp_path / "run", tmp_path / "model-error.toml"
    network.mkdir()
    shutil.copy(MODELS / "default.safetensors", network / "model.safetensors")
    assert run("model-error", observed, "--out", settings, "--nodes", 5000, "--nodes", 6500) == 2
    printed = "".join(capsys.readouterr())
    assert "missing.fits" in printed
    measured = tomllib.loads(settings.read_text())
    assert measured["teff_k"] == [5000.0, 6500.0]
    stars = json.loads(settings.with_suffix(".json").read_text())["stars"]
    assert [0.003 < star["level"] < 0.008 for star in stars] == [True, True, True]
    assert np.hypot(measured["level"][0], measured["floor"]) == pytest.approx(stars[0]["level"], rel=0.3)
    assert run("physics-errors", network, observed) == 2
    printed = "".join(capsys.readouterr())
    assert "missing.fits" in printed
    assert "3 stars count: star 0, star 1, star 2" in printed
    assert (network / "physics-errors.safetensors").is_file()
    assert (network / "physics-errors" / "physics-errors.png").is_file()
    assert run("systematic-errors", network, observed) == 2
    printed = "".join(capsys.readouterr())
    assert "alpha: no star with a value of the literature" in " ".join(printed.split())
    report = json.loads((network / "systematic-errors" / "systematic-errors.json").read_text())
    assert report["labels"]["teff"]["stars"] == 3
    assert json.loads((network / "systematic-errors.json").read_text())["size"]["teff"]


def test_a_network_without_posterior_is_refused(observed, capsys):
    assert run("physics-errors", "starnet-spc", observed, "--out", observed.parent / "no") == 2
    printed = "".join(capsys.readouterr())
    assert "need a network with posterior" in " ".join(printed.split())
