"""maury: open, neural stellar parameter classification from high-resolution optical spectra.

`maury.read` reads a spectrum of any supported format, `maury.prepare` makes a normalised spectrum at rest of it,
`maury.predict` gives its stellar parameters.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "read": "maury.readers",
    "prepare": "maury.preparation",
    "predict": "maury.inference",
    "Result": "maury.inference",
}


def __getattr__(name: str) -> Any:
    """Import what stands at the top only when it is asked for, so that `import maury` stays instant."""
    if name not in _LAZY:
        raise AttributeError(f"module 'maury' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
