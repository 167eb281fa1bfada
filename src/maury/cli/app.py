"""The `maury` command: gathers the verbs and turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from maury import __version__
from maury.cli import (
    calibrate,
    doctor,
    emulator,
    evaluate,
    explain,
    export,
    grid,
    inspect,
    library,
    limits,
    lines,
    networks,
    page,
    predict,
    prepare,
    synthesize,
    train,
    tune,
)
from maury.cli.console import fail
from maury.errors import MauryError

_INTERRUPTED = 130

app = typer.Typer(
    name="maury",
    help="Neural stellar parameter classification: from an optical spectrum to Teff, log g, [M/H], v sin i.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(library.app, name="library")
app.add_typer(emulator.app, name="emulator")
app.add_typer(grid.app, name="grid")
app.add_typer(lines.app, name="lines")
app.add_typer(networks.app, name="networks")
app.command("synthesize")(synthesize.synthesize)
app.command("inspect")(inspect.inspect)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("limits")(limits.limits)
app.command("app")(page.page)
app.command("doctor")(doctor.doctor)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"maury {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run a verb; see the list below."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 2 after one clear line for a user's mistake, 130 after an interrupt."""
    try:
        app(arguments)
    except MauryError as error:
        fail(str(error))
        sys.exit(2)
    except SystemExit as error:
        if error.code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            fail("interrupted; run the same command again to go on")
        raise
