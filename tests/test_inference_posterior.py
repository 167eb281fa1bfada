"""Results with a posterior: intervals, limits, flags, tables, samples, many spectra at once."""

import json
from dataclasses import asdict

import astropy.units as u
import h5py
import numpy as np
import pytest
import torch
from astropy.table import QTable

from fakes import tiny_emulator
from maury.emulator import NetworkPixels
from maury.errors import ConfigError, DomainError, OutputError
from maury.inference import Posterior, predict, predict_batch, write_samples, write_table
from maury.inference.posterior import edges, is_limit, label_set
from maury.labels import FURTHER_ELEMENTS, LabelSpace
from maury.networks import LabelTransform, PosteriorNetwork, save
from maury.networks.architectures import PosteriorConfig
from maury.pixelspectra import PixelSpectra
from maury.readers import read
from maury.spectra import Spectrum
from verbs import run

NAMES = ("teff", "logg", "mh", "vsini", "vmic", "alpha")
PIXELS = NetworkPixels.of(tiny_emulator())
SPACE = LabelSpace(NAMES, (3500.0, 0.0, -2.5, 0.0, 0.5, -0.3), (9750.0, 5.0, 0.5, 200.0, 4.0, 0.7))
PRIOR = LabelTransform(SPACE, ((3500.0, 0.0, 5.0), (9750.0, 2.0, 5.0)))
CONFIG = PosteriorConfig(
    pixels=PIXELS.count, components=8, width=16, depth=1, bins=4, context=4, transforms=2, knots=4, hidden=(8,)
)


