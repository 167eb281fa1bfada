"""Catalogues of spectra that are on a network's pixels already, in HDF5.

Datasets of a file with n spectra of p pixels:

- ``flux`` (n, p): continuum-normalised, at rest; floats, or integers with the attribute ``scale`` (flux per count);
- ``sigma`` (n, p): noise as if the pixels were independent (see `maury.preparation.network_input`); as ``flux``;
- ``good`` (n, p): pixels to use, or ``mask`` (n, p): pixels not to use; without either all are used;
- ``resolution`` (n,): R = lambda / FWHM of ``flux``; or an attribute of the file, when all have the same;
- ``wavelength`` (p,): Å, air: the network's pixels; a file of other pixels is refused;
- ``parallax``, ``parallax_error``, ``gmag``, ``ebv``, ``ebv_error`` (n,): mas and mag, NaN where unknown; used where
  spectra are refined;
- ``id`` (n,): text or integers, distinct; without it the number of the row, from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maury.catalogue.identity import require_distinct, sampled_sha256
from maury.catalogue.lists import LUMINOSITY, luminosity_of
from maury.errors import FormatError
from maury.pixelspectra import PixelSpectra

DAMAGED = (OSError, RuntimeError)
"""What HDF5 raises where a part of a file is damaged."""

_IDS = 65_536


@dataclass(frozen=True)
class PackedFile:
    """One HDF5 file of spectra.

    Attributes:
        path: the file.
        rows: number of spectra.
        digest: `sampled_sha256` of it.
        prefix: put before numbers that serve as identifiers, when there are several files.
    """

    path: Path
    rows: int
    digest: str
    prefix: str = ""

    def ids(self, first: int, last: int) -> list[str | None]:
        """Identifiers of rows from ``first`` to before ``last``; None where they are damaged in the file."""
        try:
            with h5py.File(self.path) as file:
                if "id" not in file:
                    return [self.number(row) for row in range(first, last)]
                return _texts(file["id"], first, last)
        except DAMAGED:
            return [None] * (last - first)

    def number(self, row: int) -> str:
        """Identifier of a row for which the file has none: its number."""
        return f"{self.prefix}{row}"


def read_luminosity(file: h5py.File, row: int) -> dict[str, Any]:
    """Parallax, magnitude and reddening of a row, as `maury.inference.predict` takes them; those unknown left out."""
    given = {name: float(file[name][row]) for name in LUMINOSITY if name in file}
    return luminosity_of({name: value for name, value in given.items() if np.isfinite(value)})


def have_parallax(files: Sequence[PackedFile]) -> bool:
    """Whether one of the files has a dataset of parallaxes."""
    found = False
    for one in files:
        with h5py.File(one.path) as file:
            found |= "parallax" in file
    return found


def open_packed(paths: Sequence[Path], wavelength_aa: NDArray[np.float64]) -> list[PackedFile]:
    """Check files of spectra for a network.

    Args:
        paths: the files.
        wavelength_aa: pixels of the network (p,), Å air.

    Raises:
        FormatError: a file that is missing, damaged, or of another layout; pixels of another network; an identifier
            that comes twice.
    """
    files = [
        PackedFile(path, _checked(path, wavelength_aa), sampled_sha256(path), f"{path.name}:" if paths[1:] else "")
        for path in paths
    ]
    require_distinct(lambda: _all_ids(files), paths[0])
    return files


def _all_ids(files: list[PackedFile]) -> Iterator[tuple[str, str]]:
    for file in files:
        for first in range(0, file.rows, _IDS):
            ids = file.ids(first, min(first + _IDS, file.rows))
            where = f" of {file.path.name}" if files[1:] else ""
            yield from ((identifier, f"row {first + k}{where}") for k, identifier in enumerate(ids) if identifier)


def _texts(dataset: h5py.Dataset, first: int, last: int) -> list[str | None]:
    """Values as text; damaged ones are None."""
    try:
        values = dataset[first:last]
    except DAMAGED:
        return [None] if last - first == 1 else [_texts(dataset, row, row + 1)[0] for row in range(first, last)]
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]


def read_block(file: h5py.File, first: int, last: int) -> PixelSpectra:
    """Spectra from row ``first`` to before ``last``.

    Raises:
        OSError, RuntimeError: they are damaged (`DAMAGED`).
    """
    flux, sigma = (_scaled(file[name], first, last) for name in ("flux", "sigma"))
    mask = None
    if "good" in file:
        mask = ~file["good"][first:last].astype(bool)
    elif "mask" in file:
        mask = file["mask"][first:last].astype(bool)
    if "resolution" in file:
        resolution = np.asarray(file["resolution"][first:last], float)
    else:
        resolution = np.full(len(flux), float(file.attrs["resolution"]))
    return PixelSpectra(flux=flux, sigma=sigma, mask=mask, resolution=resolution)


def _scaled(dataset: h5py.Dataset, first: int, last: int) -> NDArray[np.float32]:
    values = dataset[first:last].astype(np.float32)
    return values * np.float32(dataset.attrs["scale"]) if "scale" in dataset.attrs else values


def _checked(path: Path, wavelength_aa: NDArray[np.float64]) -> int:
    """Number of spectra of a file whose layout is right."""
    if not path.is_file():
        raise FormatError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with h5py.File(path) as file:
            return _check(path, file, wavelength_aa)
    except FormatError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise FormatError(f"{path}: not a readable HDF5 file, perhaps truncated ({error})") from error


def _check(path: Path, file: h5py.File, wavelength_aa: NDArray[np.float64]) -> int:
    needed = ["flux", "sigma", "wavelength", *(() if "resolution" in file.attrs else ("resolution",))]
    missing = [name for name in needed if name not in file]
    if missing:
        raise FormatError(f"{path}: missing dataset {', '.join(missing)}; found: {', '.join(file) or 'none'}")
    if "good" in file and "mask" in file:
        raise FormatError(f"{path}: has both good and mask; remove one of them")
    pixels, shape = len(wavelength_aa), file["flux"].shape
    if len(shape) != 2 or shape[1] != pixels or not shape[0]:
        raise FormatError(f"{path}: flux has shape {shape}; the network takes (n, {pixels}), n at least 1")
    for name, expected in _shapes(shape):
        if name in file and file[name].shape != expected:
            raise FormatError(f"{path}: dataset {name} has shape {file[name].shape}; must be {expected}, as flux")
    for name in ("flux", "sigma"):
        _check_kind(path, file[name])
    own = np.asarray(file["wavelength"][...], float)
    if not np.allclose(own, wavelength_aa, rtol=1e-6, atol=0):
        raise FormatError(
            f"{path}: its pixels from {own[0]:.3f} to {own[-1]:.3f} Å are not the network's, "
            f"{wavelength_aa[0]:.3f} to {wavelength_aa[-1]:.3f} Å"
        )
    return int(shape[0])


def _shapes(shape: tuple[int, ...]) -> list[tuple[str, Any]]:
    return [
        *((name, shape) for name in ("sigma", "good", "mask")),
        *((name, shape[:1]) for name in ("resolution", "id", *LUMINOSITY)),
        ("wavelength", shape[1:]),
    ]


def _check_kind(path: Path, dataset: h5py.Dataset) -> None:
    name = dataset.name.strip("/")
    scale = dataset.attrs.get("scale")
    if dataset.dtype.kind not in "fiu":
        raise FormatError(f"{path}: dataset {name} holds {dataset.dtype}, not numbers")
    if dataset.dtype.kind in "iu" and not (scale is not None and np.isfinite(scale) and scale > 0):
        raise FormatError(f"{path}: integers of {name} need a positive attribute scale, got {scale}")
