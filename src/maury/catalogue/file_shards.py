"""Spectra in files: read, prepared and predicted one by one, in worker processes; gathered into parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from maury.catalogue.lists import Entry
from maury.catalogue.manifest import Output
from maury.catalogue.packed_shards import write_shard
from maury.catalogue.prediction_options import CatalogueConfig
from maury.catalogue.table_columns import REJECTS, Column, append, empty
from maury.errors import FormatError, MauryError, in_one_line
from maury.inference import predict
from maury.inference.single import SAMPLES
from maury.readers import read
from maury.spectra import Observation

TIMEOUT_S = 600.0
"""Longest time for one file."""


@dataclass(frozen=True)
class FileResult:
    """The result of one file: values by column, or the reason why there are none."""

    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class FilePredictor:
    """Predicts one file when called with its row of the list, here or in a worker process; it never raises."""

    config: CatalogueConfig

    def __call__(self, entry: Entry) -> FileResult:
        """Read, prepare and predict one file; a failure is returned as its reason."""
        if entry.error is not None:
            return FileResult(reason=entry.error)
        try:
            return FileResult(self._values(entry))
        except Exception as error:  # one bad file must not end the run
            return FileResult(reason=in_one_line(error, entry.path))

    def _values(self, entry: Entry) -> dict[str, Any]:
        star: Observation | list[Observation]
        skipped = ""
        if entry.exposures:
            star, skipped = self._exposures(entry)
        else:
            star = self._read(entry)
        result = predict(
            star,
            self.config.model,
            velocity_kms=entry.velocity_kms,
            velocity_range_kms=self.config.velocity_range,
            emulator=self.config.emulator,
            samples=self.config.samples or SAMPLES,
            seed=self.config.seed,
            labels=self.config.labels,
            refine=self.config.refine,
            components=self.config.components if entry.components is None else entry.components,
            **entry.luminosity,
        )
        flags = result.flags if not skipped or skipped in result.flags else (*result.flags, skipped)
        return {**result.record(), **result.numbers(), "flags": ",".join(flags)}

    def _read(self, entry: Entry) -> Observation:
        return read(entry.path, **{"resolution": self.config.resolution, **self.config.reading, **entry.reading})

    def _exposures(self, entry: Entry) -> tuple[list[Observation], str]:
        """Readable exposures of a star, and a flag if others were skipped.

        Raises:
            FormatError: none can be read; the reason is that of the first.
        """
        found, errors = [], []
        for exposure in entry.exposures:
            try:
                if exposure.error is not None:
                    raise FormatError(exposure.error)
                found.append(self._read(exposure))
            except (MauryError, OSError) as error:
                errors.append(in_one_line(error, exposure.path))
        if not found:
            raise FormatError(errors[0])
        return found, "exposures_skipped" if errors else ""


Map = Callable[[Iterable[tuple[int, tuple[Any, ...]]]], Iterator[tuple[int, Any]]]
"""Runs the tasks of an iterable and yields (number, result or error) of each as it finishes."""


def make_parts(
    entries: Iterable[Entry],
    output: Output,
    shard: int,
    skip: set[int],
    columns: Sequence[Column],
    about: dict[str, Any],
    run: Map,
) -> Iterator[tuple[int, int]]:
    """Predict files and write each part when all of its files are done.

    Args:
        entries: rows of the list.
        output: where parts go.
        shard: files in a part.
        skip: parts that are there.
        columns: of the results.
        about: metadata of each part.
        run: calls a `FilePredictor`, in this or other processes.

    Yields:
        Number of results and of rejects (1 and 0, or 0 and 1) for each file.

    Raises:
        OutputError: a part cannot be written.
    """
    waiting: dict[int, Entry] = {}
    parts: dict[int, dict[int, tuple[Entry, FileResult]]] = {}

    def tasks() -> Iterator[tuple[int, tuple[Entry]]]:
        for entry in entries:
            if entry.row // shard not in skip:
                waiting[entry.row] = entry
                yield entry.row, (entry,)

    with contextlib.closing(run(tasks())) as results:  # type: ignore[type-var]
        for row, result in results:
            star = result if isinstance(result, FileResult) else FileResult(reason=" ".join(str(result).split()))
            number = row // shard
            part = parts.setdefault(number, {})
            part[row] = (waiting.pop(row), star)
            yield (0, 1) if star.reason else (1, 0)
            if len(part) == output.sizes[number]:
                _write(output, number, columns, parts.pop(number), about)


def _write(
    output: Output,
    number: int,
    columns: Sequence[Column],
    part: dict[int, tuple[Entry, FileResult]],
    about: dict[str, Any],
) -> None:
    results, rejects = empty(columns), empty(REJECTS)
    for row in sorted(part):
        entry, star = part[row]
        who = {"id": entry.id, "file": entry.file, "row": row}
        if star.reason:
            append(rejects, REJECTS, who | {"reason": star.reason})
        else:
            append(results, columns, star.values | who)
    write_shard(output, number, columns, results, rejects, about)
