"""Text files: columns with or without names, comments or headers; ECSV and CSV; Libre-ESpRIT ``.s`` files.

Sources: iSpec (waveobs, flux, err in nm); Libre-ESpRIT and PolarBase (two header lines; nm, I, [V, N1, N2,] sigma);
the ECSV standard (astropy APE 6) with units and metadata.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maury.readers.arrays import build, from_selection, unlabelled_sigma
from maury.readers.fitsfile import unpacked
from maury.readers.headers import as_number
from maury.readers.noise import named_noise
from maury.readers.roles import named, select
from maury.readers.source import Floats, Log, Raw, as_floats
from maury.readers.units import is_wavelength, to_angstrom

_MAX_BYTES = 400_000_000
_MAX_HEADER = 2000
_COMMENTS = ("#", "%", "!", ";", "*", "//", "\\")


@dataclass
class _Text:
    """A text file taken apart: header lines, names of columns if it has them, numbers (rows, columns)."""

    header: list[str]
    names: list[str] | None
    table: Floats


def _decode(path: Path, log: Log) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise log.fail(f"text file of more than {_MAX_BYTES / 1e6:g} MB")
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = unpacked(path, log)
    if b"\x00" in content[:65536]:
        raise log.fail("binary file of a kind not known here")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@dataclass(frozen=True)
class _Dialect:
    """How the fields of a line are told apart: by a delimiter (None: blanks), with points or commas in numbers."""

    delimiter: str | None
    comma: bool = False

    def tokens(self, line: str) -> list[str]:
        """The fields of a line, without quotes."""
        words = line.split() if self.delimiter is None else line.split(self.delimiter)
        return [word.strip().strip("\"'").strip() for word in words]

    def number(self, word: str) -> float | None:
        """A field as a number, NaN if its value is missing; None if it is something else."""
        if word.lower() in _MISSING:
            return np.nan
        if self.comma:
            word = "" if "." in word else word.replace(",", ".")
        try:
            return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "E", word))
        except ValueError:
            return None

    def numbers(self, line: str) -> list[float] | None:
        """The numbers of a line of two or more, or None for any other line."""
        values = [self.number(word) for word in self.tokens(line)]
        some = sum(value is not None and not np.isnan(value) for value in values)
        return None if len(values) < 2 or some < 1 or None in values else values  # type: ignore[return-value]


_MISSING = frozenset(
    ("", "nan", "null", "none", "na", "n/a", "#n/a", "nodata", "missing", "masked", "-", "--", "---", "...")
)
_DIALECTS = (
    *(_Dialect(delimiter) for delimiter in ("\t", ";", ",", "|", None)),
    *(_Dialect(delimiter, comma=True) for delimiter in ("\t", ";", "|", None)),
)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(_COMMENTS)


def _dialect(lines: list[str]) -> _Dialect | None:
    """The first dialect in which most of the lines that have numbers in any dialect are numbers."""
    sample = [line for line in lines if line.strip() and not _is_comment(line)][-200:]
    counts = [sum(dialect.numbers(line) is not None for line in sample) for dialect in _DIALECTS]
    most = max(counts, default=0)
    return next((d for d, count in zip(_DIALECTS, counts, strict=True) if count and count >= 0.9 * most), None)


def _names(header: list[str], count: int, dialect: _Dialect) -> list[str] | None:
    """Names of the columns: the last header line with as many words as there are columns, none of them a number."""
    for line in reversed(header):
        text = line.strip().lstrip('#%!;*/\\|" ').strip()
        # "wavelength (nm)" is one name, not two
        text = re.sub(r"\s+([\[(][^\])]*[\])])", r"\1", text)
        for words in (dialect.tokens(text), re.split(r"[,;\s]+", text.strip(" ,;"))):
            words = [word.strip("\"'|") for word in words]
            if len(words) == count and not any(re.fullmatch(r"[-+\d.,eEdD]*\d[-+\d.,eEdD]*", word) for word in words):
                return words
    return None


def _split(text: str, log: Log) -> _Text:
    """Take a text apart into header and numbers.

    Raises:
        FormatError: no line holds two numbers or more, or the lines differ in their number of columns.
    """
    lines = text.splitlines()
    libre = bool(lines) and lines[0].startswith("***")
    dialect = _dialect(lines[: _MAX_HEADER + 200])
    start = None if dialect is None else next(
        (n for n, line in enumerate(lines[:_MAX_HEADER])
         if not _is_comment(line) and dialect.numbers(line) is not None and not (libre and n <= 1)), None)  # fmt: skip
    if dialect is None or start is None:
        raise log.fail("text without a line of two numbers or more")
    header = lines[:start]
    count = len(dialect.tokens(lines[start]))
    if dialect.comma:
        log.rule("decimal commas read as points")
    table = _numbers(lines, start, count, dialect, log)
    names = _names(header, count, dialect)
    used = [not np.isnan(column).all() for column in table.T]
    if not all(used):
        table, names = table[:, used], None if names is None else [n for n, u in zip(names, used, strict=True) if u]
    missing = int(np.isnan(table).sum())
    if missing:
        log.rule(f"{missing} missing values (empty, null, NaN and the like)")
    return _Text(header, names, table)


def _numbers(lines: list[str], start: int, count: int, dialect: _Dialect, log: Log) -> Floats:
    """The numbers (rows, columns) of the lines from the first with numbers on, NaN where a value is missing."""
    body = [line for line in lines[start:] if line.strip() and not _is_comment(line)]
    if not dialect.comma:
        with contextlib.suppress(ValueError):  # all there, all plain: fast
            table = np.loadtxt(io.StringIO("\n".join(body)), delimiter=dialect.delimiter, comments=None, ndmin=2)
            if table.shape[1] == count:
                return table
    rows = []
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip() or _is_comment(line):
            continue
        words = dialect.tokens(line)
        if len(words) == count + 1 and not words[-1]:
            words = words[:-1]
        if len(words) != count:
            raise log.fail(f"line {number} has {len(words)} columns, the lines before {count}")
        values = [dialect.number(word) for word in words]
        if None in values:
            raise log.fail(f"line {number}: {line.strip()[:60]!r} is not all numbers")
        rows.append(values)
    return np.array(rows, dtype=float)


def read_numbers(path: Path, log: Log) -> Floats:
    """The numbers (rows, columns) of a text file, header and comments left out.

    Raises:
        FormatError: as for a spectrum in text.
    """
    return _split(_decode(path, log), log).table


def _libre_esprit(text: _Text, log: Log) -> Raw:
    """Libre-ESpRIT ``.s``: wavelength in nm, intensity, [polarisation, two nulls,] sigma as the last column."""
    table = text.table
    wave = to_angstrom(table[:, 0], "nm", log)
    log.rule("Libre-ESpRIT .s file: columns are wavelength (nm), intensity, ..., sigma")
    sigma, source = None, "none"
    if table.shape[1] > 2:
        sigma, source = named_noise(table[:, -1], "sigma", table[:, 1], log, f"column {table.shape[1]} (sigma)")
    raw = build("Libre-ESpRIT text", wave, table[:, 1], sigma, None, [""], source)
    raw.medium, raw.frame = "air", "barycentric"
    log.rule("air, heliocentric wavelengths: Libre-ESpRIT")
    found = re.search(r"['\"]([^'\"]+)['\"]", text.header[0])
    raw.info = {"object": found.group(1).strip()} if found else {}
    return raw


def _unit_in(header: list[str]) -> str | None:
    """Unit of the wavelengths out of a sentence in the header, as in ``# wavelength in nm``."""
    for line in header:
        found = re.search(r"wave\w*\W+(?:\w+\W+){0,2}?(nm|nanomet\w+|angstroe?ms?|micron\w*|å)\b", line.lower())
        if found:
            word = found.group(1)
            return "nm" if word.startswith("nano") else "um" if word.startswith("micron") else word
    return None


