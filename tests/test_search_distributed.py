"""A study over a Ray cluster: a node that dies, a driver that dies, and every trial accounted for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import maury
import maury.cluster
from maury.errors import ConfigError, SynthesisError
from maury.grids import open_grid
from maury.search import load_study, open_study
from maury.search.distributed import JournalActor, run_on_cluster
from maury.search.space import base_of
from maury.search.trial import Outcome
from patience import PATIENCE_S
from tinygrids import write_study
from verbs import run

pytest.importorskip("ray")
optuna = pytest.importorskip("optuna")


@pytest.fixture
def settings(tmp_path):
    """A study whose trials take half a second or a whole one."""
    times = "seconds = 1.0\nreduction = 2\nrungs = 2\n"
    return write_study(tmp_path, times + "[space]\nlearning_rate = { low = 1e-5, high = 1e-2, log = true }\n")


def trials(folder):
    """Trials of a study that runs."""
    if not (folder / "study.journal").exists():
        return []
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    with contextlib.suppress(KeyError):  # made, but without a study
        study = optuna.load_study(study_name="tiny", storage=optuna.storages.JournalStorage(backend))
        return study.trials
    return []


def states(folder):
    return [trial.state.name for trial in trials(folder)]


def ended(folder):
    """How many trials were trained to the end, or stopped early."""
    return sum(state in ("COMPLETE", "PRUNED") for state in states(folder))


def wait_for(condition):
    limit = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < limit:
        time.sleep(0.03)


def kill_node(cluster, node):
    """End a node and all its processes at once, as when its power fails."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = map(int, Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split())
    for process in children:
        os.kill(process, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)


def tried_again(study):
    """Each trial that failed, and the one in its place, which has the values that had been drawn when it died."""
    places = {trial.user_attrs.get("again"): trial for trial in study.trials}
    return [(trial, places[trial.number]) for trial in study.trials if trial.state.name == "FAIL"]


def test_a_node_dies_during_the_study_and_every_trial_is_accounted_for(
    ray_cluster, grid_file, settings, tmp_path, capsys
):
    out, second = tmp_path / "out", ray_cluster.add_node(num_cpus=1)

    def busy():
        """Two are done and two run, all values of which are drawn."""
        there = trials(out)
        drawn = max((len(trial.params) for trial in there), default=0)
        running = [trial for trial in there if trial.state.name == "RUNNING" and len(trial.params) == drawn]
        return ended(out) >= 2 and len(running) == 2

    def kill():
        wait_for(lambda: busy() and time.sleep(0.1) is None and busy())
        kill_node(ray_cluster, second)

    killer = threading.Thread(target=kill)
    killer.start()
    code = run("tune", settings, "--grid", grid_file, "--out", out, "--ray", ray_cluster.address)
    killer.join()
    assert code == 0
    study = open_study(out, load_study(settings), open_grid(grid_file).digest)
    assert set(states(out)) <= {"COMPLETE", "PRUNED", "FAIL"}
    assert ended(out) == 8
    again = tried_again(study)
    assert len(again) == 1  # the dead node had one processor
    for trial, other in again:
        assert trial.params == other.params
        assert other.state.name in ("COMPLETE", "PRUNED")
    printed = capsys.readouterr()
    assert printed.err.count("its process died; to be tried again") == len(again)
    report = json.loads((out / "report.json").read_text())
    assert (report["trials"], report["interrupted"]) == (8, len(again))
    assert report["table"][0]["state"] == "complete"
    assert report["baseline_over_best"] > 1


def test_a_driver_dies_and_the_study_goes_on_without_a_cluster(ray_cluster, grid_file, settings, tmp_path, capsys):
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(Path(maury.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "maury", "tune", settings, "--grid", grid_file, "--out", out]
    process = subprocess.Popen([*command, "--ray", ray_cluster.address], env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: ended(out) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)  # the cluster ends what the driver had begun
    there = ended(out)
    assert 2 <= there < 8
    assert run("tune", settings, "--grid", grid_file, "--out", out, "--trials", there + 2) == 0
    assert f"resuming: {there} of {there + 2} trials are there" in capsys.readouterr().err
    study = open_study(out, load_study(settings), open_grid(grid_file).digest)
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED", "FAIL"}
    assert all(trial.params.items() <= other.params.items() for trial, other in tried_again(study))


class Cluster:
    """Ends the process of every task."""

    count = 1

    def __init__(self, journal, error):
        self.journal, self.error = journal, error

    def require_same(self, *_):
        pass

    def remote_object(self, maker):
        self.journal = maker[0](*maker[1])
        return self

    def call(self, method, *arguments):
        return getattr(self.journal, method)(*arguments)

    def map(self, maker, tasks, timeout_s, retries):
        for number, _ in tasks:
            yield number, self.error


def test_a_configuration_that_kills_its_processes_is_given_up(grid_file, settings, tmp_path):
    config = load_study(settings).model_copy(update={"trials": 2})
    journal = JournalActor(tmp_path / "out", config, base_of(config), open_grid(grid_file).digest)
    journal.conclude(journal.ask()[0], Outcome(0.1, 3, False))
    numbers = []
    for _ in range(4):
        assert journal.needs_trial()
        numbers.append(journal.ask()[0])
        assert not journal.needs_trial()
        journal.record_lost(numbers[-1])
    study = open_study(tmp_path / "out", config, open_grid(grid_file).digest)
    trials = [study.trials[number] for number in numbers]
    assert {trial.state.name for trial in trials} == {"FAIL"}
    assert [trial.user_attrs.get("again") for trial in trials] == [None, *numbers[:3]]
    assert len({trial.params["learning_rate"] for trial in trials}) == 1
    assert not [trial for trial in study.trials if trial.state.name == "WAITING"]
    number, other = journal.ask()
    assert other.learning_rate != trials[0].params["learning_rate"]
    journal.conclude(number, Outcome(0.2, 3, False))
    assert not journal.needs_trial()


def test_a_cluster_on_which_nothing_lives_and_a_trial_that_raises(grid_file, settings, tmp_path):
    config = load_study(settings)
    with pytest.raises(maury.cluster.LostError, match="the processes of 51 trials in a row died; the last: gone"):
        run_on_cluster(tmp_path / "a", grid_file, config, Cluster(None, maury.cluster.LostError("gone")))
    with pytest.raises(SynthesisError, match="KeyError: 'x'"):
        run_on_cluster(tmp_path / "b", grid_file, config, Cluster(None, SynthesisError("KeyError: 'x'")))


def test_no_cluster_is_one_line_and_exit_code_2(grid_file, settings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(maury.cluster, "_PATIENCE_S", 3600.0)  # refused, not given up after a time limit
    assert run("tune", settings, "--grid", grid_file, "--out", tmp_path / "a", "--ray", "127.0.0.1:9") == 2
    last = capsys.readouterr().err.strip().splitlines()
    assert len(last) == 1
    assert "Ray cluster 127.0.0.1:9: no connection" in last[0]
    assert run("tune", settings, "--grid", grid_file, "--out", tmp_path / "a", "--gpus", "0.5") == 2
    assert "give --ray as well" in capsys.readouterr().err


def test_a_gpu_is_asked_for_where_there_is_none(ray_cluster):
    with pytest.raises(ConfigError, match=r"has no GPU; a task needs 0\.25"):
        maury.cluster.RayWorkers(ray_cluster.address, gpus=0.25)
