"""Serve the page with Streamlit, on this machine alone.

`serve` runs this module as a program: it loads what a star needs, and then becomes Streamlit's server.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from maury.errors import ConfigError

ADDRESS = "127.0.0.1"
"""The page has no passwords: it is not offered to the network."""

MOST_MB = 100
"""Largest file, MB; the largest of echelle spectrographs have some tens."""

_HOSTS = (ADDRESS, "localhost")
"""Host names that are accepted in requests: any other name would be an attack (DNS rebinding)."""

_OPTIONS = {
    "server.address": ADDRESS,
    "server.maxUploadSize": MOST_MB,
    "server.fileWatcherType": "none",
    "server.enableXsrfProtection": "true",
    "server.enableStaticServing": "false",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": "false",
}


def require_streamlit() -> None:
    """Check that the packages of the extra ``app`` are installed.

    Raises:
        ConfigError: one is missing; the message gives the command to install it.
    """
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"maury app needs {' and '.join(missing)}; install with: pip install 'maury[app]'")


def arguments(port: int, browser: bool) -> list[str]:
    """The command that serves the page.

    Args:
        port: of the address.
        browser: open a window.
    """
    page = Path(__file__).with_name("page.py")
    options = {**_OPTIONS, "server.port": port, "server.headless": str(not browser).lower()}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    flags += [word for host in _HOSTS for word in ("--server.allowedHosts", host)]
    return [sys.executable, "-P", "-m", "maury.app.serve", "run", str(page), *flags]


def environment() -> dict[str, str]:
    """Environment of the server: idle threads of torch and numpy sleep.

    By default they wait actively and take processor time from the browser and the reading process: on two busy cores a
    star then takes several times as long.
    """
    return {"OMP_WAIT_POLICY": "passive", **os.environ}


def serve(port: int, browser: bool) -> int:
    """Run the server until it is interrupted or terminated; return its exit code.

    Raises:
        ConfigError: Streamlit is not installed.
    """
    require_streamlit()
    with subprocess.Popen(arguments(port, browser), env=environment()) as process:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return 0


def _main() -> None:
    """Load readers, emulator and network, then run Streamlit's own command."""
    from streamlit.web.cli import main

    from maury.app.analysis import warm

    threading.Thread(target=warm, daemon=True).start()
    main(prog_name="streamlit")


if __name__ == "__main__":
    _main()
