"""Training of the network with a posterior: the closed form, the stream, resume after a kill, limits, the command."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from typer.testing import CliRunner

from maury.checkpoints import read_header
from maury.cli.app import app
from maury.cli.train import _posterior_settings
from maury.config import save_config, to_toml
from maury.emulator import load_cached
from maury.errors import ConfigError
from maury.labels import LabelSpace
from maury.networks import load
from maury.networks.architectures import PosteriorConfig
from maury.simulation.conditions import ModelErrorSettings
from maury.training import loop
from maury.training.recipes import PosteriorTrainConfig, read_preset
from maury.training.run_folder import Run, open_run
from maury.training.simulated_source import HELD_OUT, SimulatedSource, Stream, principal_components, transform_of
from patience import PATIENCE_S
from stars import LinearStars

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("teff", "mh")
CONFIG = PosteriorTrainConfig(
    network=PosteriorConfig(
        pixels=64, labels=NAMES, components=4, width=32, depth=1, bins=2, context=4, transforms=2, knots=4, hidden=(16,)
    ),
    epochs=3,
    steps=200,
    batch_size=64,
    learning_rate=0.005,
    warmup=20,
    components_from=600,
    validation=512,
    accelerator="cpu",
)


def source(_: torch.device) -> LinearStars:
    return LinearStars(NAMES)


def train(run: Run, make: Any, callbacks: Any = ()) -> dict[str, Any]:
    return loop.train(run, SimulatedSource(run.config, make), callbacks)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run; not to be changed."""
    run = open_run(tmp_path_factory.mktemp("runs") / "run", CONFIG)
    train(run, source)
    return run


class Break(Callback):
    """Stop as a crash does, in the middle of an epoch."""

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if trainer.current_epoch == 1 and trainer.fit_loop.epoch_loop.batch_idx == 3:
            raise InterruptedError


def test_a_run_goes_on_from_a_trained_network(finished: Run, tmp_path: Path) -> None:
    former = read_header(finished.model, "network")["validation"]["nll"]
    further = CONFIG.model_copy(update={"start": str(finished.folder), "epochs": 1, "learning_rate": 0.0005})
    run = open_run(tmp_path / "further", further)
    assert train(run, source)["validation"]["nll"] < former + 0.04
    anew = open_run(tmp_path / "anew", CONFIG.model_copy(update={"epochs": 1, "learning_rate": 0.0005}))
    assert train(anew, source)["validation"]["nll"] > former + 0.1
    other = further.model_copy(update={"network": CONFIG.network.model_copy(update={"width": 16})})
    with pytest.raises(ConfigError, match=r"start: .* another architecture; other settings: width"):
        train(open_run(tmp_path / "other", other), source)


def test_it_finds_the_posterior_in_closed_form(finished: Run) -> None:
    network, _ = load(finished.folder)
    stars = LinearStars(NAMES)
    seen = stars.batch(400, torch.Generator().manual_seed(99))
    mean, covariance = stars.posterior(seen.flux)
    features = network(seen)
    samples = network.transform.unconstrained(network.sample(features, 2000, torch.Generator().manual_seed(1)))
    width = covariance.diagonal().sqrt()
    assert (width < 0.6).all()
    offset = (samples.mean(1) - mean) / width
    assert offset.square().mean().sqrt() < 0.25
    assert float((samples.std(1) / width).log().abs().mean()) < 0.1
    correlation = covariance[0, 1] / width.prod()
    found = torch.stack([torch.corrcoef(row.T)[0, 1] for row in samples]).mean()
    assert abs(correlation) > 0.05
    assert found == pytest.approx(float(correlation), abs=0.06)
    quantiles = network.transform.unconstrained(network.quantiles(features)[:, 1])
    assert ((quantiles - mean) / width).square().mean().sqrt() < 0.35


def test_it_says_what_it_reached(finished: Run) -> None:
    header = read_header(finished.model)
    figures = header["validation"]
    assert figures["spectra"] == 512
    assert all(abs(share - 0.683) < 0.07 for share in figures["coverage"].values())
    _, covariance = LinearStars(NAMES).posterior(torch.ones(1, 64))
    ideal = 0.5 * float(torch.logdet(2 * torch.pi * torch.e * covariance))
    assert ideal - 0.1 < figures["nll"] < ideal + 0.15
    card = (finished.folder / "model-card.md").read_text()
    assert f"{3 * 200 * 64:,} observations" in card
    assert "| teff | 3500 | 9750 | K |" in card


def test_the_stream_is_the_same_whatever_came_before() -> None:
    stream = Stream(LinearStars(("mh", "teff", "vsini")), ("teff", "mh"), 5)
    first, labels = stream.batch(7, 10)
    stream.batch(8, 10)
    again, _ = stream.batch(7, 10)
    assert torch.equal(first.flux, again.flux)
    assert labels[:, 0].min() > 3000
    assert not torch.equal(first.flux, stream.batch(HELD_OUT + 7, 10)[0].flux)
    assert not torch.equal(first.flux, Stream(stream.simulator, ("teff",), 6).batch(7, 10)[0].flux)
    with pytest.raises(ConfigError, match=r"no label ni; there are mh, teff, vsini"):
        Stream(stream.simulator, ("teff", "ni"), 5)


