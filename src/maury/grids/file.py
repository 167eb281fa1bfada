"""Grids on disk: one HDF5 file of broadened spectra with their labels and splits; writing, checking, fast reading."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maury.errors import ConfigError, DomainError, FormatError, MauryError, SchemaError
from maury.files import sha256
from maury.grids.spc import SPACE
from maury.labels import LABELS, LabelSpace, as_table
from maury.progress import Advance, silent
from maury.wavelengths import Sampling, sampling_of

SCHEMA = 2
"""Version of the layout: 1 for the labels and ranges of the SPC grid, 2 for others, which the file then holds. Files of
other versions raise `SchemaError`."""

SCALE = 1 / 20_000
"""Flux per count, as in the library. Rounding errors are 1.4e-5 rms, 1/200 of the emulator's error. The file is 16 %
smaller than with 1.02 / 65535, the finest scale that can represent the continuum."""

HIGHEST_FLUX = 1.5
"""A continuum-normalised flux above this is refused."""

LOWEST_FLUX = -0.05
"""Lowest flux allowed: negative fluxes are emulator errors in saturated line cores and are stored as 0."""

SPLITS = ("random", "block")

Counts = NDArray[np.uint16]
Rows = NDArray[Any] | Sequence[int] | slice | None
_BLOCK = 64  # spectra that a thread reads per call


def quantise(flux: NDArray[np.float32], what: str = "flux") -> Counts:
    """Round flux (..., p) to counts, flux / `SCALE`.

    Raises:
        DomainError: a flux is not finite or lies outside `LOWEST_FLUX` to `HIGHEST_FLUX`.
    """
    low, high = float(flux.min()), float(flux.max())
    if not LOWEST_FLUX <= low <= high <= HIGHEST_FLUX:
        raise DomainError(
            f"{what}: continuum-normalised flux runs from {low:g} to {high:g}; "
            f"allowed: {LOWEST_FLUX:g} to {HIGHEST_FLUX:g}"
        )
    return np.rint(np.maximum(flux, 0) * np.float32(1 / SCALE)).astype("<u2")


def encode(counts: Counts) -> list[bytes]:
    """Compress spectra (n, p) to n chunks, as HDF5's filters shuffle and gzip (level 1) do."""
    count, pixels = counts.shape
    halves = np.ascontiguousarray(counts, "<u2").view(np.uint8).reshape(count, pixels, 2)
    return [zlib.compress(row, 1) for row in np.ascontiguousarray(halves.transpose(0, 2, 1))]


