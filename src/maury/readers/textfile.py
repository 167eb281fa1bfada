"""Tables of numbers in text: delimiters, decimal commas, missing values, names of columns."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.readers.fitsfile import unpacked
from maury.readers.roles import classify, is_linear
from maury.readers.source import Floats, Log
from maury.readers.units import parse_unit

_MAX_BYTES = 400_000_000
_MAX_HEADER = 2000
_COMMENTS = ("#", "%", "!", ";", "*", "//", "\\")


@dataclass
class TextTable:
    """A text file taken apart: header lines, names of columns if it has them, numbers (rows, columns)."""

    header: list[str]
    names: list[str] | None
    table: Floats


def decode(path: Path, log: Log) -> str:
    """The text of a file, plain or gzip-compressed.

    Raises:
        FormatError: it is too large, or binary.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise log.fail(f"text file of more than {_MAX_BYTES / 1e6:g} MB")
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = unpacked(path, log)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode("utf-16")
    if b"\x00" in content[:65536]:
        raise log.fail("binary file of a kind not known here")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@dataclass(frozen=True)
class _Dialect:
    """How the fields of a line are separated: by a delimiter (None: blanks), with points or commas in numbers."""

    delimiter: str | None
    comma: bool = False

    def tokens(self, line: str) -> list[str]:
        """The fields of a line, without quotes."""
        words = line.split() if self.delimiter is None else line.split(self.delimiter)
        return [word.strip().strip("\"'").strip() for word in words]

    def number(self, word: str) -> float | None:
        """A field as a number, NaN if its value is missing; None if it is something else."""
        if word.lower() in _MISSING or not word.strip("*"):
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


_MISSING_WORDS = "nan null none na n/a #n/a nodata missing masked indef - -- --- ... ?"
_MISSING = frozenset(("", *_MISSING_WORDS.split()))
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
    """Names of the columns: the last header line that names wavelength and flux, else the last one that can be names.

    Units of wavelengths in the line below are added to the names.
    """
    rows = [words for line in header if (words := _words(line, count, dialect)) is not None]
    for names, units in zip(reversed(rows), [None, *reversed(rows)], strict=False):
        roles = [classify(name)[0] for name in names]
        if "wavelength" in roles and "flux" in roles:
            below = [unit.strip("()[]") for unit in units or [""] * count]
            use = [
                parse_unit(u) is not None if role == "wavelength" else not is_linear("", u)
                for u, role in zip(below, roles, strict=True)
            ]
            return [f"{name} ({unit})" if u else name for name, unit, u in zip(names, below, use, strict=True)]
    return rows[-1] if rows else None


def _words(line: str, count: int, dialect: _Dialect) -> list[str] | None:
    """The words of a line of a header that has as many of them as there are columns, none a number; else None."""
    text = line.strip().lstrip('#%!;*/\\|" ').strip()
    # "wavelength (nm)" is one name, not two
    text = re.sub(r"\s+([\[(][^\])]*[\])])", r"\1", text)
    for words in (dialect.tokens(text), re.split(r"[,;|\s]+", text.strip(" ,;|"))):
        words = [word.strip("\"'|") for word in words]
        if len(words) == count and not any(re.fullmatch(r"[-+\d.,eEdD]*\d[-+\d.,eEdD]*", word) for word in words):
            return words
    return None


def split(text: str, log: Log) -> TextTable:
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
    return TextTable(header, names, table)


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
    content = decode(path, log)
    try:
        return split(content, log).table
    except FormatError:
        with contextlib.suppress(ValueError):  # one number a line
            return np.loadtxt(io.StringIO(content), comments=_COMMENTS, ndmin=2)
        raise
