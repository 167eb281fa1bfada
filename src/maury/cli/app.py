"""The `maury` command: gathers the verbs by task and turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any

import typer

from maury import __version__
from maury.cli import (
    catalog,
    cite,
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
    standards,
    synthesize,
    train,
    tune,
    validate,
)
from maury.cli.console import fail, note, worded
from maury.errors import MauryError

_INTERRUPTED = 130

TASKS: dict[str, dict[str, Any]] = {
    "Observe: from a spectrum to stellar parameters": {
        "predict": predict.predict,
        "catalog": catalog.catalog,
        "inspect": inspect.inspect,
        "prepare": prepare.prepare,
        "app": page.page,
        "doctor": doctor.doctor,
        "cite": cite.cite,
    },
    "Understand: what a spectrum allows, and how far to trust a result": {
        "limits": limits.limits,
        "explain": explain.explain,
        "validate": validate.validate,
    },
    "Train: a network of your own": {
        "grid": grid.app,
        "networks": networks.app,
        "train": train.train,
        "evaluate": evaluate.evaluate,
        "tune": tune.tune,
        "export": export.export,
    },
    "Own physics: from line lists to model spectra and their errors": {
        "lines": lines.app,
        "synthesize": synthesize.synthesize,
        "library": library.app,
        "emulator": emulator.app,
        "model-error": standards.model_error,
        "physics-errors": standards.physics_errors,
        "systematic-errors": standards.systematic_errors,
    },
}
"""Verbs and groups of verbs, in the order of `maury --help`."""


class _ByTask(typer.core.TyperGroup):
    """Lists the verbs in the order of `TASKS`."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Names of the verbs, followed by hidden ones."""
        names = [name for verbs in TASKS.values() for name in verbs]
        return [*names, *(name for name in self.commands if name not in names)]


app = typer.Typer(
    name="maury",
    cls=_ByTask,
    help="Neural stellar parameter classification: from an optical spectrum to Teff, log g, [M/H], v sin i.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _task, _verbs in TASKS.items():
    for _name, _verb in _verbs.items():
        if isinstance(_verb, typer.Typer):
            app.add_typer(_verb, name=_name, rich_help_panel=_task)
        else:
            app.command(_name, rich_help_panel=_task)(_verb)
app.command("catalogue", hidden=True)(catalog.catalog)


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


_RENAMED = {"--zeta": "--vmac", "--wanted": "--target-ess"}


def current(words: list[str]) -> list[str]:
    """A command line in today's words, with a note where it is written in former ones."""
    for old, new in _RENAMED.items():
        if old in words:
            note(f"{old} is now {new}")
            words = [new if word == old else word for word in words]
    if words[:1] == ["calibrate"]:
        note("maury calibrate is now maury validate")
        return ["validate", *words[1:]]
    if words[:1] == ["predict"]:
        for place, word in enumerate(words):
            option, equals, source = word.partition("=")
            if option == "--catalog" and (equals or place + 1 < len(words)):
                note("maury predict --catalog is now maury catalog")
                rest = words[place + 1 :]
                return ["catalog", source if equals else rest[0], *words[1:place], *(rest if equals else rest[1:])]
    return words


@cache
def command() -> Any:
    """The verbs and their options, made once a process."""
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 2 after one clear line for a user's mistake, 130 after an interrupt."""
    words = current(sys.argv[1:] if arguments is None else arguments)
    try:
        command()(words)
    except MauryError as error:
        verb = command()
        for word in words[:2]:
            verb = getattr(verb, "commands", {}).get(word, verb)
        fail(worded(error, verb))
        sys.exit(2)
    except SystemExit as error:
        if error.code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            fail("interrupted; run the same command again to resume")
        raise