def model(path, centre, width=0.05):
    """A network that says nearly the same of every star: a normal about labels, so wide in real coordinates."""
    network = PosteriorNetwork(CONFIG, PRIOR, 1)
    real = PRIOR.unconstrained(torch.tensor([centre]))[0]
    with torch.no_grad():
        network.flow.gaussian.weight.normal_(0, 1e-3, generator=torch.Generator().manual_seed(3))
        network.flow.gaussian.bias[:6], network.flow.gaussian.bias[6:12] = real, torch.tensor(width).log()
        network.points[2].bias.zero_()
        network.points[2].bias.unflatten(0, (6, 4))[:, 0] = LabelTransform(SPACE).unconstrained(torch.tensor([centre]))[
            0
        ]
    wavelength = PIXELS.wavelength_aa
    header = {
        "preset": "tiny",
        "pixels": asdict(PIXELS),
        "wavelength": [float(wavelength[0]), float(wavelength[-1])],
        "sampling": "log",
        "resolution": PIXELS.resolution,
        "typical_errors": dict.fromkeys(NAMES, 1.0),
        **PRIOR.header(),
    }
    save(path, network, header)
    return str(path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return model(tmp_path_factory.mktemp("m") / "usual.safetensors", [5800.0, 4.3, -0.5, 30.0, 1.5, 0.1])


@pytest.fixture(scope="module")
def star():
    wavelength = np.exp(np.arange(np.log(5048), np.log(5352), 1e-5))
    flux = 1 + 0.01 * np.random.default_rng(1).standard_normal(wavelength.size)
    return Spectrum(
        wavelength,
        flux,
        sigma=np.full(flux.shape, 0.01),
        frame="rest",
        normalised=True,
        resolution=45_000.0,
        provenance={"file": "star"},
    )


def test_a_result_is_what_its_samples_say(usual, star):
    result = predict(star, usual, samples=3000)
    assert result.posterior.samples.shape == (3000, 6)
    np.testing.assert_allclose(list(result.values.values()), np.median(result.posterior.samples, axis=0))
    low, high = np.quantile(result.posterior.samples[:, 0], [0.1587, 0.8413])
    record = result.record()
    assert (record["teff_lo"], record["teff_hi"]) == pytest.approx((low, high), abs=1e-4)
    assert record["teff_err"] == pytest.approx((high - low) / 2, abs=1e-4)
    assert {f"{name}{end}" for name in NAMES for end in ("", "_err", "_lo", "_hi")} <= set(record)
    assert record["status"] == "ok"
    assert record["vsini_upper"] is None
    teff = result.summary["teff"]
    assert teff.to_value(u.kK) == pytest.approx(5.8, abs=0.05)
    assert teff.error.to_value(u.K) == pytest.approx(record["teff_err"], abs=1e-3)
    assert str(teff) == f"{teff.value:.0f} ± {teff.error.value:.0f} K" or "." in str(teff)
    assert (2 * teff).error is None
    assert result.summary["logg"].error.unit == u.dex
    assert result.posterior.covariance[0, 0] == pytest.approx(result.posterior.samples[:, 0].var(ddof=1))


def test_the_seed_decides(usual, star):
    first, same, other = (predict(star, usual, samples=100, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.posterior.samples, same.posterior.samples)
    assert (first.posterior.samples != other.posterior.samples).all()


def test_slow_rotation_is_an_upper_limit(tmp_path, star):
    slow = model(tmp_path / "slow.safetensors", [5800.0, 4.3, -0.5, 1.0, 1.5, 0.1], width=0.5)
    result = predict(star, slow)
    assert result.flags == ("vsini_upper_limit",)
    limit = np.quantile(result.posterior.samples[:, 3], 0.95)
    assert result.record()["vsini_upper"] == pytest.approx(limit, abs=1e-4)
    batch = predict_batch(PixelSpectra(**_inputs(3)), slow, samples=2000)
    np.testing.assert_allclose(batch.vsini_upper, limit, rtol=0.1)


@pytest.mark.parametrize(
    ("low", "median", "expected"),
    [(0.32, 1.0, True), (3.2, 10.0, False), (0.8, 1.0, False), (4.0, 5.0, False)],
)
def test_what_is_a_limit_at_r_50000(low, median, expected):
    assert bool(is_limit(low, median, 50_000.0)) is expected


@pytest.mark.parametrize(("name", "value"), [("teff", 9745.0), ("mh", 0.499), ("alpha", -0.299)])
def test_a_posterior_at_the_priors_edge_is_flagged(tmp_path, star, name, value):
    centre = [5800.0, 4.3, -0.5, 30.0, 1.5, 0.1]
    centre[NAMES.index(name)] = value
    result = predict(star, model(tmp_path / "edge.safetensors", centre))
    assert f"edge_{name}" in result.flags
    assert result.record()["status"] == "flagged"
    assert result.posterior.samples[:, NAMES.index(name)].max() <= SPACE.upper[NAMES.index(name)]


def test_a_flat_posterior_is_not_at_the_edge():
    flat = PRIOR.labels(torch.rand(4000, 6, generator=torch.Generator().manual_seed(1)))
    assert edges(PRIOR, flat) == ()


def test_half_of_the_window(usual, star):
    half = star.with_(mask=star.wavelength_aa > 5200)
    result = predict(half, usual, samples=50)
    assert "short_coverage" in result.flags
    assert result.spectrum.mask[-1]
    with pytest.raises(DomainError, match=r"star: covers .* at least 60 Å"):
        predict(star.with_(mask=star.wavelength_aa > 5080), usual)
    with pytest.raises(DomainError, match=r"star: its resolution is not in the file; .* R = lambda"):
        predict(star.with_(resolution=None), usual)


def test_a_spectrum_without_noise_gets_it_from_the_preparation(tmp_path, usual):
    """Normalised and at rest: its velocity is not looked for again."""
    path = tmp_path / "star.ecsv"
    assert run("emulator", "star", "--teff", 5800, "--snr", 100, "-o", path) == 0
    observation = read(path, window_aa=None)
    silent = observation.single().with_(sigma=None)
    assert abs(predict(silent, usual, samples=50).preparation.velocity_kms) < 0.01
    assert predict(observation, usual, samples=50).preparation is None


def _inputs(count):
    generator = np.random.default_rng(4)
    flux = 1 + 0.01 * generator.standard_normal((count, PIXELS.count))
    noise, mask = np.full(flux.shape, 0.01), np.zeros(flux.shape, bool)
    return {"flux": flux, "sigma": noise, "mask": mask, "resolution": np.full(count, 42_000.0)}


def test_many_at_once(usual):
    done = []
    fast = predict_batch(PixelSpectra(**_inputs(300)), usual, advance=done.append)
    exact = predict_batch(PixelSpectra(**_inputs(300)), usual, samples=400)
    assert sum(done) == 300
    assert fast.samples is None
    assert exact.samples.shape == (300, 400, 6)
    np.testing.assert_allclose(exact.median, np.median(exact.samples, axis=1), rtol=1e-2, atol=1e-3)
    assert ((fast.lower < fast.median) & (fast.median < fast.upper)).all()
    table = fast.table()
    assert table["teff_err"].unit == u.K
    assert np.isnan(table["vsini_upper"].value).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: {k: v if v.ndim == 1 else v[:, 1:] for k, v in x.items()}, r"the network takes \(n, "),
        (lambda x: x | {"resolution": x["resolution"][:1]}, r"resolution: shape must be \(2,\)"),
        (
            lambda x: x | {"flux": np.where(np.arange(PIXELS.count) == 5, np.nan, x["flux"])},
            "spectrum 1: flux not finite",
        ),
        (lambda x: x | {"sigma": 0 * x["sigma"]}, "sigma not positive"),
        (lambda x: x | {"resolution": -x["resolution"]}, "resolution not positive"),
        (lambda x: {k: v[:0] for k, v in x.items()}, "n at least 1"),
    ],
)
def test_bad_arrays(usual, spoil, message):
    with pytest.raises(DomainError, match=message):
        predict_batch(PixelSpectra(**spoil(_inputs(2))), usual)


