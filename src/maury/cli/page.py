"""`maury app`: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from maury.cli import options


def page(
    port: Annotated[int, options.of("", "Port on this machine.", min=1024, max=65535)] = 8501,
    browser: Annotated[bool, options.of("", "Open the page in a browser.")] = True,
) -> None:
    """Open a web page: drop spectra to see fit, posterior and flags; move sliders to see model spectra.

    The page is served to this machine only (127.0.0.1) and keeps no file. Ctrl-C ends it. Needs the extra app:
    pip install 'maury[app]'.

    Example: `maury app`, or on another machine `maury app --no-browser` behind `ssh -L 8501:127.0.0.1:8501 HOST`
    """
    from maury.app.serve import serve

    code = serve(port, browser)
    if code:
        raise typer.Exit(code)
