"""Identifiers that must be distinct, and hashes of inputs that may be larger than the memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
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


def require_distinct(identified: Callable[[], Iterator[tuple[str, str]]], where: Path) -> int:
    """Number of identifiers, none of which may occur twice; takes 8 bytes of memory each.

    Args:
        identified: yields all identifiers with their place ("row 7"); called again only if two hashes are equal.
        where: the catalogue, for the message.

    Raises:
        FormatError: an identifier occurs twice.
    """
    hashes = np.sort(np.fromiter((_hash(identifier) for identifier, _ in identified()), np.uint64))
    doubled = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    places: dict[str, list[str]] = {}
    for identifier, place in identified() if doubled else ():
        if _hash(identifier) in doubled:
            places.setdefault(identifier, []).append(place)
    found = {name: rows for name, rows in places.items() if len(rows) > 1}
    if found:
        name, first = next(iter(found.items()))
        more = f"; {len(found)} ids occur more than once" if len(found) > 1 else ""
        raise FormatError(f"{where}: id {name!r} is not unique: {', '.join(first[:3])}{more}")
    return len(hashes)


def _hash(identifier: str) -> int:
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "little")
