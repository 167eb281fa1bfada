"""Open a FITS file with its sizes checked before any data is touched: truncated and absurd files end in one line."""

from __future__ import annotations

import contextlib
import gzip
import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from maury.readers.barycentric import note_extension
from maury.readers.source import MAX_PIXELS, Floats, Log, as_floats

MAX_PARTS = 5000
"""Largest number of header-data units looked at."""

_MAX_UNPACKED = 1_000_000_000


@dataclass
class Part:
    """One header-data unit.

    Attributes:
        index: its number, 0 for the primary.
        header: its header.
        hdu: the unit.
        shape: shape of an image without axes of length 1, slowest axis first; () for tables and empty units.
    """

    index: int
    header: fits.Header
    hdu: Any
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """EXTNAME, or ''."""
        return str(self.header.get("EXTNAME", "")).strip()

    @property
    def title(self) -> str:
        """How notes call it."""
        return f"extension {self.index}" + (f" ({self.name})" if self.name else "")

    @property
    def is_table(self) -> bool:
        """Whether it is a binary or ASCII table with rows."""
        return isinstance(self.hdu, fits.BinTableHDU | fits.TableHDU) and int(self.header.get("NAXIS2", 0)) > 0

    def is_called(self, wanted: str | int) -> bool:
        """Whether this is the extension of a name or number."""
        return str(wanted).strip().lower() in (self.name.lower(), str(self.index))

    def image(self) -> Floats:
        """The image as floats, without axes of length 1; a new copy."""
        return np.squeeze(as_floats(self.hdu.data))


def unpacked(path: Path, log: Log) -> bytes:
    """The content of a gzip file, at most 1 GB of it.

    Raises:
        FormatError: the file is damaged, or larger than that.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(_MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise log.fail(f"truncated or damaged gzip file ({error})") from error
    if len(content) > _MAX_UNPACKED:
        raise log.fail(f"unpacks to more than {_MAX_UNPACKED / 1e9:g} GB")
    return content


def _shape(header: fits.Header) -> tuple[int, ...]:
    axes = [int(header[f"NAXIS{i}"]) for i in range(int(header["NAXIS"]), 0, -1)]
    return tuple(n for n in axes if n != 1) or (tuple(axes) and (1,))


def _drop_broken_cards(header: fits.Header, log: Log) -> None:
    """Delete the cards that break the FITS standard beyond repair, with a warning, so that the others can be used."""
    for index in range(len(header.cards) - 1, -1, -1):
        card = header.cards[index]
        try:
            _ = card.value, card.comment
        except fits.VerifyError:
            log.warn(f"header card {card.keyword} is not understood: left out")
            del header[index]


def _part(index: int, hdu: Any, size: int, log: Log) -> Part:
    header = hdu.header
    _drop_broken_cards(header, log)
    info = hdu.fileinfo()
    start, span = int(info["datLoc"]), int(info["datSpan"])
    axes = [int(header.get(f"NAXIS{i + 1}", 0)) for i in range(int(header.get("NAXIS", 0)))]
    count = int(np.prod(axes, dtype=float)) if axes else 0
    needed = abs(int(header.get("BITPIX", 8))) // 8 * count
    if count > 8 * MAX_PIXELS * 8 or (hdu.is_image and count > MAX_PIXELS):
        raise log.fail(f"extension {index} claims {count:.3g} values: no spectrum")
    if start + min(needed, span or needed) > size or (needed and not span):
        raise log.fail(f"truncated: extension {index} ends at byte {start + needed}, the file at byte {size}")
    if hdu.is_image and count:
        _first_axis(header, axes)
    return Part(index, header, hdu, _shape(header) if hdu.is_image and count else ())


def _first_axis(header: fits.Header, axes: list[int]) -> None:
    """Give the only axis of more than one pixel, if it is a later one (n, 1 or n, 1, 1), the keywords of the first."""
    long = [number for number, size in enumerate(axes, start=1) if size != 1]
    if len(long) != 1 or long[0] == 1 or f"CRVAL{long[0]}" not in header:
        return
    for key in ("CRVAL{0}", "CDELT{0}", "CRPIX{0}", "CTYPE{0}", "CUNIT{0}", "CD{0}_{0}", "PC{0}_{0}"):
        value = header.get(key.format(long[0]))
        header.remove(key.format(1), ignore_missing=True)
        if value is not None:
            header[key.format(1)] = value


@contextlib.contextmanager
def open_fits(path: Path, log: Log) -> Iterator[list[Part]]:
    """Yield the parts of a FITS file, plain or gzip-compressed, sizes checked.

    Raises:
        FormatError: the file is truncated, claims absurd sizes or has no parts.
    """
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    content = io.BytesIO(unpacked(path, log)) if packed else None
    size = content.getbuffer().nbytes if content is not None else path.stat().st_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with fits.open(content if content is not None else path, memmap=False, lazy_load_hdus=True) as hdus:
            parts = []
            for index, hdu in enumerate(hdus):
                if index >= MAX_PARTS:
                    log.warn(f"only the first {MAX_PARTS} extensions were looked at")
                    break
                parts.append(_part(index, hdu, size, log))
            if not parts:
                raise log.fail("no header-data units")
            note_extension(parts)
            yield parts
