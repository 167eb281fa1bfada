"""Callbacks with which long computations report their progress."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[int], None]
"""Called with the number of items just done."""

Notify = Callable[[str], None]
"""Called with a message for the user."""


def silent(_: object) -> None:
    """The callback that reports nothing."""
