"""Work over a Ray cluster on this machine: the same table, a node that dies, errors in one line."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

import maury
import maury.cluster
from maury.cluster import RayWorkers, VersionMismatchError, versions
from maury.errors import ConfigError, DomainError, SynthesisError
from patience import PATIENCE_S

ray = pytest.importorskip("ray")


class Squares:
    """Called with a number; 13 is refused, 66 ends the process."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, number):
        time.sleep(0.1)
        if number == 13:
            raise DomainError("13: not allowed")
        if number == 14:
            raise KeyError("fourteen")
        if number == 66:
            os._exit(1)
        return number**2 + self.offset


@pytest.fixture
def listener():
    """Makes something that listens at a port and answers with some bytes, or never."""
    sockets = []

    def listen(answer):
        sockets.append(server := socket.create_server(("127.0.0.1", 0)))

        def serve():
            sockets.append(connection := server.accept()[0])
            if answer:
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield listen
    for each in sockets:
        each.close()


def test_a_node_dies_and_every_task_is_accounted_for(ray_cluster):
    second = ray_cluster.add_node(num_cpus=2)
    tasks = [(k, (k,)) for k in range(40)]
    with RayWorkers(ray_cluster.address) as workers:
        assert workers.count == 3
        results = {}
        for number, result in workers.map((Squares, (0.5,)), iter(tasks), PATIENCE_S):
            assert number not in results
            results[number] = result
            if len(results) == 8:
                ray_cluster.remove_node(second, allow_graceful=False)
    assert sorted(results) == list(range(40))
    assert isinstance(results[13], DomainError)
    assert str(results[14]) == "KeyError: 'fourteen'"
    for number in set(range(40)) - {13, 14}:
        assert results[number] == number**2 + 0.5


def test_a_task_that_ends_its_process_and_the_others(ray_cluster):
    with RayWorkers(ray_cluster.address) as workers:
        results = dict(workers.map((Squares, (0,)), [(k, (66 if k == 1 else k,)) for k in range(4)], PATIENCE_S))
    assert isinstance(results[1], SynthesisError)
    assert "a process of the cluster died" in str(results[1])
    assert [results[k] for k in (0, 2, 3)] == [0, 4, 9]


def test_no_cluster():
    with pytest.raises(ConfigError, match="no connection"):
        RayWorkers("nothing:port")
    with pytest.raises(ConfigError, match=r"Ray cluster 127\.0\.0\.1:9: no connection \(.*refused"):
        RayWorkers("127.0.0.1:9")


def test_something_else_than_ray_listens_there(listener, monkeypatch):
    monkeypatch.setattr(maury.cluster, "_PATIENCE_S", 3600.0)  # its answer decides, not a time limit
    with pytest.raises(ConfigError, match=r"no connection \(another program than Ray listens there\)"):
        RayWorkers(listener(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


def test_nothing_is_answered(listener, monkeypatch):
    monkeypatch.setattr(maury.cluster, "_PATIENCE_S", 0.5)
    with pytest.raises(ConfigError, match=r"no connection \(timed out\)"):
        RayWorkers(listener(b""))


def site():
    """What the environment of a node tells, as a file there would."""
    return {"network": os.environ.get("SITE", "a")}


def test_a_node_with_other_versions_is_refused(ray_cluster, monkeypatch):
    monkeypatch.setattr(maury.cluster, "__version__", "9.9")
    versions.cache_clear()
    try:
        with pytest.raises(
            VersionMismatchError, match=rf"node [\d.]+ of the cluster has maury {maury.__version__}, the driver 9\.9"
        ):
            RayWorkers(ray_cluster.address)
    finally:
        monkeypatch.undo()
        versions.cache_clear()
    assert not ray.is_initialized()
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    with pytest.raises(ConfigError, match=r"no connection \(Version mismatch"):
        RayWorkers(ray_cluster.address)


def test_a_node_with_another_file_is_refused_also_when_it_comes_later(ray_cluster, monkeypatch):
    monkeypatch.setattr(maury.cluster, "_COUNT_S", 0.1)
    with RayWorkers(ray_cluster.address) as workers:
        workers.require_same(site)
        ray_cluster.add_node(num_cpus=2, env_vars={"SITE": "b"})
        with pytest.raises(VersionMismatchError, match="has network b, the driver a; all nodes need the same"):
            list(workers.map((Squares, (0,)), ((k, (k,)) for k in range(15, 60)), PATIENCE_S))
    with (
        RayWorkers(ray_cluster.address) as workers,
        pytest.raises(VersionMismatchError, match="has network b, the driver a"),
    ):
        workers.require_same(site)
