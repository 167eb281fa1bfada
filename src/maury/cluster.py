"""Work shared over a Ray cluster: the same calls as in worker processes, retried when a node or a process dies."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import math
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from types import TracebackType
from typing import Any

from maury import __version__
from maury.errors import ConfigError, MauryError, SynthesisError

Maker = tuple[Callable[..., Any], tuple[Any, ...]]
"""A factory and its arguments: each process calls it once, and calls the object it returns with every task."""

Describe = Callable[..., dict[str, str]]
"""Returns what must be the same on all nodes: versions, hashes of files."""

RETRIES = 3
"""How often a task is repeated after its process or node died."""

_KEEP_CHILDREN = "RAY_kill_child_processes_on_worker_exit"
"""Variable that stops Ray from killing child processes: maury's end by themselves after removing temporary files."""

_PATIENCE_S = 10.0
_ANSWER_S = 120.0  # imports on a busy node
_LOOK_S = 0.5
_COUNT_S = 5.0

_made: dict[str, Any] = {}
"""The object that this process made last, by the key of its maker."""


class LostError(SynthesisError):
    """The process or the node of a task died."""


class VersionMismatchError(ConfigError):
    """A node of the cluster has another version, or another file under the same name."""


class RayWorkers:
    """Processes of a Ray cluster; use as a context manager.

    All nodes must see the files under the same names, and have the same versions of maury, Python and torch. Only
    arguments and results travel between nodes; a task names the files of its grid, so that no grid is sent.
    """

    def __init__(self, address: str, count: int | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
        """Connect, and compare the versions of all nodes.

        Args:
            address: of the cluster's head ("host:port" or "auto"), or "local" to start one on this machine.
            count: largest number of tasks at the same time; by default as many as the cluster has room for at any time.
            cpus: processors per task, may be a fraction.
            gpus: GPUs per task, may be a fraction.

        Raises:
            ConfigError: Ray is missing, no cluster answers, it runs another version of Ray or Python, or it has no GPU
                where one is asked for.
            VersionMismatchError: a node has other versions.
        """
        self._ray = ray = _ray()
        self._most, self._cpus, self._gpus = count, cpus, gpus
        self._required: list[tuple[Describe, tuple[Any, ...], dict[str, str]]] = []
        _connect(ray, address, math.ceil(count * cpus) if count else None, max(1, int(cpus)))
        try:
            if gpus and not ray.cluster_resources().get("GPU"):
                raise ConfigError(f"Ray cluster {address}: has no GPU; a task needs {gpus:g}")
            self.require_same(versions)
        except BaseException:
            ray.shutdown()
            raise

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ray.shutdown()

    @property
    def count(self) -> int:
        """Tasks that the cluster has room for now, at least one."""
        resources = self._ray.cluster_resources()
        rooms = [resources.get(kind, 0) / need for kind, need in (("CPU", self._cpus), ("GPU", self._gpus)) if need]
        room = max(1, int(min(rooms, default=1)))
        return room if self._most is None else min(room, self._most)

    def require_same(self, describe: Describe, *arguments: Any) -> None:
        """Check that ``describe`` returns the same on all nodes as here; nodes that join later are checked too.

        Args:
            describe: function of maury that returns versions or hashes.
            *arguments: its arguments.

        Raises:
            VersionMismatchError: a node differs; the message names node, item and both values.
            ConfigError: the description fails on a node, or a node does not answer.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        ray, here = self._ray, describe(*arguments)
        call = ray.remote(num_cpus=0, max_retries=0)(_described)
        answers = []
        for node in filter(itemgetter("Alive"), ray.nodes()):
            there = call.options(scheduling_strategy=OnNode(node["NodeID"], soft=False))
            answers.append((node["NodeID"], node["NodeManagerAddress"], there.remote(describe, *arguments)))
        for key, name, answer in answers:
            try:
                _compare(ray.get(answer, timeout=_ANSWER_S), here, name)
            except ray.exceptions.RayTaskError as error:
                raise ConfigError(f"node {name} of the cluster: {_cause(error)}") from error
            except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
                if any(node["NodeID"] == key and node["Alive"] for node in ray.nodes()):
                    raise ConfigError(f"node {name} of the cluster does not answer: {_one_line(error)}") from error
        self._required.append((describe, arguments, here))

    def remote_object(self, maker: Maker) -> Remote:
        """Start a process on this node with an object of ``maker``, which tasks on all nodes can call."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

        node = self._ray.get_runtime_context().get_node_id()
        host = self._ray.remote(num_cpus=0, scheduling_strategy=OnNode(node, soft=False))(_Host)
        return Remote(host.remote(maker))

    def map(
        self, maker: Maker, tasks: Iterable[tuple[int, tuple[Any, ...]]], timeout_s: float, retries: int = RETRIES
    ) -> Iterator[tuple[int, Any]]:
        """Run tasks on the object that ``maker`` makes in each process, and yield results as they finish.

        A task is taken from the iterable only when a process is free. It is repeated if its process or node dies.

        Args:
            maker: makes the object in each process.
            tasks: numbers and arguments.
            timeout_s: longest time for one call, waiting for a process included.
            retries: how often a task is repeated after its process or node died.

        Yields:
            The number and the result, or the error: `LostError` of a task whose processes died.

        Raises:
            VersionMismatchError: a node that came later has other versions or files.
        """
        ray, todo = self._ray, iter(tasks)
        call = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=retries)(_call)
        shared, key = ray.put((maker, self._required)), os.urandom(8).hex()
        running: dict[Any, tuple[int, float]] = {}
        room, counted = self.count, time.monotonic()
        try:
            while True:
                if time.monotonic() - counted > _COUNT_S:
                    room, counted = self.count, time.monotonic()
                while len(running) < room and (task := next(todo, None)) is not None:
                    running[call.remote(key, shared, task[1])] = (task[0], time.monotonic())
                if not running:
                    return
                ready, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_S)
                for reference in ready:
                    number, _ = running.pop(reference)
                    yield number, self._result(reference)
                for reference, (_, begun) in running.items():
                    if time.monotonic() - begun > timeout_s:
                        ray.cancel(reference, force=True)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def train(self, function: Callable[..., None], arguments: tuple[Any, ...], count: int, folder: str) -> None:
        """Run a function in processes that train together; when one dies all begin again, three times at most.

        The function resumes from its files, with a Lightning trainer of `lightning_parts`. Each process has a
        GPU where the cluster was asked for GPUs.

        Args:
            function: run in each process.
            arguments: its arguments.
            count: processes.
            folder: folder for Ray's own records of the run.

        Raises:
            ConfigError: the cluster has no room for so many.
            MauryError: raised in a process.
            LostError: processes died more than three times.
        """
        if count > self.count:
            raise ConfigError(f"the cluster has room for {self.count} of {count} processes that train together")
        os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
        from ray import train
        from ray.train.torch import TorchTrainer

        need = {"CPU": self._cpus} | ({"GPU": self._gpus} if self._gpus else {})
        trainer = TorchTrainer(
            _run_loop,
            train_loop_config={"function": function, "arguments": arguments},
            scaling_config=train.ScalingConfig(num_workers=count, use_gpu=bool(self._gpus), resources_per_worker=need),
            run_config=train.RunConfig(
                name="ray", storage_path=folder, failure_config=train.FailureConfig(max_failures=RETRIES)
            ),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            failures = list(getattr(error, "worker_failures", {}).values())
            cause = next((failure for failure in failures if isinstance(failure, MauryError)), None)
            raise cause or LostError(
                f"training on the cluster failed: {_one_line(failures[0] if failures else error)}"
            ) from error

    def _result(self, reference: Any) -> Any:
        """The result of a call; its `LostError` or other `MauryError` is returned, not raised."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = _cause(error)
            if isinstance(cause, VersionMismatchError):
                raise cause from error
            return cause
        except self._ray.exceptions.RayError as error:
            return LostError(f"a process of the cluster died ({_one_line(error)})")


class Remote:
    """An object in another process of the cluster, on which tasks and driver can call methods."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for its result.

        Raises:
            MauryError: raised there, or the process died.
        """
        ray = _ray()
        try:
            return ray.get(self._host.call.remote(method, *arguments))
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except ray.exceptions.RayError as error:
            raise LostError(f"a process of the cluster died ({_one_line(error)})") from error


class _Host:
    """Holds the object of a `Remote` in its process."""

    def __init__(self, maker: Maker) -> None:
        self._held = maker[0](*maker[1])

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object."""
        return getattr(self._held, method)(*arguments)


@functools.cache
def versions() -> dict[str, str]:
    """Versions that have to be the same on all nodes."""
    return {"maury": __version__, "Python": platform.python_version(), "torch": importlib.metadata.version("torch")}


def _described(describe: Describe, *arguments: Any) -> dict[str, str]:
    """Runs on a node."""
    return describe(*arguments)


def _compare(there: dict[str, str], here: dict[str, str], node: str) -> None:
    """Compare versions or hashes of a node with those of the driver.

    Raises:
        VersionMismatchError: they differ.
    """
    differ = [name for name in here if there.get(name) != here[name]]
    if differ:
        found = ", ".join(f"{name} {there.get(name, 'missing')}, the driver {here[name]}" for name in differ)
        raise VersionMismatchError(f"node {node} of the cluster has {found}; all nodes need the same")


def _connect(ray: Any, address: str, cpus: int | None, threads: int) -> None:
    """Connect to a cluster, or start one of so many processors on this machine.

    Raises:
        ConfigError: no cluster answers, or it runs another version of Ray or Python.
    """
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads), _KEEP_CHILDREN: "false"}
    options: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
    try:
        _require_answer(address)
        ray.init(
            address,
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"Ray cluster {address}: no connection ({_one_line(error, 200)})") from error


