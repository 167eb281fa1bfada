"""Studies: spaces in TOML, equal training time, early stopping, going on after a kill, the best settings."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import maury
from maury.config import PRESETS, load_config
from maury.errors import ConfigError
from maury.grids import open_grid
from maury.networks import StarNet, layer_table
from maury.networks.architectures import StarNetConfig
from maury.plots import plot_search
from maury.search import load_study, open_study, run_study
from maury.search.space import base_of, configure
from maury.search.study import finished, importance
from maury.search.trial import CLOCKS, train_for, validate
from maury.training.grid_source import Noise, Spectra
from maury.training.recipes import TrainConfig, read_preset
from maury.training.task import make_optimizer, rate
from patience import PATIENCE_S
from tinygrids import write_study
from verbs import run

SPACE = """
[space]
learning_rate = { low = 1e-5, high = 1e-2, log = true }
batch_size = { choices = [8, 16] }
"network.dense" = { choices = [[4, 4], [8, 8]] }
"""


class Clock:
    """Goes on by one second each time it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


class Points:
    """Spectra whose labels are linear in their pixels."""

    scale, std, mean = 1.0, 1.0, 0.0

    def __init__(self, count=96, pixels=64):
        generator = torch.Generator().manual_seed(1)
        self.flux = torch.rand(count, pixels, generator=generator)
        self.targets = torch.stack([self.flux[:, :8].mean(1), self.flux[:, 30:34].mean(1)], 1)
        self.training, self.validation = torch.arange(count).split([count - 32, 32])

    def __getitem__(self, rows):
        return self.flux[rows], self.targets[rows]

    def normalise(self, flux):
        return flux - 0.5


CONFIG = TrainConfig(
    network=StarNetConfig(pixels=64, labels=("teff", "mh"), filters=(2, 4), kernel=5, pool=4, dense=(16, 8)),
    batch_size=16,
)


def test_a_trial_is_trained_for_its_time_and_reports_at_rungs():
    seen = []

    def report(rung, error):
        seen.append((rung, error))
        return False

    error, steps = train_for(CONFIG, Points(), [10.0, 30.0, 90.0], Clock(), report)
    assert [rung for rung, _ in seen] == [1, 2, 3]
    assert error == seen[-1][1] < seen[0][1] < validate(StarNet(CONFIG.network, 1), Points())
    assert 20 <= steps <= 60  # the clock is read twice a step
    again, _ = train_for(CONFIG, Points(), [10.0, 30.0, 90.0], Clock(), lambda rung, error: False)
    assert again == error


def test_a_trial_stops_when_it_is_told_to():
    _, steps = train_for(CONFIG, Points(), [10.0, 30.0, 90.0], Clock(), lambda rung, error: rung == 1)
    assert steps <= 10


def test_a_trial_that_diverges_is_a_bad_one_and_no_error():
    wild = CONFIG.model_copy(update={"learning_rate": 1.0, "precision": "bf16-mixed"})
    points = Points()
    points.targets = points.targets * 1e30
    error, _ = train_for(wild, points, [30.0], Clock(), lambda rung, error: False)
    assert error == 1e6


def test_the_rate_of_learning():
    cosine = CONFIG.model_copy(update={"schedule": "cosine", "warmup": 3})
    assert [rate(CONFIG, step, 0.9) for step in (0, 100)] == [1.0, 1.0]
    assert [rate(cosine, step, 0.0) for step in (0, 1, 3, 10)] == [0.25, 0.5, 1.0, 1.0]
    assert [rate(cosine, 10, done) for done in (0.5, 1.0, 2.0)] == pytest.approx([0.5, 0.0, 0.0])


def test_noise_is_of_its_size_and_differs_from_step_to_step():
    noise = Noise(CONFIG.model_copy(update={"noise": 0.02}), std=0.1)
    first, same, other = (noise(torch.zeros(20, 500), step) for step in (1, 1, 2))
    assert float(first.std()) == pytest.approx(0.2, rel=0.03)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not Noise(CONFIG, 0.1)(torch.zeros(2, 5), 1).any()


def test_adamw_shrinks_weights_and_adam_does_not():
    for optimiser, shrinks in (("adam", False), ("adamw", True)):
        layer = torch.nn.Linear(3, 3)
        config = CONFIG.model_copy(update={"optimiser": optimiser, "weight_decay": 0.5, "learning_rate": 0.1})
        before = layer.weight.detach().clone()
        layer.weight.grad = torch.zeros_like(layer.weight)
        make_optimizer(layer, config).step()
        assert torch.equal(layer.weight, before) is not shrinks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[space]\nspeed = { low = 1, high = 2 }", r"space: unknown setting speed; allowed: epochs, "),
        (
            "[space]\nlearning_rate = { low = 0.1, high = 3.0 }",
            r"space: learning_rate = 3\.0: .* less than or equal to 1",
        ),
        ('[space]\nprecision = { choices = ["32-true", "8"] }', r"space: precision = '8'"),
        ("[space]\nlearning_rate = { low = 0.1, high = 0.01 }", r"low = 0\.1 must be below high = 0\.01"),
        ("[space]\nlearning_rate = { low = 0.0, high = 0.1, log = true }", "must be positive for log"),
        ('[space]\n"network.filters" = { choices = [[1, 2], [3]] }', r"space: setting network\.filters\.1 is missing"),
        ('[space]\n"net.filters" = { choices = [1, 2] }', r"space: unknown setting net\.filters"),
        ("[space]\n", "space"),
        ("speed = 3\n" + SPACE, "unknown setting speed"),
        ('base = "default"\n' + SPACE, "is trained on simulated observations; a study needs a grid"),
        ('base = "nothing"\n' + SPACE, "preset 'nothing' is unknown"),
    ],
)
def test_studies_that_are_refused(tmp_path, text, message):
    (tmp_path / "s.toml").write_text('name = "s"\n' + text)
    with pytest.raises(ConfigError, match=message):
        load_study(tmp_path / "s.toml")


