"""The import itself: which spectra there are, holes and doubles among their nodes, then a grid or a library of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from maury import __version__
from maury.errors import ConfigError, DomainError, FormatError
from maury.files import atomic_path, check_writable
from maury.grids import spc
from maury.grids.file import HIGHEST_FLUX, LOWEST_FLUX, encode, quantise, write_grid
from maury.grids.importers.families import Entry, Family, ImportConfig, Problems
from maury.grids.importers.names import read_label_files
from maury.grids.importers.window import Window
from maury.grids.plan import split_constants
from maury.labels import LABELS, missing_nodes, tensor_axes
from maury.library import OFF_NODE, SCALE, Library, write_library
from maury.progress import Advance, silent
from maury.wavelengths import C_KMS, Floats

_LOOKED_AT = 64
"""Spectra whose strong lines are looked at."""

MARGIN_KMS = 280.0
"""Wavelengths that a library has beyond its window, as `maury.training.emulator_range` wants them."""


@dataclass(frozen=True)
class Survey:
    """The spectra that were found, in the order of their labels.

    Attributes:
        entries: spectra (n).
        names: labels that the files tell.
        table: their values (n, k).
        missing: nodes (m, k) of the tensor grid of all values that no spectrum has; None if they form no grid.
        notes: what a reader should know.
    """

    entries: list[Entry]
    names: tuple[str, ...]
    table: Floats
    missing: Floats | None
    notes: list[str] = field(default_factory=list)


def survey(family: Family, paths: Sequence[Path], labels: Path | None = None, advance: Advance = silent) -> Survey:
    """Find the spectra and their labels.

    Args:
        family: kind of the files.
        paths: the files, as the family finds them.
        labels: a table of labels by file, which goes before names and headers; it then says which files are taken.
        advance: called with 1 after each file.

    Raises:
        ImportProblemsError: files whose labels cannot be found, and pairs of files of one node.
        FormatError: a table that cannot be read.
    """
    problems = Problems()
    entries: list[Entry] = []
    chosen = dict.fromkeys(paths) if labels is None else _in_table(paths, labels)
    for path, values in chosen.items():
        try:
            entries += _entries(family, path) if values is None else [Entry(path, values)]
        except FormatError as error:
            problems.add(str(error))
        advance(1)
    _same_labels(entries, problems)
    problems.stop()
    found = _ordered(entries, problems)
    left = [path for path in paths if path not in chosen and path.resolve() != Path(labels or path).resolve()]
    if left:
        found.notes.append(f"{len(left)} files that {labels} does not name are left out, such as {left[0]}")
    return found


def _in_table(paths: Sequence[Path], labels: Path) -> dict[Path, dict[str, float] | None]:
    """The files that a table names, by their whole path or the end of it, and their labels."""
    problems = Problems()
    by_ending: dict[str, list[Path]] = {}
    for path in paths:
        for i in range(len(path.parts)):
            by_ending.setdefault(str(Path(*path.parts[i:])), []).append(path)
    chosen: dict[Path, dict[str, float] | None] = {}
    for name, values in read_label_files(labels).items():
        matches = by_ending.get(str(Path(name)), [])
        if len(matches) != 1:
            problems.add(f"{labels}: {name} is {'not there' if not matches else f'{len(matches)} files'}")
        elif matches[0] in chosen:
            problems.add(f"{labels}: {name} is a second name of {matches[0]}")
        else:
            chosen[matches[0]] = values
    problems.stop()
    return chosen


def _entries(family: Family, path: Path) -> list[Entry]:
    found = family.entries(path)
    for entry in found:
        if not entry.labels:
            raise FormatError(
                f"{entry.title}: name and header do not give its labels: a table of labels is needed",
                parameter="labels",
            )
        bad = [name for name, value in entry.labels.items() if not np.isfinite(value)]
        if bad:
            raise FormatError(f"{entry.title}: label {bad[0]} is {entry.labels[bad[0]]}")
    if not found:
        raise FormatError(f"{path}: holds no spectrum")
    return found


def _same_labels(entries: Sequence[Entry], problems: Problems) -> None:
    for entry in entries[1:]:
        if set(entry.labels) != set(entries[0].labels):
            problems.add(
                f"{entry.title}: has the labels {', '.join(entry.labels)}, but {entries[0].title} has "
                f"{', '.join(entries[0].labels)}"
            )


def _ordered(entries: Sequence[Entry], problems: Problems) -> Survey:
    """Sort by labels; find duplicates and missing nodes."""
    known = [name for name in LABELS if name in entries[0].labels]
    notes = [f"{name.strip('()')} is not a label of maury" for name in entries[0].labels if name not in LABELS]
    table = np.round([[entry.labels[name] for name in known] for entry in entries], 6) + 0.0  # -0.0 becomes 0.0
    order = np.lexsort(table.T[::-1])
    entries, table = [entries[i] for i in order], table[order]
    for i in np.flatnonzero((np.diff(table, axis=0) == 0).all(1)):
        node = ", ".join(f"{name} {value:g}" for name, value in zip(known, table[i], strict=True))
        problems.add(f"{entries[i].title} and {entries[i + 1].title} are both {node}")
    problems.stop()
    names, kept = _without_dependent(known, table, notes)
    return Survey(list(entries), tuple(names), kept, missing_nodes(kept), notes)


def _without_dependent(names: list[str], table: Floats, notes: list[str]) -> tuple[list[str], Floats]:
    """Leave out a microturbulence that follows from the other labels, as in grids that tie it to log g."""
    if "vmic" not in names or len(names) == 1:
        return names, table
    column = names.index("vmic")
    rest = np.delete(table, column, axis=1)
    alone = len(np.unique(rest, axis=0)) == len(rest) and tensor_axes(rest) is not None
    if not alone or np.ptp(table[:, column]) == 0:
        return names, table
    low, high = table[:, column].min(), table[:, column].max()
    notes.append(f"vmic ({low:g} to {high:g} km/s) follows from the other labels in these files: no label of its own")
    return [name for name in names if name != "vmic"], rest


def import_grid(
    path: str | PathLike[str],
    family: Family,
    found: Survey,
    config: ImportConfig,
    sources: Sequence[str],
    advance: Advance = silent,
) -> list[str]:
    """Write the spectra of a survey as a grid to train on; return notes of the assumptions made.

    Args:
        path: the HDF5 file.
        family: kind of the files.
        found: the spectra.
        config: settings.
        sources: what was imported, for the record.
        advance: called with the number of spectra read.

    Raises:
        ImportProblemsError: the list of files that cannot be imported.
        ConfigError: rotations for files that have them already, or no resolution.
        OutputError: the grid cannot be written.
    """
    if config.vsini and "vsini" in found.names:
        raise ConfigError("the files have rotations of their own: no other can be applied", parameter="vsini")
    check_writable(path)
    problems = Problems()
    window = _settled(family, found, config, problems)
    if not np.isfinite(window.resolution):
        raise ConfigError(
            "the spectra have no instrument: give the resolution to degrade them to, or native_resolution, their own",
            parameter="resolution",
        )
    speeds = np.array(config.vsini or (0.0,))
    names, table = found.names, found.table
    if "vsini" not in names:
        names = (*names, "vsini")
        table = np.column_stack([np.repeat(table, len(speeds), axis=0), np.tile(speeds, len(table))])
    space, labels, fixed = split_constants(names, table)
    splits = spc.both_splits(labels, config.seed, space.names)
    attributes = {
        "preset": "import",
        "resolution": window.resolution,
        "limb_darkening": config.limb_darkening,
        "settings": config.model_dump_json(),
        "maury": __version__,
        "fixed": json.dumps(fixed),
        "source": f"{family.title}: {', '.join(sources)} ({len(found.entries)} spectra)",
        "native_resolution": window.native,
    }
    with atomic_path(path) as temporary:
        fluxes = _fluxes(window, found.entries, problems, advance)
        chunks = (chunk for flux in fluxes if flux is not None for chunk in encode(quantise(flux)))
        write_grid(temporary, window.wavelength_aa, labels, chunks, splits, config.seed, attributes, space)
        problems.stop()
        _require_medium(window)
        notes = [*found.notes, *window.notes]
        with h5py.File(temporary, "r+") as file:
            file.attrs.update(_record(window, found, notes))
            if found.missing is not None and len(found.missing):
                columns = [(name, "<f8") for name in found.names]
                table = np.rec.fromarrays(found.missing.T, dtype=columns)
                file.create_dataset("missing", data=table, track_times=False)
    return notes


def import_library(
    path: str | PathLike[str],
    family: Family,
    found: Survey,
    config: ImportConfig,
    sources: Sequence[str],
    advance: Advance = silent,
) -> list[str]:
    """Write the spectra of a survey as a library to fit an emulator to; arguments, notes and errors as `import_grid`.

    The library has margins of 280 km/s beyond the window, which the emulator's broadening needs.
    """
    if config.vsini or "vsini" in found.names:
        raise ConfigError("a library has no rotations: the emulator broadens its spectra")
    check_writable(path)
    problems = Problems()
    low, high = config.window
    wide = config.model_copy(update={"window": (low * (1 - MARGIN_KMS / C_KMS), high * (1 + MARGIN_KMS / C_KMS))})
    window = _settled(family, found, wide, problems)
    counts = np.zeros((len(found.entries), window.wavelength_aa.size), np.uint16)
    for row, flux in enumerate(_fluxes(window, found.entries, problems, advance)):
        if flux is not None:
            counts[row] = quantise(flux, found.entries[row].title)[0]
    problems.stop()
    _require_medium(window)
    notes = [*found.notes, *window.notes]
    attributes = {
        "code": f"{family.title}: {', '.join(sources)}",
        "window": json.dumps([low, high]),
        "resolution": window.resolution if np.isfinite(window.resolution) else 0.0,
        "settings": config.model_dump_json(),
        **_record(window, found, notes),
    }
    kind = np.full(len(counts), OFF_NODE, np.uint8)
    files = tuple(str(source) for source in sources)
    library = Library(window.wavelength_aa, found.table, counts, SCALE, kind, files, attributes, found.names)
    write_library(library, path)
    return notes


def _settled(family: Family, found: Survey, config: ImportConfig, problems: Problems) -> Window:
    """A window that the first readable spectrum has settled."""
    window = Window(family, config)
    window.look_at_every = max(len(found.entries) // _LOOKED_AT, 1)
    for entry in found.entries:
        try:
            window.settle(entry)
            return window
        except FormatError as error:
            problems.add(str(error))
    problems.stop()
    raise FormatError("no spectra")


def _fluxes(
    window: Window, entries: Sequence[Entry], problems: Problems, advance: Advance
) -> Iterator[NDArray[np.float32] | None]:
    """Flux (r, p) of each spectrum; None for one that cannot be imported, with an entry in ``problems``."""
    known = set(problems.texts)
    for entry in entries:
        try:
            flux = window(entry)
            low, high = float(flux.min()), float(flux.max())
            if not LOWEST_FLUX <= low <= high <= HIGHEST_FLUX:
                raise FormatError(
                    f"{entry.title}: normalised flux runs from {low:g} to {high:g}; "
                    f"allowed: {LOWEST_FLUX:g} to {HIGHEST_FLUX:g}"
                )
            yield flux
        except (FormatError, DomainError) as error:
            if str(error) not in known:
                problems.add(str(error))
            yield None
        advance(1)


def _require_medium(window: Window) -> None:
    if window.check.wrong:
        other = "vacuum" if window.medium == "air" else "air"
        raise FormatError(
            f"{window.first.title if window.first else ''} and the others: strong lines stand where they would in "
            f"{other}, not in {window.medium}: wrong medium"
        )


def _record(window: Window, found: Survey, notes: Sequence[str]) -> dict[str, str | int]:
    how = [f"{text} ({count} spectra)" for text, count in window.normalisations.items()]
    record: dict[str, str | int] = {
        "medium_of_files": window.check.describe(),
        "normalisation": "; ".join(how),
        "notes": "; ".join(notes) or "none",
    }
    if found.missing is not None:
        record["missing_nodes"] = len(found.missing)
    return record