def _require_answer(address: str) -> None:
    """Check within seconds that Ray listens at an address; Ray's own connection attempts take minutes.

    Ray uses gRPC over HTTP/2 (RFC 9113, section 3.4): its server answers the client's preface with a settings frame.

    Raises:
        OSError: nothing answers, or a program other than Ray does.
        ValueError: the port is not a number.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as connection:
        if os.environ.get("RAY_USE_TLS") == "1":
            return
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
        answer = connection.recv(len(_SETTINGS))
        if answer[3:4] != _SETTINGS[3:4]:
            raise ConnectionError("another program than Ray listens there")


_SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # length 0, type 4, no flags, stream 0


def _run_loop(config: dict[str, Any]) -> None:
    """Run the training function; called by Ray in each training process."""
    config["function"](*config["arguments"])


def lightning_parts() -> tuple[Any, Any]:
    """Strategy and plugin of a Lightning trainer that shares steps with the other processes of `RayWorkers.train`."""
    _ray()
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    return RayDDPStrategy(), RayLightningEnvironment()


def _call(key: str, shared: tuple[Maker, list[tuple[Describe, tuple[Any, ...], dict[str, str]]]], task: Any) -> Any:
    """Runs on a node: versions and files are compared and the object is made once in each process."""
    if key not in _made:
        maker, required = shared
        for describe, arguments, expected in required:
            _compare(describe(*arguments), expected, platform.node())
        _made.clear()
        _made[key] = maker[0](*maker[1])
    return _made[key](*task)


def _cause(error: Any) -> MauryError:
    """The error that a task raised, as one of maury's."""
    cause = error.cause
    return cause if isinstance(cause, MauryError) else SynthesisError(f"{type(cause).__name__}: {cause}")


def _one_line(error: Exception, longest: int = 120) -> str:
    return " ".join(str(error).split())[:longest]


def _ray() -> Any:
    """Import Ray and switch its usage reports off.

    Raises:
        ConfigError: it is missing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("a cluster needs Ray: pip install 'maury[cluster]'") from error
    return ray
