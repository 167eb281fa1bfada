"""The Cramer-Rao bound against closed forms; held labels, nuisances, resolution; the map; the command."""

import json

import numpy as np
import pytest
import torch
from astropy.table import Table

from fakes import tiny_emulator
from maury import plots
from maury.cli.app import main
from maury.emulator import Emulator, LabelNetworks, NetworkPixels, features
from maury.errors import DomainError
from maury.evaluation import limits as module
from maury.evaluation.bound import combination, fisher, free_columns, pixel_sigma, smallest_errors
from maury.evaluation.limits import Bound, limits, limits_map, map_nodes, simulator_at, star_labels
from maury.labels import LabelSpace, usual_vmic
from maury.simulation import Simulator

pytestmark = pytest.mark.usefixtures("one_thread")

STAR = {"teff": 5800.0, "logg": 4.4, "mh": 0.0, "vsini": 8.0, "vmac": 3.0}


@pytest.fixture(scope="module")
def emulator():
    return tiny_emulator()


@pytest.fixture(scope="module")
def simulator(emulator):
    return simulator_at(emulator, 44_000.0)


@pytest.fixture(scope="module")
def free(simulator):
    return Bound(simulator, 44_000.0)


@pytest.fixture(scope="module")
def star(emulator, simulator):
    return star_labels(emulator, simulator, STAR)


class TestClosedForms:
    def test_a_straight_line(self):
        """y = a + b x with white noise: var(b) = s^2 / sum (x - mean x)^2, var(a) = s^2 (1/n + mean^2 / sum ...)."""
        x, noise = np.array([1.0, 2.0, 4.0, 7.0, 11.0]), 0.3
        information = fisher(np.stack([np.ones(5), x]), np.full(5, 1 / noise))
        found = smallest_errors(information, np.zeros((2, 2)), np.eye(2))
        about = ((x - x.mean()) ** 2).sum()
        assert found == pytest.approx([noise * np.sqrt(1 / 5 + x.mean() ** 2 / about), noise / np.sqrt(about)])

    def test_a_nuisance_of_the_same_shape_adds_its_own_variance(self):
        """flux = s (t + u) with u of variance a^2: var(t) = sigma^2 / |s|^2 + a^2."""
        shape, noise, amplitude = np.array([0.5, 1.0, 0.2]), 0.1, 0.7
        weighted = amplitude * shape / noise
        projector = (weighted / np.sqrt(1 + weighted @ weighted))[:, None]
        information = fisher(shape[None], np.full(3, 1 / noise), projector)
        expected = np.sqrt(noise**2 / (shape @ shape) + amplitude**2)
        assert smallest_errors(information, np.zeros((1, 1)), np.eye(1))[0] == pytest.approx(expected)

    def test_the_prior_counts_as_a_further_measurement(self):
        information, precision = np.array([[1 / 0.3**2]]), np.array([[1 / 0.4**2]])
        assert smallest_errors(information, precision, np.eye(1))[0] == pytest.approx(0.24)

    def test_a_mean_of_correlated_labels(self):
        names = ("mg", "ca", "ti")
        covariance = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, 2.0], [0.0, 2.0, 1.0]])
        weights = np.array([combination("alpha", names)])
        found = smallest_errors(np.linalg.inv(covariance), np.zeros((3, 3)), weights)
        assert found[0] == pytest.approx(np.sqrt(covariance.sum()) / 3)
        assert combination("alpha", ("teff", "alpha")) == [0.0, 1.0]

    def test_woodbury_is_the_dense_inverse(self):
        generator = np.random.default_rng(5)
        slopes, columns = generator.normal(size=(4, 30)), generator.normal(size=(3, 30))
        sigma = generator.uniform(0.5, 2, 30)
        dense = slopes @ np.linalg.inv(np.diag(sigma**2) + columns.T @ columns) @ slopes.T
        weighted = columns / sigma
        factor = np.linalg.cholesky(np.eye(3) + weighted @ weighted.T)
        found = fisher(slopes, 1 / sigma, np.linalg.solve(factor, weighted).T)
        np.testing.assert_allclose(found, dense, rtol=1e-10)


