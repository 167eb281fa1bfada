"""HDF5 and Zarr: generic layouts of many spectra, and files of one spectrum as Korg users write them.

Many spectra: ``wavelength`` (p,), ``flux`` (n, p), perhaps ``continuum`` (n, p) or (p,), and labels: a table ``labels``
with named columns, a matrix ``labels`` (n, k) with the names in its attribute ``names``, or a dataset (n,) for each.
One spectrum per file: ``wavelength`` (p,), ``flux`` (p,), perhaps ``continuum`` (Korg: ``wls``, ``flux``, ``cntm``),
labels among the attributes. Attributes tell the rest: ``medium`` (air or vacuum), ``normalised``, ``resolution``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from maury.errors import ConfigError, FormatError
from maury.grids.importers.families import Entry, Family, Medium, Synthetic, between
from maury.grids.importers.names import from_header, label_name
from maury.readers.roles import classify
from maury.wavelengths import Floats

_CONTINUUM = ("continuum", "cntm", "cont", "continua")


class Hdf5(Family):
    """HDF5 files."""

    title = "HDF5: generic layout, or one spectrum per file as from Korg"
    patterns = ("*.h5", "*.hdf5", "*.hdf")

    def entries(self, path: Path) -> list[Entry]:
        """One spectrum per row, or one per file."""
        store = self._store(path)
        if store.flux.ndim == 1:
            return [Entry(path, store.labels_of_file())]
        table = store.labels()
        return [
            Entry(path, {name: float(values[row]) for name, values in table.items()}, row)
            for row in range(store.flux.shape[0])
        ]

    def read(self, entry: Entry, low_aa: float, high_aa: float) -> Synthetic:
        """A piece of a spectrum."""
        store = self._store(entry.path)
        part = between(store.wavelength, low_aa, high_aa)
        try:
            flux = np.asarray(store.flux[part] if entry.row is None else store.flux[entry.row, part], np.float64)
            continuum = store.continuum_of(entry.row, part)
        except (OSError, RuntimeError, ValueError) as error:
            raise FormatError(f"{entry.title}: damaged ({error})") from error
        return Synthetic(store.wavelength[part], flux, continuum, store.normalised, store.medium, store.resolution)

    def _store(self, path: Path) -> _Store:
        store: _Store = self.last(path, lambda: _Store(path, self._open(path)))
        return store

    def _open(self, path: Path) -> Any:
        try:
            return h5py.File(path)
        except OSError as error:
            raise FormatError(f"{path}: not a readable HDF5 file, perhaps truncated ({error})") from error


class Zarr(Hdf5):
    """Zarr stores: folders of the layout of `Hdf5`."""

    title = "Zarr: the layout of hdf5 (needs maury[zarr])"

    def find(self, sources: Sequence[str]) -> list[Path]:
        """The stores that are named: folders."""
        missing = [source for source in sources if not Path(source).exists()]
        if missing:
            raise FormatError(f"{missing[0]}: no such store")
        return [Path(source) for source in sources]

    def _open(self, path: Path) -> Any:
        try:
            import zarr
        except ImportError as error:
            raise ConfigError("zarr is not installed; install maury[zarr] to import Zarr stores") from error
        try:
            return zarr.open_group(str(path), mode="r")
        except Exception as error:  # zarr raises what its stores raise
            raise FormatError(f"{path}: not a readable Zarr group ({error})") from error


class _Store:
    """An opened file: its datasets by role."""

    def __init__(self, path: Path, group: Any) -> None:
        self.path, self.group = path, group
        names = [str(name) for name in group.keys()]  # noqa: SIM118 (not a dict)
        wave, flux = self._role(names, "wavelength"), self._role(names, "flux")
        if wave is None or flux is None:
            raise FormatError(f"{path}: no dataset named as a wavelength and one as a flux; it has {', '.join(names)}")
        self.wavelength: Floats = np.asarray(group[wave][...], np.float64)
        self.flux = group[flux]
        if self.wavelength.ndim != 1 or self.flux.ndim not in (1, 2) or self.flux.shape[-1] != self.wavelength.size:
            shapes = f"{wave} {self.wavelength.shape} and {flux} {self.flux.shape}"
            raise FormatError(f"{path}: {shapes} do not fit: (p,) and (n, p) are needed")
        self.continuum = next((group[name] for name in names if name.lower() in _CONTINUUM), None)
        self.names = [name for name in names if name not in (wave, flux)]
        attributes = {str(k).lower(): v for k, v in {**dict(group.attrs), **dict(group[wave].attrs)}.items()}
        medium = str(_plain(attributes.get("medium", ""))).lower()
        self.medium: Medium | None = "air" if medium == "air" else "vacuum" if medium.startswith("vac") else None
        resolution = _plain(attributes.get("resolution"))
        self.resolution = None if resolution is None else float(resolution)
        normalised = _plain(attributes.get("normalised", attributes.get("normalized")))
        self.normalised = None if normalised is None else bool(normalised)

    def _role(self, names: list[str], role: str) -> str | None:
        found = [name for name in names if classify(name)[0] == role and label_name(name) is None]
        return min(found, key=len, default=None)

    def labels_of_file(self) -> dict[str, float]:
        """Labels among the attributes and the datasets of one number."""
        single = {n: self.group[n] for n in self.names if getattr(self.group[n], "shape", None) == ()}
        return from_header({**{n: d[()] for n, d in single.items()}, **dict(self.group.attrs)})

    def labels(self) -> dict[str, Floats]:
        """Labels (n,) of all spectra by name."""
        count = self.flux.shape[0]
        name = next((n for n in self.names if n.lower() in ("labels", "parameters", "params")), None)
        if name is not None:
            return self._table(name, count)
        columns = {label_name(n): self.group[n] for n in self.names}
        return {
            str(n): np.asarray(d[...], np.float64)
            for n, d in columns.items()
            if n is not None and getattr(d, "shape", None) == (count,)
        }

    def _table(self, name: str, count: int) -> dict[str, Floats]:
        dataset = self.group[name]
        values = dataset[...]
        if values.dtype.names:
            numeric = [n for n in values.dtype.names if values.dtype[n].kind in "iuf"]
            titled = {n: np.asarray(values[n], np.float64) for n in numeric}
        else:
            titles = dataset.attrs.get("names")
            if titles is None or values.ndim != 2 or values.shape[1] != len(titles):
                raise FormatError(f"{self.path}: {name} {values.shape} needs an attribute 'names', one per column")
            titled = {str(_plain(t)): np.asarray(c, np.float64) for t, c in zip(titles, values.T, strict=True)}
        found = {label_name(title): column for title, column in titled.items()}
        labels = {str(n): column for n, column in found.items() if n is not None}
        strange = [t for t, c in titled.items() if label_name(t) is None and np.ptp(c) > 0]
        if strange:
            raise FormatError(f"{self.path}: column {', '.join(strange)} of {name} is no label that maury knows")
        if any(column.shape != (count,) for column in labels.values()):
            raise FormatError(f"{self.path}: {name} has {len(values)} rows, flux {count}")
        return labels

    def continuum_of(self, row: int | None, part: slice) -> Floats | None:
        """The continuum of a spectrum, where there is one."""
        if self.continuum is None:
            return None
        values = self.continuum[part] if self.continuum.ndim == 1 else self.continuum[row, part]
        return np.asarray(values, np.float64)


def _plain(value: Any) -> Any:
    """A number or text out of an attribute."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
