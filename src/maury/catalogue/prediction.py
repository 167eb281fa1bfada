"""Predict a catalogue of spectra into a table on disk; parts that exist are kept, missing ones are made."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maury.catalogue.file_shards import TIMEOUT_S, FilePredictor, make_parts
from maury.catalogue.lists import FILES, FileList
from maury.catalogue.manifest import Output, identity, open_output, write_manifest
from maury.catalogue.packed import PackedFile, have_parallax, open_packed
from maury.catalogue.packed_shards import PackedShards
from maury.catalogue.parts import require_form
from maury.catalogue.prediction_options import CatalogueConfig
from maury.catalogue.table_columns import Column, columns_of, labels_of
from maury.cluster import RayWorkers
from maury.emulator import file_of
from maury.errors import ConfigError, FormatError, MauryError
from maury.files import check_writable, sha256
from maury.inference.components import check_components
from maury.inference.posterior import label_set
from maury.inference.refinement import further_labels
from maury.library import expand
from maury.networks import is_posterior, load_cached, pixel_wavelengths
from maury.networks.store import find
from maury.preparation.settings import check_settings
from maury.readers import ReadOptions
from maury.synthesis.pool import Maker, Workers

_PACKED, _FILES = 8192, 64
_HDF5 = (".h5", ".hdf5", ".hdf")

Advance = Callable[[int, int], None]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Summary:
    """The counts of a run.

    Attributes:
        folder: of the catalogue.
        results: rows in it.
        rejects: rows of its table of rejects.
        made: spectra processed in this run; the others are from an earlier one.
        seconds: duration of this run.
    """

    folder: Path
    results: int
    rejects: int
    made: int
    seconds: float


@dataclass(frozen=True)
class _Plan:
    config: CatalogueConfig
    output: Output
    columns: tuple[Column, ...]
    source: FileList | list[PackedFile]
    tasks: tuple[tuple[PackedFile, int, int], ...]
    known: dict[str, Any]


def run_catalogue(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: CatalogueConfig,
    *,
    workers: int = 1,
    ray: str | None = None,
    fresh: bool = False,
    retry: bool = False,
    start: Callable[[int, int, int], None] | None = None,
    advance: Advance | None = None,
    notify: Notify | None = None,
) -> Summary:
    """Stellar parameters of a catalogue of spectra. After an interruption the same call resumes.

    Args:
        source: a CSV or ECSV list, a folder, or HDF5 spectra on the network's pixels (a file or a pattern).
        out: the folder to write; its ending, .parquet or .fits, sets the format of the parts.
        config: settings.
        workers: number of processes; 1: this process alone. With ``ray``: largest number of tasks at the same time;
            1: one on each processor of the cluster.
        ray: address of a Ray cluster that shares the work, or "local"; all nodes must see the files under these names.
        fresh: delete an earlier catalogue in ``out``.
        retry: try rejects of an earlier run again.
        start: called once with the total number of spectra, and the results and rejects of finished parts.
        advance: called with results and rejects as they come.
        notify: called with notes for the user.

    Returns:
        Counts of results and rejects.

    Raises:
        FormatError: the list or the HDF5 file cannot be read, or an identifier occurs twice.
        ConfigError: ``out`` holds another catalogue, a setting is out of range, or the cluster does not answer or has
            nodes with other versions.
        OutputError: the output cannot be written; the same call resumes once it can.
    """
    begun = time.monotonic()
    notify = notify or (lambda message: None)
    plan = _plan(Path(os.path.expanduser(os.fspath(source))), Path(out), config)
    check_writable(plan.output.folder / "_probe")
    manifest = open_output(plan.output, plan.known, fresh)
    for note in plan.source.notes if isinstance(plan.source, FileList) else ():
        notify(note)
    done = _finished(plan.output, retry)
    results, rejects = (sum(counts[k] for counts in done.values()) for k in (0, 1))
    if done:
        notify(f"resumes: {len(done)} of {len(plan.output.sizes)} parts exist")
    if start is not None:
        start(sum(plan.output.sizes), results, rejects)
    made = 0
    for good, bad in _make(plan, set(done), workers, ray):
        results, rejects, made = results + good, rejects + bad, made + good + bad
        if advance is not None:
            advance(good, bad)
    seconds = time.monotonic() - begun
    counts = {"status": "finished", "results": results, "rejects": rejects}
    write_manifest(plan.output, manifest | counts | ({"last_run": _speed(made, seconds, workers)} if made else {}))
    return Summary(plan.output.folder, results, rejects, made, seconds)


def _speed(made: int, seconds: float, workers: int) -> dict[str, Any]:
    return {"spectra": made, "seconds": round(seconds, 2), "workers": workers}


def _plan(source: Path, out: Path, config: CatalogueConfig) -> _Plan:
    """Check everything that can be checked beforehand."""
    form = require_form(out)
    _, header = load_cached(config.model)
    names, posterior = header["labels"]["names"], is_posterior(header)
    packed = source.suffix.lower() in _HDF5
    fitted = config.fitted(packed)
    config = _absolute(config)
    models = {kind: {"sha256": digest} for kind, digest in _digests(config, fitted).items()}
    check_settings(velocity_range_kms=config.velocity_range)
    refined = posterior and fitted and config.refine is not False
    check_components(config.components, refined, several=False, priors=())
    ReadOptions(**config.reading)
    about = config.model_dump(mode="json", exclude={"model", "emulator"})
    for name in ("velocity_range", "reading", "components"):
        if not getattr(config, name):
            del about[name]  # default values are not stored: older manifests lack them, and must stay equal
    tasks: list[tuple[PackedFile, int, int]] = []
    found: FileList | list[PackedFile]
    if packed:
        if not posterior:
            raise ConfigError(f"{config.model}: gives point estimates; HDF5 catalogues need a network with a posterior")
        if config.reading:
            raise ConfigError(
                f"{', '.join(config.reading)}: for a list or a folder of files; HDF5 is read without them"
            )
        shard = config.shard or (_FILES if fitted else _PACKED)
        found = open_packed([path.absolute() for path in expand([source])], pixel_wavelengths(header))
        for file in found:
            tasks += [(file, first, min(first + shard, file.rows)) for first in range(0, file.rows, shard)]
        sizes = tuple(last - first for _, first, last in tasks)
        inputs = {
            "files": [{"name": file.path.name, "rows": file.rows, "sha256_sampled": file.digest} for file in found]
        }
    else:
        shard = config.shard or _FILES
        found = FileList(source)
        sizes = tuple(min(shard, found.rows - first) for first in range(0, found.rows, shard))
        inputs = {"files": [{"name": source.name, "rows": found.rows, "sha256": found.digest}]}
    about["shard"] = shard
    output = Output(out.absolute(), form, sizes)
    added = further_labels(config.emulator) if fitted else ()
    label_set(config.labels)
    label_names = labels_of((*names, *added), posterior, fitted, config.labels)
    derived = "parallax" in found.columns if isinstance(found, FileList) else fitted and have_parallax(found)
    together = isinstance(found, FileList) and "star" in found.columns
    two = refined and config.components != 1 and (not packed or config.components == 2)
    columns = columns_of(label_names, posterior, not packed, derived, fitted, together, two)
    return _Plan(
        config.model_copy(update={"shard": shard}),
        output,
        columns,
        found,
        tuple(tasks),
        identity(inputs, models, about),
    )


def _absolute(config: CatalogueConfig) -> CatalogueConfig:
    """Settings with absolute paths, as workers run elsewhere."""
    changes = {
        name: os.path.abspath(value) for name in ("model", "emulator") if os.path.exists(value := getattr(config, name))
    }
    files = {name: os.path.abspath(config.reading[name]) for name in FILES if name in config.reading}
    return config.model_copy(update=changes | {"reading": config.reading | files})


def models_of(config: CatalogueConfig, files: bool) -> dict[str, str]:
    """Checksums of the models, by which nodes of a cluster check that they have the same ones.

    Raises:
        FormatError: a model's file does not exist.
    """
    names = {"network": config.model, "emulator": config.emulator}
    return {f"{kind} {names[kind]}": digest for kind, digest in _digests(config, files).items()}


def _digests(config: CatalogueConfig, files: bool) -> dict[str, str]:
    """SHA-256 of the network, and of the emulator that files are prepared and refined with."""
    paths = {"network": find(config.model)} | ({"emulator": file_of(config.emulator)} if files else {})
    for kind, path in paths.items():
        if not path.is_file():
            raise FormatError(f"{path}: no such {kind}")
    return {kind: sha256(path) for kind, path in paths.items()}


def _finished(output: Output, retry: bool) -> dict[int, tuple[int, int]]:
    """Numbers of results and rejects of the finished parts; with ``retry``, parts with rejects are removed first."""
    done = {}
    for shard in range(len(output.sizes)):
        counts = output.done(shard)
        if counts is not None and retry and counts[1]:
            output.forget(shard)
        elif counts is not None:
            done[shard] = counts
    return done


def _make(plan: _Plan, skip: set[int], workers: int, ray: str | None) -> Iterator[tuple[int, int]]:
    if len(skip) == len(plan.output.sizes):
        return
    if isinstance(plan.source, FileList):
        maker: Maker = (FilePredictor, (plan.config,))
        with _mapper(maker, workers, ray, plan) as run:
            shard = plan.config.shard or _FILES
            yield from make_parts(plan.source, plan.output, shard, skip, plan.columns, plan.known, run)
        return
    tasks = ((number, (number, *task)) for number, task in enumerate(plan.tasks) if number not in skip)
    made = (plan.config, plan.output, plan.columns, plan.known)
    shards = PackedShards(*made)
    with _mapper((PackedShards, made), workers, ray, plan) as run:
        for number, result in run(tasks):
            failed = isinstance(result, MauryError)  # its process died, or could not write
            file, first, last = plan.tasks[number]
            yield shards.rejected(number, file, first, last, str(result)) if failed else result


@contextlib.contextmanager
def _mapper(maker: Maker, workers: int, ray: str | None, plan: _Plan) -> Iterator[Any]:
    """Function that runs ``maker`` on each task: in this process, in worker processes, or on a cluster."""
    if ray is not None:
        with RayWorkers(ray, workers if workers > 1 else None) as cluster:
            packed = not isinstance(plan.source, FileList)
            cluster.require_same(models_of, plan.config, plan.config.fitted(packed))
            yield lambda tasks: cluster.map(maker, tasks, TIMEOUT_S)
        return
    if workers == 1:
        call = maker[0](*maker[1])
        yield lambda tasks: ((number, call(*arguments)) for number, arguments in tasks)
        return
    with Workers(workers) as processes:
        yield lambda tasks: processes.map(maker, tasks, TIMEOUT_S)
