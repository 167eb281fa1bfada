"""Build a library spectrum by spectrum, so that an interrupted run resumes; the file lists spectra that failed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from maury import __version__
from maury.errors import FormatError, SynthesisError
from maury.files import check_writable, sha256
from maury.labels import LABELS
from maury.library import SCALE, Library, write_library
from maury.progress import Advance, silent
from maury.shards import Notify, move, open_shards, read_shard, shard_folder, write_shard
from maury.synthesis import engine
from maury.synthesis.atmospheres import AtmosphereGrid, read_atmospheres
from maury.synthesis.changes import changed_lines
from maury.synthesis.departures import read_departures
from maury.synthesis.linelists import LineList, read_lines
from maury.synthesis.pool import Maker, Pool, Workers
from maury.synthesis.settings import PACKAGED_CHANGES, PhysicsConfig, SynthesisConfig
from maury.synthesis.spectra import each, pysme_maker
from maury.synthesis.targets import Targets, make_targets
from maury.wavelengths import Floats

MakeMaker = Callable[[LineList, Floats, PhysicsConfig, LineList | None], Maker]


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a library before its synthesis."""

    config: SynthesisConfig  # settings, with the digests of the inputs
    lines: LineList  # spectral lines
    cool: LineList | None  # further lines for cool stars
    atmospheres: AtmosphereGrid  # model atmospheres
    targets: Targets  # labels of the spectra
    code: str  # version of PySME
    notes: tuple[str, ...]  # conversions made and inputs skipped


@dataclass(frozen=True)
class Failure:
    """A spectrum whose synthesis failed.

    Attributes:
        row: row in the design, counted from 1.
        labels: labels by name.
        reason: message of the second failure.
    """

    row: int
    labels: dict[str, float]
    reason: str

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:g}" for name, value in self.labels.items())
        return f"row {self.row} ({values}): {self.reason}"


def make_plan(config: SynthesisConfig, workers: Workers) -> Plan:
    """Read atmospheres and line list, draw the labels, and check all inputs.

    Raises:
        FormatError: a line list, an atmosphere or a table cannot be read, or has another digest than the settings.
        DomainError: labels outside the atmospheres, or a window that the lines do not cover.
        ConfigError: a design without a point.
        SynthesisError: PySME is missing.
    """
    atmospheres = read_atmospheres(config.atmospheres, config.vturb, config.extrapolate_logg, config.extrapolate_mh)
    targets = make_targets(config.design, atmospheres)
    lines = read_lines(config.line_list, workers)
    read = [(config.line_list, lines.digest), (config.atmospheres, atmospheres.digest)]
    if config.changes:
        changes = PACKAGED_CHANGES if config.changes == "packaged" else Path(config.changes)
        lines = changed_lines(lines, changes)
        read.append((changes.name, sha256(changes)))
    lines.require(*config.window)
    notes = [*lines.notes, *atmospheres.notes, *targets.notes]
    wavelength = config.wavelength_aa
    if wavelength[0] < lines.span[0] or wavelength[-1] > lines.span[1]:
        notes.append(
            f"the margins from {wavelength[0]:.2f} to {wavelength[-1]:.2f} Å reach beyond the lines, which end at "
            f"{lines.span[0]:.2f} and {lines.span[1]:.2f} Å"
        )
    if targets.extrapolated.any():
        notes.append(f"log g of {targets.extrapolated.sum()} spectra lies below the lowest models: extrapolated")
    cool = read_lines(config.cool_lines, workers) if config.cool_lines else None
    if cool is not None:
        lines.joined(cool)
        read.append((config.cool_lines, cool.digest))
    if config.physics.departures is not None:
        departures = read_departures(config.physics.departures)
        departures.require(lines.species)
        read += list(departures.digests.items())
        clamped = departures.clamped(*targets.complete[:, :4].T)
        if clamped.any():
            notes.append(
                f"{clamped.sum()} of {len(clamped)} spectra lie outside the range of a departure: clamped to it"
            )
    digests = _checked_digests(config, {Path(path).name: digest for path, digest in read})
    code = workers.run(engine.version)
    return Plan(config.model_copy(update={"digests": digests}), lines, cool, atmospheres, targets, code, tuple(notes))


def _checked_digests(config: SynthesisConfig, found: dict[str, str]) -> dict[str, str]:
    """Return the digests found, by file name; `FormatError` where the settings have another."""
    for name, expected in config.digests.items():
        if found.get(name, expected) != expected:
            raise FormatError(
                f"{name}: not the file of this recipe: SHA-256 {found[name][:12]}..., expected {expected[:12]}..."
            )
    return found


