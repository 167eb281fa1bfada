"""Read observed spectra: any supported file to an `Observation`, with a record of where each number came from.

`read` tells the family of a file from its content. What the file does not state plainly is found by an explicit rule,
which `Observation.provenance` records and `maury inspect` shows; what no rule settles is a `FormatError` in one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maury.errors import FormatError
from maury.readers.detect import read_raw, understood
from maury.readers.finish import finish
from maury.readers.interop import raw_from_specutils, to_specutils
from maury.readers.noise import der_snr
from maury.readers.source import Log, Medium, ReadOptions
from maury.readers.write import write
from maury.spectra import Observation

__all__ = ["WINDOW_AA", "ReadOptions", "der_snr", "from_specutils", "read", "require_window", "to_specutils", "write"]

WINDOW_AA = (5050.0, 5350.0)
"""The classic SPC window, Å air."""


def require_window(observation: Observation, window_aa: tuple[float, float] = WINDOW_AA) -> None:
    """Raise if no pixel lies in a window.

    Raises:
        FormatError: no order reaches into the window (Å air).
    """
    if (missed := observation.missed(*window_aa)) is not None:
        raise FormatError(f"{observation.name}: {missed}")


def read(path: str | os.PathLike[str], *, window_aa: tuple[float, float] | None = None, **options: Any) -> Observation:
    """Read a spectrum of any supported format.

    Args:
        path: FITS (plain or gzip), HDF5 or text.
        window_aa: wavelengths (Å air) of which at least one pixel has to be there; None for any spectrum.
        options: attributes of `ReadOptions`: ``resolution``, ``medium``, ``wavelength_unit``, ``wavelength_file``,
            ``sigma_file``, ``ignore_sigma``, ``extension``, ``row``, ``fibre``, ``order``.

    Returns:
        The orders in Å air, with provenance.

    Raises:
        FormatError: one line with the file and the reason why it cannot be read.
        ConfigError: an option is out of its range.
    """
    file, chosen = Path(path), ReadOptions(**options)
    with understood(file):
        observation = finish(*read_raw(file, chosen))
    if window_aa is not None:
        require_window(observation, window_aa)
    return observation


def from_specutils(spectrum: Any, *, medium: Medium | None = None, resolution: float | None = None) -> Observation:
    """Convert a `specutils.Spectrum` or `specutils.SpectrumList`; spectral axes other than wavelength are converted.

    Args:
        spectrum: the spectrum, or one spectrum per order.
        medium: air or vacuum; without it, as `to_specutils` noted it, else air is assumed, with a warning.
        resolution: R = lambda / FWHM.

    Raises:
        FormatError: the flux is an array of several spectra, or holds no signal.
    """
    log = Log(Path("specutils spectrum"), ReadOptions(medium=medium, resolution=resolution))
    spectra = spectrum if isinstance(spectrum, list) else [spectrum]
    return finish(raw_from_specutils(spectra, log, medium), log)
