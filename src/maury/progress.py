"""Callbacks with which long computations report their progress."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]
"""Called with the number of items just done."""

Notify = Callable[[str], None]
"""Called with a message for the user."""


def silent(_: object) -> None:
    """The callback that reports nothing."""


def counted(bar: Progress, what: str, total: int) -> Advance:
    """Add a task to a progress bar, and return the function that advances it."""
    return partial(bar.advance, bar.add_task(what, total=total))
