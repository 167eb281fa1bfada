"""`maury doctor`: whether the installation works."""

from __future__ import annotations

import typer

from maury.cli import options

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[bold red]broken[/]"}


def doctor(
    as_json: options.AsJson = False,
) -> None:
    """Check this installation: versions, backends, packaged weights, folders, extras, and a self-test.

    The self-test infers the parameters of a simulated star in a few seconds. The exit code is 2 when something is
    broken; notes do not count.

    Example: `maury doctor`, or `maury doctor --json` for a report to send along with a question
    """
    from rich.markup import escape
    from rich.table import Table

    from maury.cli.console import fail, out, progress, show_json
    from maury.doctor import examine

    checks = []
    with progress(not as_json) as bar:
        task = bar.add_task("looking", total=None)
        for check in examine():
            checks.append(check)
            bar.update(task, description=check.group, advance=1)
    if as_json:
        show_json([check.record() for check in checks])
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
