"""Training: data, order, a run that learns, resume after a kill, limits, and every way to name a run wrongly."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from typer.testing import CliRunner

from maury.checkpoints import read_header
from maury.cli import train as command
from maury.cli.app import app
from maury.config import load_config, save_config
from maury.errors import ConfigError, FormatError
from maury.grids import Grid, open_grid
from maury.networks import load, predict
from maury.networks.architectures import StarNetConfig
from maury.training import loop
from maury.training.grid_source import Batches, GridSource, Spectra
from maury.training.lightning_tools import LOG_COLUMNS, CurveLogger
from maury.training.recipes import TrainConfig
from maury.training.run_folder import Run, open_run
from patience import PATIENCE_S
from tinygrids import COUNT, PIXELS

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TrainConfig(
    network=StarNetConfig(pixels=PIXELS, dense=(32, 16)), batch_size=32, epochs=4, learning_rate=0.003, patience=9
)


@pytest.fixture(scope="module")
def grid(grid_file: Path) -> Grid:
    return open_grid(grid_file)


def config_for(grid: Grid, **changes: Any) -> TrainConfig:
    return CONFIG.model_copy(update={"grid": str(grid.path), "grid_digest": grid.digest, **changes})


def train(run: Run, grid: Grid, callbacks: Any = (), dtype: torch.dtype | None = None) -> dict[str, Any]:
    return loop.train(run, GridSource(run.config, grid), callbacks, dtype)


@pytest.fixture(scope="module")
def finished(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run; not to be changed."""
    run = open_run(tmp_path_factory.mktemp("runs") / "run", config_for(grid))
    train(run, grid)
    return run


@pytest.fixture
def copy(finished: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(finished.folder, tmp_path / "copy")), finished.config)


