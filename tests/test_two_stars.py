"""Two stars in one spectrum: the model against its parts, the fit against simulated pairs, and what is refused."""

from __future__ import annotations

import json
import math

import h5py
import numpy as np
import pytest
import torch
from astropy.table import QTable

import maury
from maury.catalogue import CatalogueConfig, read_catalogue, run_catalogue
from maury.errors import DomainError
from maury.inference import model_flux
from maury.inference.components import CLEAR, TwoStars, two_stars
from maury.inference.refinement import physics_of
from maury.likelihood import relation, usable
from maury.likelihood.target import Target
from maury.likelihood.two import SECOND, PairCoordinates, PairErrors, log_light_ratio, pair_spectra
from maury.pixelspectra import PixelSpectra
from maury.preparation.network_input import to_network
from nights import Instrument, observe
from verbs import run

RELATIONS = [relation("doyle2014"), relation("random-axes")]


@pytest.fixture(scope="module")
def physics():
    return physics_of("default", "packaged", False)


@pytest.fixture(scope="module")
def pair(physics):
    return PairCoordinates(physics.coordinates)


def pair_labels(pair, ratio, velocities, **second):
    """Labels of both stars as `PairCoordinates.full` has them: one like the Sun, one cooler."""
    simulator = pair.simulator
    sun = {**dict.fromkeys(simulator.labels, 0.0), "teff": 5800.0, "logg": 4.4, "vmic": 1.0, "vsini": 4.0, "vmac": 3.3}
    other = sun | {"teff": 5300.0, "logg": 4.5, "vmac": 2.3} | second
    rows = [values[name] for values in (sun, other) for name in simulator.labels]
    return torch.tensor([*rows, ratio, *velocities], dtype=torch.float64)


def observed(physics, pair, labels, snr, seed=1):
    """A spectrum of a pair as the covariance has them, R = 50 000."""
    flux = pair_spectra(pair.simulator, labels[None].float(), torch.tensor([50_000.0]))[0].double()
    star = usable(PixelSpectra(flux=flux, sigma=1 / snr, resolution=50_000.0))
    return PairErrors(physics.errors).draw(star, labels, torch.Generator().manual_seed(seed))


def single_labels(pair, labels):
    return dict(zip(pair.simulator.labels, labels[: len(pair.simulator.labels)].tolist(), strict=True))


def test_the_spectrum_of_a_pair_is_the_mean_of_both_by_their_light(pair):
    """By hand: each star's spectrum, moved by whole pixels."""
    labels = pair_labels(pair, 0.5, (-20.0, 40.0))
    simulator, k = pair.simulator, len(pair.simulator.labels)
    both = simulator.spectra(torch.stack([labels[:k], labels[k : 2 * k]]).float(), torch.tensor([5e4, 5e4])).double()
    flux = pair_spectra(simulator, labels[None].float(), torch.tensor([5e4]))[0].double()
    step = simulator.pixels.grid.step_kms
    by_hand = (both[0].roll(round(-20 / step)) + 0.5 * both[1].roll(round(40 / step))) / 1.5
    assert float((flux - by_hand)[100:-100].abs().max()) < 2e-3


def test_a_pair_of_equal_stars_at_rest_is_one_star(pair):
    labels = pair_labels(pair, 0.7, (0.0, 0.0), teff=5800.0, logg=4.4, vmac=3.3)
    one = pair.simulator.spectra(labels[None, : len(pair.simulator.labels)].float(), torch.tensor([5e4]))
    assert torch.allclose(pair_spectra(pair.simulator, labels[None].float(), torch.tensor([5e4])), one, atol=1e-5)


def test_errors_of_the_physics_of_both(physics, pair):
    """Equal stars at one velocity have the errors of one; far apart the variances add, by the square of the light."""
    errors = PairErrors(physics.errors)
    labels = pair_labels(pair, 1.0, (0.0, 0.0), teff=5800.0, logg=4.4, vmac=3.3)
    star = observed(physics, pair, labels, 100.0)
    one, _ = physics.errors.physics(star, labels[: len(pair.simulator.labels)], star.flux)
    assert torch.allclose(errors.physics(star, labels, star.flux)[0], one, rtol=1e-6)
    labels[-2:] = torch.tensor([-50.0, 50.0])
    apart = (one.roll(-25).square() + one.roll(25).square()).sqrt() / 2
    assert torch.allclose(errors.physics(star, labels, star.flux)[0], apart, rtol=1e-6)


