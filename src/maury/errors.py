"""The errors that maury raises for a user's mistake: one clear line on the command line, no traceback."""

import os
import sys
import traceback
from typing import Any

_LONGEST = 300


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
    """A file does not have the expected format: it is truncated, lacks a column, has a wrong shape or NaN."""


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


def in_one_line(error: Exception, file: str | os.PathLike[str]) -> str:
    """One line that says why a file failed: the text of a `MauryError`; for other errors also file and type.

    The traceback of other errors is written to standard error if the environment variable MAURY_DEBUG is set.

    Args:
        error: the exception.
        file: the file being processed.
    """
    text = " ".join(str(error).split())
    if isinstance(error, MauryError):
        return text
    if os.environ.get("MAURY_DEBUG"):
        sys.stderr.write("".join(traceback.format_exception(error)))
    return f"{file}: unexpected {type(error).__name__}: {text[:_LONGEST]} (MAURY_DEBUG=1 shows the traceback)"
