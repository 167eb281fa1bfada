"""Which family a file belongs to: found from its content, never from its name."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from maury.errors import FormatError, MauryError
from maury.readers.companions import apply_sigma_file
from maury.readers.fitsfile import Part, open_fits, unpacked
from maury.readers.hdf import read_hdf5
from maury.readers.interop import read_survey
from maury.readers.linear import read_linear
from maury.readers.multispec import read_multispec
from maury.readers.orders import read_orders
from maury.readers.roles import named
from maury.readers.rows import read_rows
from maury.readers.source import Log, Raw, ReadOptions
from maury.readers.tables import read_tables
from maury.readers.text import read_array, read_text
from maury.readers.traces import read_traces

FITS_FAMILIES: tuple[Callable[[list[Part], Log], Raw | None], ...] = (
    read_survey,
    read_traces,
    read_multispec,
    read_orders,
    read_rows,
    read_tables,
    read_linear,
)
"""Tried in this order; each returns None when the file is not one of its own."""

_FOREIGN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ": "an xz file; unpack it",
    b"\x93NUMPY": "a NumPy array, which has no wavelengths: give the wavelength file",
    b"\x80\x04": "a pickle, which is not read",
    b"<!DOC": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b"{\\rtf": "an RTF document",
}


def magic(path: Path, log: Log) -> bytes:
    """The first bytes of a file, of its content when it is gzip-compressed.

    Raises:
        FormatError: it is no readable file, or empty.
    """
    if path.is_dir():
        raise log.fail("is a directory, not a file")
    if not path.exists():
        raise log.fail("does not exist")
    try:
        with open(path, "rb") as stream:
            first = stream.read(512)
        if first.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as packed:
                first = packed.read(512)
    except (OSError, EOFError, zlib.error) as error:
        raise log.fail(f"cannot be opened: {error}") from error
    if not first.strip():
        raise log.fail("empty file")
    return first


def describe_parts(parts: list[Part]) -> str:
    """What a FITS file holds, in a few words, for the error that says it is no spectrum."""
    words = []
    for part in parts[:4]:
        if part.shape:
            words.append(f"image {' x '.join(map(str, reversed(part.shape)))}")
        elif part.is_table:
            words.append(f"table with columns {', '.join(part.hdu.columns.names[:6])}")
    return "; ".join(words) or "no data"


def is_picture(parts: list[Part]) -> bool:
    """Whether the file is an image of the sky: its first image has celestial axes."""
    first = next((part for part in parts if part.shape), None)
    ctype = str(first.header.get("CTYPE1", "")).upper() if first is not None else ""
    return ctype.startswith(("RA--", "DEC-", "GLON", "GLAT"))


def of_extension(parts: list[Part], log: Log) -> list[Part]:
    """The parts that belong to the extension with the flux that the user names: it alone, if it is a table.

    Of an image, further images that are named as flux, or alike without a name, are left out.

    Raises:
        FormatError: the file has no such extension.
    """
    wanted = log.options.extension
    if wanted is None:
        return parts
    chosen = next((part for part in parts if part.is_called(wanted) and (part.shape or part.is_table)), None)
    if chosen is None:
        names = ", ".join(part.title.removeprefix("extension ") for part in parts if part.shape or part.is_table)
        raise log.fail(f"extension {wanted}: not one with data; the file has {names}", "extension")
    log.rule(f"{chosen.title}: chosen by the user")
    rest = [part for part in parts if part is not chosen]
    if not chosen.is_table:
        kept = [
            p for p in rest if p.shape and p.name and named(p.name, np.empty(0)).role not in (None, "flux", "fibre")
        ]
        rest = [*rest[:1], *kept] if rest and not rest[0].shape else kept
    else:
        rest = [part for part in rest if not part.shape and not part.is_table][:1]
    return [*rest[:1], chosen, *rest[1:]] if rest and not rest[0].shape else [chosen, *rest]


def _first_family(parts: list[Part], log: Log) -> tuple[Raw, Log] | None:
    for family in FITS_FAMILIES:
        own = log.copy()
        raw = family(of_extension(parts, own), own)
        if raw is not None:
            return raw, own
    return None


def read_votable(path: Path, log: Log) -> tuple[Raw, Log]:
    """Read the first table of a VOTable as a FITS table with its units and content descriptors.

    Raises:
        FormatError: it is no spectrum.
    """
    from astropy.io.votable import parse_single_table

    content = unpacked(path, log) if path.read_bytes()[:2] == b"\x1f\x8b" else path.read_bytes()
    table = parse_single_table(io.BytesIO(content)).to_table()
    for name in [name for name in table.colnames if table[name].dtype.kind == "O"]:
        table[name] = table[name].astype(str)
    hdu = fits.table_to_hdu(table)
    hdu.header.update({f"TUCD{i}": str(c.meta.get("ucd", "")) for i, c in enumerate(table.itercols(), start=1)})
    parts = [Part(0, fits.Header(), fits.PrimaryHDU(), ()), Part(1, hdu.header, hdu, ())]
    if (found := _first_family(parts, log)) is None:
        raise log.fail(f"no spectrum ({describe_parts(parts)})")
    return found


def read_fits(path: Path, log: Log) -> tuple[Raw, Log]:
    """Read a FITS file with the first family that knows it, and its log: notes of families that decline are dropped.

    Raises:
        FormatError: none does.
    """
    with open_fits(path, log) as parts:
        if is_picture(parts):
            raise log.fail(f"an image of the sky, not a spectrum ({describe_parts(parts)})")
        if (found := _first_family(parts, log)) is not None:
            return found
        held = "; ".join([describe_parts(parts), *(text for text in log.warnings if "header card" in text)][:4])
        if any(len(p.shape) == 2 for p in parts):
            raise log.fail(
                f"2-D image without wavelengths ({held}): no spectrum; if its rows are orders, give the wavelength file"
            )
        if any(p.shape for p in parts):
            raise log.fail(f"no wavelengths in header or extensions ({held})")
        raise log.fail(f"no spectrum ({held})")


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into a `FormatError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            yield
    except MauryError:
        raise
    except Exception as error:  # what parsers of damaged files raise has no end
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{path}: damaged or not understood ({type(error).__name__}: {reason})") from error


def read_raw(path: Path, options: ReadOptions) -> tuple[Raw, Log]:
    """The orders of a file of any family, and the log of how they were found.

    Raises:
        FormatError: it is of no family known, or damaged.
    """
    log = Log(path, options)
    raw, log = _family(path, magic(path, log), log)
    apply_sigma_file(raw, log)
    return raw, log


def _family(path: Path, first: bytes, log: Log) -> tuple[Raw, Log]:
    if b"<VOTABLE" in first:
        return read_votable(path, log)
    for start, what in _FOREIGN.items():
        if what.startswith("a NumPy") and log.options.wavelength_file is not None:
            continue
        if first.lower().startswith(start.lower()):
            raise log.fail(f"{what}, not a spectrum")
    if first.startswith(b"\x89HDF\r\n\x1a\n"):
        with open(path, "rb") as stream:
            if stream.read(2) == b"\x1f\x8b":
                raise log.fail("a gzip-compressed HDF5 file; unpack it")
        return read_hdf5(path, log), log
    if first.startswith(b"\x93NUMPY") and log.options.wavelength_file is not None:
        flux = np.squeeze(np.load(path, allow_pickle=False).astype(float))
        return read_array(np.atleast_2d(flux).T, log), log
    if first.startswith(b"SIMPLE"):
        return read_fits(path, log)
    return read_text(path, log), log
