"""What the verbs share on the screen: consoles, notes and errors, tables, JSON, the progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from maury.errors import MauryError

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str) -> None:
    """Print one line for a user's mistake."""
    err.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}")


_CALLED = {
    "folder": "output",
    "velocity_kms": "velocity",
    "velocity_range_kms": "velocity_range",
    "step_kms": "step",
    "priors": "prior",
}
"""Parameters of the library whose option has another name in the verbs."""


def worded(error: MauryError, command: Any) -> str:
    """An error in words, with the option that changes the parameter it is about.

    The library knows parameters alone; an option that ``command`` does not have is not named.
    """
    name = _CALLED.get(error.parameter or "", error.parameter)
    for parameter in command.params:
        if parameter.name == name and parameter.param_type_name == "option":
            return f"{error} ({max([*parameter.opts, *parameter.secondary_opts], key=len)})"
    return str(error)


def note(message: str) -> None:
    """Print one line worth knowing, on stderr."""
    err.print(f"[yellow]note:[/] {escape(message)}")


def show_json(values: Any) -> None:
    """Print values as JSON on stdout."""
    out.print(json.dumps(values, indent=1), markup=False, soft_wrap=True)


def damage(file: str, flags: Collection[str]) -> list[str]:
    """A line about a file whose flux is damaged, which ends a batch with exit code 2 although it has a result."""
    line = f"{file}: its flux is damaged in part (flag damaged_pixels): check the values"
    return [line] if "damaged_pixels" in flags else []


def show_failures(records: Sequence[dict[str, Any]], show: Callable[[dict[str, Any]], None] | None) -> None:
    """Print what became of each file, and end with exit code 2 after the names of those that failed or are damaged.

    A record has its file's name as ``file``, and ``error`` or ``flags``; ``show`` prints one without an error, if
    given.
    """
    failed = [record for record in records if "error" in record]
    for record in records:
        if "error" in record:
            fail(record["error"])
        elif show is not None:
            show(record)
    if failed and len(records) > 1:
        fail(f"{len(failed)} of {len(records)} files failed: {', '.join(record['file'] for record in failed)}")
    damaged = [line for record in records for line in damage(record["file"], record.get("flags", ()))]
    for line in damaged:
        fail(line)
    if failed or damaged:
        raise typer.Exit(2)


def show_paths(paths: Iterable[Path]) -> None:
    """Print the files that were written, one a line."""
    for path in paths:
        out.print(str(path), markup=False)


def table(title: str, left: Sequence[str] = (), right: Sequence[str] = (), caption: str | None = None) -> Table:
    """An empty table.

    ``left`` are names of the first columns, of text; ``right`` of those after them, of numbers.
    """
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    made.caption, made.caption_justify = caption, "left"
    for name in left:
        made.add_column(name)
    for name in right:
        made.add_column(name, justify="right")
    return made


def facts(title: str) -> Table:
    """An empty table of two columns: a name, and what is known of it."""
    made = Table(title=escape(title), title_justify="left", show_header=False, box=None)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    return made


LINE_EVERY_S = 60.0
"""Seconds between two lines of progress where stderr is not a terminal."""


class _Lines(Progress):
    """Progress as lines of text, for a file or a pipe, where a bar cannot be redrawn."""

    _last: float | None = None

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count steps of a task."""
        super().advance(task_id, advance)
        self._line(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task."""
        super().update(task_id, **changes)
        self._line(task_id)

    def _line(self, task_id: TaskID) -> None:
        """Print a line unless the last one (or the first step) was less than a minute ago."""
        now = time.monotonic()
        self._last = now if self._last is None else self._last
        task = next((task for task in self.tasks if task.id == task_id), None)
        if self.disable or task is None or now - self._last < LINE_EVERY_S:
            return
        self._last = now
        total = f" of {task.total:,.0f}" if task.total is not None else ""
        left = f", {task.time_remaining / 60:.1f} min left" if task.time_remaining is not None else ""
        self.console.print(f"{task.description}: {task.completed:,.0f}{total}{left}", markup=False)


def progress(shown: bool = True) -> Progress:
    """A progress bar with count, elapsed time and time left, on stderr; or none, for a single quick thing.

    Where stderr is not a terminal, a line is printed every minute.
    """
    kind = Progress if err.is_terminal else _Lines
    return kind(
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
