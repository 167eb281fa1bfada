"""Open FITS files of an import: without warnings, errors as `FormatError`, the size of an image checked."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from maury.errors import FormatError


@contextlib.contextmanager
def open_fits(path: Path) -> Iterator[Any]:
    """Yield the HDUs of a FITS file; what fails while they are open is a `FormatError`."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                yield hdus
    except FormatError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FormatError(f"{path}: not a readable FITS file, perhaps truncated ({error})") from error


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Yield the first 1-D image of a FITS file.

    Raises:
        FormatError: no such file, not FITS, truncated, or without a 1-D image.
    """
    with open_fits(path) as hdus:
        image = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 1), None)
        if image is None:
            raise FormatError(f"{path}: no 1-D image")
        _check_size(path, image)
        yield image


def _check_size(path: Path, image: Any) -> None:
    info = image.fileinfo()
    if info is None or path.suffix == ".gz":
        return  # unpacked in memory: reading it tells
    needed = int(info["datLoc"]) + abs(int(image.header["BITPIX"])) // 8 * int(image.shape[0])
    if needed > path.stat().st_size:
        raise FormatError(f"{path}: truncated: its image ends at byte {needed}, the file at {path.stat().st_size}")
