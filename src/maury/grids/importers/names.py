"""Labels of synthetic spectra: out of file names, headers and tables, whatever they are called there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maury.errors import FormatError
from maury.labels import LABELS
from maury.library import read_rows

_ALIASES = {
    "teff": "teff t temp temperature effectivetemperature phxteff",
    "logg": "logg g grav gravity surfacegravity logsurfacegravity phxlogg",
    "mh": "mh m feh z metal metals metallicity phxmh",
    "vmic": "vmic vt vturb vmicro micro xi microturbulence vdop microturbulentvelocity",
    "alpha": "alpha alphafe alpham am afe a phxalpha alphaenhancement omgsisca omgsiscati",
    "vsini": "vsini vrot rot rotation vrotsini",
    "c": "c cm cfe",
    "mg": "mg mgm mgfe",
    "ca": "ca cam cafe",
    "ti": "ti tim tife",
    "cr": "cr crm crfe",
    "ni": "ni nim nife",
}
_NAME_OF = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}


def label_name(text: str) -> str | None:
    """The label that a column, keyword or dataset is, by its name, or None.

    [Fe/H] is read as [M/H], and [X/Fe] as [X/M]: they are equal in grids in which all metals scale together.
    """
    return _NAME_OF.get(re.sub(r"[^a-z]", "", text.lower()))


def from_header(header: Mapping[str, Any]) -> dict[str, float]:
    """Labels among the keywords of a header or the attributes of a dataset; of two names of one the first counts."""
    labels: dict[str, float] = {}
    for key in header:
        name = label_name(str(key)) if len(str(key)) > 1 else None
        if name is None or name in labels:
            continue
        try:
            labels[name] = float(header[key])
        except (TypeError, ValueError):
            continue
    return labels


_CFA = re.compile(
    r"t(?P<teff>\d{5})g(?P<logg>\d{2})(?P<mh>[mp]\d{2})a(?P<alpha>[mp]\d{2})k(?P<vmic>\d)v(?P<vsini>\d{3})z\d+i\d\d"
)
_BOSZ_2017 = re.compile(
    r"am(?P<mh>[mp]\d\d)c(?P<c>[mp]\d\d)o(?P<alpha>[mp]\d\d)t(?P<teff>\d{4,5})g(?P<logg>\d\d)v(?P<vmic>\d\d)modrt"
    r"(?P<vsini>\d+)b(?P<resolution>\d+)rs"
)
_BOSZ_2024 = re.compile(
    r"bosz2024_[a-z]{2}_t(?P<teff>\d{4,5})_g(?P<logg>[+-]\d\.\d)_m(?P<mh>[+-]\d\.\d\d)_a(?P<alpha>[+-]\d\.\d\d)"
    r"_c(?P<c>[+-]\d\.\d\d)_v(?P<vmic>\d)_r(?P<resolution>\d+|orig)_"
)
_PHOENIX = re.compile(
    r"lte(?P<teff>\d{5})-(?P<logg>\d\.\d\d)(?P<mh>[+-]\d\.\d)(?:\.Alpha=(?P<alpha>[+-]\d\.\d\d))?\.PHOENIX"
)
_MARCS = re.compile(
    r"[ps](?P<teff>\d{4,5})[_:]?g(?P<logg>[+-]\d\.\d)[_:]?m\d+\.\d[_:]?t(?P<vmic>\d\d)(?:[_:][a-z]{2})?[_:]?"
    r"z(?P<mh>[+-]\d\.\d\d)[_:]?a(?P<alpha>[+-]\d\.\d\d)(?:[_:]?c(?P<c>[+-]\d\.\d\d))?"
)
_POLLUX = re.compile(
    r"[A-Z]_[sp]?(?P<teff>\d{4,5})g(?P<logg>-?\d\.\d+)z(?P<mh>-?\d\.\d+)t(?P<vmic>\d\.\d+)_a(?P<alpha>-?\d\.\d+)"
    r"c(?P<c>-?\d\.\d+)"
)


def _signed_tenths(text: str) -> float:
    """``m05`` is -0.5, ``p10`` is +1.0."""
    return (-1 if text[0] == "m" else 1) * int(text[1:]) / 10


def _quarter(text: str) -> float:
    """Steps of 0.25 dex rounded to tenths in BOSZ names: ``m13`` is -1.25, ``p08`` is +0.75."""
    return round(4 * _signed_tenths(text)) / 4


def from_cfa_name(name: str) -> dict[str, float]:
    """The CfA's grids, as ``t03500g00m25ap00k2v070z1i00.fits``: Teff, log g, [m/H], alpha, microturbulence, v sin i."""
    found = _CFA.search(name)
    if found is None:
        return {}
    labels = {"teff": float(found["teff"]), "logg": int(found["logg"]) / 10, "vmic": float(found["vmic"])}
    return labels | {
        "mh": _signed_tenths(found["mh"]),
        "alpha": _signed_tenths(found["alpha"]),
        "vsini": float(found["vsini"]),
    }


