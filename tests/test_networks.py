"""The founding network: against the naive convolutions, its layer table, its files, its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from typer.testing import CliRunner

from maury import checkpoints
from maury.cli.networks import app
from maury.errors import ConfigError, DomainError, FormatError, SchemaError
from maury.networks import StarNet, layer_table, load, packaged_networks, predict, save
from maury.networks.architectures import StarNetConfig
from maury.networks.blocked import join, joined_blocks, toeplitz
from maury.training.recipes import preset_names, read_preset

SMALL = StarNetConfig(pixels=100, dense=(8, 6))
HEADER: dict[str, Any] = {
    "labels": {
        "names": ["teff", "logg", "mh", "vsini"],
        "lower": [3500.0, 0.0, -2.5, 0.0],
        "upper": [9750.0, 5.0, 0.5, 200.0],
    },
    "flux": {"mean": 0.9, "std": 0.1},
    "wavelength": [5050.0, 5350.0],
    "resolution": 44_000.0,
}


def random_network(config: StarNetConfig, seed: int = 1) -> StarNet:
    """A network whose biases differ from zero."""
    network = StarNet(config, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return network


def naive(network: StarNet, flux: Tensor) -> Tensor:
    """The same layers as torch has them, padded as Keras pads."""
    width, pool = network.config.kernel, network.config.pool
    pad = ((width - 1) // 2, width // 2)
    maps = network.conv1(functional.pad(flux[:, None], pad)).relu()
    maps = network.conv2(functional.pad(maps, pad)).relu()
    maps = nn.MaxPool1d(pool)(maps).transpose(1, 2).flatten(1)
    return network.output(network.dense2(network.dense1(maps).relu()).relu())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pixels": 7447},
        {"pixels": 32},
        {"pixels": 33, "kernel": 1},
        {"pixels": 61, "kernel": 7, "filters": (3, 5), "pool": 3},
        {"pixels": 64, "kernel": 50, "pool": 1, "labels": ("teff",)},
        {"pixels": 70, "pool": 32},
    ],
)
def test_blocks_equal_the_naive_convolutions(changes: dict[str, Any]) -> None:
    network = random_network(StarNetConfig.model_validate(SMALL.model_dump() | changes))
    generator = torch.Generator().manual_seed(2)
    flux = torch.randn(3, network.config.pixels, generator=generator)
    flux[1, ::2] = flux[1, 1::2].mean()  # equal neighbours: ties in the pooling
    target = torch.rand(3, len(network.config.labels), generator=generator)
    blocked, reference = network(flux), naive(network, flux)
    torch.testing.assert_close(blocked, reference, rtol=1e-5, atol=1e-6)
    ours, theirs = (
        torch.autograd.grad(functional.mse_loss(y, target), list(network.parameters())) for y in (blocked, reference)
    )
    for gradient, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_gradients_reach_the_spectrum() -> None:
    network = random_network(SMALL).double()
    flux = torch.randn(2, 100, dtype=torch.float64, requires_grad=True)
    ours = torch.autograd.grad(network(flux).square().sum(), flux)[0]
    theirs = torch.autograd.grad(naive(network, flux).square().sum(), flux)[0]
    torch.testing.assert_close(ours, theirs)


def test_bfloat16_is_as_close_as_its_rounding() -> None:
    network = random_network(SMALL)
    flux = torch.randn(16, 100, generator=torch.Generator().manual_seed(3))
    exact = network(flux)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(flux)
    assert rounded.dtype == torch.bfloat16
    error = (rounded.float() - exact).norm() / exact.norm()
    assert 1e-5 < error < 0.02


def test_padding_is_that_of_keras() -> None:
    """An impulse at pixel p shows the kernel reversed, with its element 15 of 32 at p."""
    kernel = torch.arange(1.0, 33.0)
    matrix = toeplitz(kernel.reshape(1, 1, 32), 16)
    impulse = torch.zeros(1, 96)
    impulse[0, 40] = 1
    blocks = functional.pad(impulse, (15, 48 - 15)).unflatten(1, (-1, 16))
    response = (join(blocks, joined_blocks(16, 32)) @ matrix.T).flatten(1)[0]
    expected = np.zeros(len(response))
    for pixel in range(96):
        element = 40 - pixel + 15
        expected[pixel] = element + 1 if 0 <= element < 32 else 0
    np.testing.assert_array_equal(response.numpy(), expected)
    assert response[40] == kernel[15]


def test_layer_table_is_that_of_the_founding_project() -> None:
    layers = layer_table(read_preset("starnet-spc").network)
    assert [layer.weights for layer in layers if layer.weights] == [132, 2064, 7_622_912, 32_896, 516]
    assert [layer.shape for layer in layers] == [
        (7447,),
        (7447, 1),
        (7447, 4),
        (7447, 16),
        (1861, 16),
        (29776,),
        (256,),
        (128,),
        (4,),
    ]
    teff = layer_table(read_preset("starnet-teff").network)
    assert sum(layer.weights for layer in teff) == 7_658_520 - 3 * 129


def test_table_agrees_with_what_the_layers_hand_on() -> None:
    seen: list[tuple[int, ...]] = []
    network = StarNet(SMALL)
    for layer in (network.dense1, network.dense2, network.output):
        layer.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0].shape[1:], output.shape[1:]]))
    network(torch.zeros(2, 100))
    shapes = [layer.shape for layer in layer_table(SMALL)]
    assert [tuple(shape) for shape in seen] == [shapes[5], shapes[6], shapes[6], shapes[7], shapes[7], shapes[8]]


def test_first_weights_are_glorot_uniform_and_seeded() -> None:
    before = torch.get_rng_state()
    network = StarNet(read_preset("starnet-spc").network, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    limit = np.sqrt(6 / (29776 + 256))
    weights = network.dense1.weight.detach()
    assert 0.999 * limit < float(weights.abs().max()) <= limit
    assert float(weights.std()) == pytest.approx(limit / np.sqrt(3), rel=1e-3)
    assert not network.dense1.bias.any()
    again, other = StarNet(SMALL, 5), StarNet(SMALL, 6)
    assert torch.equal(StarNet(SMALL, 5).dense1.weight, again.dense1.weight)
    assert not torch.equal(other.dense1.weight, again.dense1.weight)


def test_prediction_is_in_units(tmp_path: Path) -> None:
    network = random_network(SMALL)
    flux = np.random.default_rng(1).uniform(0.2, 1, (300, 100))
    save(tmp_path / "n.safetensors", network, HEADER)
    labels = predict(*load(tmp_path / "n.safetensors"), flux)
    with torch.no_grad():
        unit = naive(network, torch.from_numpy((flux - 0.9) / 0.1).float()).double().numpy()
    expected = unit * [6250, 5, 3, 200] + [3500, 0, -2.5, 0]
    np.testing.assert_allclose(labels, expected, rtol=1e-4, atol=1e-3)
    assert predict(network, HEADER, flux[:0]).shape == (0, 4)


def test_float16_halves_the_file(tmp_path: Path) -> None:
    network = random_network(StarNetConfig(pixels=1000))
    flux = np.random.default_rng(1).uniform(0.2, 1, (5, 1000))
    save(tmp_path / "full.safetensors", network, HEADER)
    save(tmp_path / "half.safetensors", network, HEADER, torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.52 * sizes[0]
    full, half = (predict(*load(tmp_path / f"{name}.safetensors"), flux) for name in ("full", "half"))
    assert 0 < np.abs(half - full).max() / np.abs(full).max() < 2e-3


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    network = random_network(SMALL)
    network.output.weight.data[0, 0] = 1e6
    with pytest.raises(DomainError, match=r"output\.weight .*float16"):
        save(tmp_path / "n.safetensors", network, HEADER, torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flux", "message"),
    [
        (np.ones((2, 99)), r"\(2, 99\).*\(n, 100\)"),
        (np.ones(100), r"\(100,\)"),
        (np.full((3, 100), np.nan), "spectrum 1"),
    ],
)
def test_spectra_that_do_not_suit_are_refused(flux: np.ndarray, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        predict(random_network(SMALL), HEADER, flux)


def test_files_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    tensors = dict(random_network(SMALL).state_dict())
    settings = SMALL.model_dump(mode="json")
    checkpoints.save(path, "emulator", tensors, HEADER)
    with pytest.raises(SchemaError, match="emulator"):
        load(path)
    checkpoints.save(path, "network", tensors, {**HEADER, "network": {**settings, "pixels": 200}})
    with pytest.raises(FormatError, match="do not fit"):
        load(path)
    checkpoints.save(path, "network", tensors, {**HEADER, "network": {**settings, "depth": 2}})
    with pytest.raises(ConfigError, match="unknown setting depth"):
        load(path)
    checkpoints.save(path, "network", tensors, {"network": settings})
    with pytest.raises(FormatError, match="lacks labels, flux, wavelength, resolution"):
        load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="safetensors"):
        load(path)
    with pytest.raises(FormatError, match=r"starnet-xyz: not a packaged network"):
        load("starnet-xyz")
    with pytest.raises(FormatError, match=r"there is no model\.safetensors in this folder; is the training finished"):
        load(tmp_path)


def test_unknown_presets_name_the_known_ones() -> None:
    assert {"starnet-spc", "starnet-teff"} <= set(preset_names())
    assert [read_preset(name).preset for name in preset_names()] == preset_names()
    with pytest.raises(ConfigError, match=r"'starnet'.*starnet-spc, starnet-teff"):
        read_preset("starnet")


def test_packaged_networks_load() -> None:
    for name, header in packaged_networks().items():
        assert load(name)[1] == header


def test_commands() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["show", "starnet-spc"]).output
    for text in ("7,658,520", "7,622,912", "(1861, 16)", "(29776)"):
        assert text in shown
    assert "30,538,776" in runner.invoke(app, ["show", "starnet-spc", "--pixels", "29788"]).output
    listed = runner.invoke(app, ["list"]).output
    assert "starnet-spc" in listed
    assert "7,658,133" in listed