def test_no_configuration_of_the_packaged_study_is_larger_than_the_founding_network():
    study = load_study(PRESETS / "studies" / "founding.toml")
    assert study.trials == 40
    base = base_of(study)
    assert base == read_preset("starnet-spc")
    largest = {
        "network.filters": (4, 16),
        "network.kernel": 32,
        "network.pool": 4,
        "network.dense": (256, 128),
    }
    assert all(list(value) in [list(c) if isinstance(c, tuple) else c for c in study.space[name].choices]
               if isinstance(value, tuple) else value in study.space[name].choices
               for name, value in largest.items())  # fmt: skip
    assert max(study.space["network.kernel"].choices) == 32
    assert min(study.space["network.pool"].choices) == 4
    assert sum(layer.weights for layer in layer_table(configure(base, largest).network)) == 7_658_520


@pytest.fixture
def settings(tmp_path):
    """A study whose trials take a fifth of a second."""
    return write_study(tmp_path, f'seconds = 0.2\nclock = "cpu"\n{SPACE}')


def test_a_study_finds_better_settings_and_they_are_ready_for_training(
    grid_file, settings, tmp_path, capsys, monkeypatch
):
    readings = itertools.count()
    monkeypatch.setitem(CLOCKS, "cpu", lambda: 0.0007 * next(readings))  # every trial has the same number of steps
    out = tmp_path / "out"
    assert run("tune", settings, "--grid", grid_file, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "8 trials: " in printed
    report = json.loads((out / "report.json").read_text())
    assert (report["trials"], report["complete"] + report["stopped_early"]) == (8, 8)
    first = report["table"][0]
    assert first["state"] == "complete"
    assert "learning_rate" not in first
    assert report["baseline_error"] == first["rungs"]["9"]
    assert report["baseline_over_best"] > 1.2
    errors = [row["rungs"]["9"] for row in report["table"] if row["state"] == "complete"]
    assert report["best_error"] == min(errors)
    best = load_config(out / "best.toml", TrainConfig)
    assert best.learning_rate == report["best"]["learning_rate"] > 1e-5
    assert list(best.network.dense) == json.loads(report["best"]["network.dense"])
    assert best.preset == f"tiny-trial-{report['best']['trial']}"
    assert (
        run("train", "--config", out / "best.toml", "--grid", grid_file, "--out", tmp_path / "run", "--epochs", 1) == 0
    )
    assert run("tune", settings, "--grid", grid_file, "--out", out) == 0
    assert "resuming: 8 of 8 trials are there" in capsys.readouterr().err
    assert run("tune", settings, "--grid", grid_file, "--out", out, "--trials", 9) == 0
    assert len(json.loads((out / "report.json").read_text())["table"]) == 9
    settings.write_text(settings.read_text().replace("seconds = 0.2", "seconds = 0.3"))
    assert run("tune", settings, "--grid", grid_file, "--out", out) == 2
    assert "holds a study with seconds = 0.2, now it is 0.3" in capsys.readouterr().err


def test_a_killed_study_goes_on_with_every_trial_accounted_for(grid_file, settings, tmp_path):
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(Path(maury.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "maury", "tune", settings, "--grid", grid_file, "--out", out, "--trials", "200"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    journal, limit = out / "study.journal", time.monotonic() + PATIENCE_S
    while time.monotonic() < limit and (not journal.exists() or journal.read_text().count('"op_code":6') < 3):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    config = load_study(settings)
    study = open_study(out, config, open_grid(grid_file).digest)
    interrupted = [trial for trial in study.trials if trial.state.name == "FAIL"]
    there = len(finished(study))
    assert len(interrupted) <= 1
    assert there >= 1
    waiting = [trial for trial in study.trials if trial.state.name == "WAITING"]
    assert [trial.user_attrs.get("again") for trial in waiting] == [trial.number for trial in interrupted]
    spectra = Spectra(open_grid(grid_file), base_of(config), limits=(400, 100))
    run_study(study, config.model_copy(update={"trials": there + 2}), spectra)
    assert len(finished(study)) == there + 2
    numbers = [trial.number for trial in study.trials]
    assert numbers == list(range(there + 2 + len(interrupted)))
    for trial in interrupted:  # its configuration, or what of it was drawn before the kill, was tried after all
        assert any(trial.params.items() <= other.params.items() for other in finished(study))


def test_importance_finds_what_counts_among_trials_that_were_stopped_early():
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial):
        error = trial.suggest_float("matters", 0, 1) ** 2 + 1e-3 * trial.suggest_float("not", 0, 1)
        trial.report(error, 1)
        trial.report(0.5, 3)
        if trial.number % 4:
            raise optuna.TrialPruned
        return 0.5

    study.optimize(objective, 40)
    found = importance(study)
    assert next(iter(found)) == "matters"
    assert found["matters"] > 0.8
    assert importance(optuna.create_study()) == {}


def test_the_figure_holds_every_trial():
    figure = plot_search(
        {"rate": 0.7, "dense": 0.2, "word": 0.1},
        [[1e-3, "[8, 8]", '"adam"'], [1e-2, "[4, 4]", '"adamw"'], [1e-4, "[8, 8]", '"adam"']],
        [True, False, False],
        [0.01, 0.1, 0.5],
        [True, True, False],
        0.2,
    )
    lines = [line.get_ydata() for line in figure.axes[1].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(sorted(map(list, lines)), [[0, 1, 0], [0.5, 1, 0], [1, 0, 1]])
    assert "2 trained to the end: best 0.01, baseline 0.2" in figure.axes[0].get_title(loc="left")
