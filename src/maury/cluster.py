"""Work shared over a Ray cluster: the same calls as in worker processes, retried when a node or a process dies."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from maury import __version__
from maury.errors import ConfigError, MauryError, SynthesisError

Maker = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments, which make in each process the object that is then called with the tasks."""

_RETRIES = 3
_PATIENCE_S = 10.0
_LOOK_S = 0.5

_made: dict[str, Any] = {}
"""The object that this process made last, by the key of its maker."""


class RayWorkers:
    """Processes of a Ray cluster; use as a context manager.

    All nodes have to see the files under the same names, and to have the same version of maury. What is sent to a
    process are arguments, what comes back are results: no spectra or grids, when tasks name files.
    """

    def __init__(self, address: str, count: int | None = None) -> None:
        """Connect.

        Args:
            address: of the cluster's head ("host:port" or "auto"), or "local" to start one on this machine.
            count: tasks at the same time; by default one for each processor of the cluster.

        Raises:
            ConfigError: Ray is missing, no cluster answers, or it runs another version of Ray or Python.
        """
        self._ray = ray = _ray()
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        options: dict[str, Any] = {"num_cpus": count, "include_dashboard": False} if address == "local" else {}
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
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"Ray cluster {address}: no connection ({reason})") from error
        self.count = count or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ray.shutdown()

    def map(
        self, maker: Maker, tasks: Iterable[tuple[int, tuple[Any, ...]]], timeout_s: float
    ) -> Iterator[tuple[int, Any]]:
        """Call the object that ``maker`` makes with each task, as they get done.

        Tasks are taken only as processes get free. One whose process or node dies is tried up to three times more.

        Args:
            maker: makes the object in each process.
            tasks: numbers and arguments.
            timeout_s: longest time for one call, waiting for a process included.

        Yields:
            The number and the result, or the error.
        """
        ray, todo = self._ray, iter(tasks)
        call = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)
        shared, key = ray.put(maker), os.urandom(8).hex()
        running: dict[Any, tuple[int, float]] = {}
        try:
            while True:
                while len(running) < self.count and (task := next(todo, None)) is not None:
                    running[call.remote(key, shared, task[1], __version__)] = (task[0], time.monotonic())
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

    def _result(self, reference: Any) -> Any:
        """What a call returned, or the error in its place."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            return cause if isinstance(cause, MauryError) else SynthesisError(f"{type(cause).__name__}: {cause}")
        except self._ray.exceptions.RayError as error:
            return SynthesisError(f"a process of the cluster died ({' '.join(str(error).split())[:120]})")


def _require_answer(address: str) -> None:
    """Fail soon where no one listens: Ray itself tries for minutes.

    Raises:
        OSError: no one does.
        ValueError: the port is no number.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()


def _call(key: str, maker: Maker, arguments: tuple[Any, ...], version: str) -> Any:
    """Runs on a node: the object is made once in each process."""
    if version != __version__:
        raise ConfigError(f"a node of the cluster has maury {__version__}, the driver {version}: install the same")
    if key not in _made:
        _made.clear()
        _made[key] = maker[0](*maker[1])
    return _made[key](*arguments)


def _ray() -> Any:
    """Ray, which then reports nothing to its makers.

    Raises:
        ConfigError: it is missing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("--ray needs Ray: pip install 'maury[cluster]'") from error
    return ray