def test_the_light_ratio_of_the_sun_beside_a_twin_of_twice_its_radius():
    """At one mass log g is lower by 0.602: four times the light, whatever the temperature."""
    sun, giant, mh = (torch.tensor([x], dtype=torch.float64) for x in (4.44, 4.44 - math.log10(4), 0.0))
    teff = (torch.full_like(sun, 5772.0), torch.full_like(sun, 5772.0))
    mean, width = log_light_ratio(teff, (sun, giant), mh, 5200.0)
    mass = float(mean) - math.log10(4)
    assert 0 < mass < 0.12  # the relation has the larger star more massive
    assert float(width) > 0.1
    cooler = log_light_ratio((teff[0], teff[1] - 1000.0), (sun, sun), mh, 5200.0)[0]
    planck = math.log10(math.expm1(1.4388e8 / (5200 * 5772)) / math.expm1(1.4388e8 / (5200 * 4772)))
    assert float(cooler) == pytest.approx(planck - 0.08, abs=0.05)


def test_coordinates_and_labels_of_a_pair(pair):
    """Standard normal coordinates of `SECOND`; both stars share metals; velocities are scaled."""
    theta = pair.centre.expand(2, -1).clone()
    theta[1, pair.names.index("rv_2")] = 1.0
    labels = dict(zip(pair.names, pair.labels(theta).unbind(1), strict=True))
    assert labels["rv_2"].tolist() == [0.0, 60.0]
    difference = pair.log_prior(theta).diff()
    assert float(difference) == pytest.approx(-0.5)
    full = pair.full(pair.labels(theta))
    k = len(pair.simulator.labels)
    at = pair.simulator.labels.index("mh")
    assert torch.equal(full[:, at], full[:, k + at])
    assert full.shape == (2, 2 * k + 3)
    assert pair.names[pair.main - len(SECOND) : pair.main] == SECOND


