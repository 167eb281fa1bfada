"""Synthesise spectra on a Ray cluster, each in a process whose crash costs one spectrum only."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maury.cluster import LostError, RayWorkers
from maury.errors import MauryError, SynthesisError
from maury.files import sha256
from maury.synthesis.pool import Maker, Workers
from maury.synthesis.settings import PhysicsConfig


class IsolatedSynthesizer:
    """Runs a synthesizer in a worker process beside Ray's process.

    A crash or a hang of the synthesis code costs one spectrum and does not affect Ray's process.
    """

    def __init__(self, maker: Maker, timeout_s: float) -> None:
        self._maker, self._timeout_s, self._worker = maker, timeout_s, Workers(1)

    def __call__(self, *task: Any) -> Any:
        """Return the spectrum, or the `SynthesisError` of the second failure."""
        [(_, result)] = self._worker.map(self._maker, [(0, task)], self._timeout_s)
        return result


class ClusterPool:
    """Distributes spectra over a cluster, as `Workers` does over processes of this machine."""

    def __init__(self, cluster: RayWorkers, physics: PhysicsConfig) -> None:
        """Check that all machines have the same PySME and files.

        Raises:
            VersionMismatchError: a node has another PySME, or another file of departure coefficients.
        """
        self._cluster = cluster
        cluster.require_same(codes, physics.absolute().files())

    def map(
        self, maker: Maker, tasks: Iterable[tuple[int, tuple[Any, ...]]], timeout_s: float
    ) -> Iterator[tuple[int, Any]]:
        """As `Workers.map`; a spectrum whose node dies is tried up to three times more."""
        longest = 4 * (timeout_s + 300)  # two tries, each with a start, and a wait for a process
        for number, result in self._cluster.map((IsolatedSynthesizer, (maker, timeout_s)), tasks, longest):
            if isinstance(result, MauryError) and not isinstance(result, LostError | SynthesisError):
                raise result
            yield number, result


def codes(files: list[str]) -> dict[str, str]:
    """Version of PySME and hashes of files on this machine, which determine its spectra."""
    try:
        version = importlib.metadata.version("pysme-astro")
    except importlib.metadata.PackageNotFoundError:
        version = "missing"
    return {"PySME": version} | {file: sha256(file) if Path(file).is_file() else "missing" for file in files}
