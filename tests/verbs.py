"""The command line, called in the process of the test."""

from __future__ import annotations

from typing import Any

import pytest

from maury.cli.app import main


def run(*arguments: Any) -> Any:
    """Exit code of `maury` with these arguments."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code
