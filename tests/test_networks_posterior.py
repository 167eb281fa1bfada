"""The network with a posterior: prior, flow, embeddings, quantiles, files."""

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicRQSTransform

from maury import checkpoints
from maury.errors import ConfigError, DomainError, FormatError
from maury.labels import LabelSpace, lowest_logg
from maury.networks import LabelTransform, PosteriorNetwork, is_posterior, layer_table, load, save
from maury.networks.architectures import PosteriorConfig
from maury.networks.flow import PosteriorFlow
from maury.pixelspectra import PixelSpectra
from maury.training.recipes import load_training, read_preset

NAMES = ("teff", "logg", "mh", "vsini")
NODES = (3500.0, 6000.0, 6250.0, 7500.0, 7750.0, 8250.0, 8500.0, 9000.0, 9250.0, 9750.0)
EDGES = tuple((teff, float(lowest_logg(teff)), 5.0) for teff in NODES)
PRIOR = LabelTransform(LabelSpace.of(NAMES), EDGES)
TINY = PosteriorConfig(
    pixels=64, labels=NAMES, components=8, width=24, depth=1, bins=4, context=6, transforms=2, knots=4, hidden=(12,)
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(config: PosteriorConfig = TINY, seed: int = 1, wild: float = 0.0) -> PosteriorNetwork:
    """A network as it starts, or with ``wild`` weights everywhere, so that nothing is standard normal."""
    prior = LabelTransform(LabelSpace.of(config.labels), EDGES if {"teff", "logg"} <= set(config.labels) else ())
    made = PosteriorNetwork(config, prior, seed)
    if wild:
        generator = seeded(seed)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(wild * torch.randn(parameter.shape, generator=generator))
    return made.eval().requires_grad_(False)


def spectra(count: int, pixels: int = 64, seed: int = 2) -> PixelSpectra:
    generator = seeded(seed)
    flux = 1 - 0.3 * torch.rand(count, pixels, generator=generator)
    sigma = 0.01 + 0.02 * torch.rand(count, pixels, generator=generator)
    mask = torch.rand(count, pixels, generator=generator) <= 0.1
    resolution = 20_000 + 30_000 * torch.rand(count, generator=generator)
    return PixelSpectra(flux=flux, sigma=sigma, mask=mask, resolution=resolution)


class TestPrior:
    def test_the_box_and_back(self):
        unit = torch.rand(500, 4, generator=seeded(1), dtype=torch.float64)
        labels = PRIOR.labels(unit)
        torch.testing.assert_close(PRIOR.unit(labels), unit)
        torch.testing.assert_close(PRIOR.constrained(PRIOR.unconstrained(labels)), labels)
        assert (labels[:, 1] >= torch.from_numpy(lowest_logg(labels[:, 0].numpy())) - 1e-9).all()

    def test_the_lowest_logg_follows_teff(self):
        labels = PRIOR.labels(torch.tensor([[1.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5]]))
        torch.testing.assert_close(labels[:, 1], torch.tensor([2.0, 0.0]))

    def test_any_real_number_is_inside(self):
        labels = PRIOR.constrained(torch.tensor([[9.0, -9.0, 40.0, -40.0]]))
        assert ((labels >= torch.tensor(PRIOR.space.lower)) & (labels <= torch.tensor(PRIOR.space.upper))).all()

    def test_slope_is_the_jacobian(self):
        labels = PRIOR.labels(0.05 + 0.9 * torch.rand(6, 4, generator=seeded(4), dtype=torch.float64))
        for row in labels:
            matrix = torch.autograd.functional.jacobian(lambda x: torch.special.ndtri(PRIOR.unit(x)), row)
            torch.testing.assert_close(PRIOR.log_abs_det_jacobian(row), torch.linalg.slogdet(matrix).logabsdet)

    def test_a_label_at_the_end_stays_finite(self):
        ends = torch.tensor([[3500.0, 0.0, -3.0, 0.0], [9750.0, 5.0, 0.5, 200.0]])
        assert torch.isfinite(PRIOR.unconstrained(ends)).all()
        assert torch.isfinite(PRIOR.log_abs_det_jacobian(ends)).all()

    def test_header(self):
        assert LabelTransform.from_header(PRIOR.header()) == PRIOR


class TestFlow:
    def flow(self, labels=3):
        flow = PosteriorFlow(labels, 5, 4, 4, 6, (16,), 3)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=seeded(7)))
        return flow.requires_grad_(False)

    def test_it_starts_near_a_standard_normal(self):
        flow = PosteriorFlow(3, 5, 4, 4, 6, (16,), 3)
        real, features = torch.randn(50, 3, generator=seeded(1)), torch.randn(50, 5, generator=seeded(2))
        normal = -0.5 * real.square().sum(1) - 1.5 * math.log(2 * math.pi)
        torch.testing.assert_close(flow.log_prob(features, real), normal, atol=1.0, rtol=0)

    @pytest.mark.parametrize("labels", [1, 2, 3])
    def test_density_is_that_of_the_samples(self, labels):
        """log p(y) of a sample = log N(z) - log |dy/dz| with the Jacobian from autograd."""
        flow, features = self.flow(labels).double(), torch.randn(1, 5, generator=seeded(2)).double()
        z = torch.randn(labels, generator=seeded(3)).double()
        mean, factor = flow.mean_and_factor(features)
        splines = flow.splines(flow.context(features))

        def draw(z):
            return (mean + splines.inv(z[None]) @ factor[0].T)[0]

        matrix = torch.autograd.functional.jacobian(draw, z)
        expected = -0.5 * z.square().sum() - 0.5 * labels * math.log(2 * math.pi) - torch.linalg.slogdet(matrix)[1]
        torch.testing.assert_close(flow.log_prob(features, draw(z)[None])[0], expected, atol=1e-6, rtol=1e-6)

    @pytest.mark.parametrize("labels", [1, 3])
    def test_it_is_zukos_flow(self, labels):
        """Couplings and splines that broadcast by themselves give what zuko's give, to the bit."""
        flow, features = self.flow(labels), torch.randn(4, 5, generator=seeded(2))
        context, z = flow.context(features)[:, None], 2 * torch.randn(4, 50, labels, generator=seeded(3))
        for own in flow.splines.transforms:
            univariate = partial(MonotonicRQSTransform, slope=1e-3)
            options = {"shapes": [(6,), (6,), (5,)], "hidden_features": (16,), "activation": torch.nn.SiLU}
            mask = {"mask": own.mask} if labels > 1 else {}
            zukos = GeneralCouplingTransform(labels, 4, univariate=univariate, **mask, **options)
            zukos.load_state_dict(own.state_dict())
            assert torch.equal(own(context).inv(z), zukos(context).inv(z))
            here, there = (f(flow.context(features)).call_and_ladj(z[:, 0]) for f in (own, zukos))
            assert torch.equal(here[0], there[0])
            assert torch.equal(here[1], there[1])

    def test_density_integrates_to_one_and_has_the_samples_moments(self):
        flow, features = self.flow(2), torch.randn(1, 5, generator=seeded(2))
        samples = flow.sample(features, 200_000, seeded(5))[0]
        centre, width = samples.mean(0), samples.std(0)
        axes = [torch.linspace(-9, 9, 801) * w + c for c, w in zip(centre, width, strict=True)]
        points = torch.cartesian_prod(*axes)
        density = flow.log_prob(features.expand(len(points), -1), points).exp().double()
        cell = float((axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]))
        assert density.sum() * cell == pytest.approx(1, abs=0.01)
        mean = (density[:, None] * points).sum(0) * cell
        torch.testing.assert_close(mean, centre.double(), atol=0.02 * float(width.max()), rtol=0)
        inside = ((points - centre).abs() < 0.5 * width).all(1)
        share = ((samples - centre).abs() < 0.5 * width).all(1).double().mean()
        assert density[inside].sum() * cell == pytest.approx(float(share), abs=0.01)

    def test_importing_it_changes_nothing_in_torch(self):
        code = (
            "import torch; D = torch.distributions.Distribution; before = D._validate_args; "
            "import maury.networks; assert D._validate_args is before is True"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestNetwork:
    def test_density_per_label_integrates_to_one_inside_the_prior(self):
        made = network(TINY.model_copy(update={"labels": ("mh", "vsini")}), wild=0.05)
        mh, root = torch.linspace(-3.0, 0.5, 602), torch.linspace(0, math.sqrt(200), 602)
        mh, root = ((x[1:] + x[:-1]) / 2 for x in (mh, root))
        points = torch.cartesian_prod(mh, root**2)
        features = made(spectra(1)).expand(len(points), -1)
        slope = 2 * points[:, 1].sqrt()
        cell = float((mh[1] - mh[0]) * (root[1] - root[0]))
        total = (made.log_prob(features, points).exp() * slope).double().sum() * cell
        assert total == pytest.approx(1, abs=0.01)

    def test_outside_the_prior_is_nothing(self):
        made = network(wild=0.2)
        labels = torch.tensor([[9700.0, 1.0, 0.0, 5.0], [9700.0, 3.0, 0.0, 5.0], [6000.0, 4.0, 0.0, -1.0]])
        density = made.log_prob(made(spectra(1)).expand(3, -1), labels)
        assert torch.isneginf(density).tolist() == [True, False, True]

    def test_samples_stay_inside_whatever_the_weights(self):
        made = network(wild=3.0)
        samples = made.sample(made(spectra(20)), 500, seeded(1))
        unit = PRIOR.unit(samples)
        assert ((unit > -1e-5) & (unit < 1 + 1e-5)).all()
        assert torch.isfinite(samples).all()

    def test_quantiles_increase_and_stay_inside(self):
        made = network(wild=1.0)
        quantiles = made.quantiles(made(spectra(20)))
        assert (quantiles.diff(dim=1) >= 0).all()
        assert ((quantiles >= torch.tensor(PRIOR.space.lower)) & (quantiles <= torch.tensor(PRIOR.space.upper))).all()

    def test_pinball_loss_finds_quantiles(self):
        made = network(TINY.model_copy(update={"labels": ("mh",)}))
        made.requires_grad_(True)
        labels = -2.5 + 3 * torch.rand(4000, 1, generator=seeded(3)) ** 2
        features = torch.zeros(4000, TINY.width)
        optimizer = torch.optim.Adam(made.points.parameters(), 0.02)
        for _ in range(200):
            optimizer.zero_grad()
            made.quantile_loss(features, labels).backward()
            optimizer.step()
        found = made.quantiles(features[:1])[0, :, 0]
        expected = labels[:, 0].quantile(torch.tensor([0.1587, 0.5, 0.8413, 0.95]))
        torch.testing.assert_close(found.detach(), expected, atol=0.06, rtol=0)

    def test_what_is_not_good_is_not_seen(self):
        made, given = network(wild=0.3), spectra(3)
        other = torch.where(given.good, given.flux, 77.0)
        noise = torch.where(given.good, given.sigma, 123.0)
        torch.testing.assert_close(made(given), made(given.with_(flux=other, sigma=noise)))
        assert not torch.allclose(made(given), made(given.with_(sigma=2 * given.sigma)))
        assert not torch.allclose(made(given), made(given.with_(resolution=given.resolution / 2)))

    def test_a_spectrum_with_a_part_unseen(self):
        given = spectra(2)
        given.mask[:, :40] = True
        assert torch.isfinite(network(wild=0.3)(given)).all()

    @pytest.mark.parametrize("embedding", ["residual", "convolution", "attention"])
    def test_every_embedding_learns_from_every_pixel(self, embedding):
        config = TINY.model_copy(update={"embedding": embedding, "pixels": 500})
        made = network(config, wild=0.1)
        given = spectra(2, 500)
        flux = given.flux.clone().requires_grad_(True)
        made(given.with_(flux=flux)).square().sum().backward()
        assert ((flux.grad != 0) == given.good).float().mean() > 0.97
        assert sum(layer.weights for layer in layer_table(config)) == sum(p.numel() for p in made.parameters())

    def test_seeds(self):
        state = torch.random.get_rng_state()
        first, same, other = (network(seed=seed) for seed in (1, 1, 2))
        assert torch.equal(torch.random.get_rng_state(), state)
        given = spectra(2)
        assert torch.equal(first(given), same(given))
        assert not torch.equal(first(given), other(given))
        draws = [first.sample(first(given), 5, seeded(s)) for s in (1, 1, 2)]
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])

    def test_a_prior_of_other_labels(self):
        with pytest.raises(DomainError, match=r"teff, mh, differ from labels of the network, teff, logg"):
            PosteriorNetwork(TINY, LabelTransform(LabelSpace.of(["teff", "mh"])))