def test_principal_components_are_whitened_directions_of_the_signal() -> None:
    stars = LinearStars(NAMES, sigma=0.01)
    seen = stars.batch(4000, torch.Generator().manual_seed(1))
    seen.mask[:, 40:44] = True
    seen.flux[:, 40:44] = 1.0
    mean, directions = principal_components(seen, 2, 1)
    features = (seen.flux - mean) @ directions.T
    torch.testing.assert_close(torch.cov(features.T), torch.eye(2), atol=0.1, rtol=0)
    kept = torch.linalg.lstsq(directions.T, stars.matrix * seen.good[0, :, None]).residuals
    assert float(kept.sum()) < 1e-3 * float(stars.matrix.square().sum())


def test_edges_of_logg_are_the_sources() -> None:
    stars = LinearStars(("teff", "logg"))
    stars.logg_edges = ((3500.0, 0.0, 5.0), (9750.0, 2.0, 5.0))
    assert transform_of(stars, ("teff", "logg")).edges == stars.logg_edges
    assert transform_of(stars, ("teff",)).edges == ()


def test_a_crashed_run_goes_on_as_if_nothing_had_happened(finished: Run, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", finished.config)
    with pytest.raises(InterruptedError):
        train(run, source, [Break()])
    assert not run.model.exists()
    train(open_run(run.folder, finished.config), source)
    expected, got = (torch.load(r.last, weights_only=True)["state_dict"] for r in (finished, run))
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-5, atol=1e-6)


def test_limits_and_settings_of_a_run(finished: Run, tmp_path: Path) -> None:
    assert finished.finished() is not None
    longer = finished.config.model_copy(update={"epochs": 9})
    assert Run(finished.folder, longer).finished() is None
    other = finished.config.model_copy(update={"steps": 7})
    with pytest.raises(ConfigError, match=r"started with steps = 200, now it is 7"):
        open_run(finished.folder, other)
    short = open_run(tmp_path / "short", CONFIG.model_copy(update={"epochs": 10_000, "max_time": 0.02}))
    assert train(short, source)["stopped"] == "max_time"
    wrong = CONFIG.model_copy(update={"network": CONFIG.network.model_copy(update={"pixels": 65})})
    with pytest.raises(ConfigError, match=r"have 64 pixels, but network.pixels = 65"):
        train(open_run(tmp_path / "wrong", wrong), source)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A network as small as can be on the real simulation."""
    small = CONFIG.network.model_copy(update={"pixels": 8650})
    config = CONFIG.model_copy(
        update={"network": small, "epochs": 1000, "steps": 2, "batch_size": 8, "validation": 8, "components_from": 16}
    )
    save_config(tmp_path / "c.toml", config)
    return tmp_path / "c.toml"


def test_a_killed_command_goes_on(settings: Path, tmp_path: Path) -> None:
    run, arguments = tmp_path / "run", ["train", "--config", str(settings), "--out", str(tmp_path / "run")]
    process = subprocess.Popen([sys.executable, "-m", "maury", *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while not (run / "last.ckpt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (run / "last.ckpt").is_file()
    done = int(torch.load(run / "last.ckpt", weights_only=True)["epoch"]) + 1
    result = CliRunner().invoke(app, [*arguments, "--epochs", str(done + 1)])
    assert result.exit_code == 0, result.output
    assert "resuming from the last finished epoch" in result.output
    assert read_header(run / "model.safetensors")["epochs"] == done + 1
    assert len(read_header(run / "model.safetensors")["emulator"]) == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "g.h5"], "trained on simulated observations"),
        (["--half"], "trained on simulated observations"),
        (["--patience", "3"], "--patience is not for default"),
        (["--labels", "teff,colour"], "must be distinct names"),
        (["--emulator", "absent.safetensors"], "absent.safetensors: no such file"),
        (["--model-error", "absent.toml"], "absent.toml: cannot be read"),
    ],
)
def test_options_that_are_not_for_it(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--preset", "default", "--out", str(tmp_path / "run"), *arguments])
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_an_unknown_setting_of_the_simulation(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('kind = "posterior"\n[observations]\nclouds = 1\n')
    result = CliRunner().invoke(app, ["train", "--config", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")])
    assert "simulation: unknown setting clouds" in str(result.exception)


def test_a_preset_takes_the_labels_of_the_emulator_and_measured_model_errors(tmp_path: Path) -> None:
    measured = ModelErrorSettings(teff_k=(4800.0, 6700.0), level=(0.01, 0.004), line=0.05)
    (tmp_path / "e.toml").write_text(to_toml(measured.model_dump(mode="json")))
    base = read_preset("default")
    space = LabelSpace.of(("teff", "logg", "mh", "vmic", "alpha", "ni", "na"))
    emulator = copy.copy(load_cached())
    emulator.space = space
    settings = _posterior_settings(base, True, {"model_error": tmp_path / "e.toml"}, emulator)
    assert settings.network.labels == ("teff", "logg", "mh", "vsini", "vmic", "ni", "vmac", "alpha")
    assert settings.simulation["model_error"]["level"] == [0.01, 0.004]
    assert _posterior_settings(base, True, {}, load_cached()).network.labels == base.network.labels
