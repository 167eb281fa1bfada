"""Wavelengths that no line of the list explains: a table of ranges, found on standard stars, and a mask made of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from maury.errors import FormatError
from maury.files import atomic_path
from maury.lines.judge import Verdict

Floats = NDArray[np.float64]

PACKAGED = Path(__file__).parent / "unexplained.ecsv"
"""Ranges of 5047 to 5353 Å that the list behind the packaged emulator's successor does not explain."""

_MEAN_AA = 0.1
_STEP_AA = 0.01
_JOIN_AA = 0.06
_COLUMNS = ("first", "last", "difference", "stars")


def find_unexplained(
    verdicts: Sequence[Verdict], limits: dict[str, float], anchor: str, window_aa: tuple[float, float]
) -> Table:
    """Ranges where the anchor, or two other stars, differ from their models.

    The residual, labels fitted, is averaged over 0.1 Å. What lies within 0.06 Å of another range is joined to it.

    Args:
        verdicts: of the stars that count; others are ignored.
        limits: flux by star above which it differs.
        anchor: star that counts alone.
        window_aa: range looked at.

    Returns:
        Columns first and last (Å air), difference (mean of observed minus model of the star that differs most) and
        stars.
    """
    wave = np.arange(window_aa[0], window_aa[1], _STEP_AA)
    smooth = {v.star: _averaged(v, wave) for v in verdicts if v.star in limits}
    differs = {name: np.abs(values) > limits[name] for name, values in smooth.items()}
    others = np.sum([flags for name, flags in differs.items() if name != anchor], axis=0)
    bad = differs[anchor] | (others >= 2)
    rows = []
    for first, last in _runs(bad, round(_JOIN_AA / _STEP_AA)):
        span = slice(first, last + 1)
        peaks = {name: float(values[span][np.argmax(np.abs(values[span]))]) for name, values in smooth.items()}
        stars = [name for name in smooth if differs[name][span].any()]
        strongest = max((peaks[name] for name in stars), key=abs)
        half = _MEAN_AA / 2
        ends = (round(float(wave[first] - half), 2), round(float(wave[last] + half), 2))
        rows.append((*ends, round(strongest, 3), ", ".join(stars)))
    table = Table(rows=rows, names=_COLUMNS, dtype=("f8", "f8", "f8", "str"))
    table["first"].unit = table["last"].unit = "Angstrom"
    return table


def _averaged(verdict: Verdict, wave: Floats) -> Floats:
    """Mean residual over 0.1 Å at wavelengths; 0 where there are fewer than 3 pixels."""
    order = np.argsort(verdict.wavelength_aa, kind="stable")
    pixels, residual = verdict.wavelength_aa[order], verdict.residual[order]
    total = np.r_[0.0, np.cumsum(residual)]
    low, high = np.searchsorted(pixels, wave - _MEAN_AA / 2), np.searchsorted(pixels, wave + _MEAN_AA / 2)
    count = high - low
    return np.where(count >= 3, (total[high] - total[low]) / np.maximum(count, 1), 0.0)


def _runs(flags: NDArray[np.bool_], join: int) -> list[tuple[int, int]]:
    """First and last index of each run of True; gaps up to ``join`` are bridged."""
    at = np.flatnonzero(flags)
    if not at.size:
        return []
    breaks = np.flatnonzero(np.diff(at) > join)
    return list(zip(at[np.r_[0, breaks + 1]].tolist(), at[np.r_[breaks, at.size - 1]].tolist(), strict=True))


def write_unexplained(table: Table, path: str | os.PathLike[str], notes: dict[str, object]) -> None:
    """Write ranges as ECSV.

    Raises:
        OutputError: the file cannot be written.
    """
    table = table.copy()
    table.meta = notes
    stream = StringIO()
    table.write(stream, format="ascii.ecsv", delimiter=",")
    with atomic_path(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8")


def unexplained_mask(wavelength_aa: ArrayLike, path: str | os.PathLike[str] = PACKAGED) -> NDArray[np.bool_]:
    """True at rest wavelengths (Å air) within a range of the table.

    Raises:
        FormatError: not a table of ranges.
    """
    try:
        table = Table.read(path, format="ascii.ecsv")
        first, last = np.asarray(table["first"], float), np.asarray(table["last"], float)
    except Exception as error:  # astropy raises many kinds for damaged tables
        raise FormatError(f"{path}: not a table of wavelength ranges: {' '.join(str(error).split())[:200]}") from error
    wave = np.asarray(wavelength_aa, float)
    return np.asarray(((wave[..., None] >= first) & (wave[..., None] <= last)).any(-1))