def from_bosz_name(name: str) -> tuple[dict[str, float], float | None, int]:
    """BOSZ: labels, R (infinite for ``rorig``, None when the name is none of BOSZ's) and year of the grid.

    2017: ``amm03cp00op00t5000g45v20modrt0b50000rs`` (Bohlin et al. 2017, appendix). 2024:
    ``bosz2024_mp_t5000_g+4.5_m+0.00_a+0.00_c+0.00_v2_r50000_resam`` (Mészáros et al. 2024).
    """
    found = _BOSZ_2024.search(name)
    if found is not None:
        values = {key: float(found[key]) for key in ("teff", "logg", "mh", "alpha", "c", "vmic")}
        return values, float("inf") if found["resolution"] == "orig" else float(found["resolution"]), 2024
    found = _BOSZ_2017.search(name)
    if found is None:
        return {}, None, 0
    values = {key: _quarter(found[key]) for key in ("mh", "c", "alpha")}
    values |= {"teff": float(found["teff"]), "logg": int(found["logg"]) / 10, "vmic": int(found["vmic"]) / 10}
    return values | {"vsini": float(found["vsini"])}, float(found["resolution"]), 2017


def from_phoenix_name(name: str) -> dict[str, float]:
    """PHOENIX-ACES, as ``lte05800-4.50-0.0.Alpha=+0.20.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits``."""
    found = _PHOENIX.search(name)
    return {} if found is None else {key: float(value or 0) for key, value in found.groupdict().items()}


def from_marcs_name(name: str) -> dict[str, float]:
    """MARCS models, as ``p5750_g+4.5_m0.0_t01_st_z+0.00_a+0.00_c+0.00...``; AMBRE's have colons or nothing between."""
    found = _MARCS.search(name)
    return {} if found is None else {key: float(value) for key, value in found.groupdict().items() if value}


def from_pollux_name(name: str) -> dict[str, float]:
    """POLLUX, as ``M_s5750g4.5z0.00t1.0_a0.00c0.00n0.00o0.00r0.00s0.00_VIS.spec``."""
    found = _POLLUX.search(name)
    return {} if found is None else {key: float(value) for key, value in found.groupdict().items()}


def from_sentences(text: str) -> dict[str, float]:
    """Labels out of lines such as ``effective temperature : 5750.`` or ``Teff = 5750 log g = 4.50 vt= 1.00 M/H= 0``."""
    words = {
        "teff": r"t_?eff(?:ective)?|effective\s+temperature",
        "logg": r"log\s*\(?g\)?|surface\s+gravity(?:\s*\(?log\s*g\)?)?",
        "mh": r"\[?(?:m|fe)/h\]?|metallicity",
        "vmic": r"vt|v_?t(?:urb|mic)?|xi|microturbulen(?:ce|t\s+velocity)|vmicro?",
    }
    labels = {}
    for name, alternatives in words.items():
        found = re.search(rf"(?<![a-z])(?:{alternatives})[^\d\n+-]*([+-]?\d+\.?\d*)", text, re.IGNORECASE)
        found = re.search(rf"(?<![a-z])(?:{words[name]})[^\d\n+-]*([+-]?\d+\.?\d*)", text, re.IGNORECASE)
        if found is not None:
            labels[name] = float(found.group(1))
    return labels


def read_label_files(path: Path) -> dict[str, dict[str, float]]:
    """A CSV table of labels by file: column ``file`` (or ``name``, ``path``) and columns of labels.

    Raises:
        FormatError: unreadable, a missing or unknown column, a value that is not a number, or a file twice.
    """
    rows = read_rows(path)
    if not rows:
        raise FormatError(f"{path}: no rows; a header line with file and labels, and rows are needed")
    columns = {str(key): str(key).strip() for key in rows[0] if key is not None}
    key = next((k for k, name in columns.items() if name.lower() in ("file", "name", "path", "filename")), None)
    if key is None:
        raise FormatError(f"{path}: missing column file; columns found: {', '.join(columns.values())}")
    names = {k: name if name in LABELS else label_name(name) for k, name in columns.items() if k != key}
    unknown = [columns[k] for k, name in names.items() if name is None]
    if unknown or not names:
        raise FormatError(f"{path}: column {', '.join(unknown) or 'of labels'} is not one of {', '.join(LABELS)}")
    table: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, start=1):
        file = str(row[key]).strip()
        if file in table:
            raise FormatError(f"{path}: row {number}: {file} is there twice")
        try:
            table[file] = {str(name): float(row[k]) for k, name in names.items()}
        except (TypeError, ValueError) as error:
            raise FormatError(f"{path}: row {number}: a label of {file} is not a number ({error})") from error
    return table