def _medium_in(raw: Raw, header: list[str], log: Log) -> None:
    text = re.sub(r"\bair[\s_-]*mass|\bopen air", "", "\n".join(header).lower())
    if raw.medium is None and len(set(re.findall(r"\b(vacuum|air)\b", text))) == 1:
        raw.medium = "vacuum" if "vacuum" in text else "air"
        log.rule(f"{raw.medium} wavelengths: word in the header of the text")


def _by_position(text: _Text, log: Log) -> Raw:
    """Columns without names: the first that runs through optical wavelengths, then flux, then perhaps noise.

    Raises:
        FormatError: no column is a wavelength, or nothing stands after it.
    """
    table = text.table
    count = table.shape[1]
    unit = _unit_in(text.header)
    column = next((i for i in range(min(count - 1, 3)) if is_wavelength(table[:, i])), None)
    if column is None and (unit or log.options.wavelength_unit):
        column = 0
    if column is None:
        raise log.fail(f"none of {count} columns runs through optical wavelengths, or nothing follows it")
    wave = to_angstrom(table[:, column], unit, log, f"wavelengths (column {column + 1})")
    flux = table[:, column + 1]
    log.rule(f"columns without names: {column + 1} is the wavelength, {column + 2} the flux")
    sigma, source = None, "none"
    if count > column + 2:
        sigma, source = unlabelled_sigma(table[:, column + 2], flux, log, f"column {column + 3}")
    if count > column + 3:
        log.warn(f"columns {column + 4} to {count} have no names: not used")
    return build("text columns", wave, flux, sigma, None, [""], source)


