"""Judging posteriors: calibration against exact and overconfident ones, the Cramer-Rao bound, the command."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury import plots
from maury.cli.app import main
from maury.emulator import NetworkPixels
from maury.errors import DomainError
from maury.evaluation.bound import bound, derivatives
from maury.evaluation.calibration import coverage, ranks, uniformity
from maury.evaluation.recovery import bound_report, calibration_report, recover
from maury.labels import LabelSpace
from maury.likelihood import simulator_for
from maury.networks import LabelTransform, PosteriorNetwork, save
from maury.networks.architectures import PosteriorConfig
from maury.simulation import Simulator
from stars import LinearStars

NAMES = ("teff", "mh")


class Exact:
    """The posterior of `LinearStars` in closed form, its width times ``width``."""

    def __init__(self, stars: LinearStars, width: float = 1.0) -> None:
        self.stars, self.width, self.transform = stars, width, stars.transform
        self.config = PosteriorConfig(pixels=64, labels=stars.labels)

    def __call__(self, inputs):
        return self.stars.posterior(inputs.flux)[0]

    def _factor(self):
        covariance = self.stars.posterior(torch.ones(1, 64))[1]
        return torch.linalg.cholesky(covariance) * self.width

    def sample(self, mean, count, generator):
        z = torch.randn(len(mean), count, mean.shape[1], generator=generator)
        return self.transform.constrained(mean[:, None] + z @ self._factor().T)

    def log_prob_unconstrained(self, mean, labels):
        normal = torch.distributions.MultivariateNormal(mean, scale_tril=self._factor())
        return normal.log_prob(self.transform.unconstrained(labels))


@pytest.fixture(scope="module")
def stars():
    return LinearStars(NAMES)


class TestCalibration:
    def test_ranks(self):
        samples = np.arange(9.0).reshape(1, 9, 1)
        assert ranks(samples, [[4.5]])[0, 0] == pytest.approx(0.55)
        assert ranks(samples, [[-1.0]])[0, 0] == pytest.approx(0.05)
        assert ranks(samples, [[99.0]])[0, 0] == pytest.approx(0.95)

    def test_coverage_and_uniformity_of_uniform_ranks(self):
        uniform = (np.arange(10_000) + 0.5) / 10_000
        assert coverage(uniform) == pytest.approx({"0.5": 0.5, "0.68": 0.68, "0.95": 0.95}, abs=1e-3)
        assert uniformity(uniform)["chi2"] == pytest.approx(0, abs=0.1)
        assert uniformity(uniform**1.2)["p"] < 1e-10

    def test_chi_square_has_the_size_of_its_degrees_for_chance(self):
        generator = np.random.default_rng(1)
        found = [uniformity(generator.random(2000))["chi2"] for _ in range(300)]
        assert np.mean(found) == pytest.approx(19, abs=1.2)

    def test_an_exact_posterior_passes(self, stars):
        recovered = recover(Exact(stars), stars, 2000, 199, 1)
        report = calibration_report(recovered, NAMES)
        assert report["n"] == 2000
        for label in report["labels"].values():
            for level, share in label["coverage"].items():
                assert share == pytest.approx(float(level), abs=0.03)
            assert label["sbc"]["p"] > 1e-3
            assert sum(label["sbc"]["counts"]) == 2000
        covariance = stars.posterior(torch.ones(1, 64))[1]
        ideal = 0.5 * float(torch.logdet(2 * torch.pi * torch.e * covariance))
        assert report["nll"] == pytest.approx(ideal, abs=0.08)
        cells = report["labels"]["teff"]["cells"]
        assert {tuple(cell["snr"]) for cell in cells} == {(5.0, 15.0)}
        assert sum(cell["n"] for cell in cells) == 2000
        assert len({tuple(cell["teff"]) for cell in cells}) == 5
        json.dumps(report, allow_nan=False)

    @pytest.mark.parametrize("width", [0.6, 1.6])
    def test_a_posterior_of_the_wrong_width_fails(self, stars, width):
        report = calibration_report(recover(Exact(stars, width), stars, 1000, 199, 1), NAMES)
        for label in report["labels"].values():
            assert (label["coverage"]["0.68"] - 0.68) * (width - 1) > 0.03
            assert label["sbc"]["p"] < 1e-6

    def test_seed(self, stars):
        first, same, other = (recover(Exact(stars), stars, 50, 20, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.rank, same.rank)
        assert (first.truth != other.truth).all()


@pytest.fixture(scope="module")
def simulator():
    return Simulator(tiny_emulator())


@pytest.fixture(scope="module")
def drawn(simulator):
    return simulator.batch(400, torch.Generator().manual_seed(3)).labels


class TestBound:
    def test_derivatives_are_those_of_autograd(self, simulator, drawn):
        emulator = tiny_emulator()
        labels = drawn[:3].clone()
        labels[:, 10] = torch.tensor([3.0, 20.0, 100.0])
        found = derivatives(simulator, labels, 42_000.0)
        sampler = emulator.sampler(simulator.pixels.wavelength_aa, 42_000.0)
        x = labels.clone().requires_grad_(True)
        flux = emulator.flux(x[:, :10], x[:, 10], torch.full((3,), 42_000.0), sampler, x[:, 11])
        flux = flux + simulator.haze.usual(x)[:, None] * (1 - flux)
        for seed in range(3):
            weight = torch.randn(flux.shape, generator=torch.Generator().manual_seed(seed))
            (expected,) = torch.autograd.grad(flux, x, weight, retain_graph=True)
            got = torch.einsum("nkp,np->nk", found, weight)
            noise = found.square().sum(-1).sqrt()
            assert ((got - expected).abs() < 0.03 * noise + 1e-3).all()
            assert (expected[:, :3].abs() > 0).all()

    def test_without_signal_it_is_the_prior_and_with_much_it_goes_with_the_noise(self, simulator, drawn):
        names = ("teff", "mh", "alpha")
        columns = [simulator.labels.index(name) for name in names]
        (deaf, loud, louder) = bound(simulator, drawn[:4], drawn, 42_000.0, [1e6, 1e-6, 1e-7], names)
        expected = drawn[:, columns].double().numpy().std(0, ddof=1)
        np.testing.assert_allclose(deaf, np.tile(expected, (4, 1)), rtol=0.02)
        np.testing.assert_allclose(loud[:, 0] / louder[:, 0], 10, rtol=0.6)
        assert (loud < deaf).all()

    def test_more_is_known_with_a_narrower_prior(self, simulator, drawn):
        sigma = [0.02]
        wide = bound(simulator, drawn[:3], drawn, 42_000.0, sigma, ("teff",))
        middle = drawn.mean(0)
        narrow = bound(simulator, drawn[:3], middle + 0.1 * (drawn - middle), 42_000.0, sigma, ("teff",))
        assert (narrow < wide).all()


SPACE = LabelSpace(("teff", "logg", "vsini"), (3500.0, 0.0, 0.0), (9750.0, 5.0, 200.0))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network that knows nothing, and the emulator of its pixels."""
    folder = tmp_path_factory.mktemp("recovered")
    emulator = tiny_emulator()
    emulator.save(folder / "emulator.safetensors")
    pixels = NetworkPixels.of(emulator)
    config = PosteriorConfig(
        pixels=pixels.count, labels=SPACE.names, components=8, width=16, depth=1, bins=4, context=4, transforms=2,
        knots=4, hidden=(8,),
    )  # fmt: skip
    prior = LabelTransform(SPACE, ((3500.0, 0.0, 5.0), (9750.0, 2.0, 5.0)))
    header = {
        "pixels": asdict(pixels),
        "wavelength": [float(x) for x in pixels.wavelength_aa[[0, -1]]],
        "emulator": "",
        "training": {"emulator": str(folder / "emulator.safetensors"), "observations": {}},
        **prior.header(),
    }
    save(folder / "network.safetensors", PosteriorNetwork(config, prior, 1), header)
    return folder


