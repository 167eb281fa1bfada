"""What the verbs share: the consoles and the progress bar."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str) -> None:
    """Print one line for a user's mistake."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}")


def progress(shown: bool = True) -> Progress:
    """A progress bar with count, elapsed time and time left, on stderr; or none, for a single quick thing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        disable=not shown,
    )
