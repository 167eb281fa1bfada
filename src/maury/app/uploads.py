"""Uploaded files: names made safe, texts of headers made plain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_LONGEST = 80
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=\"'])")


def safe_name(name: str, taken: Collection[str] = ()) -> str:
    """The last part of a path, without characters that are special in a file system, a shell or HTML.

    Letters, digits and ``._+-`` stay, others become ``_``; the name does not start with a dot or a dash, and is not one
    of those already taken.

    Args:
        name: as the browser sent it.
        taken: names already given.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFKC", name))[-1]
    plain = re.sub(r"[^\w.+-]", "_", last).lstrip(".-") or "spectrum"
    stem, dot, ending = plain.partition(".")
    if len(plain) > _LONGEST:
        ending = ending[-20:]
        stem = stem[: _LONGEST - len(ending) - 1]
    unique, number = f"{stem}{dot}{ending}", 2
    while unique in taken:
        unique, number = f"{stem}-{number}{dot}{ending}", number + 1
    return unique


def plain(text: object) -> str:
    """Text that Markdown and HTML show as it is, in one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
