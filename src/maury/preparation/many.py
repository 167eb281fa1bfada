"""Prepare many files, in several processes if asked for; a file that fails gives a result with its error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from maury.errors import ConfigError, in_one_line
from maury.preparation.pipeline import Preparation, prepare
from maury.preparation.settings import check_settings
from maury.readers import ReadOptions, read, write
from maury.synthesis.pool import Workers

_TIMEOUT_S = 600.0
"""Longest time for one file in a worker process."""


@dataclass(frozen=True)
class Options:
    """Settings that all files share."""

    reading: dict[str, Any] = field(default_factory=dict)  # attributes of `maury.readers.ReadOptions`
    settings: dict[str, Any] = field(default_factory=dict)  # keyword arguments of `prepare`
    folder: Path | None = None  # where prepared spectra go, or None
    form: str = "ecsv"  # "ecsv" or "fits"
    keep: bool = False  # whether results hold the `Preparation`, for figures

    def target(self, file: Path) -> Path | None:
        """Where the prepared spectrum of a file goes."""
        return None if self.folder is None else self.folder / f"{file.stem}.{self.form}"


@dataclass(frozen=True)
class Outcome:
    """The result of one file."""

    file: Path  # the file
    record: dict[str, Any] = field(default_factory=dict)  # `Preparation.record`, empty after an error
    written: Path | None = None  # the prepared spectrum's file
    error: str | None = None  # the reason of a failure, in one line, or None
    preparation: Preparation | None = field(default=None, repr=False)  # the whole result, if it was to be kept


def prepare_files(files: Sequence[str | os.PathLike[str]], options: Options, workers: int = 1) -> Iterator[Outcome]:
    """Prepare files one after the other, in their order.

    A file whose worker process is killed is tried once more in a new one, then gives a result with its error.

    Args:
        files: spectra of any supported format.
        options: the same for all.
        workers: processes; 1 for none besides this one.

    Raises:
        ConfigError: a setting is out of its range, two files have one name, or an input would be overwritten.
    """
    paths = [Path(file) for file in files]
    check_settings(**options.settings)
    ReadOptions(**options.reading)
    _check_names(paths, options)
    if workers == 1 or len(paths) == 1:
        yield from map(partial(_one, options), paths)
        return
    waiting: dict[int, Outcome] = {}
    due = 0
    with Workers(min(workers, len(paths))) as processes:
        tasks = ((number, (path,)) for number, path in enumerate(paths))
        with closing(processes.map((_in_folder, (os.getcwd(), options)), tasks, _TIMEOUT_S)) as results:  # type: ignore[type-var]
            for number, result in results:
                failed = not isinstance(result, Outcome)
                waiting[number] = Outcome(paths[number], error=f"{paths[number]}: {result}") if failed else result
                while due in waiting:
                    yield waiting.pop(due)
                    due += 1


def _in_folder(folder: str, options: Options) -> partial[Outcome]:
    """What a worker process calls with each file; it moves to a folder, from which relative names count."""
    os.chdir(folder)
    return partial(_one, options)


def _check_names(paths: list[Path], options: Options) -> None:
    if options.folder is None and not options.keep:
        return
    inputs, named = {path.resolve() for path in paths}, dict[str, Path]()
    for path in paths:
        other, target = named.setdefault(path.stem, path), options.target(path)
        if other.resolve() != path.resolve():
            raise ConfigError(f"{other} and {path}: both would be written as {path.stem}; use two folders")
        if target is not None and target.resolve() in inputs:
            raise ConfigError(f"{target}: is an input and would be overwritten; give another folder")


def _one(options: Options, file: Path) -> Outcome:
    try:
        result = prepare(read(file, **options.reading), **options.settings)
        target = options.target(file)
        if target is not None:
            write(result.spectrum, target)
        return Outcome(file, result.record(), target, None, result if options.keep else None)
    except Exception as error:  # one file must not end the batch
        return Outcome(file, error=in_one_line(error, file))
