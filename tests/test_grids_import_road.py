"""From foreign spectra to a network and to an emulator: the commands one after the other."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import synthetic
from maury.cli.app import app
from maury.emulator import load
from maury.grids import open_grid
from maury.networks import load as load_network
from maury.networks import pixel_wavelengths
from maury.wavelengths import C_KMS

NODES = list(itertools.product(np.arange(4000, 6501, 250.0), np.arange(3.0, 5.1, 0.5), (-1.0, -0.5, 0.0, 0.5)))[:-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """219 PHOENIX spectra: eleven temperatures, five gravities, four metallicities, the last node missing."""
    return synthetic.phoenix(tmp_path_factory.mktemp("phoenix") / "spectra", NODES, step=0.02)


def run(*arguments: object) -> str:
    """Run a command and return what it prints."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.usefixtures("unwritten_figures")
def test_a_phoenix_grid_becomes_a_network_with_a_report(source: Path, tmp_path: Path) -> None:
    grid, folder, report = tmp_path / "grid.h5", tmp_path / "run", tmp_path / "report"
    window = ["--window", 5160, 5195, "--step", 0.1, "--resolution", 42_000, "--vsini", "0,10"]
    printed = run("grid", "import", "phoenix", source, *window, "--out", grid)
    assert "438 spectra of 351 pixels, R = 42,000, labels teff, logg, mh, vsini" in printed
    assert "missing: teff 6500, logg 5, mh 0.5, alpha 0" in printed
    assert "1 of 220 nodes are missing" in printed
    info = run("grid", "info", grid)
    assert "alpha: 0 dex in all spectra" in info
    assert "normalisation: pseudo-continuum" in info
    train = ["--grid", grid, "--out", folder, "--epochs", 12, "--batch-size", 16, "--learning-rate", 0.002]
    run("train", "--preset", "starnet-spc", *train)
    run("evaluate", folder, "--out", report)
    splits = json.loads((report / "report.json").read_text())["splits"]
    assert set(splits) == {"random", "block"}
    spread = np.std([node[0] for node in NODES])
    assert splits["random"]["labels"]["teff"]["robust_scatter"] < 0.25 * spread
    network, header = load_network(folder)
    np.testing.assert_allclose(pixel_wavelengths(header), open_grid(grid).wavelength_aa, rtol=0, atol=1e-9)
    assert header["fixed"] == {"alpha": 0.0}
    assert network.config.pixels == 351


def test_an_imported_library_becomes_an_emulator(source: Path, tmp_path: Path) -> None:
    library, emulator, grid = tmp_path / "l.h5", tmp_path / "e.safetensors", tmp_path / "g.h5"
    printed = run("library", "import", "phoenix", source, "--window", 5165, 5190, "--out", library)
    assert "219 spectra of" in printed
    assert "alpha" in run("library", "info", library)
    settings = {"components": 12, "members": 2, "width": 32, "depth": 2, "epochs": 150, "batch_size": 32}
    toml = "".join(f"{key} = {value}\n" for key, value in settings.items())
    (tmp_path / "e.toml").write_text(toml + "validation_fraction = 0.15\n")
    run("emulator", "fit", tmp_path / "e.toml", "--library", library, "--out", emulator)
    model = load(emulator)
    assert model.space.names == ("teff", "logg", "mh")
    assert model.fixed == {"alpha": 0.0}
    assert model.native_resolution == 500_000
    assert model.window_aa == (5165.0, 5190.0)
    assert "R up to 115,000" in run("emulator", "info", "--emulator", emulator)
    wavelength = np.linspace(5165, 5190, 300)
    node = (5300.0, 4.3, -0.2)
    sampler = model.sampler(wavelength, 60_000)
    flux = model.flux(torch.tensor([node]), torch.zeros(1), torch.tensor([60_000.0]), sampler)[0].numpy()
    fine = wavelength[:, None] * (1 + np.linspace(-15, 15, 121) / C_KMS)
    sigma = C_KMS / 60_000 / np.sqrt(8 * np.log(2))
    weight = np.exp(-0.5 * (np.linspace(-15, 15, 121) / sigma) ** 2)
    wanted = synthetic.truth(fine, *node) @ weight / weight.sum()
    assert np.sqrt(np.mean((flux - wanted) ** 2)) < 0.01
    (tmp_path / "nodes.toml").write_text("step = 0.05\nresolution = 42000\n[nodes]\nvsini = [0, 5]\n")
    run("grid", "build", "--config", tmp_path / "nodes.toml", "--emulator", emulator, "--out", grid)
    built = open_grid(grid)
    assert len(built) == 2 * 220
    assert built.space.upper == (6500, 5, 0.5, 5)
