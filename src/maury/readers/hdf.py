"""HDF5 files: datasets of orders recognised by name, as in the TRES files of Starfish (wls, fls, sigmas, masks)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from maury.readers.arrays import from_arrays, masks_as_quality
from maury.readers.headers import as_number
from maury.readers.roles import Named, named, select
from maury.readers.source import MAX_PIXELS, Log, Raw, as_floats

_MAX_DATASETS = 500


def _datasets(file: h5py.File, log: Log) -> list[Named]:
    """Numeric datasets of the file, or of its only group, classified."""
    group: h5py.Group = file
    wanted = log.options.extension
    if wanted is not None:
        if not isinstance(file.get(str(wanted)), h5py.Group):
            groups = ", ".join(key for key in list(file)[:40] if isinstance(file[key], h5py.Group))
            raise log.fail(f"extension {wanted}: not a group; the file has {groups or 'none'}", "extension")
        group = file[str(wanted)]
        log.rule(f"group {wanted}: chosen by the user")
    while len(group) == 1 and isinstance(next(iter(group.values())), h5py.Group):
        group = next(iter(group.values()))
    if len(group) > 1 and all(isinstance(item, h5py.Group) for item in group.values()):
        raise log.fail(f"{len(group)} groups; choose one by extension ({', '.join(list(group)[:40])})", "extension")
    arrays = []
    for name in list(group)[:_MAX_DATASETS]:
        item = group.get(name)
        if not isinstance(item, h5py.Dataset) or not item.shape:
            continue
        if h5py.check_string_dtype(item.dtype) and len(item.shape) == 1 and item.size < MAX_PIXELS:
            array = named(name, item.asstr()[()].astype(str))
            arrays += [array] if array.role == "fibre" else []
        if item.dtype.names and len(item.shape) == 1 and item.size < MAX_PIXELS:  # a table, as astropy writes it
            fields = [key for key in item.dtype.names if item.dtype[key].kind in "iufb"]
            arrays += [named(key, as_floats(item[key])) for key in fields]
        if item.dtype.kind not in "iufb":
            continue
        if item.size > MAX_PIXELS:
            log.warn(f"dataset {name} of {item.size} values: not read")
            continue
        unit = item.attrs.get("unit", item.attrs.get("units"))
        unit = unit.decode() if isinstance(unit, bytes) else unit
        arrays.append(named(name, np.squeeze(as_floats(item[()])), None if unit is None else str(unit)))
    return arrays


def read_hdf5(path: Path, log: Log) -> Raw:
    """Read the orders of an HDF5 file.

    Raises:
        FormatError: no dataset is named as a wavelength or none as a flux, or the file is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            arrays = _datasets(file, log)
            keys = list(file)[:10]
            attributes = {str(key): value for key, value in file.attrs.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise log.fail(f"truncated or damaged HDF5 file ({str(error).splitlines()[0][:120]})") from error
    starfish = {"wls", "fls", "masks"} <= {array.name for array in arrays}
    masks_as_quality(arrays, "good" if starfish else None, "Starfish", log)
    chosen = select(arrays)
    if chosen.wavelength is None or chosen.flux is None:
        raise log.fail(f"no dataset named as a wavelength and one as a flux; it has {', '.join(keys) or 'none'}")
    if chosen.flux.values.ndim > 2:
        raise log.fail(f"dataset {chosen.flux.name} has {chosen.flux.values.ndim} axes: several spectra, not one")
    raw = from_arrays("HDF5 orders", arrays, log)
    velocity = next((as_number(attributes[k]) for k in ("BCV", "BERV", "VHELIO", "bcv") if k in attributes), None)
    if velocity is not None:
        log.warn(f"barycentric velocity {velocity:.3f} km/s stated, but not whether it has been taken out")
    for key in ("name", "object", "OBJECT"):
        if key in attributes:
            raw.info["object"] = str(attributes[key])
    return raw
