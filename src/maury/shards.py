"""Parts of a long build, in a hidden folder beside its output: after an interruption, the same command resumes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury import __version__
from maury.errors import OutputError
from maury.files import atomic_path, write_text
from maury.progress import Notify, silent


@contextlib.contextmanager
def shard_folder(path: Path) -> Iterator[Path]:
    """Yield the folder for the parts of ``path``; it is removed afterwards unless a finished part remains in it.

    Raises:
        OutputError: a part cannot be written; the message names ``path``.
    """
    folder = path.with_name(f".{path.name}.shards")
    try:
        yield folder
    except OSError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
        raise OutputError(f"{path}: cannot be written: {reason}") from error
    finally:
        if not any(folder.glob("*.npz")):
            shutil.rmtree(folder, ignore_errors=True)


def open_shards(folder: Path, names: Sequence[str], inputs: Mapping[str, Any], notify: Notify = silent) -> list[Path]:
    """Prepare the folder and return the paths of all parts; existing files are finished parts of the same inputs.

    Args:
        folder: of the parts; made if it is not there, emptied if it belongs to other inputs or another version.
        names: of the parts, without ending.
        inputs: settings and digests on which the parts depend.
        notify: called with a message when parts are found.
    """
    key = json.dumps({**inputs, "maury": __version__}, sort_keys=True)
    mark = folder / "settings.json"
    shards = [folder / f"{name}.npz" for name in names]
    if folder.exists():
        if mark.is_file() and mark.read_text() == key:
            found = sum(shard.is_file() for shard in shards)
            notify(f"resuming an interrupted build: {found} of {len(shards)} parts are there")
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
            return shards
        notify("an interrupted build with other settings or inputs was found: starting anew")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(mark, key)
    return shards


def write_shard(shard: Path, **arrays: Any) -> None:
    """Write the arrays of one part."""
    with atomic_path(shard) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)


def read_shard(shard: Path, *names: str) -> tuple[NDArray[Any], ...] | None:
    """Arrays of a part, or None when it is missing or damaged (a crash of the machine, not of the program)."""
    try:
        with np.load(shard) as file:
            return tuple(file[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def move(whole: Path, path: Path, shards: Sequence[Path]) -> None:
    """Move the joined file out of the folder to its place and remove the parts."""
    os.replace(whole, path)
    for shard in shards:
        shard.unlink()