class TestBound:
    def test_holding_labels_never_makes_others_worse(self, simulator, free, star):
        wide = free.errors(star, 50.0, free.names)
        for fixed in (["logg"], ["vmic", "vmac"], ["mg", "ca", "ti"], ["teff", "logg", "mh", "c"]):
            held = Bound(simulator, 44_000.0, fixed)
            narrow = held.errors(star, 50.0, free.names)
            assert (narrow <= wide * (1 + 1e-9)).all()
            assert (narrow[[free.names.index(name) for name in fixed]] == 0).all()
            assert (narrow < 0.999 * wide).sum() > len(fixed)
            assert (held.prior(free.names) <= free.prior(free.names) * (1 + 1e-9)).all()

    def test_what_is_uncertain_costs(self, simulator, free, star):
        """Known continuum, uncertain continuum, errors of the physics: each worse than the one before."""
        slopes = free.slopes(star)[0]
        white = fisher(slopes, 1 / pixel_sigma(simulator, 100.0))
        known = smallest_errors(white, free.precision, free._combinations(free.names))
        uncertain = free.errors(star, 100.0, free.names)
        wrong = Bound(simulator, 44_000.0, model_error=True).errors(star, 100.0, free.names)
        assert (known <= uncertain * (1 + 1e-9)).all()
        assert (uncertain <= wrong * (1 + 1e-9)).all()
        assert (wrong > 1.2 * uncertain).any()

    def test_a_louder_spectrum_says_more_and_silence_is_the_prior(self, free, star):
        found = limits(free, star, [1e-3, 30.0, 300.0])
        assert (found.errors[2] < found.errors[1]).all()
        np.testing.assert_allclose(found.errors[0], found.prior, rtol=1e-3)

    def test_no_linear_estimator_of_simulated_noise_and_continuum_is_better(self, free, star):
        """The scatter of generalised least squares, over 4,000 draws of noise and nuisances, is the bound."""
        held = Bound(free.simulator, 44_000.0, [n for n in free.names if n not in ("teff", "mh", "vsini", "alpha")])
        noise, slopes = held.whiten(star, 100.0), held.slopes(star)[0]
        weight, projector = noise.weight.numpy(), noise.projector.numpy()
        information = fisher(slopes, weight, projector)
        weighted = slopes * weight
        estimator = np.linalg.solve(information, weighted - weighted @ projector @ projector.T)
        generator = np.random.default_rng(2)
        gram = np.linalg.cholesky(np.linalg.inv(np.eye(projector.shape[1]) - projector.T @ projector))
        noise = generator.standard_normal((4000, len(weight)))
        slow = generator.standard_normal((4000, projector.shape[1])) @ gram.T @ projector.T
        scatter = ((noise + slow) @ estimator.T).std(0)
        expected = smallest_errors(information, 0 * held.precision, np.eye(len(held.free)))
        np.testing.assert_allclose(scatter, expected, rtol=0.04)

    def test_signal_to_noise_means_the_same_on_other_pixels(self, emulator, star):
        coarse, fine = (Simulator(emulator, pixels=NetworkPixels.of(emulator, step, 3e4)) for step in (2.0, 1.0))
        errors = [Bound(s, 25_000.0).errors(star, 100.0, ("teff", "mh")) for s in (coarse, fine)]
        np.testing.assert_allclose(errors[0], errors[1], rtol=0.02)

    def test_above_a_networks_resolution_the_pixels_are_finer(self, emulator, simulator, star, free):
        sharp = simulator_at(emulator, 110_000.0)
        assert simulator.pixels.grid.step_kms == pytest.approx(2.0)
        assert sharp.pixels.grid.step_kms == pytest.approx(1.0)
        errors = Bound(sharp, 110_000.0).errors(star, 100.0, free.names)
        assert (errors < 1.02 * free.errors(star, 100.0, free.names)).all()

    def test_labels_that_cannot_be_held(self, simulator):
        with pytest.raises(DomainError, match="alpha is the mean of mg, ca, ti: hold these"):
            free_columns(simulator, ["alpha"])
        with pytest.raises(DomainError, match="no label colour to hold; there are teff, logg"):
            free_columns(simulator, ["colour"])
        with pytest.raises(DomainError, match="all labels are held"):
            free_columns(simulator, [name for name in simulator.labels if name != "alpha"])

    @pytest.mark.parametrize("snr", [0.0, -5.0, np.inf, np.nan])
    def test_signal_to_noise_that_is_none(self, free, star, snr):
        with pytest.raises(DomainError, match="positive and finite"):
            limits(free, star, [snr])