def decode(chunk: bytes, out: Counts, skipped_filters: int = 0) -> None:
    """Undo `encode` for one chunk into ``out`` (p,); ``skipped_filters`` is HDF5's filter mask of the chunk.

    Raises:
        ValueError: the chunk cannot be decompressed or does not hold p pixels.
    """
    try:
        raw = chunk if skipped_filters & 2 else zlib.decompress(chunk, bufsize=2 * out.size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(raw) != 2 * out.size:
        raise ValueError(f"{len(raw)} bytes instead of {2 * out.size}")
    if skipped_filters & 1:
        out[:] = np.frombuffer(raw, "<u2")
    else:
        low, high = np.frombuffer(raw, np.uint8).reshape(2, -1)
        octets = out.view(np.uint8)
        octets[::2], octets[1::2] = low, high  # seven times faster than one transposed copy


def write_grid(
    path: str | os.PathLike[str],
    wavelength_aa: NDArray[np.float64],
    labels: NDArray[np.float64],
    chunks: Iterable[bytes],
    splits: Mapping[str, NDArray[np.bool_]],
    seed: int,
    attributes: Mapping[str, Any],
    space: LabelSpace = SPACE,
) -> None:
    """Write a grid to a temporary path (`maury.files.atomic_path`) of the caller; equal input gives equal bytes.

    Args:
        path: the file.
        wavelength_aa: wavelengths (p,) in Å, air.
        labels: labels of all spectra (n, k).
        chunks: the n spectra, compressed by `encode`.
        splits: masks (n,) of the validation rows by name (`SPLITS`).
        seed: seed with which the splits were drawn.
        attributes: provenance: preset, resolution, limb_darkening, emulator_digest, settings, maury.
        space: the k labels with the ranges that normalise them.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        with h5py.File(path, "w", libver="earliest") as file:
            schema = 1 if space == SPACE else SCHEMA
            file.attrs.update({"schema": schema, "kind": "grid", **attributes})
            file["wavelength"] = wavelength_aa
            file["wavelength"].attrs.update(unit="Angstrom", medium="air")
            table = np.rec.fromarrays(labels.T, dtype=[(name, "<f8") for name in space.names])
            file.create_dataset("labels", data=table, track_times=False)
            file["labels"].attrs["units"] = list(space.units)
            if schema > 1:
                file["labels"].attrs.update(lower=space.lower, upper=space.upper)
            for name in SPLITS:
                split = file.create_dataset(f"split/{name}", data=splits[name].astype(np.uint8), track_times=False)
                split.attrs.update(meaning="0 train, 1 validation", seed=seed)
            flux = file.create_dataset(
                "flux",
                shape=(len(labels), len(wavelength_aa)),
                dtype="<u2",
                chunks=(1, len(wavelength_aa)),
                shuffle=True,
                compression="gzip",
                compression_opts=1,
                track_times=False,
            )
            flux.attrs.update(scale=SCALE, normalised="by the synthetic continuum")
            for row, chunk in enumerate(chunks):
                flux.id.write_direct_chunk((row, 0), chunk)
    except (OSError, RuntimeError) as error:  # HDF5 raises either for a full disk, with errno in the message
        number = re.search(r"errno = (\d+)", str(error))
        raise OSError(*((int(number[1]), os.strerror(int(number[1]))) if number else (str(error),))) from error


@dataclass(frozen=True)
class Grid:
    """An opened grid: everything but the flux, which `read_flux` reads.

    Attributes:
        path: the file.
        wavelength_aa: wavelengths (p,) in Å, air.
        labels: labels of all spectra, in their units (n, k).
        splits: masks (n,) of the validation rows by name.
        seeds: seeds with which the splits were drawn.
        scale: flux per count.
        resolution: R = lambda / FWHM of the instrument profile.
        attributes: provenance as stored: preset, limb_darkening, emulator_digest (SHA-256 of its file),
            settings (JSON), maury (version); imported grids also have source, medium, normalisation ...
        space: the k labels with the ranges that normalise them; a part of the SPC grid has the ranges of the whole.
        fixed: labels that are the same in all spectra, with their values.
    """

    path: Path
    wavelength_aa: NDArray[np.float64]
    labels: NDArray[np.float64]
    splits: Mapping[str, NDArray[np.bool_]]
    seeds: Mapping[str, int]
    scale: float
    resolution: float
    attributes: Mapping[str, Any]
    space: LabelSpace = SPACE
    fixed: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of ``labels``."""
        return self.space.names

    def column(self, name: str) -> NDArray[np.float64]:
        """Values of one label (n,).

        Raises:
            ConfigError: the grid has no such label, or it has the same value in all spectra.
        """
        if name in self.fixed:
            raise ConfigError(
                f"{self.path}: {name} is {self.fixed[name]:g} in every spectrum: a network cannot learn it"
            )
        if name not in self.names:
            raise ConfigError(f"{self.path}: no label {name}; the grid has {', '.join(self.names)}")
        return self.labels[:, self.names.index(name)]

    @property
    def sampling(self) -> Sampling:
        """Whether its pixels are equally wide in wavelength or in its logarithm."""
        return sampling_of(self.wavelength_aa, str(self.path))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file; grids of equal settings and emulator have the same."""
        return sha256(self.path)

    def split(self, name: str) -> NDArray[np.bool_]:
        """Mask (n,) of the validation rows of the split "random" or "block".

        Raises:
            ConfigError: ``name`` is not a split of this grid.
        """
        if name not in self.splits:
            raise ConfigError(f"split {name!r} is unknown; allowed: {', '.join(self.splits)}")
        return self.splits[name]

    def read_flux(self, rows: Rows = None, progress: Advance = silent) -> Counts:
        """Read spectra as counts (m, p); the flux is ``counts * scale``.

        Threads decompress the raw chunks in parallel, which HDF5's own filters cannot.

        Args:
            rows: indices in any order, a mask (n,), a slice; None for all.
            progress: called with the number of spectra read, from the calling thread.

        Raises:
            FormatError: a spectrum is missing or damaged, is zero throughout or exceeds `HIGHEST_FLUX`.
        """
        every = np.arange(len(self))
        chosen = every[rows] if isinstance(rows, slice) else every if rows is None else every[np.asarray(rows)]
        out = np.empty((len(chosen), len(self.wavelength_aa)), "<u2")
        starts = range(0, len(chosen), _BLOCK)
        with _opened(self.path) as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            dataset = file["flux"].id

            def read(start: int) -> int:
                part = slice(start, start + _BLOCK)
                self._read_rows(dataset, chosen[part], out[part])
                return len(out[part])

            for count in pool.map(read, starts):
                progress(count)
        return out

    def _read_rows(self, dataset: Any, rows: NDArray[np.int_], out: Counts) -> None:
        for row, target in zip(rows, out, strict=True):
            try:
                skipped, chunk = dataset.read_direct_chunk((int(row), 0))
                decode(chunk, target, skipped)
            except (OSError, RuntimeError, ValueError) as error:
                raise FormatError(f"{self.path}: flux of row {row + 1} is missing or damaged ({error})") from error
            highest = int(target.max()) * self.scale
            if not 0 < highest <= HIGHEST_FLUX:
                raise FormatError(
                    f"{self.path}: highest flux of row {row + 1} is {highest:g}; "
                    f"allowed: above 0, up to {HIGHEST_FLUX:g}"
                )


def open_grid(path: str | os.PathLike[str]) -> Grid:
    """Open and check a grid: layout, labels, splits and the first, middle and last spectrum.

    Raises:
        FormatError: the file is not a grid of maury or is truncated, a dataset or column is missing or has a wrong
            shape or type, or values are not finite or not plausible.
        SchemaError: the file has a schema that this version cannot read.
        DomainError: a label is outside its range.
    """
    path = Path(path)
    with _opened(path) as file:
        try:
            grid = _check(path, file)
        except MauryError:
            raise
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{path}: not a readable grid, perhaps truncated ({error})") from error
    grid.read_flux([0, len(grid) // 2, len(grid) - 1])
    return grid


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        return h5py.File(path)
    except OSError as error:
        raise FormatError(f"{path}: not a readable HDF5 file, perhaps truncated ({error})") from error


def _check(path: Path, file: h5py.File) -> Grid:
    if file.attrs.get("kind") != "grid":
        raise FormatError(f"{path}: an HDF5 file, but not a grid of maury's (its attribute 'kind' is not 'grid')")
    schema = file.attrs.get("schema")
    if schema not in range(1, SCHEMA + 1):
        raise SchemaError(f"{path}: grid schema {schema}; this version of maury reads schemas 1 to {SCHEMA}")
    needed = ("wavelength", "labels", "flux", *(f"split/{name}" for name in SPLITS))
    missing = [name for name in needed if name not in file]
    if missing:
        raise FormatError(f"{path}: missing dataset {', '.join(missing)}; found: {', '.join(file) or 'none'}")
    wavelength = np.asarray(file["wavelength"][...])
    if wavelength.ndim != 1 or not np.isfinite(wavelength).all() or not (np.diff(wavelength) > 0).all():
        raise FormatError(f"{path}: dataset wavelength must be 1-D, finite and strictly increasing")
    space = SPACE if schema == 1 else _space(path, file["labels"])
    labels = as_table(file["labels"][...], space.names, str(path))
    if labels.ndim != 2 or not len(labels):
        raise FormatError(f"{path}: dataset labels must be a table with one row per spectrum")
    space.require_inside(labels, f"{path}: labels")
    scale = _check_flux(path, file["flux"], (len(labels), len(wavelength)))
    splits = {name: _check_split(path, file, name, len(labels)) for name in SPLITS}
    attributes = {key: value.item() if isinstance(value, np.generic) else value for key, value in file.attrs.items()}
    resolution = float(attributes.get("resolution", 0))
    if not 0 < resolution < float("inf"):
        raise FormatError(f"{path}: attribute resolution must be positive, got {resolution:g}")
    for key in ("settings", "fixed"):
        try:
            json.loads(attributes.get(key, "{}"))
        except ValueError as error:
            raise FormatError(f"{path}: attribute {key} is not JSON ({error})") from error
    fixed = {name: float(value) for name, value in json.loads(attributes.get("fixed", "{}")).items()}
    seeds = {name: int(file[f"split/{name}"].attrs["seed"]) for name in SPLITS}
    return Grid(path, wavelength, labels, splits, seeds, scale, resolution, attributes, space, fixed)


def _space(path: Path, dataset: h5py.Dataset) -> LabelSpace:
    """Labels and ranges stored in a file of schema 2."""
    names = tuple(dataset.dtype.names or ())
    unknown = [name for name in names if name not in LABELS]
    if unknown or not names:
        raise FormatError(f"{path}: unknown label {', '.join(unknown) or 'none'}; allowed: {', '.join(LABELS)}")
    lower, upper = (tuple(map(float, dataset.attrs[key])) for key in ("lower", "upper"))
    return LabelSpace(names, lower, upper)


def _check_flux(path: Path, flux: h5py.Dataset, expected: tuple[int, int]) -> float:
    """Check the layout of the flux and return its scale."""
    if flux.shape != expected:
        raise FormatError(f"{path}: dataset flux has shape {flux.shape}; by labels and wavelength must be {expected}")
    filters = (flux.dtype.str, flux.chunks, flux.shuffle, flux.compression, flux.fletcher32)
    if filters != ("<u2", (1, expected[1]), True, "gzip", False):
        raise FormatError(
            f"{path}: dataset flux must be uint16 in chunks of one spectrum with shuffle and gzip, got "
            f"{flux.dtype} in chunks {flux.chunks}, shuffle {flux.shuffle}, compression {flux.compression}"
        )
    scale = float(flux.attrs.get("scale", 0))
    if not 0 < scale < 1:
        raise FormatError(f"{path}: attribute scale of flux must be within 0 to 1, got {scale:g}")
    return scale


def _check_split(path: Path, file: h5py.File, name: str, count: int) -> NDArray[np.bool_]:
    split = np.asarray(file[f"split/{name}"][...])
    if split.shape != (count,) or not np.isin(split, (0, 1)).all():
        raise FormatError(f"{path}: dataset split/{name} must hold 0 or 1 for each of the {count} spectra")
    return split.astype(bool)
