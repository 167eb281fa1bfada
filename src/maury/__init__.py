"""maury: open, neural stellar parameter classification from high-resolution optical spectra.

`maury.read` reads a spectrum of any supported format, `maury.prepare` normalises it and shifts it to rest,
`maury.predict` infers stellar parameters, `maury.write` writes a spectrum.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maury.errors import ConfigError, DomainError, FormatError, MauryError, OutputError, SchemaError, SynthesisError
    from maury.inference import Result, predict
    from maury.preparation import Preparation, prepare
    from maury.readers import read, write
    from maury.spectra import Observation, Spectrum

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DomainError",
    "FormatError",
    "MauryError",
    "Observation",
    "OutputError",
    "Preparation",
    "Result",
    "SchemaError",
    "Spectrum",
    "SynthesisError",
    "__version__",
    "predict",
    "prepare",
    "read",
    "write",
]

_ERRORS = ("ConfigError", "DomainError", "FormatError", "MauryError", "OutputError", "SchemaError", "SynthesisError")
_LAZY = {
    "read": "maury.readers",
    "write": "maury.readers",
    "prepare": "maury.preparation",
    "Preparation": "maury.preparation",
    "predict": "maury.inference",
    "Result": "maury.inference",
    "Spectrum": "maury.spectra",
    "Observation": "maury.spectra",
    **dict.fromkeys(_ERRORS, "maury.errors"),
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `import maury` is fast."""
    if name not in _LAZY:
        raise AttributeError(f"module 'maury' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