def test_microturbulence_is_usual_unless_given(emulator, simulator):
    column = simulator.labels.index("vmic")
    assert float(star_labels(emulator, simulator, {**STAR, "logg": 2.5})[0, column]) == pytest.approx(1.605)
    assert float(star_labels(emulator, simulator, {**STAR, "vmic": 1.9})[0, column]) == pytest.approx(1.9)
    assert usual_vmic(9700.0, 0.0) == pytest.approx(3.595)


def test_it_is_the_middle_of_the_simulations_prior(simulator):
    drawn = simulator.draw_labels(20_000, torch.Generator().manual_seed(1)).numpy()
    teff, logg, vmic = (drawn[:, simulator.labels.index(name)] for name in ("teff", "logg", "vmic"))
    usual = np.array([usual_vmic(t, g) for t, g in zip(teff, logg, strict=True)])
    inside = (usual > 1.5) & (usual < 3)
    assert np.mean(vmic[inside] - usual[inside]) == pytest.approx(0, abs=0.03)


def test_an_emulator_of_other_labels_and_of_limited_resolution():
    """No log g, one alpha, spectra of R = 60,000: what it has is free, and what it has not keeps its value."""
    space = LabelSpace(("teff", "mh", "alpha"), (4000.0, -1.0, -0.2), (7000.0, 0.5, 0.4))
    own = tiny_emulator()
    inputs = features(torch.zeros(1, 3) + 5000, space.names).shape[1]
    networks, scale = LabelNetworks(2, inputs, 8, 1, 3, seed=3), (torch.ones(inputs), torch.ones(inputs))
    mean, basis = (torch.view_as_complex(x.unflatten(-1, (-1, 2))) for x in (own.mean, own.basis))
    header = {"fixed": {"vmic": 2.0, "logg": 4.0}, "resolution": 60_000.0}
    emulator = Emulator(networks, own.grid, mean, basis, scale, own.coefficient_scale, header, None, space).eval()
    simulator = simulator_at(emulator, 55_000.0)
    labels = star_labels(emulator, simulator, {"mh": -0.3, "mg": 0.2, "alpha": 0.2})
    found = limits(Bound(simulator, 55_000.0), labels, [100.0])
    assert found.names == ("teff", "mh", "alpha", "vsini", "vmac")
    assert found.star["teff"] == 5772
    assert found.star["alpha"] == pytest.approx(0.2)
    assert (found.errors[0] < found.prior).all()
    with pytest.raises(DomainError, match="logg = 3, but all spectra of the library have 4"):
        star_labels(emulator, simulator, {"logg": 3.0})
    with pytest.raises(DomainError, match="needs the label logg, which the emulator lacks"):
        map_nodes(emulator)


def test_map_nodes_are_where_there_are_atmospheres(emulator):
    nodes = map_nodes(emulator)
    assert nodes[:, 0].min() == 3500
    assert nodes[:, 0].max() == 9750
    assert nodes[nodes[:, 0] == 9750, 1].min() == 2.0
    assert nodes[nodes[:, 0] == 3500, 1].min() == 0.0


def test_map(emulator, free):
    nodes = np.array([[4000.0, 2.0], [4000.0, 4.0], [6000.0, 4.0]])
    done = []
    table = limits_map(free, emulator, {"mh": -0.5, "vsini": 5.0}, 80.0, nodes, done.append)
    assert sum(done) == 3
    assert table["teff_err"].unit == "K"
    alone = star_labels(emulator, free.simulator, {"teff": 6000.0, "logg": 4.0, "mh": -0.5, "vsini": 5.0})
    assert table["mh_err"][2] == pytest.approx(free.errors(alone, 80.0, ("mh",))[0], rel=1e-3)


