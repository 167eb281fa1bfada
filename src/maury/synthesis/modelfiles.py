"""Files of model atmospheres: ATLAS9 (Kurucz, READ DECK6) and MARCS, in a folder or a tar archive."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.files import sha256

SUFFIXES = (".krz", ".dat", ".mod")
"""Endings of files that are read as model atmospheres; others (a README) are skipped."""

_NUMBER = r"([-+]?\d*\.?\d+(?:[eEdD][-+]?\d+)?)"
_DECK = re.compile(r"^\s*READ DECK\S*\s+(\d+)", re.MULTILINE)
_TEFF = re.compile(rf"TEFF\s*=?\s*{_NUMBER}\s*\.?\s+GRAVITY\s*=?\s*{_NUMBER}", re.IGNORECASE)
_SCALE = re.compile(rf"ABUNDANCE SCALE\s+{_NUMBER}", re.IGNORECASE)
_VTURB = re.compile(rf"VTURB\s*=?\s*{_NUMBER}", re.IGNORECASE)
_MARCS_HEADER = {  # quantity: line of the header, and the word in it
    "teff": (1, "teff"),
    "gravity": (3, "surface gravity"),
    "vturb": (4, "microturbulence"),
    "metallicity": (6, "metallicity"),
}


@dataclass(frozen=True)
class ModelFile:
    """A model atmosphere whose header has been read, and whose layers have not."""

    name: str  # file, for messages
    text: str  # its content
    code: str  # "ATLAS9" or "MARCS"
    teff: float  # K
    logg: float  # log10 of cm s-2
    mh: float  # metallicity, dex
    vturb: float  # microturbulence of its opacities, km/s

    @property
    def node(self) -> tuple[float, float, float]:
        """Teff, log g and [M/H]."""
        return self.teff, self.logg, self.mh

    def layers(self) -> NDArray[np.float64]:
        """Columns (layers, 4 or 5) from the top down: ln column mass, T (K), ln gas pressure, ln electron density.

        The last, of MARCS alone, is ln mass density. Column mass in g cm-2, pressure in dyn cm-2, electrons in cm-3,
        mass density in g cm-3.

        Raises:
            FormatError: a layer is missing, not a number or not positive.
        """
        try:
            table = _atlas_layers(self.text) if self.code == "ATLAS9" else _marcs_layers(self.text)
        except (ValueError, IndexError, StopIteration) as error:
            raise FormatError(f"{self.name}: the layers of the model cannot be read, perhaps truncated") from error
        if not (np.isfinite(table).all() and (table > 0).all() and (np.diff(table[:, 0]) > 0).all()):
            raise FormatError(f"{self.name}: layers must be finite and positive, with column masses that increase")
        logarithms = np.log(table)
        logarithms[:, 1] = table[:, 1]
        return logarithms


def read_models(path: str | os.PathLike[str]) -> tuple[list[ModelFile], str]:
    """Read the headers of all models in a folder and its subfolders or in a tar archive; return also its SHA-256.

    The digest of a folder is computed from the names and digests of its models.

    Raises:
        FormatError: no such folder or archive, no model in it, a file that is not a model, an incomplete header.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        models = [read_model(text, str(path / name)) for name, text in _folder(path)]
        marks = "".join(f"{m.name.removeprefix(str(path))} {_digest(m.text)}\n" for m in models)
        digest = _digest(marks)
    elif path.is_file():
        models = [read_model(text, f"{path}:{name}") for name, text in _archive(path)]
        digest = sha256(path)
    else:
        raise FormatError(f"{path}: no such folder or archive of model atmospheres")
    if not models:
        raise FormatError(f"{path}: no model atmosphere in it (files that end in {', '.join(SUFFIXES)})")
    return models, digest


def read_model(text: str, name: str) -> ModelFile:
    """Read the header of one model.

    Raises:
        FormatError: neither ATLAS9 nor MARCS, or a header without Teff, log g, [M/H] or microturbulence.
    """
    if _DECK.search(text):
        return _read_atlas(text, name)
    if "Model structure" in text and "lgTauR" in text:
        return _read_marcs(text, name)
    raise FormatError(f"{name}: not a model atmosphere of ATLAS9 (READ DECK6) or MARCS (.mod)")


def _read_atlas(text: str, name: str) -> ModelFile:
    header = text[: text.index("READ DECK")]
    teff, scale, vturb = _TEFF.search(header), _SCALE.search(header), _VTURB.search(header)
    if not (teff and scale):
        raise FormatError(f"{name}: the header of the model lacks TEFF and GRAVITY, or ABUNDANCE SCALE")
    if vturb:
        turbulence = float(vturb[1])
    else:  # the seventh column of the layers, cm/s
        first = text[text.index("READ DECK") :].splitlines()[1].split()
        if len(first) < 7:
            raise FormatError(f"{name}: no VTURB in the header of the model, and none in its layers")
        turbulence = round(float(first[6]) / 1e5, 2)
    mh = round(float(np.log10(_number(scale[1]))), 2) + 0.0
    return ModelFile(name, text, "ATLAS9", _number(teff[1]), _number(teff[2]), mh, turbulence)


def _read_marcs(text: str, name: str) -> ModelFile:
    lines = text.splitlines()
    found = {}
    for key, (row, word) in _MARCS_HEADER.items():
        match = re.match(rf"\s*{_NUMBER}", lines[row])
        if not match or word not in lines[row].lower():
            raise FormatError(
                f"{name}: line {row + 1} of a MARCS model must give the {word}, got {lines[row].strip()!r}"
            )
        found[key] = _number(match[1])
    logg = round(float(np.log10(found["gravity"])), 2) + 0.0
    return ModelFile(name, text, "MARCS", found["teff"], logg, found["metallicity"], found["vturb"])


def _atlas_layers(text: str) -> NDArray[np.float64]:
    """RHOX, T, P, XNE of the layers."""
    match = _DECK.search(text)
    assert match is not None
    rows = text[match.end() :].splitlines()[1 : int(match[1]) + 1]
    return np.array([[float(value) for value in row.split()[:4]] for row in rows[: int(match[1])]])


def _marcs_layers(text: str) -> NDArray[np.float64]:
    """RHOX, T, Pg, the electron density Pe / kT, and the mass density of the layers."""
    lines = text[text.index("Model structure") :].splitlines()[1:]
    count = int(re.search(r"(\d+)\s+Number of depth points", text)[1])  # type: ignore[index]
    columns: dict[str, NDArray[np.float64]] = {}
    for start in (0, count + 1):
        names = lines[start].split()
        rows = [line.split() for line in lines[start + 1 : start + 1 + count]]
        table = np.array([[float(value) for value in row[: len(names)]] for row in rows])
        columns |= {column: table[:, i] for i, column in enumerate(names)}
    electrons = columns["Pe"] / (BOLTZMANN * columns["T"])
    return np.column_stack([columns["RHOX"], columns["T"], columns["Pg"], electrons, columns["Density"]])


BOLTZMANN = 1.380649e-16
"""erg per K."""


def _number(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))


def _folder(path: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in SUFFIXES and file.is_file():
            yield str(file.relative_to(path)), file.read_text(encoding="latin-1")


def _archive(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(SUFFIXES) else None
                if stream is not None:
                    yield member.name, stream.read().decode("latin-1")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise FormatError(f"{path}: not a readable tar archive of model atmospheres ({error})") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
