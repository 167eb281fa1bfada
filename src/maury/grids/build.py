"""Build a grid with the emulator, in shards from which an interrupted run resumes; the bytes do not depend on that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maury import __version__
from maury.broadening import cutoff, remaining_resolution, transfer
from maury.cluster import RayWorkers
from maury.emulator import Emulator, Sampler, file_of, load
from maury.errors import FormatError, MauryError, OutputError
from maury.files import atomic_path, check_writable, sha256
from maury.grids import spc
from maury.grids.file import Advance, encode, quantise, write_grid
from maury.grids.plan import AnyGridConfig, Plan, make_plan
from maury.grids.spc import GridConfig
from maury.labels import FOUNDING
from maury.progress import silent
from maury.shards import Notify, move, open_shards, read_shard, shard_folder, write_shard
from maury.threads import one_thread

_LONGEST_S = 3600.0
"""Longest time for one shard on a cluster, seconds."""


def build_grid(
    path: str | os.PathLike[str],
    emulator: Emulator,
    digest: str,
    config: AnyGridConfig | None = None,
    advance: Advance = silent,
    notify: Notify = silent,
    cluster: RayWorkers | None = None,
    source: str = "packaged",
) -> None:
    """Build a grid: emulate every node once, broaden it with each rotation, sample, quantise, compress.

    Shards (one per Teff of the founding nodes, or per 64 nodes of the user) are kept in a hidden folder beside ``path``
    until the grid is complete, so that the same call resumes an interrupted one. Each node is computed by itself on one
    thread: the bytes of the grid depend on the settings and the emulator alone, not on interruptions or the number of
    cores.

    Args:
        path: the HDF5 file to write.
        emulator: the emulator, on the CPU.
        digest: SHA-256 of the emulator's file, stored as provenance.
        config: settings of the grid; None for the founding grid.
        advance: called with the number of spectra just computed.
        notify: called with a message if nodes are left out or shards of an interrupted run are found.
        cluster: computes each shard as a task, which writes it into the hidden folder; None for this machine.
        source: "packaged" or the emulator's file, from which machines of the cluster load it.

    Raises:
        ConfigError: no node lies within the ranges, or the emulator has other labels.
        VersionMismatchError: a machine of the cluster has another emulator.
        DomainError: a node, the window or the resolution is outside the emulator's range, or a flux is implausible.
        OutputError: the grid or a shard cannot be written.
    """
    config = config or GridConfig()
    path = Path(path)
    check_writable(path)
    plan = make_plan(config, emulator)
    if plan.left_out:
        notify(f"{plan.left_out} nodes are left out: the emulator's library has no spectra near them")
    inputs = {"settings": config.model_dump(), "emulator": digest}
    with shard_folder(path) as folder:
        shards = open_shards(folder, [f"{number:05d}" for number in range(len(plan.shards))], inputs, notify)
        missing = [number for number, shard in enumerate(shards) if _read(shard) is None]
        if len(missing) < len(shards):
            advance(len(plan.labels) - sum(plan.spectra(number) for number in missing))
        if cluster is None:
            maker = ShardMaker(emulator, config, plan, shards)
            with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
                for number in missing:
                    maker.make(number, pool, advance)
        else:
            _make_on_cluster(cluster, source, config, plan, shards, missing, advance)
        move(_assemble(folder, shards, plan, config, digest), path, shards)


def _make_on_cluster(
    cluster: RayWorkers,
    source: str,
    config: AnyGridConfig,
    plan: Plan,
    shards: list[Path],
    missing: list[int],
    advance: Advance,
) -> None:
    """Compute the missing shards as tasks of a cluster; when one raises an error, the shards of others are kept."""
    source = source if source == "packaged" else os.path.abspath(source)
    cluster.require_same(emulator_of, source)
    maker = (shard_maker, (source, config, [shard.absolute() for shard in shards]))
    for number, result in cluster.map(maker, ((number, (number,)) for number in missing), _LONGEST_S):
        if isinstance(result, MauryError):
            raise result
        advance(plan.spectra(number))
    lost = [shard for shard in shards if not shard.is_file()]
    if lost:
        raise OutputError(
            f"{lost[0]}: written on another machine, but missing here: all machines must share this folder"
        )


def emulator_of(source: str) -> dict[str, str]:
    """SHA-256 of an emulator's file on this machine, to compare machines of a cluster."""
    path = file_of(source)
    return {f"emulator {source}": sha256(path) if path.is_file() else "missing"}


