"""Networks as ONNX files: the same numbers as torch, what the files say of themselves, what is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from maury import __version__
from maury.errors import DomainError
from maury.files import sha256
from maury.labels import LABELS, LabelSpace, lowest_logg
from maury.networks import LabelTransform, PosteriorNetwork, load, pixel_wavelengths, predict, save
from maury.networks import exported as module
from maury.networks.architectures import PosteriorConfig
from maury.networks.store import find
from maury.pixelspectra import PixelSpectra
from verbs import run

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")

NAMES = ("teff", "logg", "mh", "vsini")
EDGES = tuple((teff, float(lowest_logg(teff)), 5.0) for teff in (3500.0, 6000.0, 6250.0, 9750.0))
PIXELS = 150
"""More than the attention embedding's patch of 64, and no multiple of the 4 bins."""


def answers(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def wild_network(path, embedding):
    """A file of a small network with weights far from the start."""
    config = PosteriorConfig(
        pixels=PIXELS, labels=NAMES, components=8, width=24, depth=1, bins=4, context=6, transforms=2, knots=4,
        hidden=(12,), embedding=embedding,
    )  # fmt: skip
    prior = LabelTransform(LabelSpace.of(NAMES), EDGES)
    network, generator = PosteriorNetwork(config, prior), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    pixels = {"grid": {}, "first": 0, "count": PIXELS, "resolution": 50_000.0}
    header = {"wavelength": [5100.0, 5103.0], "sampling": "log", "resolution": 50_000.0, "pixels": pixels}
    save(path, network, header | prior.header())
    return path


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "default.onnx"
    assert run("export", "default", "--onnx", path) == 0
    return path


@pytest.mark.parametrize("embedding", ["residual", "convolution", "attention"])
def test_it_gives_what_torch_gives(embedding, tmp_path):
    """Another number of spectra than in the check, one with half its pixels unseen, numbers of its own."""
    path = wild_network(tmp_path / "model.safetensors", embedding)
    done = module.export_onnx(path, tmp_path / "model.onnx")
    assert max(done.difference.values()) < module.TOLERANCE
    assert done.inputs["flux"] == ("batch", PIXELS)
    assert done.outputs == {"labels": ("batch", 4), "quantiles": ("batch", 4, 4), "embedding": ("batch", 24)}
    rng = np.random.default_rng(4)
    flux = rng.uniform(0.3, 1.1, (3, PIXELS)).astype(np.float32)
    sigma = rng.uniform(0.01, 0.1, (3, PIXELS)).astype(np.float32)
    mask, resolution = rng.random((3, PIXELS)) < 0.2, np.array([2e4, 4e4, 5e4], np.float32)
    mask[1, PIXELS // 2 :] = True
    flux[mask], sigma[mask] = np.nan, -1
    given = answers(tmp_path / "model.onnx", flux=flux, sigma=sigma, mask=mask, resolution=resolution)
    network, _ = load(path)
    features = network(PixelSpectra(flux=flux, sigma=sigma, mask=mask, resolution=resolution))
    quantiles = network.quantiles(features).numpy()
    ranges = np.subtract(network.transform.space.upper, network.transform.space.lower)
    assert given["embedding"] == pytest.approx(features.numpy(), abs=1e-4)
    assert given["quantiles"] / ranges == pytest.approx(quantiles / ranges, abs=1e-4)
    assert given["labels"] / ranges == pytest.approx(quantiles[:, 1] / ranges, abs=1e-4)
    assert (np.diff(given["quantiles"], axis=1) >= 0).all()


def test_the_founding_network(tmp_path, capsys):
    assert run("export", "starnet-spc", "--onnx", tmp_path / "starnet.onnx") == 0
    printed = capsys.readouterr()
    assert "(batch, 7447)" in printed.out
    assert "largest difference" in printed.out
    assert printed.err == ""
    network, header = load("starnet-spc")
    flux = np.random.default_rng(4).uniform(0.2, 1, (3, 7447)).astype(np.float32)
    given = answers(tmp_path / "starnet.onnx", flux=flux)
    expected = predict(network, header, flux)
    assert given["labels"] == pytest.approx(expected, rel=1e-4, abs=1e-3)
    weight, bias = network.output.weight.numpy(), network.output.bias.numpy()
    of_embedding = LabelSpace.from_header(header).denormalise(given["embedding"] @ weight.T + bias)
    assert of_embedding == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_the_file_says_what_it_is(packaged):
    model = onnx.load(packaged)
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    _, header = load("default")
    assert said["maury_version"] == __version__
    assert (said["model"], said["model_sha256"]) == ("default", sha256(find("default")))
    assert "not the median of samples" in said["point_estimate"]
    labels = json.loads(said["labels"])
    assert [label["name"] for label in labels] == header["labels"]["names"]
    assert [label["unit"] for label in labels] == [LABELS[label["name"]].unit for label in labels]
    wave = json.loads(said["wavelength"])
    assert (wave["sampling"], wave["medium"], wave["frame"]) == ("log", "air", "rest")
    grid = np.exp(np.linspace(np.log(wave["first_aa"]), np.log(wave["last_aa"]), wave["pixels"]))
    assert grid == pytest.approx(pixel_wavelengths(header), rel=1e-12)
    assert json.loads(said["quantile_levels"])[1] == 0.5
    assert set(json.loads(said["inputs"])) == {"flux", "sigma", "mask", "resolution"}


def test_nothing_of_this_machine_is_in_it(packaged):
    """Torch notes for every operation from which file it came."""
    assert str(module.__file__).encode() not in packaged.read_bytes()
    assert b"stack_trace" not in packaged.read_bytes()


@pytest.mark.parametrize(("pixels", "bins"), [(8650, 32), (64, 4), (10, 7)])
def test_means_are_torchs_adaptive_pooling(pixels, bins):
    values = torch.rand(3, 1, pixels, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module._Means(pixels, bins)(values), torch.nn.AdaptiveAvgPool1d(bins)(values))


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    """As if a part of the network had been exported wrongly: bins moved by some pixels."""
    path = wild_network(tmp_path / "model.safetensors", "residual")
    monkeypatch.setattr(module._Means, "forward", lambda self, values: values.roll(5, -1) @ self.matrix)
    with pytest.raises(DomainError, match=r"differs from torch by .*; at most 0.0001 is allowed"):
        module.export_onnx(path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_one_line(missing, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert run("export", "default", "--onnx", tmp_path / "default.onnx") == 2
    printed = capsys.readouterr().err
    assert "pip install 'maury[onnx]'" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "default.onnx").exists()


def test_an_unknown_network_is_one_line(tmp_path, capsys):
    assert run("export", "nothing", "--onnx", tmp_path / "nothing.onnx") == 2
    assert "not a packaged network" in capsys.readouterr().err
