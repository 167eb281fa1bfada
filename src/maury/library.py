"""The library: intrinsic synthetic spectra (no rotation, no instrument) with their labels, in HDF5 files."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.files import atomic_path
from maury.labels import INTRINSIC, LABELS, as_table
from maury.progress import Advance, silent

SCALE = 1 / 20_000
"""Flux per unit of the stored integers."""

NODE, OFF_NODE = 0, 1
"""Values of `Library.kind`: a node of the SPC grid, or a spectrum between nodes with free abundances."""


@dataclass(frozen=True)
class Library:
    """Intrinsic, continuum-normalised spectra on one wavelength grid.

    Attributes:
        wavelength_aa: wavelengths in Å, air, strictly increasing (p,).
        labels: labels in their units (n, k).
        counts: flux as integers (n, p).
        scale: flux per count.
        kind: `NODE` or `OFF_NODE` (n,).
        sources: files it was read from.
        attributes: provenance in the files (code, line list, atmospheres, solar scale). Of these maury
            itself reads ``domain`` (JSON: label to its range), ``window`` (JSON: first and last wavelength that the
            spectra are meant for, without margins) and ``resolution`` (R they were made at; absent or 0: infinite).
        names: the k labels, in the order of `maury.labels.LABELS`, without rotation and macroturbulence.
        extrapolated: log g lies below the lowest model atmosphere (n,); None where the file does not state it.
    """

    wavelength_aa: NDArray[np.float64]
    labels: NDArray[np.float64]
    counts: NDArray[np.uint16]
    scale: float
    kind: NDArray[np.uint8]
    sources: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = INTRINSIC
    extrapolated: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def flux(self, rows: Any = slice(None)) -> NDArray[np.float32]:
        """Continuum-normalised flux of some rows (m, p)."""
        return (self.counts[rows] * np.float32(self.scale)).astype(np.float32)

    def subset(self, rows: Any) -> Library:
        """A library of some rows."""
        extrapolated = None if self.extrapolated is None else self.extrapolated[rows]
        counts, kind = self.counts[rows], self.kind[rows]
        return replace(self, labels=self.labels[rows], counts=counts, kind=kind, extrapolated=extrapolated)

    def column(self, name: str) -> NDArray[np.float64]:
        """Values of one label (n,).

        Raises:
            FormatError: the library has no such label.
        """
        if name not in self.names:
            raise FormatError(f"{', '.join(self.sources)}: no label {name}; there are {', '.join(self.names)}")
        return self.labels[:, self.names.index(name)]


def expand(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Paths that file names and glob patterns stand for, sorted within each pattern.

    Raises:
        FormatError: a pattern that matches no file.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(glob.glob(os.path.expanduser(os.fspath(pattern))))
        if not found:
            raise FormatError(f"{pattern}: no such file")
        paths += [Path(name) for name in found]
    return paths


def read_library(path: str | os.PathLike[str]) -> Library:
    """Read and check one library file.

    Raises:
        FormatError: not an HDF5 file, truncated, a missing dataset or column, a wrong length, non-finite or negative
            flux, labels that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        with h5py.File(path) as file:
            return _read(path, file)
    except FormatError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: not a readable HDF5 library, perhaps truncated ({error})") from error


def _read(path: Path, file: h5py.File) -> Library:
    missing = [name for name in ("wavelength", "labels", "flux") if name not in file]
    if missing:
        raise FormatError(f"{path}: missing dataset {', '.join(missing)}; found: {', '.join(file) or 'none'}")
    wavelength = np.asarray(file["wavelength"][...], float)
    if wavelength.ndim != 1 or not np.isfinite(wavelength).all() or not (np.diff(wavelength) > 0).all():
        raise FormatError(f"{path}: dataset wavelength must be 1-D, finite and strictly increasing")
    table = file["labels"][...]
    names = tuple(name for name in LABELS if name in (table.dtype.names or ()) and name not in ("vsini", "vmac"))
    if not names:
        found = ", ".join(table.dtype.names or ()) or "none"
        raise FormatError(f"{path}: no column of labels is one of {', '.join(LABELS)}; columns found: {found}")
    labels = as_table(table, names, str(path))
    if not np.isfinite(labels).all():
        row, column = np.argwhere(~np.isfinite(labels))[0]
        raise FormatError(f"{path}: label {names[column]} of row {row + 1} is not finite")
    shape, expected = file["flux"].shape, (len(labels), len(wavelength))
    if shape != expected:
        raise FormatError(f"{path}: dataset flux has shape {shape}; by labels and wavelength must be {expected}")
    kind = np.asarray(file["kind"][...] if "kind" in file else np.full(len(labels), OFF_NODE), np.uint8)
    if kind.shape != (len(labels),):
        raise FormatError(f"{path}: dataset kind has shape {kind.shape}, expected {(len(labels),)}")
    counts, scale = _counts(path, file["flux"])
    attributes = {str(k): v if isinstance(v, (int, float)) else str(v) for k, v in file.attrs.items()}
    extrapolated = np.asarray(file["extrapolated"][...], bool) if "extrapolated" in file else None
    if extrapolated is not None and extrapolated.shape != (len(labels),):
        raise FormatError(f"{path}: dataset extrapolated has shape {extrapolated.shape}, expected {(len(labels),)}")
    return Library(wavelength, labels, counts, scale, kind, (path.name,), attributes, names, extrapolated)