def shard_maker(source: str, config: AnyGridConfig, shards: list[Path]) -> ShardMaker:
    """Load the emulator and return a `ShardMaker`, in a process of a cluster."""
    emulator = load(source)
    return ShardMaker(emulator, config, make_plan(config, emulator), shards)


class ShardMaker:
    """Computes the spectra of a shard and writes its file."""

    def __init__(self, emulator: Emulator, config: AnyGridConfig, plan: Plan, shards: list[Path]) -> None:
        self._nodes, self._plan, self._shards = NodeMaker(emulator, config, plan), plan, shards

    def make(self, number: int, pool: ThreadPoolExecutor, advance: Advance) -> None:
        """Compute and write a shard; threads of ``pool`` compute its nodes."""
        chunks = self._nodes.chunks(self._plan.shards[number], pool, advance)
        sizes = np.array([len(chunk) for chunk in chunks])
        write_shard(self._shards[number], sizes=sizes, data=np.frombuffer(b"".join(chunks), np.uint8))

    def __call__(self, number: int) -> None:
        """Compute and write a shard on one thread."""
        with one_thread(), ThreadPoolExecutor(1) as pool:
            self.make(number, pool, silent)


class NodeMaker:
    """Computes and compresses the spectra of nodes.

    Attributes:
        sampler: computes flux at the grid's pixels from modes.
        transfer: transfer functions of rotation and instrument (k, m), one row for each of the k rotations.
    """

    def __init__(self, emulator: Emulator, config: AnyGridConfig, plan: Plan) -> None:
        self.emulator = emulator
        self.plan = plan
        self.sampler = Sampler(emulator.grid, plan.points_aa, cutoff(config.resolution), average=plan.average)
        frequency = torch.from_numpy(emulator.grid.frequency[: self.sampler.modes])
        resolution = torch.tensor(config.resolution, dtype=torch.float64)
        self.transfer = transfer(
            frequency,
            vsini_kms=torch.from_numpy(plan.vsini_kms),
            resolution=remaining_resolution(resolution, emulator.native_resolution),
            limb_darkening=config.limb_darkening,
        ).float()

    def chunks(self, rows: slice, pool: ThreadPoolExecutor, advance: Advance) -> list[bytes]:
        """Compressed spectra of these rows of the plan's nodes; those of a node follow one another by rotation."""
        labels = torch.from_numpy(self.plan.nodes[rows]).float()
        with torch.no_grad():
            modes = self.emulator.modes(labels, self.sampler.modes)
        done: list[bytes] = []
        for part in pool.map(self._node, modes, range(rows.start, rows.stop)):
            done += part
            advance(len(part))
        return done

    @torch.no_grad()
    def _node(self, modes: Tensor, row: int) -> list[bytes]:
        flux = self.sampler(modes * self.transfer)
        return encode(quantise(flux.numpy(), self.plan.describe(row)))


def _read(shard: Path) -> list[bytes] | None:
    """Chunks of a shard, or None when it is missing or damaged."""
    arrays = read_shard(shard, "sizes", "data")
    if arrays is None:
        return None
    data, ends = arrays[1].tobytes(), np.cumsum(arrays[0])
    return [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _assemble(folder: Path, shards: list[Path], plan: Plan, config: AnyGridConfig, digest: str) -> Path:
    """Join the shards into one file inside the folder."""

    def chunks() -> Iterator[bytes]:
        for shard in shards:
            part = _read(shard)
            if part is None:
                raise FormatError(f"{shard}: disappeared or was damaged; run the same command again")
            yield from part

    attributes = {
        "preset": config.preset,
        "resolution": config.resolution,
        "limb_darkening": config.limb_darkening,
        "emulator_digest": digest,
        "settings": config.model_dump_json(),
        "maury": __version__,
    }
    if plan.space.names != FOUNDING or plan.fixed:
        attributes["fixed"] = json.dumps(plan.fixed)
    splits = spc.both_splits(plan.labels, config.seed, plan.space.names)
    whole = folder / "grid.h5"
    with atomic_path(whole) as temporary:
        write_grid(temporary, plan.wavelength_aa, plan.labels, chunks(), splits, config.seed, attributes, plan.space)
    return whole