def test_nan_where_masked_is_welcome(usual):
    arrays = _inputs(2)
    arrays["mask"][:, 100:200] = True
    whole = predict_batch(PixelSpectra(**arrays), usual)
    arrays["flux"][:, 100:200], arrays["sigma"][:, 100:200] = np.nan, 0.0
    np.testing.assert_array_equal(predict_batch(PixelSpectra(**arrays), usual).median, whole.median)


def test_networks_without_posterior(star, tmp_path):
    with pytest.raises(DomainError, match="starnet-spc: gives point estimates"):
        predict_batch(PixelSpectra(**_inputs(2)), "starnet-spc")
    result = predict(star, "starnet-spc")
    assert result.samples is None
    assert result.summary["teff"].error is None
    with pytest.raises(OutputError, match="starnet-spc: this network gives no samples"):
        write_samples([result], tmp_path / "s.h5")


def test_tables_and_samples(usual, star, tmp_path):
    results = [predict(star, usual, samples=60), predict(star, usual, samples=60, seed=2)]
    write_table(results, tmp_path / "t.ecsv")
    table = QTable.read(tmp_path / "t.ecsv")
    assert table["teff_err"].unit == u.K
    assert table["mh"][0].value == pytest.approx(results[0].values["mh"])
    assert (
        table["mh_err"].info.description == "half the width of the central 68 % of the " + table["mh"].info.description
    )
    write_samples(results, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5") as file:
        np.testing.assert_allclose(file["samples"][1], results[1].posterior.samples, rtol=1e-6)
        assert list(file["samples"].attrs["labels"]) == list(NAMES)
        assert [name.decode() for name in file["files"]] == ["star", "star"]


def test_command(usual, tmp_path, capsys):
    path = tmp_path / "star.ecsv"
    assert run("emulator", "star", "--teff", 5800, "--snr", 100, "-o", path) == 0
    capsys.readouterr()
    arguments = ("predict", path, "--model", usual, "--samples", 200, "--samples-out", tmp_path / "s.h5")
    assert run(*arguments, "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["teff_lo"] < record["teff"] < record["teff_hi"]
    assert run(*arguments, "--plot", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "68 % of the posterior" in printed
    assert (tmp_path / "star.png").exists()
    assert (tmp_path / "s.h5").exists()


def test_a_posterior_of_one_label_without_rotation():
    samples = np.linspace(0, 1, 101)[:, None]
    none = np.array([np.nan])
    assert Posterior(("mh",), samples, 42_000.0, (), none, none).upper_limits == {}


@pytest.mark.parametrize(
    ("text", "elements"),
    [("default", ()), ("abundances:mg,y", ("mg", "y")), ("abundances: Y_fe , mg,y", ("y", "mg"))],
)
def test_sets_of_labels(text, elements):
    assert label_set(text) == ("teff", "logg", "mh", "vsini", "vmic", "alpha", *elements)
    assert label_set("abundances")[-7:] == FURTHER_ELEMENTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abundances:", "names no element; there are c, mg, ca"),
        ("abundances:mg,zr", "no element zr; there are c, mg, ca"),
        ("alpha:mg", "no set of labels 'alpha:mg'; there are default, alpha, abundances and abundances:mg,nd"),
        ("all", "no set of labels 'all'"),
    ],
)
def test_sets_of_labels_that_are_none(text, message):
    with pytest.raises(ConfigError, match=message):
        label_set(text)
