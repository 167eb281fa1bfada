"""`maury doctor`: whether the installation works."""

from __future__ import annotations

from typing import Annotated

import typer

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[bold red]broken[/]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of checks.")] = False,
) -> None:
    """Look whether this installation works: versions, backends, packaged weights, folders, extras, and a self-test.

    The self-test takes a simulated star of known labels from pixels to parameters, in a few seconds. The exit code is 2
    when something is broken; a note is no fault.

    Example: `maury doctor`, or `maury doctor --json` for a report to send along with a question
    """
    import json

    from rich.markup import escape
    from rich.table import Table

    from maury.cli.console import fail, out, progress
    from maury.doctor import examine

    checks = []
    with progress(not as_json) as bar:
        task = bar.add_task("looking", total=None)
        for check in examine():
            checks.append(check)
            bar.update(task, description=check.group, advance=1)
    if as_json:
        out.print(json.dumps([check.record() for check in checks], indent=1), markup=False, soft_wrap=True)
    else:
        table = Table(box=None, show_header=False)
        for style in ("bold", "", "", ""):
            table.add_column(style=style or None, overflow="fold")
        group = ""
        for check in checks:
            title = "" if check.group == group else check.group
            table.add_row(title, _MARKS[check.status], escape(check.name), escape(check.text))
            group = check.group
        out.print(table)
    broken = [check for check in checks if check.status == "broken"]
    for check in broken:
        fail(f"{check.group}: {check.name}: {check.text}")
    if broken:
        raise typer.Exit(2)
