"""What benchmarks write, for the scripts beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maury.files import write_json, write_text


def write(folder: Path, files: Mapping[str, object]) -> None:
    """Write files by their names: texts, and what a `.json` holds; the folder is made."""
    for name, content in files.items():
        if name.endswith(".json"):
            write_json(folder / name, content)
        else:
            write_text(folder / name, str(content))
