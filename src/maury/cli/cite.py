"""`maury cite`: what to cite, as BibTeX."""

from __future__ import annotations

from importlib.resources import files

import typer

from maury import __version__


def cite() -> None:
    """Print BibTeX of maury and of the works its results rest on; comments name what each is for.

    Example: `maury cite > maury.bib`
    """
    text = files("maury").joinpath("references.bib").read_text(encoding="utf-8")
    typer.echo(text.replace("@VERSION@", __version__).rstrip())