HEADER = {"preset": "tiny", "pixels": {"grid": {"start_aa": 5100.0, "step_kms": 2.0, "size": 100}}, **PRIOR.header()}


class TestFiles:
    def test_half_precision_keeps_the_posterior(self, tmp_path):
        made, given = network(wild=0.1), spectra(8)
        save(tmp_path / "n.safetensors", made, HEADER, torch.float16)
        loaded, header = load(tmp_path / "n.safetensors")
        assert is_posterior(header)
        assert loaded.transform == PRIOR
        labels = PRIOR.labels(torch.rand(8, 4, generator=seeded(1)))
        expected, got = (n.log_prob_unconstrained(n(given), labels) for n in (made, loaded))
        torch.testing.assert_close(got, expected, atol=0.05, rtol=0.01)
        assert not torch.equal(got, expected)

    def test_a_header_without_prior(self, tmp_path):
        header = {key: value for key, value in HEADER.items() if key != "prior"}
        save(tmp_path / "n.safetensors", network(), header)
        with pytest.raises(FormatError, match=r"n\.safetensors: its header lacks prior"):
            load(tmp_path / "n.safetensors")

    def test_weights_of_other_settings(self, tmp_path):
        path = tmp_path / "n.safetensors"
        settings = TINY.model_copy(update={"width": 25}).model_dump(mode="json")
        checkpoints.save(path, "network", network().state_dict(), {**HEADER, "network": settings})
        with pytest.raises(FormatError, match=r"weights do not fit its settings"):
            load(path)

    def test_preset(self):
        config = read_preset("default")
        assert config.kind == "posterior"
        weights = sum(layer.weights for layer in layer_table(config.network))
        assert 2 * weights < 20e6

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('kind = "posterior"\npatience = 3\n', "unknown setting patience; allowed: epochs, .*preset, network"),
            ('kind = "other"\n', r"kind = 'other': Input should be 'posterior'"),
            ('kind = "posterior"\n[network]\nembedding = "none"\n', r"network.embedding = 'none'"),
            ('kind = "posterior"\n[network]\nlabels = ["teff", "teff"]\n', "must be distinct names"),
            ('kind = "posterior"\ncomponents_from = 100\n', "components_from"),
        ],
    )
    def test_wrong_settings(self, tmp_path, text, message):
        path = tmp_path / "c.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_training(path)


def test_bins_hold_the_mean_of_what_is_good():
    made = network()
    given = spectra(1).with_(sigma=torch.full((1, 64), 0.01))
    given.mask[:, :16] = True
    side = made._side(given)[0]
    np.testing.assert_allclose(side[:4].numpy(), [-1.5, 0.5, 0.5, 0.5], atol=1e-5)
    assert side[4] == pytest.approx(-0.95)


def test_constants_of_a_transform_serve_any_type_and_gradients():
    """Made first in double precision and inference mode, as in sampling; then single precision and gradients."""
    edges = ((3500.0, 0.0, 5.0), (9750.0, 2.0, 5.0))
    space = LabelSpace(("teff", "logg", "vsini"), (3500.0, 0.0, 0.0), (9750.0, 5.0, 200.0))
    used, y = LabelTransform(space, edges), torch.tensor([[0.3, -0.4, 0.2]])
    with torch.inference_mode():
        double = used.constrained(y.double())
    single = used.constrained(y.clone().requires_grad_(True))
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), double, rtol=1e-5)
    single.sum().backward()
    assert torch.equal(single, LabelTransform(space, edges).constrained(y))
