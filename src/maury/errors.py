"""The errors that maury raises for a user's mistake: one clear line on the command line, no traceback."""

from typing import Any


class MauryError(Exception):
    """Base of all errors in a user's input; the command line prints one line and exits with code 2.

    Attributes:
        parameter: name of the parameter to change, as in the signature of the function or class, or None; the command
            line names its option, the page its field.
        value: the value that was refused, or None.
        allowed: the values that are allowed, in words, or None.
    """

    def __init__(
        self, message: str = "", *, parameter: str | None = None, value: Any = None, allowed: str | None = None
    ) -> None:
        super().__init__(message)
        self.parameter, self.value, self.allowed = parameter, value, allowed


class FormatError(MauryError, ValueError):
    """A file cannot be read as what it should be: truncated, a missing column, a wrong shape, NaN."""


class SchemaError(FormatError):
    """A checkpoint or grid was written with another schema than this version reads."""


class DomainError(MauryError, ValueError):
    """A value lies outside the range for which the model was made."""


class ConfigError(MauryError, ValueError):
    """A setting is unknown, malformed or contradicts another one."""


class OutputError(MauryError, OSError):
    """An output cannot be written."""


class SynthesisError(MauryError, RuntimeError):
    """A synthesis code failed: it crashed, took too long, or returned something that is not a spectrum."""
