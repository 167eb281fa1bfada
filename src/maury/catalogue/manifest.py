"""The folder of a catalogue: its manifest, its finished parts, and whether it can be resumed."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maury import __version__
from maury.catalogue.parts import REJECTS, Form, count_rows, part_path
from maury.errors import ConfigError, OutputError
from maury.files import write_json

NAME = "_manifest.json"
"""The manifest; readers of partitioned Parquet leave out names that begin with _."""

SCHEMA = 1


@dataclass(frozen=True)
class Output:
    """The folder that a catalogue is written to.

    Attributes:
        folder: the folder.
        form: format of the parts.
        sizes: spectra of each part.
    """

    folder: Path
    form: Form
    sizes: tuple[int, ...]

    def part(self, shard: int) -> Path:
        """File of a part's results."""
        return part_path(self.folder, shard, self.form)

    def rejects(self, shard: int) -> Path:
        """File of a part's rejects, which is there only if it has some."""
        return part_path(self.folder / REJECTS, shard, self.form)

    def done(self, shard: int) -> tuple[int, int] | None:
        """Numbers of results and rejects of a finished part, or None. The file of results is written last."""
        rows = count_rows(self.part(shard))
        if rows is None:
            return None
        rejects = 0 if rows == self.sizes[shard] else count_rows(self.rejects(shard))
        return None if rejects is None or rows + rejects != self.sizes[shard] else (rows, rejects)

    def forget(self, shard: int) -> None:
        """Remove a part, to make it again."""
        self.part(shard).unlink(missing_ok=True)
        self.rejects(shard).unlink(missing_ok=True)


def identity(source: dict[str, Any], models: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """All that determines the numbers of a catalogue; it must be the same to resume."""
    return {"maury": __version__, "input": source, "models": models, "settings": settings}


def versions() -> dict[str, str]:
    """Versions of the programs that compute."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def open_output(output: Output, known: dict[str, Any], fresh: bool) -> dict[str, Any]:
    """Make the folder, or find a catalogue in it to resume.

    Args:
        output: the folder.
        known: `identity` of the catalogue.
        fresh: delete an earlier catalogue in the folder.

    Returns:
        The manifest.

    Raises:
        ConfigError: the folder holds other files, or a catalogue made with other inputs, models, settings or another
            version of maury.
        OutputError: it cannot be written.
    """
    folder, path = output.folder, output.folder / NAME
    try:
        if path.is_file():
            if fresh:
                _clear(output)
            else:
                _require_same(path, known)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: neither empty nor a catalogue; name another folder", parameter="folder")
        for leftover in (*folder.glob(".*.tmp"), *(folder / REJECTS).glob(".*.tmp")):
            leftover.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    manifest = {
        "schema": SCHEMA,
        **known,
        "versions": versions(),
        "parts": len(output.sizes),
        "spectra": sum(output.sizes),
        "status": "unfinished",
    }
    write_manifest(output, manifest)
    return manifest


def write_manifest(output: Output, manifest: dict[str, Any]) -> None:
    """Write the manifest.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(output.folder / NAME, manifest)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a catalogue.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    path = Path(folder) / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: no manifest of a catalogue, or damaged ({error}); start anew", parameter="fresh"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: no manifest of a catalogue; start anew", parameter="fresh")
    return found


def _require_same(path: Path, known: dict[str, Any]) -> None:
    before = read_manifest(path.parent)
    for name, old, new in _differences("", {key: before.get(key) for key in known}, known):
        raise ConfigError(
            f"{path.parent}: was begun with {name} = {_short(old)}, now it is {_short(new)}; "
            "name another folder, or delete this catalogue to start anew",
            parameter="fresh",
            value=new,
        )


def _differences(prefix: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    before, now = _by_name(before), _by_name(now)
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*now, *before])
        return [found for key in keys for found in _differences(f"{prefix}.{key}", before.get(key), now.get(key))]
    return [] if before == now else [(prefix.lstrip("."), before, now)]


def _by_name(value: Any) -> Any:
    """A list of files as a dict by their names; anything else as it is."""
    if not (isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value)):
        return value
    return {item["name"]: {key: each for key, each in item.items() if key != "name"} for item in value}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:16]}..."


def _clear(output: Output) -> None:
    """Remove an earlier catalogue, and nothing else that may lie in the folder."""
    for path in output.folder.glob("part-*"):
        if path.suffix in (".parquet", ".fits"):
            path.unlink()
    shutil.rmtree(output.folder / REJECTS, ignore_errors=True)
    (output.folder / NAME).unlink(missing_ok=True)
