"""Identifiers that must be distinct, and hashes of inputs that may be larger than the memory."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from maury.errors import FormatError

_BLOCKS, _BLOCK = 64, 1 << 16


def sampled_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's size and of 64 blocks of 64 kB spread evenly over it: quick where the file has 100 GB."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as stream:
        for k in range(_BLOCKS):
            stream.seek(max(0, (size - _BLOCK) * k // (_BLOCKS - 1)))
            digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


class Distinct:
    """Finds what occurs twice among identifiers, at 8 bytes each."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, identifiers: Iterable[str]) -> None:
        """Take note of identifiers."""
        self._hashes.extend(_hash(identifier) for identifier in identifiers)

    def require(self, again: Iterator[tuple[str, str]], where: Path) -> None:
        """Check that none came twice.

        Args:
            again: all identifiers once more, each with its place ("row 7"); taken only if some look doubled.
            where: the catalogue, for the message.

        Raises:
            FormatError: one did; it and its places are named.
        """
        hashes = np.sort(np.frombuffer(self._hashes, np.uint64)) if self._hashes else np.empty(0, np.uint64)
        doubled = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if not doubled:
            return
        places: dict[str, list[str]] = {}
        for identifier, place in again:
            if _hash(identifier) in doubled:
                places.setdefault(identifier, []).append(place)
        found = {name: where for name, where in places.items() if len(where) > 1}
        if found:
            name, first = next(iter(found.items()))
            more = f"; {len(found)} ids are doubled" if len(found) > 1 else ""
            raise FormatError(f"{where}: id {name!r} is not unique: {', '.join(first[:3])}{more}")


def _hash(identifier: str) -> int:
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")
