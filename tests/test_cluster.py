"""Work over a Ray cluster on this machine: the same table, a node that dies, errors in one line."""

from __future__ import annotations

import os
import time

import pytest

from maury.cluster import RayWorkers
from maury.errors import ConfigError, DomainError, SynthesisError

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
def cluster():
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def test_a_node_dies_and_every_task_is_accounted_for(cluster):
    second = cluster.add_node(num_cpus=2)
    tasks = [(k, (k,)) for k in range(40)]
    with RayWorkers(cluster.address) as workers:
        assert workers.count == 3
        results = {}
        for number, result in workers.map((Squares, (0.5,)), iter(tasks), 60.0):
            assert number not in results
            results[number] = result
            if len(results) == 8:
                cluster.remove_node(second, allow_graceful=False)
    assert sorted(results) == list(range(40))
    assert isinstance(results[13], DomainError)
    assert str(results[14]) == "KeyError: 'fourteen'"
    for number in set(range(40)) - {13, 14}:
        assert results[number] == number**2 + 0.5


def test_a_task_that_ends_its_process_and_the_others(cluster):
    with RayWorkers(cluster.address) as workers:
        results = dict(workers.map((Squares, (0,)), [(k, (66 if k == 1 else k,)) for k in range(4)], 60.0))
    assert isinstance(results[1], SynthesisError)
    assert "a process of the cluster died" in str(results[1])
    assert [results[k] for k in (0, 2, 3)] == [0, 4, 9]


def test_no_cluster():
    with pytest.raises(ConfigError, match="no connection"):
        RayWorkers("nothing:port")
    with pytest.raises(ConfigError, match=r"Ray cluster 127\.0\.0\.1:9: no connection \(.*refused"):
        RayWorkers("127.0.0.1:9")
