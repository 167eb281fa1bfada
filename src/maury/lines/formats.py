"""Read line lists of other codes and surveys: Gaia-ESO, Turbospectrum, MOOG, Kurucz, ExoMol."""

from __future__ import annotations

import bz2
import gzip
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maury.errors import FormatError
from maury.lines.isotopes import ELEMENTS, Species, exomol_species, species_of
from maury.wavelengths import air_to_vacuum

EV_PER_CM = 1.239841984e-4
"""Energy of a wavenumber of 1 per cm, eV."""

_GF_PER_A = 1.49919e-16
"""gf = this times wavelength squared (Å, vacuum) times statistical weight of the upper level times A (1/s)."""

Window = tuple[float, float] | None


@dataclass
class Record:
    """A spectral line in the units of its file."""

    species: Species  # atom, ion or molecule with its isotopes
    wavelength: float  # wavelength in the unit and medium of the file
    excitation_ev: float  # energy of the lower level, eV
    loggf: float  # log gf before scaling by isotopic fractions
    reference: str  # source of the line
    radiative: float = 0.0  # radiative damping as in `maury.synthesis.linefile.LineFile`, 0 for none
    stark: float = 0.0  # Stark damping as there, 0 for none
    waals: float = 0.0  # van der Waals damping as there, 0 for none
    log_fraction: float | None = None  # log10 of the isotopic fraction that the file gives; None to look it up


Reader = Callable[[Path, Window, Counter[str]], Iterator[Record]]


def _text(path: Path) -> list[str]:
    """Read lines of text from a file, plain or compressed with gzip or bzip2."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
    try:
        with openers.get(path.suffix, open)(path, "rt", encoding="latin-1") as stream:
            return [line.rstrip("\r\n") for line in stream]
    except (OSError, EOFError) as error:
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _parsed(path: Path, number: int, text: str, parse: Callable[[str], Record]) -> Record:
    try:
        return parse(text)
    except (ValueError, IndexError, OverflowError) as error:
        raise FormatError(f"{path}: line {number}: not a line of this format ({error}): {text[:70]!r}") from error


def _number(text: str) -> float:
    return float(text) if text.strip() else 0.0


def read_kurucz(path: Path, window: Window, notes: Counter[str]) -> Iterator[Record]:
    """Read Kurucz's atomic lines, records of 160 characters; wavelengths in nm, energies in 1/cm in any order."""

    def parse(text: str) -> Record:
        text = f" {text}" if len(text) == 159 else text
        if len(text) < 98:
            raise ValueError(f"{len(text)} characters")
        number, _, charge = text[18:24].strip().partition(".")
        mass = int(_number(text[115:118]) or _number(text[106:109]))
        share = _number(text[118:124])
        return Record(
            species_of(int(number), int(charge or 0) + 1, (mass,)),
            float(text[:11]),
            min(abs(float(text[24:36])), abs(float(text[52:64]))) * EV_PER_CM,
            float(text[11:18]) + _number(text[109:115]),
            f"KUR {text[98:102].strip()}".strip(),
            radiative=_number(text[80:86]),
            stark=_number(text[86:92]),
            waals=_number(text[92:98]),
            log_fraction=share or None,
        )

    for number, text in enumerate(_text(path), 1):
        if text.strip():
            yield _parsed(path, number, text, parse)


def read_moog(path: Path, window: Window, notes: Counter[str]) -> Iterator[Record]:
    """Read MOOG's lists: a title, then wavelength, species, energy, log gf, van der Waals damping (10 characters)."""

    def parse(text: str) -> Record:
        words = text.split()
        fields = [text[a : a + 10].strip() for a in (0, 10, 20, 30, 40)]
        damping = _number(fields[4] if fields[:4] == words[:4] else "".join(words[4:5]))
        head, _, tail = words[1].partition(".")
        digits = tail[1:] if int(tail[1:] or 0) else ""
        masses: tuple[int, ...] = (int(digits),) if digits else ()
        if int(head) >= 100 and digits:
            digits = digits.ljust(4, "0")
            masses = int(digits[:2]), int(digits[2:4])
        if damping > 0:
            notes["lines with a van der Waals damping given as a factor or C6: Unsöld's approximation is used"] += 1
        species = species_of(int(head), int(tail[:1] or 0) + 1, masses)
        waals = min(damping, 0.0)
        return Record(species, abs(float(words[0])), float(words[2]), float(words[3]), "MOOG", waals=waals)

    for number, text in enumerate(_text(path), 1):
        if text.strip() and not text.startswith("#") and (number > 1 or re.match(r"\s*-?\d+\.\d*\s+\d+\.\d", text)):
            yield _parsed(path, number, text, parse)


_TURBOSPECTRUM = re.compile(r"^\s*'\s*(\d+)\.(\d*)\s*'\s+(\d+)\s+(\d+)")


def read_turbospectrum(path: Path, window: Window, notes: Counter[str]) -> Iterator[Record]:
    """Read Turbospectrum's lists: a block for each species and isotope, with two lines of heading."""
    rows = _text(path)
    at = 0
    while at < len(rows):
        if not rows[at].strip():
            at += 1
            continue
        head = _TURBOSPECTRUM.match(rows[at])
        if head is None:
            raise FormatError(f"{path}: line {at + 1}: not a heading 'species.isotopes' stage lines: {rows[at][:70]!r}")
        number, digits, count = int(head[1]), head[2], int(head[4])
        masses = (int(digits or 0),) if number < 100 else (int(digits[:3] or 0), int(digits[3:6] or 0))
        species = species_of(number, int(head[3]), masses)
        block = rows[at + 2 : at + 2 + count]
        if len(block) < count or any(not row.strip() or _TURBOSPECTRUM.match(row) for row in block):
            raise FormatError(f"{path}: line {at + 1}: {count} lines of {species.name} announced, fewer found")
        for i, row in enumerate(block, at + 3):
            yield _parsed(path, i, row, lambda text, s=species: _turbospectrum(text, s, notes))  # type: ignore[misc]
        at += 2 + count