def test_command(files, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(files / "network.safetensors"), "--out", str(tmp_path), "--stars", "200"])
    assert stop.value.code == 0
    report = json.loads((tmp_path / "posterior.json").read_text())
    assert report["simulated"]["n"] == 200
    assert report["emulator_of_training"] is False
    rows = report["cramer_rao"]["labels"]["teff"]
    assert [row["snr"] for row in rows] == [20, 50, 100, 200]
    assert all(row["bound"] > 0 for row in rows)
    assert rows[-1]["bound"] < rows[0]["bound"]
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"coverage.png", "ranks.pdf", "bound.png"}
    assert "200 simulated stars: negative log density" in capsys.readouterr().out


def test_a_network_that_knows_nothing_is_far_from_the_bound(simulator):
    prior = LabelTransform(SPACE, simulator.logg_edges)
    config = PosteriorConfig(
        pixels=simulator.pixels.count, labels=SPACE.names, components=8, width=16, depth=1, bins=4, context=4
    )
    rows = bound_report(PosteriorNetwork(config, prior, 1).eval(), simulator, 30, 50, 1)["labels"]["vsini"]
    assert rows[-1]["scatter_ratio"] > 3
    assert rows[-1]["error_ratio"] > 3


def test_another_emulators_pixels_are_refused(files):
    header = {
        "training": {}, "pixels": {"count": 100}, "wavelength": [5050.0, 5350.0],
    }  # fmt: skip
    with pytest.raises(DomainError, match=r"the network takes 100 of .* name its emulator"):
        simulator_for(header, tiny_emulator())


class TestPlots:
    def test_coverage_of_calibrated_ranks_is_the_diagonal(self):
        figure = plots.plot_coverage({"teff": (np.arange(1000) + 0.5) / 1000, "mh": np.full(1000, 0.5)})
        ideal, calibrated, narrow = figure.axes[0].lines
        np.testing.assert_allclose(calibrated.get_ydata(), ideal.get_ydata(), atol=0.002)
        assert narrow.get_ydata()[50] == 1

    def test_ranks_hold_the_counts_and_a_band_about_their_mean(self):
        counts = {name: [90, 110, 100, 100] for name in ("teff", "logg", "mh", "vsini")}
        figure = plots.plot_ranks(counts)
        assert len([axes for axes in figure.axes if axes.get_visible()]) == 4
        axes = figure.axes[0]
        band, stairs = axes.patches
        assert stairs.get_data().values.tolist() == counts["teff"]
        low, high = band.get_y(), band.get_y() + band.get_height()
        assert low < 90 < 110 < high < 130

    def test_bound(self):
        rows = [{"snr": 20.0, "scatter_ratio": 1.2}, {"snr": 200.0, "scatter_ratio": 3.0}]
        figure = plots.plot_bound({"teff": rows})
        assert figure.axes[0].lines[1].get_ydata().tolist() == [1.2, 3.0]
