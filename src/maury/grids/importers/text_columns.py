"""Columns of numbers in text: only the lines of the wavelengths wanted are parsed, found by bisection."""

from __future__ import annotations

import bisect
import re
from pathlib import Path

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import read_text
from maury.wavelengths import Floats

_COMMENTS = frozenset('#%!;*/"|')
_NO_NUMBERS = _COMMENTS | {""}
_EXPONENT = re.compile(r"(\d)[dD]([+-]?\d)")


def numeric_lines(path: Path) -> tuple[list[str], list[str]]:
    """Header lines (comments, and whatever stands before the first line of numbers) and lines of numbers of a file.

    Raises:
        FormatError: it cannot be read, or holds no line of numbers.
    """
    lines = read_text(path).splitlines()
    header = [line for line in lines[:500] if line.lstrip()[:1] in _COMMENTS]
    body = [line for line in lines if line.lstrip()[:1] not in _NO_NUMBERS]
    start = next((i for i, line in enumerate(body[:500]) if _numbers(line)), None)
    if start is None:
        raise FormatError(f"{path}: text without a line of numbers")
    return header + body[:start], body[start:]


def _numbers(line: str) -> list[float]:
    """The numbers of a line, [] if something else stands in it."""
    try:
        return [float(word) for word in _EXPONENT.sub(r"\1E\2", line).replace(",", " ").split()]
    except ValueError:
        return []


def parse_columns(path: Path, lines: list[str], least: int, first: int = 0) -> Floats:
    """Lines of numbers as a table (rows, columns).

    Args:
        path: for messages.
        lines: the lines.
        least: fewest columns.
        first: number of lines left out before these, for messages.

    Raises:
        FormatError: a line that is not all numbers or has another number of columns, named by its number.
    """
    text = _EXPONENT.sub(r"\1E\2", "\n".join(lines)).replace(",", " ")
    try:
        table = np.loadtxt(text.splitlines(), ndmin=2)
    except ValueError:
        width = len(_numbers(lines[0]))
        for number, line in enumerate(lines, start=first + 1):
            if len(_numbers(line)) != width or not width:
                text = f"line {number} of the numbers, {line.strip()[:40]!r}, is cut or no number"
                raise FormatError(f"{path}: {text}") from None
        raise FormatError(f"{path}: columns cannot be read as numbers") from None
    if table.shape[1] < least:
        raise FormatError(f"{path}: {table.shape[1]} columns of numbers; at least {least} are needed")
    return np.asarray(table, np.float64)


def columns_between(path: Path, low_aa: float, high_aa: float, least: int) -> tuple[Floats, list[str]]:
    """Rows (m, columns) of a table whose first column is the wavelength (Å, increasing), and its header lines.

    A few rows on each side of the range are taken too.

    Raises:
        FormatError: it cannot be read, or the wavelengths do not increase.
    """
    header, lines = numeric_lines(path)

    def wavelength(line: str) -> float:
        numbers = _numbers(line)
        if not numbers:
            raise FormatError(f"{path}: {line.strip()[:40]!r} is cut or no number")
        return numbers[0]

    start, end = wavelength(lines[0]), wavelength(lines[-1])
    if end < start:
        raise FormatError(f"{path}: wavelengths must increase; they run from {start:g} to {end:g}")
    first = max(bisect.bisect_left(lines, low_aa, key=wavelength) - 8, 0)
    last = bisect.bisect_right(lines, high_aa, key=wavelength) + 8
    if last - first < 20:
        return parse_columns(path, lines[max(first - 8, 0) : last + 8], least, max(first - 8, 0)), header
    return parse_columns(path, lines[first:last], least, first), header
