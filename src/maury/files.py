"""Write files so that a killed run leaves nothing half-written: a temporary name first, then a rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from maury.errors import OutputError


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside ``target``; it is gone afterwards, and errors name ``target``."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.is_dir():
            raise OutputError(f"{target}: cannot be written: it is a directory")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target}: cannot be written: it is not a regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        yield temporary
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that is renamed to ``path`` on success and removed on failure.

    Args:
        path: the file to write; its folder is made if it does not exist.

    Raises:
        OutputError: the folder cannot be made, the file cannot be written (permissions, full disk), or ``path`` is not
            a regular file (a directory, a device).
    """
    target = Path(path)
    with _temporary(target) as temporary:
        yield temporary
        os.replace(temporary, target)


def write_text(path: str | os.PathLike[str], text: str, encoding: str = "utf-8") -> None:
    """Write a text file; errors as `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding=encoding)


def write_json(path: str | os.PathLike[str], content: object) -> None:
    """Write a JSON file, indented by one space; numpy's numbers become plain ones; errors as `atomic_path`."""
    write_text(path, json.dumps(content, indent=1, default=float, ensure_ascii=False) + "\n")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check before a long computation that ``path`` can be written; no file or folder is left behind.

    Raises:
        OutputError: the folder cannot be made or is not writable, or ``path`` is not a regular file.
    """
    made = [folder for folder in Path(path).absolute().parents if not folder.exists()]
    try:
        with _temporary(Path(path)) as probe:
            probe.write_bytes(b"maury")
    finally:
        for folder in made:  # the innermost comes first
            with contextlib.suppress(OSError):
                folder.rmdir()


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
