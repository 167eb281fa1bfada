"""An observation from whatever a user has: a file, a spectrum, or an observation itself."""

from __future__ import annotations

import os
from typing import Any

from maury.errors import ConfigError
from maury.readers import read
from maury.spectra import Observation, Spectrum


def observed(star: Observation | Spectrum | str | os.PathLike[str], **reading: Any) -> Observation:
    """The observation of a star.

    Args:
        star: what `maury.read` returns, one spectrum, or a file, which is read.
        reading: attributes of `maury.readers.ReadOptions`, for a file.

    Raises:
        FormatError: the file cannot be read.
        ConfigError: options of reading, but not a file.
    """
    if isinstance(star, str | os.PathLike):
        return read(star, **reading)
    if reading:
        raise ConfigError(f"{', '.join(reading)}: for files alone; give the name of a file, or read it with these")
    return star if isinstance(star, Observation) else Observation((star,), None, dict(star.provenance))
