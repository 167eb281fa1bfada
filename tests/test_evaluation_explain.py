"""Which pixels speak for a label: the best linear estimator, slopes of a network known by hand, ranges, the command."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.table import Table

from fakes import tiny_emulator
from maury import plots
from maury.cli.app import main
from maury.errors import DomainError
from maury.evaluation.bound import combination, pixel_sigma, smallest_errors
from maury.evaluation.explain import Explanation, LinearEstimator, explain, marked_lines, saliency, strongest
from maury.evaluation.limits import Bound, star_labels
from maury.labels import LabelSpace
from maury.lines.strong import STRONG_LINES, named_lines
from maury.networks import LabelTransform, PosteriorNetwork, save
from maury.networks.architectures import PosteriorConfig
from maury.simulation import Simulator

pytestmark = pytest.mark.usefixtures("one_thread")

STAR = {"teff": 5800.0, "logg": 4.4, "mh": 0.0, "vsini": 8.0, "vmac": 3.0}
NAMES = ("teff", "logg", "mg", "ca", "ti", "vsini")


class Linear:
    """A network whose median of label k is the flux times column k of a matrix (p, k), with noise about it."""

    def __init__(self, matrix, names=NAMES):
        self.matrix, self.config = matrix, SimpleNamespace(labels=names)

    def __call__(self, inputs):
        self.seen = inputs
        return inputs.flux @ self.matrix

    def sample(self, features, count, generator):
        return features[:, None] + torch.randn(len(features), count, features.shape[1], generator=generator)


@pytest.fixture(scope="module")
def simulator():
    return Simulator(tiny_emulator())


@pytest.fixture(scope="module")
def bound(simulator):
    return Bound(simulator, 44_000.0)


@pytest.fixture(scope="module")
def labels(simulator):
    return star_labels(tiny_emulator(), simulator, STAR)


class TestPhysics:
    @pytest.mark.parametrize("name", ["teff", "mg", "alpha", "vsini"])
    def test_weights_times_derivatives_are_the_shrunk_identity(self, bound, labels, name):
        """W J^T = (F + P)^-1 F: a row of it, whose distance from the identity is what the prior holds back."""
        found = explain(bound, labels, name, 200.0)
        slopes, noise = bound.slopes(labels)[0], bound.whiten(labels, 200.0)
        weighted = torch.from_numpy(slopes) * noise.weight
        slow = weighted @ noise.projector
        information = (weighted @ weighted.T - slow @ slow.T).numpy()
        wanted = np.array(combination(name, bound.free))
        expected = wanted @ np.linalg.solve(information + bound.precision, information)
        np.testing.assert_allclose(list(found.physics.response.values()), expected, rtol=1e-5, atol=1e-5)
        error = smallest_errors(information, bound.precision, wanted[None])[0]
        assert found.error == pytest.approx(error)
        assert found.physics.noise < error
        assert found.physics.share.sum() == pytest.approx(1)

    def test_no_unbiased_weights_are_less_noisy(self, simulator, labels):
        """Any change of the weights that leaves the response as it is adds noise of pixels and nuisances."""
        bound = Bound(simulator, 44_000.0, ["logg", "vmic", "c", "mg", "ca", "ti", "cr", "ni", "vmac"])
        found, slopes = explain(bound, labels, "teff", 300.0), bound.slopes(labels)[0]
        noise = bound.whiten(labels, 300.0)
        weight, projector = noise.weight.numpy(), noise.projector.numpy()
        gram = np.linalg.inv(np.eye(projector.shape[1]) - projector.T @ projector)

        def variance(x):
            white = x / weight
            slow = white @ projector
            return white @ white + slow @ gram @ slow

        best = variance(found.physics.weight)
        generator = np.random.default_rng(1)
        for _ in range(5):
            change = generator.standard_normal(len(weight)) * np.abs(found.physics.weight)
            change -= np.linalg.lstsq(slopes.T, change, rcond=None)[0] @ slopes
            assert variance(found.physics.weight + 0.1 * change) > best

    def test_labels_that_are_not_free(self, simulator, labels):
        held = Bound(simulator, 44_000.0, ["logg", "mg", "ca", "ti"])
        for name in ("logg", "colour", "alpha"):
            with pytest.raises(DomainError, match=f"label {name} is not among those that are free: teff, mh"):
                explain(held, labels, name, 100.0)


class TestNetwork:
    def test_the_slopes_of_a_linear_network_are_its_matrix(self, simulator, bound, labels):
        matrix = torch.randn(simulator.pixels.count, len(NAMES), generator=torch.Generator().manual_seed(1))
        flux = simulator.spectra(labels, torch.tensor([44_000.0]))[0]
        done = []
        network = Linear(matrix)
        found = saliency(network, flux, 0.01, 44_000.0, "logg", 20, 1, done.append)
        np.testing.assert_allclose(found, matrix[:, 1].numpy(), rtol=1e-5, atol=1e-6)
        assert done == [16, 4]
        assert float((network.seen.flux - flux).detach().std()) == pytest.approx(0.01, rel=0.02)
        alpha = saliency(network, flux, 0.01, 44_000.0, "alpha", 4, 1)
        np.testing.assert_allclose(alpha, matrix[:, 2:5].mean(1).numpy(), rtol=1e-4, atol=1e-6)

    def test_a_network_that_is_the_best_estimator_agrees_with_it(self, simulator, bound, labels):
        best = explain(bound, labels, "teff", 100.0).physics
        matrix = torch.zeros(simulator.pixels.count, len(NAMES))
        matrix[:, 0] = torch.from_numpy(best.weight)
        found = explain(bound, labels, "teff", 100.0, Linear(matrix), realisations=2)
        assert found.agreement == pytest.approx(1, abs=1e-4)
        assert found.network.noise == pytest.approx(best.noise, rel=1e-4)
        assert found.network.response["teff"] == pytest.approx(best.response["teff"], abs=1e-3)
        opposite = explain(bound, labels, "teff", 100.0, Linear(-matrix), realisations=2)
        assert opposite.agreement == pytest.approx(-1, abs=1e-4)

    def test_a_label_that_it_does_not_have(self, bound, labels, simulator):
        found = explain(bound, labels, "ni", 100.0, Linear(torch.zeros(simulator.pixels.count, len(NAMES))))
        assert found.network is None
        assert found.record()["network"] is None
        assert np.isnan(strongest(found, 3)["network"]).all()


def test_a_median_that_is_no_mean(simulator, labels):
    """exp(a + noise) has the median exp(a), whatever the noise: slope exp(a)."""

    class Skewed(Linear):
        def sample(self, features, count, generator):
            return super().sample(features, count, generator).exp()

    matrix = torch.zeros(simulator.pixels.count, 1)
    matrix[7] = 1.0
    flux = torch.ones(simulator.pixels.count)
    found = saliency(Skewed(matrix, ("teff",)), flux, 1e-4, 44_000.0, "teff", 400, 1)
    assert found[7] == pytest.approx(np.e, rel=0.03)


def explanation(share, weight=None):
    """Of a spectrum of 2,000 pixels of 2 km/s with given shares."""
    wavelength = 5150 * np.exp(np.arange(2000) * 2 / 299_792.458)
    weight = np.sqrt(share) if weight is None else weight
    reading = LinearEstimator(weight, share / share.sum(), 1.0, {"teff": 1.0})
    star = {"teff": 5800.0, "vsini": 3.0, "vmac": 3.0}
    return Explanation("teff", star, 44_000.0, 100.0, wavelength, np.ones(2000), 5.0, reading, reading, 1.0)


def test_the_strongest_ranges_are_found_by_name_and_do_not_overlap():
    wavelength = explanation(np.ones(2000)).wavelength_aa
    share, weight = np.full(2000, 1e-6), np.ones(2000)
    for aa, height in ((5172.684, 5.0), (5169.033, 3.0), (5162.272, 1.0)):
        share[np.abs(wavelength - aa).argmin()] = height
    weight[np.abs(wavelength - 5169.033).argmin()] = -1
    found = explanation(share, weight)
    table = strongest(found, 3)
    assert [row.split(",")[0] for row in table["lines"]] == ["Mg I 5172.68", "Fe I 5168.90", "Fe I 5162.27"]
    assert "Fe II 5169.03" in table["lines"][1]
    assert list(table["brighter"]) == ["rises", "falls", "rises"]
    np.testing.assert_allclose(table["physics"], np.array([5, 3, 1]) / 9 * 100, rtol=1e-2)
    np.testing.assert_allclose(table["wavelength"], [5172.684, 5169.033, 5162.272], atol=0.03)
    assert ("Fe II", 5169.03) in marked_lines(found, 3)
    whole = strongest(explanation(np.ones(2000)), 10_000)
    assert whole["physics"].sum() <= 100 + 1e-6
    assert (np.diff(np.sort(whole["wavelength"])) > 0.1).all()


def test_lines_are_named():
    assert named_lines(5183.5, 5183.7) == [("Mg I", 5183.604)]
    assert named_lines(5182.4, 5182.6) == [("wing of Mg I", 5183.604)]
    assert named_lines(5200.7, 5200.9) == []
    everything = sorted(aa for lines in STRONG_LINES.values() for aa in lines)
    assert all(5049 <= aa <= 5351 or 5985 <= aa <= 6270 for aa in everything)
    assert named_lines(6162.1, 6162.3) == [("Ca I", 6162.173)]


def test_plot():
    found = explanation(np.arange(1.0, 2001))
    weights = {"physics": found.physics.weight, "network": -found.physics.weight}
    figure = plots.plot_explanation(
        found.wavelength_aa, found.flux, weights, "teff", lines=[("Mg I", 5172.68), ("Fe I", 5172.7)], rows=2
    )
    assert len(figure.axes) == 4
    texts = [text for axes in figure.axes for text in axes.texts]
    assert sorted(text.get_text() for text in texts) == ["Fe I", "Mg I"]
    assert texts[1].get_position()[0] - texts[0].get_position()[0] > 0.2
    strip = figure.axes[1].lines
    np.testing.assert_array_equal(strip[1].get_ydata(), -strip[2].get_ydata())


@pytest.fixture(scope="module")
def files(tmp_path_factory, simulator):
    """An emulator and a network of its pixels."""
    folder = tmp_path_factory.mktemp("explained")
    tiny_emulator().save(folder / "emulator.safetensors")
    pixels = simulator.pixels
    names = ("teff", "logg", "vsini")
    config = PosteriorConfig(
        pixels=pixels.count, labels=names, components=8, width=16, depth=1, bins=4, context=4, transforms=2, knots=4,
        hidden=(8,),
    )  # fmt: skip
    prior = LabelTransform(LabelSpace(names, (3500.0, 0.0, 0.0), (9750.0, 5.0, 200.0)), simulator.logg_edges)
    network = PosteriorNetwork(config, prior, 1)
    with torch.no_grad():
        network.flow.gaussian.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(3))
    header = {
        "pixels": asdict(pixels),
        "wavelength": [float(x) for x in pixels.wavelength_aa[[0, -1]]],
        "resolution": pixels.resolution,
        "training": {"emulator": str(folder / "emulator.safetensors"), "observations": {}},
        **prior.header(),
    }
    save(folder / "network.safetensors", network, header)
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["explain", *map(str, arguments)])
    return stop.value.code


def test_command(files, tmp_path, capsys):
    model = files / "network.safetensors"
    code = run("--label", "teff", "--label", "mg", "--model", model, "--realisations", 4, "--count", 5, "-o", tmp_path)
    assert code == 0
    printed = capsys.readouterr()
    assert "does not give mg: the physics alone is shown" in printed.err
    assert "cosine with the physics" in printed.out
    table = Table.read(tmp_path / "teff.ecsv")
    assert len(table) == 5
    assert table.meta["agreement"] is not None
    assert (tmp_path / "mg.png").stat().st_size > 1000
    assert (tmp_path / "teff.pdf").exists()
    assert run("--label", "teff", "--model", model, "--realisations", 4, "--json", "-R", 100_000) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["resolution"] == 50_000
    assert record["network"]["noise"] > 0
    assert set(record["physics"]["response"]) >= {"teff", "logg", "vmac"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "alpha", "--fix", "mg", "--fix", "ca", "--fix", "ti"], "label alpha is not among those"),
        (["--label", "colour"], "label colour is not among those that are free"),
        (["--label", "teff", "--logg", 9], "logg = 9"),
        (["--label", "teff", "--model", "starnet-spc"], "starnet-spc: gives point estimates"),
        (["--label", "teff", "--snr", -3], "snr = -3 is outside"),
    ],
)
def test_mistakes(files, arguments, message, capsys):
    model = [] if "--model" in arguments else ["--model", files / "network.safetensors"]
    assert run(*arguments, *model) == 2
    assert message in capsys.readouterr().err


def test_sigma_of_the_pixels(simulator):
    assert pixel_sigma(simulator, 100.0) == pytest.approx((2.3 / 2.0) ** 0.5 / 100, rel=1e-3)