def _turbospectrum(text: str, species: Species, notes: Counter[str]) -> Record:
    words = text.partition("'")[0].split()
    wavelength, energy, loggf, damping, _, radiative = (float(word) for word in words[:6])
    if 0 < damping <= 20:
        notes["lines with a factor on Unsöld's van der Waals damping: the factor is left out"] += 1
        damping = 0.0
    return Record(
        species, wavelength, energy, loggf, "TS",
        radiative=math.log10(radiative) if radiative > 1 else 0.0,
        stark=float(words[6]) if len(words) > 6 else 0.0,
        waals=damping,
    )  # fmt: skip


def read_gaia_eso(path: Path, window: Window, notes: Counter[str]) -> Iterator[Record]:
    """Read the table geslines of Heiter et al. (2021, J/A+A/645/A106) in any format that astropy recognises."""
    from astropy import units
    from astropy.table import Table

    try:
        table = Table.read(path)
    except Exception as error:  # astropy raises many kinds
        raise FormatError(f"{path}: not a table: {' '.join(str(error).split())[:200]}") from error
    names = {re.sub(r"[^a-z]", "", name.lower()): name for name in table.colnames}
    needed = ("element", "ion", "isotope", "lambda", "loggf", "elow", "raddamp", "stadamp", "vdwdamp")
    missing = [name for name in needed if name not in names]
    if missing:
        raise FormatError(f"{path}: not the table geslines of Gaia-ESO: no column {', '.join(missing)}")
    unit = table[names["lambda"]].unit or units.AA
    columns = [np.ma.filled(np.ma.asarray(table[names[name]]), 0).tolist() for name in needed[1:]]
    if not units.Unit(unit).is_equivalent(units.AA):
        raise FormatError(f"{path}: column lambda is in {unit}, not a unit of length")
    columns[2] = (np.array(columns[2], float) * unit).to_value(units.AA).tolist()
    flags = table[names["gfflag"]].astype(str).tolist() if "gfflag" in names else [""] * len(table)
    sources = table[names["rloggf"]].astype(str).tolist() if "rloggf" in names else [""] * len(table)
    elements = table[names["element"]].astype(str).tolist()
    for element, flag, source, *row in zip(elements, flags, sources, *columns, strict=True):
        if element.strip() not in ELEMENTS:
            raise FormatError(f"{path}: {element!r} is not an element")
        ion, isotope, wavelength, loggf, energy, *damping = row
        quality = f"GES-{flag.strip()} {source.strip()}".strip(" -")
        species = Species((element.strip(),), int(ion), (int(isotope),))
        yield Record(species, wavelength, energy, loggf, quality, *damping)


def read_exomol(path: Path, window: Window, notes: Counter[str]) -> Iterator[Record]:
    """Read ExoMol's states and transitions, "24Mg-1H__XAB.states" and "24Mg-1H__XAB*.trans" in one folder."""
    stem = re.sub(r"\.(states|trans)(\.bz2|\.gz)?$", "", path.name)
    isotopologue, _, source = stem.partition("__")
    species, spins = exomol_species(isotopologue)
    source = source.partition("__")[0]
    start = f"{isotopologue}__{source}"
    beside = sorted(p for p in path.parent.iterdir() if p.name.startswith(start))
    states = [p for p in beside if re.search(r"\.states(\.bz2|\.gz)?$", p.name)]
    transitions = [p for p in beside if re.search(r"\.trans(\.bz2|\.gz)?$", p.name)]
    if not states or not transitions:
        raise FormatError(f"{path}: needs both {start}.states and {start}.trans beside each other")
    number, energy, weight = _columns(states[0])
    order = np.argsort(number)
    for file in transitions:
        upper, lower, rate = _columns(file)
        up, low = (order[np.searchsorted(number, ids, sorter=order).clip(max=len(order) - 1)] for ids in (upper, lower))
        if (number[up] != upper).any() or (number[low] != lower).any():
            raise FormatError(f"{file}: transitions between states that {states[0].name} does not have")
        with np.errstate(divide="ignore"):
            wave = 1e8 / (energy[up] - energy[low])
        first, last = air_to_vacuum(window) if window else (0.0, np.inf)
        for i in np.flatnonzero((wave >= first - 1) & (wave <= last + 1) & (rate > 0)).tolist():
            gf = _GF_PER_A * wave[i] ** 2 * weight[up[i]] / spins * rate[i]
            yield Record(species, wave[i], energy[low[i]] * EV_PER_CM, math.log10(gf), f"EXOMOL {source}")


def _columns(path: Path) -> Any:
    """The first three columns of a file (3, n)."""
    try:
        return np.loadtxt(path, usecols=(0, 1, 2), unpack=True, ndmin=2)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: not a file of ExoMol: {error}") from error


FORMATS: dict[str, tuple[Reader, str, str]] = {
    "gaia-eso": (read_gaia_eso, "angstrom", "air"),
    "turbospectrum": (read_turbospectrum, "angstrom", "air"),
    "moog": (read_moog, "angstrom", "air"),
    "kurucz": (read_kurucz, "nm", "air"),
    "exomol": (read_exomol, "angstrom", "vacuum"),
}
"""Reader of each format, the unit of its wavelengths, their medium."""
