"""Read one file in a process of its own, with limits on time, memory and output: uploads are not trusted.

The parent calls `read_bounded`; the child is this module run as a program, for one file only. `make_ready` starts the
next child in advance, so that its imports are done when a file arrives. Arrays and texts are returned as ``.npz`` and
JSON, which, unlike pickles, hold only data.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from maury.errors import FormatError, MauryError
from maury.spectra import Observation, Spectrum

SECONDS = 20
"""Longest time to read a file."""

MEMORY_BYTES = 3 * 2**30
"""Most address space of the reading process; numpy and astropy alone take about 0.5 GB of it."""

MOST_PIXELS = 4_000_000
"""Pixels of all orders; an echelle spectrum has half a million."""

_OUTPUT_BYTES = 200 * 2**20
_AT_ONCE = threading.BoundedSemaphore(2)
_READY: list[subprocess.Popen[bytes]] = []
_READY_LOCK = threading.Lock()
_PER_PIXEL = ("wavelength_aa", "flux", "sigma", "mask")
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def read_bounded(
    content: bytes,
    name: str,
    hints: Mapping[str, Any],
    beside: Mapping[str, tuple[str, bytes]] = MappingProxyType({}),
    seconds: float = SECONDS,
) -> Observation:
    """Read a file's bytes with `maury.readers.read`.

    Args:
        content: the file.
        name: a safe file name (`maury.app.uploads.safe_name`); its ending helps to detect the format.
        hints: further arguments of ``read``, plain values.
        beside: arguments of ``read`` that are files, with their safe names and bytes, such as ``wavelength_file``.
        seconds: longest time.

    Raises:
        FormatError: the file cannot be read, or not within the limits.
    """
    with _AT_ONCE, tempfile.TemporaryDirectory(prefix="maury-app-") as folder:
        path, out = Path(folder) / "upload" / name, Path(folder) / "observation.npz"
        others = {key: Path(folder) / key / other for key, (other, _) in beside.items()}
        for file, data in ((path, content), *((others[key], data) for key, (_, data) in beside.items())):
            file.parent.mkdir()
            file.write_bytes(data)
        named = {**hints, **{key: str(other) for key, other in others.items()}}
        task = json.dumps({"path": str(path), "out": str(out), "hints": named})
        try:
            code, said = _run(task.encode(), seconds)
        except subprocess.TimeoutExpired as error:
            raise FormatError(f"{name}: not read within {seconds:g} s; is it a single spectrum?") from error
        if code == 2:
            reason = said.decode("utf-8", "replace").strip()
            raise FormatError(re.sub(rf"{re.escape(folder)}/\w+/", "", reason))
        if code != 0:
            raise FormatError(f"{name}: reading it needs too much memory or crashed; is it a single spectrum?")
        return _unpack(out, name)


def make_ready() -> None:
    """Start the process that reads the next file, unless one is ready."""
    with _READY_LOCK:
        if not _READY:
            _READY.append(_start())


def _start() -> subprocess.Popen[bytes]:
    """Start a process that loads the readers and reads its task from a pipe; it ends with this process."""
    # -P: nothing is imported from the current folder
    words = [sys.executable, "-P", "-m", "maury.app.worker"]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **_THREADS})


def _run(task: bytes, seconds: float) -> tuple[int, bytes]:
    """Exit code and output of a reading process.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    with _READY_LOCK:
        process = _READY.pop() if _READY else None
    if process is None or process.poll() is not None:
        process = _start()
    with process:
        try:
            said, _ = process.communicate(task, timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return process.returncode, said


def _unpack(path: Path, name: str) -> Observation:
    """The observation that the child wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        known = json.loads(str(arrays["known"]))
        orders = []
        for number, about in enumerate(known["orders"]):
            columns = {key: arrays[f"{key}_{number}"] for key in _PER_PIXEL if f"{key}_{number}" in arrays}
            orders.append(Spectrum(**columns, **about | {"provenance": about["provenance"] | {"file": name}}))
    return Observation(tuple(orders), known["barycentric_kms"], known["provenance"] | {"file": name})


def _pack(observation: Observation, path: str) -> None:
    """Write an observation for `_unpack`."""
    arrays: dict[str, Any] = {}
    orders = []
    for number, order in enumerate(observation.orders):
        for key in _PER_PIXEL:
            if (values := getattr(order, key)) is not None:
                arrays[f"{key}_{number}"] = values
        about = {key: getattr(order, key) for key in ("frame", "normalised", "resolution", "provenance")}
        about["normalised"] = bool(about["normalised"])
        orders.append(about)
    known = {
        "orders": orders,
        "barycentric_kms": observation.barycentric_kms,
        "provenance": observation.provenance,
    }
    np.savez(path, known=np.array(json.dumps(known, default=_plain)), **arrays)


def _plain(value: Any) -> Any:
    """A value for JSON: numpy's numbers as numbers, anything else as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _limit() -> None:
    """Limit memory and processor time of this process; on systems without limits, only the parent's timeout holds."""
    try:
        import resource
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, _OUTPUT_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, hard))


def answer(task: bytes) -> tuple[int, bytes]:
    """Read the file that a task names, and write its arrays.

    Returns:
        The exit code and what is printed: 0 and nothing, or 2 and the reason in one line.
    """
    from maury.readers import read

    known = json.loads(task)
    try:
        observation = read(known["path"], **known["hints"])
        pixels = sum(order.flux.size for order in observation.orders)
        if pixels > MOST_PIXELS:
            raise FormatError(f"{known['path']}: {pixels:,} pixels; at most {MOST_PIXELS:,} are allowed")
        _pack(observation, known["out"])
    except MauryError as error:
        return 2, " ".join(str(error).split()).encode()
    return 0, b""


def _main() -> int:
    """Read the file named on standard input, within the limits."""
    import maury.readers  # noqa: F401  before a file arrives

    if not (task := sys.stdin.buffer.read()):
        return 0  # the server is gone
    _limit()
    code, said = answer(task)
    sys.stdout.buffer.write(said)
    return code


if __name__ == "__main__":
    sys.exit(_main())