def build_library(
    path: str | os.PathLike[str],
    plan: Plan,
    workers: Pool,
    advance: Advance = silent,
    notify: Notify = silent,
    make: MakeMaker = pysme_maker,
) -> list[Failure]:
    """Synthesise a library, write it, and return the spectra that failed.

    Each spectrum is stored in a hidden folder beside ``path`` until the library is complete, so that the same call
    resumes an interrupted one. Spectra that fail twice are listed in the file with their labels.

    Args:
        path: HDF5 file to write.
        plan: labels, lines and atmospheres of the spectra.
        workers: processes, or a cluster.
        advance: called with the number of spectra just done.
        notify: called with a message when spectra of an interrupted build are found.
        make: makes the synthesizer in each worker; PySME by default.

    Raises:
        SynthesisError: all spectra failed.
        OutputError: the library cannot be written.
    """
    path = Path(path)
    check_writable(path)
    targets, config = plan.targets, plan.config
    maker = make(plan.lines, config.wavelength_aa, config.physics, plan.cool)
    failures: dict[int, str] = {}
    inputs = {
        "settings": config.recipe(),
        "labels": targets.complete.tolist(),
        "code": plan.code,
    }
    with shard_folder(path) as folder:
        shards = open_shards(folder, [f"{row:06d}" for row in range(len(targets))], inputs, notify)
        missing = [row for row, shard in enumerate(shards) if read_shard(shard, "counts") is None]
        if len(missing) < len(shards):
            advance(len(shards) - len(missing))
        done = each(maker, plan.atmospheres, targets.complete, missing, workers, config.physics.timeout)
        for row, result in done:
            if isinstance(result, SynthesisError):
                failures[row] = str(result)
            else:
                write_shard(shards[row], counts=np.round(result / SCALE).astype(np.uint16))
            advance(1)
        failed = [
            Failure(row + 1, dict(zip(targets.names, targets.labels[row].tolist(), strict=True)), failures[row])
            for row in sorted(failures)
        ]
        if len(failed) == len(targets):
            raise SynthesisError(f"{path}: not one of {len(targets)} spectra could be made: {failed[0]}")
        good = [shard for row, shard in enumerate(shards) if row not in failures]
        move(_assemble(folder, good, plan, failed), path, good)
    return failed


def _assemble(folder: Path, shards: list[Path], plan: Plan, failed: list[Failure]) -> Path:
    """Join the spectra into one file inside the folder."""
    counts = np.empty((len(shards), len(plan.config.wavelength_aa)), np.uint16)
    for row, shard in enumerate(shards):
        arrays = read_shard(shard, "counts")
        if arrays is None:
            raise FormatError(f"{shard}: disappeared or was damaged; run the same command again")
        counts[row] = arrays[0]
    targets = plan.targets
    keep = np.setdiff1d(np.arange(len(targets)), [failure.row - 1 for failure in failed])
    whole = folder / "library.h5"
    library = Library(
        plan.config.wavelength_aa,
        targets.labels[keep],
        counts,
        SCALE,
        targets.kind[keep],
        attributes=_attributes(plan),
        names=targets.names,
        extrapolated=targets.extrapolated[keep],
    )
    write_library(library, whole)
    with h5py.File(whole, "r+") as file:
        columns = [("row", "i8"), *((name, "f8") for name in targets.names), ("reason", h5py.string_dtype())]
        rows = [(failure.row, *failure.labels.values(), failure.reason) for failure in failed]
        file["failures"] = np.array(rows, dtype=columns)
        file["failures"].attrs["meaning"] = "spectra that could not be made; row: in the design, from 1"
    return whole


def _attributes(plan: Plan) -> dict[str, Any]:
    """Attributes of the library: how it was made."""
    config = plan.config
    domain = {"domain": json.dumps(plan.targets.domain)} if plan.targets.domain else {}
    return domain | {
        "code": f"PySME {plan.code}, {_equilibrium(config.physics)}, plane-parallel, "
        f"{config.physics.sampling} sampling",
        "line_list": Path(config.line_list).name,
        "cool_lines": Path(config.cool_lines).name,
        "atmospheres": f"{Path(config.atmospheres).name}, vturb {config.vturb:g} km/s, interpolated layer by layer",
        "digests": json.dumps(config.digests),
        "recipe": json.dumps(config.recipe()),
        "recipe_digest": config.recipe_digest,
        "solar_scale": "Asplund et al. 2009",
        "rule": "O = max(Mg, C - 0.05); Ne, Si, S follow Mg",
        "labels_unit": ", ".join(f"{name}: {LABELS[name].unit}" for name in plan.targets.names),
        "window": json.dumps(config.window),
        "settings": config.model_dump_json(),
        "notes": "\n".join(plan.notes),
        "maury": __version__,
    }


def _equilibrium(physics: PhysicsConfig) -> str:
    """Departures from LTE in the settings, in words."""
    kinds = []
    if physics.departures is not None:
        species = dict.fromkeys(name for correction in physics.departures.corrections for name in correction.species)
        kinds.append(f"departures from LTE of {', '.join(species)} as changes of log gf")
    if physics.nlte:
        kinds.append(f"NLTE of {', '.join(physics.nlte)}")
    return ", ".join(kinds) or "LTE"
