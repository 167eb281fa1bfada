"""Control of worker processes: start, call, time out, restart, distribute tasks."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, cast

from maury.errors import MauryError, SynthesisError
from maury.synthesis.worker import receive, send

Maker = tuple[Callable[..., Any], tuple[Any, ...]]
"""Function and arguments that make, in each worker, the object to be called with the tasks."""

_PREPARE_S = 120.0  # imports on a busy machine


class WorkerError(Exception):
    """A worker crashed, or was stopped because it took too long."""


class Worker:
    """Process that starts at the first call.

    It has a private home directory, as PySME writes into the home and the current directory; stdout and stderr go to a
    file there. Paths in arguments must be absolute.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._made: Maker | None = None

    def call(self, function: Callable[..., Any] | None, *arguments: Any, timeout_s: float, keep: bool = False) -> Any:
        """Run a function in the process, or (None) the object kept there by ``keep``, and return its result.

        Raises:
            WorkerError: the process crashed or took longer than ``timeout_s``.
            MauryError: raised by the function.
            SynthesisError: the text of any other error of the function.
        """
        process = self._process = self._process or self._start()
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            send(cast(BinaryIO, process.stdin), (function, arguments, keep))
            good, result = pickle.loads(receive(cast(BinaryIO, process.stdout)))
        except (EOFError, OSError) as error:
            raise WorkerError(self._epitaph(late.is_set(), timeout_s)) from error
        finally:
            timer.cancel()
        if good:
            return result
        raise result if isinstance(result, MauryError) else SynthesisError(result)

    def prepare(self, maker: Maker, timeout_s: float) -> None:
        """Make the object to call, unless the process already has it."""
        if self._made is not maker or self._process is None:
            self.call(maker[0], *maker[1], timeout_s=timeout_s, keep=True)
            self._made = maker

    def close(self) -> None:
        """Stop the process."""
        process, self._process, self._made = self._process, None, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _start(self) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        home = str(self.home)
        places = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "MPLCONFIGDIR": home}
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        environment = os.environ | places | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        with open(self.home / "messages.txt", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "maury.synthesis.worker", home],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=home,  # PySME's library writes a log where it runs
                start_new_session=True,  # an interrupt at the keyboard is for the parent
            )

    def _epitaph(self, late: bool, timeout_s: float) -> str:
        """Clean up after a process that died, and describe the reason."""
        process = self._process
        assert process is not None
        code = process.wait()
        self.close()
        if late:
            return f"no answer within {timeout_s:g} s"
        if code < 0:
            return f"crashed with {signal.Signals(-code).name}"
        last = (self.home / "messages.txt").read_text(errors="replace").strip().splitlines()
        return f"ended with exit code {code}{': ' + last[-1] if last else ''}"


class Pool(Protocol):
    """Distributes tasks: `Workers` on this machine, or a cluster."""

    def map(
        self, maker: Maker, tasks: Iterable[tuple[int, tuple[Any, ...]]], timeout_s: float
    ) -> Iterator[tuple[int, Any]]:
        """Call the object made by ``maker`` with each task; yield number and result or error as they are completed."""


class Workers:
    """A number of worker processes; use as a context manager."""

    def __init__(self, count: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="maury-", ignore_cleanup_errors=True)
        self._workers = [Worker(Path(self._folder.name) / str(i)) for i in range(count)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop all processes and remove their homes."""
        for worker in self._workers:
            worker.close()
        self._folder.cleanup()

    def run(self, function: Callable[..., Any], *arguments: Any, timeout_s: float = 300.0) -> Any:
        """Run one function in a worker.

        Raises:
            MauryError: raised there, or the worker died.
        """
        try:
            return self._workers[0].call(function, *arguments, timeout_s=timeout_s)
        except WorkerError as error:
            raise SynthesisError(f"a worker process {error}") from error

    def map(
        self, maker: Maker, tasks: Iterable[tuple[int, tuple[Any, ...]]], timeout_s: float
    ) -> Iterator[tuple[int, Any]]:
        """Call the object made by ``maker`` with each task.

        A task whose worker crashes, hangs or raises an error is tried once more in a new process.

        Args:
            maker: makes the object in each process; an error there stops all tasks.
            tasks: number and arguments of each task, taken when a worker is free.
            timeout_s: longest time for one call.

        Yields:
            Number and result of each task, or the `SynthesisError` of its second failure, in order of completion.

        Raises:
            MauryError: the object cannot be made.
        """
        todo, lock, done = iter(tasks), threading.Lock(), queue.Queue[tuple[int | None, Any]]()
        stopped = threading.Event()

        def serve(worker: Worker) -> None:
            try:
                while not stopped.is_set():
                    with lock:
                        task = next(todo, None)
                    if task is None:
                        break
                    done.put((task[0], _twice(worker, maker, task[1], timeout_s, stopped)))
                done.put((None, None))
            except BaseException as error:
                done.put((None, error))

        threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                number, result = done.get()
                if number is not None:
                    yield number, result
                elif result is not None:
                    raise result
                else:
                    running -= 1
        finally:
            stopped.set()
            while running and any(thread.is_alive() for thread in threads):  # left early: do not wait for spectra
                for worker in self._workers:
                    worker.close()
                threads[0].join(0.1)
            for thread in threads:
                thread.join()


def _twice(worker: Worker, maker: Maker, arguments: tuple[Any, ...], timeout_s: float, stopped: threading.Event) -> Any:
    """The result of one task, or the error of its second failure."""
    failure = SynthesisError("stopped")
    for attempt in (1, 2):
        if stopped.is_set():
            break
        try:
            worker.prepare(maker, _PREPARE_S + timeout_s)
        except WorkerError as error:
            if attempt == 2:
                raise SynthesisError(f"a worker process cannot be prepared: it {error}") from error
            continue
        try:
            return worker.call(None, *arguments, timeout_s=timeout_s)
        except (WorkerError, MauryError) as error:
            failure = SynthesisError(str(error))
            worker.close()
    return failure