def _ecsv(content: str, log: Log) -> Raw:
    """ECSV, with units and, as maury writes them, medium, frame, resolution and normalisation in its metadata."""
    from astropy.table import Table

    try:
        table = Table.read(content, format="ascii.ecsv")
    except Exception as error:
        raise log.fail(f"ECSV cannot be parsed: {' '.join(str(error).split())[:200]}") from error
    numeric = [table[name] for name in table.colnames if table[name].dtype.kind in "iufb"]
    arrays = [named(c.name, as_floats(np.ma.asarray(c)), str(c.unit or "") or None) for c in numeric]
    raw = from_selection("ECSV", select(arrays), log)
    meta = {str(key).lower(): value for key, value in table.meta.items()}
    if meta.get("medium") in ("air", "vacuum"):
        raw.medium = meta["medium"]
    if meta.get("frame") in ("rest", "barycentric", "topocentric"):
        raw.frame = meta["frame"]
    if isinstance(meta.get("normalised"), bool):
        raw.normalised = meta["normalised"]
    raw.resolution = as_number(meta.get("resolution"))
    raw.barycentric_kms = as_number(meta.get("barycentric_kms"))
    if isinstance(meta.get("truth"), dict):
        raw.info["truth"] = dict(meta["truth"])  # labels of a simulated star
    for key in ("flags", "mask"):  # of a prepared spectrum
        if isinstance(meta.get(key), list):
            raw.info[key] = tuple(map(str, meta[key]))
    stated = [
        key for key in ("medium", "frame", "normalised", "resolution", "barycentric_kms") if meta.get(key) is not None
    ]
    if stated:
        log.rule(f"{', '.join(stated)}: metadata of the ECSV")
    return raw


def read_text(path: Path, log: Log) -> Raw:
    """Read a text file of columns.

    Raises:
        FormatError: it holds no columns of numbers, none is a wavelength, or it is binary.
    """
    content = _decode(path, log)
    if not content.strip():
        raise log.fail("empty file")
    if re.match(r"#\s*%ECSV", content):
        return _ecsv(content, log)
    text = _split(content, log)
    if text.header and text.header[0].startswith("***"):
        return _libre_esprit(text, log)
    if text.names:
        arrays = [named(name, text.table[:, i].copy()) for i, name in enumerate(text.names)]
        chosen = select(arrays)
        if chosen.wavelength is not None and chosen.flux is not None:
            chosen.wavelength.unit = chosen.wavelength.unit or _unit_in(text.header)
            raw = from_selection("text columns", chosen, log)
            _medium_in(raw, text.header, log)
            return raw
        log.rule(f"column names {', '.join(text.names)[:80]} not known: taken by position")
    raw = _by_position(text, log)
    _medium_in(raw, text.header, log)
    return raw
