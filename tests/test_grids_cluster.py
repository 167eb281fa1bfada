"""A grid built over a Ray cluster: the same bytes when processes and driver die, one emulator on all nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import maury
from maury.cli.app import main
from maury.cluster import RayWorkers, VersionMismatchError
from maury.emulator import PACKAGED, load
from maury.errors import OutputError
from maury.files import sha256
from maury.grids import GridConfig, build, build_grid

pytest.importorskip("ray")

OPTIONS = ["--teff", "5000", "5750", "--logg", "4", "4.5", "--mh", "0", "0", "--vsini", "0", "4"]
SMALL = GridConfig(teff=(5000, 5750), logg=(4, 4.5), mh=(0, 0), vsini=(0, 4))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a build of four shards without a cluster."""
    path = tmp_path_factory.mktemp("whole") / "grid.h5"
    build_grid(path, load("packaged"), sha256(PACKAGED), SMALL)
    return path.read_bytes()


def die_once(source, config, shards):
    """Stands in for `build.shard_maker`: the process that first comes to the second shard dies."""
    mark = shards[0].parent.parent / "died"
    make = build.shard_maker(source, config, shards)

    def call(number):
        if number == 1 and not mark.exists():
            mark.touch()
            os._exit(1)
        return make(number)

    return call


def test_a_driver_and_then_a_process_die_and_the_bytes_are_those_of_one_machine(
    ray_cluster, tmp_path, whole, monkeypatch
):
    path = tmp_path / "grid.h5"
    environment = os.environ | {"PYTHONPATH": str(Path(maury.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "maury", "grid", "build", "--out", path, *OPTIONS, "--ray", ray_cluster.address]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    first = tmp_path / ".grid.h5.shards" / "00000.npz"
    while not first.exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    time.sleep(1)  # the cluster ends what the driver had begun
    (first.parent / "00001.npz").unlink(missing_ok=True)
    monkeypatch.setattr(build, "shard_maker", die_once)
    messages, seen = [], []
    with RayWorkers(ray_cluster.address) as cluster:
        build_grid(path, load("packaged"), sha256(PACKAGED), SMALL, seen.append, messages.append, cluster)
    assert path.read_bytes() == whole
    assert (tmp_path / "died").exists()
    assert sum(seen) == 32
    assert "parts are there" in messages[0]


def emulator_elsewhere(source):
    """Stands in for `build.emulator_of`: another file on each node."""
    return {f"emulator {source}": f"{os.getpid()}"}


def unwritten(source, config, shards):
    """Stands in for `build.shard_maker`: what is written is not seen by the driver."""
    return lambda number: None


def test_nodes_with_another_emulator_or_another_disk_are_refused(ray_cluster, tmp_path, monkeypatch):
    inputs = (load("packaged"), sha256(PACKAGED), SMALL)
    with RayWorkers(ray_cluster.address) as cluster, monkeypatch.context() as patch:
        patch.setattr(build, "shard_maker", unwritten)
        with pytest.raises(
            OutputError, match=r"00000\.npz: written on another machine, but missing here: all machines must share"
        ):
            build_grid(tmp_path / "a.h5", *inputs, cluster=cluster)
        patch.setattr(build, "emulator_of", emulator_elsewhere)
        with pytest.raises(VersionMismatchError, match="has emulator packaged "):
            build_grid(tmp_path / "a.h5", *inputs, cluster=cluster)
    assert os.listdir(tmp_path) == []


def test_no_cluster(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["grid", "build", "--out", str(tmp_path / "a.h5"), *OPTIONS, "--ray", "127.0.0.1:9"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: Ray cluster 127.0.0.1:9: no connection")
