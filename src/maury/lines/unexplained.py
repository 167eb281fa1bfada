"""Ranges of absorption that no line of the list explains, found on standard stars, and a mask from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from maury.errors import FormatError
from maury.files import write_text
from maury.lines.judge import Verdict
from maury.synthesis.linefile import LineFile
from maury.wavelengths import Floats

PACKAGED = Path(__file__).parent / "unexplained.ecsv"
"""Ranges of 5047 to 5353 Å that the list behind the packaged emulator's successor does not explain."""

_MEAN_AA = 0.1
_STEP_AA = 0.01
_JOIN_AA = 0.06
_SAME_AA, _SAME_EV = 0.05, 0.005
_LEAST_HEIGHT = 0.003
_MOST = 3
_COLUMNS = ("first", "last", "difference", "stars")


def find_unexplained(
    verdicts: Sequence[Verdict], limits: dict[str, float], anchor: str, window_aa: tuple[float, float]
) -> Table:
    """Find ranges where the anchor star or at least two other stars differ from their models.

    Residuals with fitted labels are averaged over 0.1 Å. Ranges closer than 0.06 Å are joined. ``limits`` has the least
    difference between flux and model by star; stars that it does not name are ignored.

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


def candidates(
    ranges: Table,
    lines: LineFile,
    height: Floats,
    at_bound: NDArray[np.bool_] | None = None,
    further: LineFile | None = None,
) -> list[str]:
    """Suggest remedies for each range: lines to drop, lines that need a wider prior, lines missing in the list.

    If stars are brighter than their models, the strongest lines of the range may not exist or are too strong. If they
    are darker, a line at its bound may need a wider prior; without one, a line is missing, and a second list may have
    it. ``height`` (n,) is the largest change of a star's flux by each line, per dex; ``further`` is a second list to
    search.
    """
    shown = height > _LEAST_HEIGHT
    texts = []
    for row in ranges:
        span = (float(row["first"]), float(row["last"]))
        near = [i for i in _strongest(lines, height, *span) if shown[i]]
        if row["difference"] > 0:
            texts.append(_listed("drop", lines, near[:_MOST]))
            continue
        stopped = [i for i in near if at_bound is not None and at_bound[i]]
        if stopped:
            texts.append(_listed("widen", lines, stopped[:_MOST]))
        elif further is None:
            texts.append("look for a line in another list")
        else:
            weight = further.loggf - further.excitation_ev
            new = [j for j in _strongest(further, weight, *span) if not _in_list(lines, further, j)]
            texts.append(_listed("look for", further, new[:_MOST]))
    return texts


def _strongest(lines: LineFile, height: Floats, first: float, last: float) -> list[int]:
    """Indices of the lines in a range, sorted by decreasing ``height``."""
    inside = np.flatnonzero((lines.wavelength_aa >= first) & (lines.wavelength_aa <= last))
    return [int(i) for i in inside[np.argsort(-height[inside], kind="stable")]]


def _in_list(lines: LineFile, further: LineFile, j: int) -> bool:
    near = np.abs(lines.wavelength_aa - further.wavelength_aa[j]) < _SAME_AA
    near &= np.abs(lines.excitation_ev - further.excitation_ev[j]) < _SAME_EV
    return bool((near & (lines.species == further.species[j])).any())


def _listed(verb: str, lines: LineFile, places: Sequence[int]) -> str:
    """Text of a verb with species, wavelength and energy of lines; empty without lines."""
    named = (f"{lines.species[i]} {lines.wavelength_aa[i]:.3f} ({lines.excitation_ev[i]:.2f} eV)" for i in places)
    return f"{verb} {', '.join(named)}" if places else ""


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
    write_text(path, stream.getvalue())


def unexplained_mask(wavelength_aa: ArrayLike, path: str | os.PathLike[str] = PACKAGED) -> NDArray[np.bool_]:
    """Mask of wavelengths (Å air, rest frame): True inside a range of the table.

    Raises:
        FormatError: the file is not a table of ranges.
    """
    try:
        table = Table.read(path, format="ascii.ecsv")
        first, last = np.asarray(table["first"], float), np.asarray(table["last"], float)
    except Exception as error:  # astropy raises many kinds for damaged tables
        raise FormatError(f"{path}: not a table of wavelength ranges: {' '.join(str(error).split())[:200]}") from error
    wave = np.asarray(wavelength_aa, float)
    return np.asarray(((wave[..., None] >= first) & (wave[..., None] <= last)).any(-1))
