"""Synthesis over a Ray cluster: the library of one machine, crashes that cost one spectrum, a driver that dies."""

from __future__ import annotations

import os
import time

import pytest

import maury.synthesis.distributed
from maury.cli.app import main
from maury.cluster import RayWorkers, VersionMismatchError
from maury.errors import FormatError
from maury.library import read_library
from maury.synthesis import ClusterPool, PhysicsConfig, Workers, build_library, make_plan
from patience import PATIENCE_S
from synthesis_inputs import synthesis_folder
from synthesizers import home, refuse
from test_synthesis_build import settings, slopes

pytest.importorskip("ray")
pytest.importorskip("pysme", reason="needs the extra 'synthesis'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthesis_folder(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def workers():
    with Workers(1) as pool:
        yield pool


class StopError(Exception):
    """Ends a driver."""


def test_a_node_dies_and_the_library_is_that_of_one_machine(ray_cluster, tmp_path, folder, workers, monkeypatch):
    second = ray_cluster.add_node(num_cpus=1, env_vars={"SLOW": "0.1"})
    plan = make_plan(settings(folder, [*range(5010, 5100, 3), 5001, 5003, 5004]), workers)
    messages, done = [], 0

    def advance(count):
        nonlocal done
        done += count
        if done == 8:
            ray_cluster.remove_node(second, allow_graceful=False)
        if done == 20:
            raise StopError

    with RayWorkers(ray_cluster.address) as cluster:
        pool = ClusterPool(cluster, plan.config.physics)
        with pytest.raises(StopError):
            build_library(tmp_path / "a.h5", plan, pool, advance, messages.append, make=slopes)
        assert len(list((tmp_path / ".a.h5.shards").glob("*.npz"))) >= 17
        failures = build_library(tmp_path / "a.h5", plan, pool, lambda n: None, messages.append, make=slopes)
    assert "parts are there" in messages[-1]
    assert [failure.reason for failure in failures] == [
        "crashed with SIGSEGV",
        "the flux is not finite",
        "ArithmeticError: no convergence",
    ]
    build_library(tmp_path / "b.h5", plan, workers, make=slopes)
    assert (read_library(tmp_path / "a.h5").labels == read_library(tmp_path / "b.h5").labels).all()
    assert (read_library(tmp_path / "a.h5").counts == read_library(tmp_path / "b.h5").counts).all()


def where():
    """A synthesizer that tells its home."""
    return lambda _: home()


def other_code(files):
    """Stands in for `maury.synthesis.distributed.codes`: another version in each process."""
    return {"PySME": f"1.{os.getpid()}"}


def test_what_cannot_be_made_and_other_versions_end_it_and_nothing_is_left_behind(ray_cluster, monkeypatch):
    with RayWorkers(ray_cluster.address) as cluster:
        pool = ClusterPool(cluster, PhysicsConfig())
        [(_, place)] = pool.map((where, ()), [(0, (1,))], PATIENCE_S)
        assert os.path.isdir(place)
        with pytest.raises(FormatError, match="no such file of departure coefficients"):
            list(pool.map((refuse, ()), [(0, (1,))], PATIENCE_S))
        monkeypatch.setattr(maury.synthesis.distributed, "codes", other_code)
        with pytest.raises(VersionMismatchError, match=r"has PySME 1\.\d+, the driver 1\.\d+; all nodes need the same"):
            ClusterPool(cluster, PhysicsConfig())
    limit = time.monotonic() + PATIENCE_S
    while os.path.exists(os.path.dirname(place)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not os.path.exists(os.path.dirname(place))


def test_no_cluster(tmp_path, folder, capsys, monkeypatch):
    monkeypatch.setattr(maury.cluster, "_PATIENCE_S", 3600.0)  # refused, not given up after a time limit
    (folder / "labels.csv").write_text("teff,logg,mh\n5200,4.5,-0.5\n")
    files = ["--labels", folder / "labels.csv", "--line-list", folder / "a.lin", "--atmospheres", folder / "models"]
    with pytest.raises(SystemExit) as stop:
        main(["synthesize", *map(str, files), "--out", str(tmp_path / "a.h5"), "--ray", "127.0.0.1:9"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: Ray cluster 127.0.0.1:9: no connection")
