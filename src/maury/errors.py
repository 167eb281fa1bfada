"""The errors that maury raises for a user's mistake: one clear line on the command line, no traceback."""


class MauryError(Exception):
    """Base of all errors that tell a user what is wrong with an input; the command line exits with code 2."""


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
    """A synthesis code failed: it crashed, took too long, or made something that is no spectrum."""