def test_nothing_to_map(emulator, simulator):
    held = Bound(simulator, 44_000.0, ["teff", "logg", "mh", "vsini"])
    with pytest.raises(DomainError, match="none of teff, logg, mh, vsini is free"):
        limits_map(held, emulator, {}, 100.0, np.array([[5000.0, 4.0]]))


def test_plot_of_a_map():
    teff, logg = (a.ravel() for a in np.meshgrid([4000.0, 5000.0, 6000.0], [1.0, 2.0, 3.0, 4.0], indexing="ij"))
    keep = ~((teff == 6000) & (logg == 1))
    errors = {"teff": teff[keep] / 100, "mh": logg[keep] / 100}
    figure = plots.plot_limits_map(teff[keep], logg[keep], errors, title="map")
    first = figure.axes[0]
    mesh = first.collections[0].get_array()
    assert mesh.shape == (4, 3)
    assert bool(mesh.mask[0, 2])
    assert mesh[3, 1] == pytest.approx(50)
    assert first.get_xlim()[0] > first.get_xlim()[1]
    assert first.get_ylim()[0] > first.get_ylim()[1]


@pytest.fixture(scope="module")
def physics(emulator, tmp_path_factory):
    path = tmp_path_factory.mktemp("physics") / "emulator.safetensors"
    emulator.save(path)
    return str(path)


class TestCommand:
    def run(self, *arguments):
        with pytest.raises(SystemExit) as stop:
            main(["limits", *map(str, arguments)])
        return stop.value.code

    def test_table_and_file(self, physics, tmp_path, capsys):
        path = tmp_path / "l.ecsv"
        code = self.run("--emulator", physics, "--snr", 50, "--snr", 100, "--fix", "logg", "--out", path)
        assert code == 0
        printed = capsys.readouterr().out
        assert "S/N per 2.3 km/s" in printed
        assert "held" in printed
        table = Table.read(path)
        assert (table["snr_50"] >= table["snr_100"]).all()
        assert table.meta["fixed"] == ["logg"]
        assert table.meta["star"]["teff"] == 5772

    def test_json(self, physics, capsys):
        assert self.run("--emulator", physics, "--json", "--model-error", "-R", 60_000) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["step_kms"] == 2.3
        assert record["model_error"] is True
        assert record["units"]["logg"] == "dex"
        assert 0 < record["errors"]["teff"][0] < record["prior"]["teff"]

    def test_map(self, physics, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "MAP_TEFF_K", 2000.0)
        monkeypatch.setattr(module, "MAP_LOGG", 1.0)
        assert self.run("--emulator", physics, "--map", tmp_path, "--snr", 60, "--fix", "logg") == 0
        table = Table.read(tmp_path / "limits.ecsv")
        assert table.meta["snr"] == 60
        assert "logg_err" not in table.colnames
        assert (table["vsini_err"] > 0).all()
        assert (tmp_path / "limits.png").stat().st_size > 1000
        assert (tmp_path / "limits.pdf").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--teff", 2000], "teff = 2000 K is outside the allowed range 3500 to 9750"),
            (["--vsini", -1], "vsini = -1 km/s is outside"),
            (["--snr", 0], "snr = 0 is outside the allowed range"),
            (["--resolution", 500], "resolution = 500 is outside the allowed range 5000 to 115000"),
            (["--fix", "alpha"], "hold these"),
            (["--fix", "li"], "no label li to hold"),
            (["--map", "maps", "--teff", 5000], "leave out --teff"),
            (["--map", "maps", "--snr", 50, "--snr", 60], "a map has one S/N, got 2"),
            (["--emulator", "absent"], "absent: no such file"),
        ],
    )
    def test_mistakes(self, physics, arguments, message, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        given = arguments if "--emulator" in arguments else ["--emulator", physics, *arguments]
        assert self.run(*given) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "maps").exists()
