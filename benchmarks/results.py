"""What benchmarks write, for the scripts beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maury.files import atomic_path


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by the names of their files; the folder is made."""
    for name, text in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
