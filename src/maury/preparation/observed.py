"""An observation from whatever a user has: a file, a spectrum, or an observation itself."""

from __future__ import annotations

import os
from typing import Any

from maury.errors import ConfigError
from maury.readers import from_specutils, read
from maury.spectra import Observation, Spectrum


def observed(star: Observation | Spectrum | str | os.PathLike[str], **reading: Any) -> Observation:
    """The observation of a star.

    Raises:
        FormatError: the file cannot be read.
        ConfigError: something else, or options of reading without a file.
    """
    if isinstance(star, str | os.PathLike):
        return read(star, **reading)
    if reading:
        raise ConfigError(f"{', '.join(reading)}: for files alone; give the name of a file, or read it with these")
    if isinstance(star, Observation):
        return star
    if isinstance(star, Spectrum):
        return Observation((star,), None, dict(star.provenance))
    if type(star).__module__.startswith("specutils"):
        return from_specutils(star)
    raise ConfigError(
        f"{type(star).__name__}: not a spectrum; give a file, what maury.read returns, a spectrum of specutils, or "
        "maury.Spectrum(wavelength_aa, flux) with wavelengths in Å in air"
    )
