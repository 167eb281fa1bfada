"""`maury inspect`: what a spectrum file holds, and where each number came from."""

from __future__ import annotations

from typing import Any

from maury.cli import options

_MANY = 10
"""Files from which on a progress bar is shown; fewer are read in under two seconds."""


@options.reads_files
def inspect(
    files: options.Files,
    reading: dict[str, Any],
    resolution: options.Resolution = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what spectrum files hold and by which rule each number was found.

    A file that cannot be read does not stop the others: it is named at the end and the exit code is 2.

    Example: `maury inspect star.fits` or `maury inspect --json *.fits`
    """
    from maury.cli.console import progress, show_failures, show_json
    from maury.errors import in_one_line
    from maury.readers import WINDOW_AA, ReadOptions, read
    from maury.readers.summary import summarise

    reading = {**reading, "resolution": resolution}
    ReadOptions(**reading)
    results: list[dict[str, Any]] = []
    with progress(len(files) >= _MANY) as bar:
        for name in bar.track(files, description="reading"):
            try:
                observation = read(name, **reading)
                results.append(summarise(observation, WINDOW_AA))
                if (missed := observation.missed(*WINDOW_AA)) is not None:
                    results[-1]["warnings"].append(missed)
            except Exception as error:  # one file must not end the batch
                results.append({"file": str(name), "error": in_one_line(error, name)})
    if as_json:
        show_json(results)
    show_failures(results, None if as_json else _show)


def _show(summary: dict[str, Any]) -> None:
    from rich.markup import escape

    from maury.cli.console import facts, out
    from maury.readers.summary import in_words

    table = facts(str(summary["file"]))
    for label, text in in_words(summary):
        table.add_row(f"[yellow]{label}[/]" if label == "warning" else label, escape(text))
    out.print(table)
