"""Spectra for a table of labels."""

from __future__ import annotations

import os
from collections.abc import Callable

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from maury.emulator.model import MAX_RESOLUTION, Emulator
from maury.errors import DomainError
from maury.files import atomic_path
from maury.labels import INTRINSIC, LABELS, LabelSpace, lowest_logg
from maury.library import read_label_table
from maury.wavelengths import founding_wavelengths

MIN_RESOLUTION = 5_000.0
"""Lowest R: below it the profile's wings reach past the padding at the ends of the window."""

COLUMNS = (*INTRINSIC, "vsini")


def read_labels(path: str | os.PathLike[str], emulator: Emulator) -> NDArray[np.float64]:
    """Read and check a CSV table of labels (n, 11): the emulator's ten and v sin i.

    Raises:
        FormatError: a missing column or a value that is not a finite number.
        DomainError: a value outside the emulator's domain.
    """
    table = read_label_table(path, COLUMNS)
    rotation = LabelSpace.of(["vsini"])
    space = LabelSpace(
        COLUMNS, (*emulator.space.lower, *rotation.lower), (*emulator.space.upper, *rotation.upper)
    )
    space.require_inside(table, str(path))
    low = lowest_logg(table[:, 0])
    below = np.flatnonzero(table[:, 1] < low - 1e-6)
    if below.size:
        i = below[0]
        raise DomainError(
            f"{path}: row {i + 1}: logg = {table[i, 1]:g} is below {low[i]:.2f}, the lowest of the model atmospheres at "
            f"teff = {table[i, 0]:g} K ({below.size} of {len(table)} rows are below)"
        )
    return table


def write_spectra(
    emulator: Emulator,
    table: NDArray[np.float64],
    resolution: float,
    pixels: int,
    path: str | os.PathLike[str],
    advance: Callable[[int], None] | None = None,
    batch: int = 64,
) -> None:
    """Write ``wavelength`` (Å, air), ``flux`` (float32) and ``labels`` to an HDF5 file through a temporary name.

    Args:
        emulator: the emulator.
        table: labels (n, 11), checked.
        resolution: R = lambda / FWHM.
        pixels: 29788 or 7447 (means of four neighbours).
        path: output file.
        advance: called with the number of spectra done.
        batch: spectra at a time.

    Raises:
        DomainError: a resolution or number of pixels that is not allowed.
        OutputError: the file cannot be written.
    """
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise DomainError(
            f"resolution = {resolution:g} is outside the allowed range {MIN_RESOLUTION:g} to {MAX_RESOLUTION:g}"
        )
    wavelength, fine, average = founding_wavelengths(pixels)
    sampler = emulator.sampler(fine, resolution, average)
    rows = torch.from_numpy(table).float()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["wavelength"] = wavelength
        file["wavelength"].attrs.update(unit="Angstrom", medium="air")
        file["labels"] = np.rec.fromarrays(table.T, dtype=[(name, "f8") for name in COLUMNS])
        file["labels"].attrs["units"] = ", ".join(LABELS[name].unit for name in COLUMNS)
        flux = file.create_dataset("flux", (len(table), pixels), "f4", chunks=(1, pixels))
        flux.attrs.update(resolution=resolution, normalised="continuum")
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            with torch.no_grad():
                r = torch.full((len(part),), float(resolution))
                flux[first : first + len(part)] = emulator.flux(part[:, :-1], part[:, -1], r, sampler).numpy()
            if advance is not None:
                advance(len(part))