def test_the_density_of_a_pair_is_prior_times_gaussian_likelihood(physics, pair):
    """The chi-square of `Target` against the spectra of `pair_spectra`."""
    labels = pair_labels(pair, 0.5, (0.0, 30.0))
    star = observed(physics, pair, labels, 80.0)
    noise = PairErrors(physics.errors).whiten(star, labels, fit=False)
    theta = pair.centre[None].clone()
    target = Target(pair, star, noise)
    spectrum = pair_spectra(pair.simulator, pair.full(pair.labels(theta)).float(), torch.tensor([5e4])).double()
    expected = pair.log_prior(theta) - 0.5 * noise.chi2(spectrum) + noise.constant
    assert float(target.log_density(theta)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(("separation", "snr"), [(60.0, 60.0), (8.0, 100.0)])
def test_a_pair_is_found_with_both_stars_labels(physics, pair, separation, snr):
    ratio = 0.5
    labels = pair_labels(pair, ratio, (0.0, separation))
    two = two_stars(
        physics, observed(physics, pair, labels, snr), single_labels(pair, labels), relations=RELATIONS,
        velocity_kms=12.0, systematics=False, count=500,
    )  # fmt: skip
    assert two.status == "two"
    assert two.ln_evidence > 10 * CLEAR
    numbers = two.numbers()
    truth = {"teff_1": 5800.0, "teff_2": 5300.0, "rv_1_kms": 12.0, "rv_2_kms": 12.0 + separation, "light_ratio": ratio}
    for name, value in truth.items():
        assert abs(numbers[name] - value) < 4 * numbers[f"{name}_err"] + 0.01, name
    assert numbers["teff_1_err"] < 150


def test_systematic_errors_add_in_quadrature():
    samples = {"teff_1": np.linspace(5000, 5200, 1001)}
    with_them = TwoStars(20.0, samples, {"teff_1": 30.0}, 300.0, 0.3, np.ones(3)).numbers()
    without = TwoStars(20.0, samples, {}, 300.0, 0.3, np.ones(3)).numbers()
    assert with_them["teff_1"] == without["teff_1"] == pytest.approx(5100)
    assert with_them["teff_1_err"] == pytest.approx(math.hypot(without["teff_1_err"], 30.0))


@pytest.mark.parametrize(
    ("evidence", "effective", "shape", "status"),
    [(50.0, 300.0, 0.3, "two"), (50.0, 5.0, 0.3, "uncertain"), (50.0, 300.0, 2.0, "uncertain"), (3.0, 9.0, 2.0, "one")],
)
def test_status(evidence, effective, shape, status):
    drawn = np.random.default_rng(1).normal(size=500)
    samples = {"rv_1_kms": drawn, "rv_2_kms": drawn[::-1] + 8}
    assert TwoStars(evidence, samples, {}, effective, shape, np.ones(3)).status == status
    near = samples | {"rv_2_kms": drawn[::-1] + 3}
    assert TwoStars(evidence, near, {}, effective, shape, np.ones(3)).status in ("uncertain", "one")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pair at rest and normalised, a single star, and 85 Å of it."""
    folder = tmp_path_factory.mktemp("pairs")
    star = ("emulator", "star", "--teff", 5800, "--logg", 4.4, "--mh", 0, "--vsini", 4, "--snr", 80, "-R", 50_000)
    assert run(*star, "-o", folder / "single.ecsv") == 0
    cool = ("emulator", "star", "--teff", 5300, "--logg", 4.5, "--mh", 0, "--vsini", 4, "--snr", 80, "-R", 50_000)
    assert run(*cool, "--seed", 2, "-o", folder / "cool.ecsv") == 0
    one, other = (maury.read(folder / f"{name}.ecsv").single() for name in ("single", "cool"))
    moved = np.interp(one.wavelength_aa, other.wavelength_aa * (1 + 45 / 299_792.458), other.flux)
    maury.write(one.with_(flux=(one.flux + 0.5 * moved) / 1.5), folder / "pair.ecsv")
    near = (one.wavelength_aa > 5150) & (one.wavelength_aa < 5235)
    short = maury.Spectrum(
        one.wavelength_aa[near], one.flux[near], sigma=one.sigma[near], frame=one.frame, normalised=one.normalised,
        resolution=one.resolution,
    )  # fmt: skip
    maury.write(short, folder / "short.ecsv")
    return folder


def test_the_command_shows_both_stars(files, tmp_path, capsys):
    out = tmp_path / "stars.ecsv"
    assert run("predict", files / "pair.ecsv", "--components", 2, "--no-systematics", "--out", out) == 0
    assert "two stars are clearly more probable than one" in " ".join(capsys.readouterr().out.split())
    table = QTable.read(out)
    assert table["rv_2_kms"][0].value - table["rv_1_kms"][0].value == pytest.approx(45, abs=1)
    assert table["teff_2"].unit == "K"
    assert "two_stars" in table["flags"][0]


def test_json_has_the_evidence_and_one_component_has_nothing_of_it(files, capsys):
    assert run("predict", files / "single.ecsv", "--components", 2, "--no-systematics", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["components"] == "one"
    assert record["ln_evidence_two_over_one"] < 0
    assert "two_stars" not in record["flags"]
    assert maury.predict(files / "pair.ecsv", components=1, systematics=False).two is None


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("short", {}, "at least 100 Å of good pixels, got 8[45]"),
        ("single", {"components": 3}, "components = 3: allowed: 1 or 2"),
        ("single", {"refine": False}, "need refinement"),
        ("single", {"model": "starnet-spc"}, "need refinement"),
        ("single", {"priors": ["teff=5800+-50"]}, "no prior and no parallax"),
    ],
)
def test_bad_input(files, name, options, words):
    with pytest.raises(DomainError, match=words):
        maury.predict(files / f"{name}.ecsv", **{"components": 2} | options)


def test_several_exposures_are_refused(files):
    with pytest.raises(DomainError, match="single exposure"):
        maury.predict([files / "single.ecsv", files / "pair.ecsv"], components=2)


def test_a_list_with_two_components(files, tmp_path):
    """A row asks for two; a short spectrum that does is rejected with the reason, the others are not touched by it."""
    (tmp_path / "list.csv").write_text(
        f"file,id,components\n{files}/pair.ecsv,pair,2\n{files}/pair.ecsv,once,1\n{files}/short.ecsv,short,2\n"
        f"{files}/single.ecsv,single,\n{files}/single.ecsv,odd,3\n"
    )
    out, config = tmp_path / "r.fits", CatalogueConfig(model="default", samples=500, shard=1)
    run_catalogue(tmp_path / "list.csv", out, config)
    table = read_catalogue(out)
    assert list(table["id"]) == ["pair", "once", "single"]
    assert list(table["components"].filled("")) == ["two", "", ""]
    assert table["rv_2_kms"][0].value - table["rv_1_kms"][0].value == pytest.approx(45, abs=1)
    assert str(table["teff_2"].unit) == "K"
    assert "star 2" in table["teff_2"].info.description
    assert np.isnan(table["teff_2"][1:].value).all()
    assert 0.3 < table["light_ratio"][0] < 0.7
    reasons = dict(zip(*(read_catalogue(out / "_rejects")[name] for name in ("id", "reason")), strict=True))
    assert "at least 100 Angstrom of good pixels" in reasons["short"]
    assert "components = 3: allowed: 1 or 2" in reasons["odd"]
    (out / "part-000001.fits").unlink()
    again = run_catalogue(tmp_path / "list.csv", out, config)
    assert (again.made, again.results) == (1, 3)
    assert read_catalogue(out)["teff_2"][0] == table["teff_2"][0]
    assert read_catalogue(out)["teff"][1] == table["teff"][1]


def test_a_catalogue_of_pixels_with_two_components(files, tmp_path, capsys):
    """Two stars are fitted to every spectrum, and found in one of them; without refinement that is refused."""
    grid = physics_of("default", "packaged", True).coordinates.simulator.pixels
    stars = [to_network(maury.read(files / f"{name}.ecsv").single(), grid) for name in ("pair", "single")]
    with h5py.File(tmp_path / "stars.h5", "w") as file:
        for name in ("flux", "sigma", "good"):
            file[name] = np.stack([getattr(star, name).numpy() for star in stars])
        file["resolution"] = [float(star.resolution) for star in stars]
        file["wavelength"] = grid.wavelength_aa
    out = tmp_path / "r.fits"
    options = ("catalog", tmp_path / "stars.h5", "--components", 2, "--samples", 500)
    assert run(*options, "--out", tmp_path / "none.fits") == 2
    assert "two components need refinement" in " ".join(capsys.readouterr().err.split())
    assert run(*options, "--refine", "--out", out) == 0
    table = read_catalogue(out)
    assert list(table["components"]) == ["two", "one"]
    assert "two_stars" in table["flags"][0]
    assert abs(table["rv_2_kms"][0].value - table["rv_1_kms"][0].value) == pytest.approx(45, abs=1)
    assert (table["ln_evidence_two_over_one"] > 10).tolist() == [True, False]


def test_the_lines_of_a_second_star_offer_two_without_being_asked():
    """The preparation flags `double_lined`; both stars' values are there, unless one component is asked for."""
    sun = {"teff": 5800.0, "logg": 4.4, "mh": 0.0, "vmic": 1.0, "vsini": 4.0}
    cool = sun | {"teff": 5300.0, "logg": 4.5}
    star = observe(sun, Instrument(60_000.0), velocity_kms=-10.0, second=(cool, 50.0, 0.35))
    result = maury.predict(star, resolution=60_000.0, systematics=False, samples=500)
    assert {"double_lined", "two_stars"} <= set(result.flags)
    numbers = result.numbers()
    assert numbers["rv_1_kms"] == pytest.approx(-10, abs=1)
    assert numbers["rv_2_kms"] == pytest.approx(50, abs=1)
    assert result.record()["components"] == "two"
    assert result.table["components"][0] == "two"
    assert np.array_equal(model_flux(result), result.two.model)
    one = maury.predict(star, resolution=60_000.0, systematics=False, samples=500, components=1)
    assert "double_lined" in one.flags
    assert "teff_2" not in one.numbers()
    assert "components" not in one.table.colnames