def _counts(path: Path, dataset: h5py.Dataset) -> tuple[NDArray[np.uint16], float]:
    """Flux as counts of one scale; float flux is quantised."""
    data = dataset[...]
    if data.dtype == np.uint16:
        scale = float(dataset.attrs.get("scale", 0.0))
        if not scale > 0:
            raise FormatError(f"{path}: integer flux needs a positive attribute 'scale', got {scale:g}")
        return data, scale
    if not np.isfinite(data).all():
        row, column = np.argwhere(~np.isfinite(data))[0]
        raise FormatError(f"{path}: flux of row {row + 1} is not finite at pixel {column + 1}")
    top = 65535 * SCALE
    if data.size and (data.min() < 0 or data.max() > top):
        raise FormatError(
            f"{path}: continuum-normalised flux must lie within 0 to {top:.3f}, got {data.min():g} to {data.max():g}"
        )
    return np.round(data / SCALE).astype(np.uint16), SCALE


def read_libraries(patterns: Sequence[str | os.PathLike[str]], advance: Advance = silent) -> Library:
    """Read several files into one library; spectra with identical labels are kept once (the first).

    Args:
        patterns: files or glob patterns.
        advance: called with 1 after each file.

    Raises:
        FormatError: a file is unreadable, or its labels, wavelengths or scale differ from the first one's.
    """
    parts: list[Library] = []
    for path in expand(patterns):
        part = read_library(path)
        if parts and not _same_grid(parts[0].wavelength_aa, part.wavelength_aa):
            raise FormatError(
                f"{path}: wavelengths {_describe_grid(part.wavelength_aa)} differ from those of "
                f"{parts[0].sources[0]}: {_describe_grid(parts[0].wavelength_aa)}"
            )
        if parts and part.names != parts[0].names:
            raise FormatError(
                f"{path}: labels {', '.join(part.names)} differ from those of {parts[0].sources[0]}: "
                f"{', '.join(parts[0].names)}"
            )
        if parts and not np.isclose(part.scale, parts[0].scale, rtol=1e-9):
            raise FormatError(f"{path}: flux scale {part.scale:g} differs from {parts[0].scale:g}")
        parts.append(part)
        advance(1)
    labels = np.concatenate([part.labels for part in parts])
    keep = np.sort(np.unique(labels, axis=0, return_index=True)[1])
    attributes = {k: v for part in reversed(parts) for k, v in part.attributes.items()}
    return Library(
        parts[0].wavelength_aa,
        labels[keep],
        np.concatenate([part.counts for part in parts])[keep],
        parts[0].scale,
        np.concatenate([part.kind for part in parts])[keep],
        tuple(name for part in parts for name in part.sources),
        attributes,
        parts[0].names,
        _join_flags(parts, keep),
    )


def _join_flags(parts: Sequence[Library], keep: NDArray[np.intp]) -> NDArray[np.bool_] | None:
    """`Library.extrapolated` of joined libraries: False for those without this column, None if all lack it."""
    if all(part.extrapolated is None for part in parts):
        return None
    flags = [np.zeros(len(p), bool) if p.extrapolated is None else p.extrapolated for p in parts]
    return np.concatenate(flags)[keep]


def write_library(library: Library, path: str | os.PathLike[str]) -> None:
    """Write a library through a temporary name: uint16 with shuffle and gzip, one chunk per spectrum.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(library.attributes)
        file.attrs["sources"] = "\n".join(library.sources)
        file["wavelength"] = library.wavelength_aa
        file["wavelength"].attrs.update(unit="Angstrom", medium="air")
        file["labels"] = np.rec.fromarrays(library.labels.T, dtype=[(name, "f8") for name in library.names])
        file["labels"].attrs["units"] = ", ".join(LABELS[name].unit for name in library.names)
        file["kind"] = library.kind
        file["kind"].attrs["meaning"] = "0 node of the SPC grid (vmic 2, all [X/M] 0), 1 off-node"
        if library.extrapolated is not None:
            file["extrapolated"] = library.extrapolated.astype(np.uint8)
            file["extrapolated"].attrs["meaning"] = "1 log g is below the lowest model atmosphere"
        flux = file.create_dataset(
            "flux",
            data=library.counts,
            chunks=(1, library.counts.shape[1]),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
        )
        flux.attrs.update(scale=library.scale, normalised="by the synthetic continuum")


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header line, by column; lines that begin with # are left out.

    Raises:
        FormatError: no such file, or not a table.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(line for line in stream if not line.startswith("#")))
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: not a readable CSV table ({error})") from error


def read_label_table(path: str | os.PathLike[str], names: Sequence[str]) -> NDArray[np.float64]:
    """Read columns of a CSV file with a header line into an array (n, len(names)).

    Raises:
        FormatError: no such file, no rows, a missing column, a value that is not a finite number.
    """
    rows = read_rows(path)
    if not rows:
        raise FormatError(f"{path}: no rows; a header line with the columns {', '.join(names)} and rows are needed")
    columns = {str(key).strip(): [row[key] for row in rows] for key in rows[0] if key is not None}
    table = as_table(columns, names, str(path))
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise FormatError(f"{path}: column {names[column]} of row {row + 1} is not a finite number")
    return table


def _same_grid(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=1e-4))


def _describe_grid(wavelength: NDArray[np.float64]) -> str:
    return f"{wavelength[0]:.2f} to {wavelength[-1]:.2f} Å in {wavelength.size} pixels"
