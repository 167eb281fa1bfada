"""A quick start of verbs that import much."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def imports() -> Iterator[None]:
    """Import without garbage collection, and leave what was imported out of it for good.

    Modules make next to no garbage, but looking for it among their 400,000 objects takes a quarter of the time of
    importing them, and nearly as long again when the process ends. Where torch is there already nothing is changed.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