class Break(Callback):
    """Stop as a crash does, in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if trainer.current_epoch == self.epoch and trainer.fit_loop.epoch_loop.batch_idx == 3:
            raise InterruptedError


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_normalisation_is_fitted_on_the_training_part_alone(grid: Grid) -> None:
    spectra = Spectra(grid, CONFIG)
    flux = grid.read_flux() * grid.scale
    held_out = grid.split("random")
    assert spectra.mean == pytest.approx(flux[~held_out].mean(), rel=1e-6)
    assert spectra.std == pytest.approx(flux[~held_out].std(), rel=1e-6)
    assert abs(spectra.mean - flux.mean()) > 1e-5
    rows = torch.tensor([5, 0, 599])
    counts, targets = spectra[rows]
    np.testing.assert_allclose(
        spectra.normalise(counts), (flux[rows] - spectra.mean) / spectra.std, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(targets, grid.space.normalise(grid.labels[rows]), rtol=1e-6)
    assert sorted([*spectra.training.tolist(), *spectra.validation.tolist()]) == list(range(COUNT))
    assert held_out[spectra.validation].all()


def test_counts_above_the_signed_range_keep_their_sign(grid: Grid) -> None:
    spectra = Spectra(grid, CONFIG)
    counts = torch.from_numpy(np.array([[0, 40_000, 65_535]], "<u2").view(np.int16))
    expected = (np.array([[0, 40_000, 65_535]]) * grid.scale - spectra.mean) / spectra.std
    np.testing.assert_allclose(spectra.normalise(counts), expected, rtol=1e-5)


def test_labels_of_a_subset_in_another_order(grid: Grid) -> None:
    config = CONFIG.model_copy(update={"network": StarNetConfig(pixels=PIXELS, labels=("vsini", "teff"))})
    spectra = Spectra(grid, config)
    assert spectra.space.upper == (200.0, 9750.0)
    np.testing.assert_allclose(spectra.targets[:, 0], grid.labels[:, 3] / 200, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"no label vmic.*vsini"):
        Spectra(grid, CONFIG.model_copy(update={"network": StarNetConfig(labels=("vmic",))}))


def test_an_epoch_takes_every_row_once_in_an_order_of_its_own() -> None:
    rows = torch.arange(100, 203)
    batches = Batches(rows, 10, seed=4)
    first = list(batches)
    assert [len(batch) for batch in first] == [10] * 10 + [3]
    assert len(batches) == 11
    assert sorted(torch.cat(first).tolist()) == rows.tolist()
    assert torch.cat(first).tolist() == torch.cat(list(batches)).tolist()
    batches.set_epoch(1)
    assert torch.cat(first).tolist() != torch.cat(list(batches)).tolist()
    assert torch.cat(first).tolist() != torch.cat(list(Batches(rows, 10, seed=5))).tolist()
    assert torch.cat(list(Batches(rows, 10))).tolist() == rows.tolist()


def test_devices_share_an_epoch() -> None:
    rows = torch.arange(103)
    shares = [Batches(rows, 10, 4, rank, 4) for rank in range(4)]
    parts = [torch.cat(list(share)).tolist() for share in shares]
    assert [len(part) for part in parts] == [25] * 4
    assert len({row for part in parts for row in part}) == 100
    assert {len(share) for share in shares} == {3} == {len(list(share)) for share in shares}
    validation = [Batches(rows, 10, None, rank, 4) for rank in range(4)]
    assert sorted(torch.cat([torch.cat(list(share)) for share in validation]).tolist()) == rows.tolist()
    assert [len(share) for share in validation] == [len(list(share)) for share in validation]


def test_training_learns_and_says_how_well(finished: Run, grid: Grid) -> None:
    network, header = load(finished.folder)
    held_out = grid.split("random")
    true = grid.space.normalise(grid.labels[held_out])
    residual = grid.space.normalise(predict(network, header, grid.read_flux(held_out) * grid.scale)) - true
    assert np.mean(residual**2) < 0.2 * true.var(axis=0).mean()
    assert header["validation"]["mse"] == pytest.approx(np.mean(residual**2), rel=1e-4)
    assert header["validation"]["mae"] == pytest.approx(np.mean(np.abs(residual)), rel=1e-4)
    typical = np.percentile(np.abs(residual[:, 0]), 68.3) * 6250
    assert header["typical_errors"]["teff"] == pytest.approx(typical, rel=1e-4)
    assert (header["grid"], header["split"], header["stopped"]) == (grid.digest, "random", "epochs")
    assert header["wavelength"] == [5050.0, 5350.0]
    assert header["resolution"] == 44_000
    assert header["training"]["learning_rate"] == 0.003
    assert load_config(finished.folder / "config.toml", TrainConfig) == finished.config


def test_the_log_has_every_step_and_every_validation(finished: Run) -> None:
    rows = rows_of(finished.folder / "metrics.csv")
    assert tuple(rows[0]) == LOG_COLUMNS
    trained = [row for row in rows if row["train_loss"]]
    validated = [row for row in rows if row["val_loss"]]
    steps = -(-int((~open_grid(finished.config.grid).split("random")).sum()) // 32)
    assert [int(row["step"]) for row in trained] == list(range(4 * steps))
    assert [int(row["epoch"]) for row in trained] == [i // steps for i in range(4 * steps)]
    assert [(int(row["epoch"]), int(row["step"])) for row in validated] == [(i, (i + 1) * steps - 1) for i in range(4)]
    losses = [float(row["val_loss"]) for row in validated]
    header = read_header(finished.model)
    assert header["best_epoch"] == int(np.argmin(losses)) + 1
    assert header["validation"]["mse"] == pytest.approx(min(losses), rel=1e-4)
    assert any(path.name.startswith("events") for path in (finished.folder / "tensorboard").iterdir())


def test_a_crashed_run_goes_on_as_if_nothing_had_happened(finished: Run, grid: Grid, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", finished.config)
    with pytest.raises(InterruptedError):
        train(run, grid, [Break(epoch=2)])
    assert not run.model.exists()
    assert run.last.exists()
    train(open_run(run.folder, finished.config), grid)
    expected, got = (torch.load(r.last, weights_only=True)["state_dict"] for r in (finished, run))
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-5, atol=1e-6)
    curves = [[row for row in rows_of(r.folder / "metrics.csv") if row["val_loss"]] for r in (finished, run)]
    for row, other in zip(*curves, strict=True):
        assert float(row["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-4)


def test_a_killed_command_goes_on(grid: Grid, tmp_path: Path) -> None:
    save_config(tmp_path / "c.toml", config_for(grid, epochs=100_000, batch_size=300))
    arguments = ["--config", str(tmp_path / "c.toml"), "--grid", str(grid.path), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "maury", "train", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "run" / "last.ckpt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["epoch"] + 1
    assert not (tmp_path / "run" / "model.safetensors").exists()
    result = CliRunner().invoke(app, ["train", *arguments, "--epochs", str(done + 2)])
    assert result.exit_code == 0, result.output
    assert "resuming from the last finished epoch" in result.output
    assert read_header(tmp_path / "run" / "model.safetensors")["epochs"] == done + 2
    epochs = {int(row["epoch"]) for row in rows_of(tmp_path / "run" / "metrics.csv") if row["val_loss"]}
    assert {*range(done), done, done + 1} <= epochs | set(range(done))


def test_early_stopping_keeps_the_best_weights(grid: Grid, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", config_for(grid, patience=1, learning_rate=0.05, epochs=100))
    header = train(run, grid)
    losses = [float(row["val_loss"]) for row in rows_of(run.folder / "metrics.csv") if row["val_loss"]]
    assert header["stopped"] == "early stopping"
    assert header["epochs"] == len(losses) < 100
    assert losses[-1] > min(losses) == losses[header["best_epoch"] - 1]
    assert header["validation"]["mse"] == pytest.approx(min(losses), rel=1e-4)
    assert run.finished() == header


def test_time_limit_ends_a_run_and_a_longer_one_goes_on(grid: Grid, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", config_for(grid, max_time=1e-4, epochs=3))
    header = train(run, grid)
    assert header["stopped"] == "max_time"
    assert np.isfinite(header["validation"]["mse"])
    assert run.finished() == header
    longer = open_run(run.folder, config_for(grid, max_time=60.0, epochs=3))
    assert longer.finished() is None
    assert train(longer, grid)["stopped"] == "epochs"


def test_bfloat16_trains_as_well(grid: Grid, finished: Run, tmp_path: Path) -> None:
    header = train(open_run(tmp_path / "run", config_for(grid, precision="bf16-mixed")), grid, dtype=torch.float16)
    expected = read_header(finished.model)["validation"]["mse"]
    assert header["validation"]["mse"] == pytest.approx(expected, rel=0.3)
    assert header["validation"]["mse"] != expected
    assert (tmp_path / "run" / "model.safetensors").stat().st_size < 0.6 * finished.model.stat().st_size


def test_more_epochs_go_on_from_a_finished_run(copy: Run, grid: Grid) -> None:
    assert copy.finished() is not None
    longer = open_run(copy.folder, config_for(grid, epochs=5))
    assert longer.finished() is None
    assert train(longer, grid)["epochs"] == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "seed = 1, now it is 2"),
        ({"grid_digest": "0" * 64}, "grid_digest"),
        ({"network": StarNetConfig(pixels=PIXELS)}, "network ="),
    ],
)
def test_another_run_in_the_folder_is_refused(copy: Run, grid: Grid, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_run(copy.folder, config_for(grid, **changes))
    (copy.folder / "notes.txt").write_text("mine")
    fresh = open_run(copy.folder, config_for(grid, **changes), fresh=True)
    assert {path.name for path in fresh.folder.iterdir()} == {"config.toml", "notes.txt"}


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty, but not a training run"):
        open_run(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_checkpoint_is_named(copy: Run, grid: Grid) -> None:
    copy.last.write_bytes(copy.last.read_bytes()[:5000])
    with pytest.raises(FormatError, match=r"last\.ckpt: damaged.*start anew"):
        train(open_run(copy.folder, config_for(grid, epochs=6)), grid)


def test_grid_and_network_must_agree(grid: Grid, tmp_path: Path) -> None:
    config = config_for(grid, network=StarNetConfig(pixels=65))
    with pytest.raises(ConfigError, match=r"tiny\.h5: 64 pixels in the grid, but network\.pixels = 65"):
        train(open_run(tmp_path / "run", config), grid)


def test_a_device_that_is_not_there(grid: Grid, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="accelerator = 'gpu'"):
        train(open_run(tmp_path / "run", config_for(grid, accelerator="gpu")), grid)


def test_the_log_is_appended_to(tmp_path: Path) -> None:
    for loss in (0.5, 0.25):
        logger = CurveLogger(tmp_path / "m.csv")
        logger.log_metrics({"train_loss": loss, "train_mae": 0.1, "epoch": 3}, 7)
        logger.log_metrics({"other": 1.0}, 7)
        logger.save()
    text = (tmp_path / "m.csv").read_text().split()
    assert text == ["epoch,step,train_loss,train_mae,val_loss,val_mae", "3,7,0.5,0.1,,", "3,7,0.25,0.1,,"]


def test_the_command_trains_shows_and_says_when_it_is_finished(grid: Grid, tmp_path: Path) -> None:
    arguments = ["train", "--grid", str(grid.path), "--out", str(tmp_path / "r"), "--epochs", "1", "--half"]
    runner = CliRunner()
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "validation MSE" in result.output
    config = load_config(tmp_path / "r" / "config.toml", TrainConfig)
    assert (config.preset, config.network.pixels, config.epochs) == ("starnet-spc", PIXELS, 1)
    assert "finished (epochs)" in runner.invoke(app, arguments).output


def test_settings_of_the_command(grid: Grid, tmp_path: Path) -> None:
    save_config(tmp_path / "c.toml", CONFIG)
    from_file, preset = command._base(None, tmp_path / "c.toml"), command._base(None, None)
    assert (from_file, preset.preset) == (CONFIG, "starnet-spc")
    settings, _ = command._grid_settings(from_file, False, grid.path, {"epochs": 9})
    assert (settings.epochs, settings.network, settings.grid_digest) == (9, CONFIG.network, grid.digest)
    with pytest.raises(ConfigError, match="exclude each other"):
        command._base("starnet-spc", tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="--grid"):
        command._grid_settings(preset, True, None, {})
    with pytest.raises(ConfigError, match=r"options: precision = '16'.*bf16-mixed"):
        command._grid_settings(preset, True, grid.path, {"precision": "16"})
    with pytest.raises(ConfigError, match="--emulator is for networks trained on simulated"):
        command._grid_settings(preset, True, grid.path, {"emulator": "e.safetensors"})


def test_a_cosine_ends_at_zero_and_noise_does_not_harm(grid: Grid, tmp_path: Path) -> None:
    """The learning rate falls with the epochs of the run; with a little noise the network learns as well."""
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    config = config_for(grid, schedule="cosine", warmup=3, noise=0.005, optimiser="adamw", weight_decay=0.01)
    header = train(open_run(tmp_path / "run", config), grid, [Rates()])
    assert rates[0] < max(rates) == pytest.approx(config.learning_rate, rel=0.05)
    assert rates[-1] < 1e-3 * config.learning_rate
    assert header["training"]["schedule"] == "cosine"
    assert header["validation"]["mse"] < 0.05


def test_a_part_of_a_grid(grid: Grid) -> None:
    config = config_for(grid)
    whole, some = Spectra(grid, config), Spectra(grid, config, limits=(40, 9))
    assert (len(some), len(some.training), len(some.validation)) == (49, 40, 9)
    held_out = {tuple(row) for row in whole.targets[whole.validation].tolist()}
    assert all(tuple(row) in held_out for row in some.targets[some.validation].tolist())
    assert not any(tuple(row) in held_out for row in some.targets[some.training].tolist())
    first = whole.targets.tolist().index(some.targets[5].tolist())
    np.testing.assert_array_equal(some.counts[5], whole.counts[first])
