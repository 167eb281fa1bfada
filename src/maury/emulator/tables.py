"""Spectra for a table of labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import h5py
import numpy as np
import torch
from astropy.table import Table
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
    check_labels(table, emulator, str(path))
    return table


def check_labels(table: NDArray[np.float64], emulator: Emulator, where: str) -> None:
    """Check labels (n, 11) against the emulator's domain, the lowest log g of the atmospheres included.

    Raises:
        DomainError: names the row, the label, its value and what is allowed.
    """
    rotation = LabelSpace.of(["vsini"])
    space = LabelSpace(COLUMNS, (*emulator.space.lower, *rotation.lower), (*emulator.space.upper, *rotation.upper))
    space.require_inside(table, where)
    low = lowest_logg(table[:, 0])
    below = np.flatnonzero(table[:, 1] < low - 1e-6)
    if below.size:
        i = below[0]
        raise DomainError(
            f"{where}: row {i + 1}: logg = {table[i, 1]:g} is below {low[i]:.2f}, the lowest of the model atmospheres "
            f"at teff = {table[i, 0]:g} K ({below.size} of {len(table)} rows are below)"
        )


def check_resolution(resolution: float) -> None:
    """Check R = lambda / FWHM.

    Raises:
        DomainError: outside 5,000 to 115,000.
    """
    if not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise DomainError(
            f"resolution = {resolution:g} is outside the allowed range {MIN_RESOLUTION:g} to {MAX_RESOLUTION:g}"
        )


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
    check_resolution(resolution)
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


def simulate_star(
    emulator: Emulator, labels: Sequence[float], resolution: float, snr: float, seed: int, path: str | os.PathLike[str]
) -> None:
    """Write one noisy, normalised rest-frame spectrum as ECSV with its true labels in the header.

    Args:
        emulator: the emulator.
        labels: the 11 of `COLUMNS` in their units.
        resolution: R = lambda / FWHM.
        snr: of the continuum per pixel of 0.01 Å; the noise is Gaussian and of one size.
        seed: of the noise.
        path: output file.

    Raises:
        DomainError: labels or resolution outside the domain.
        OutputError: the file cannot be written.
    """
    row = np.array([labels], float)
    check_labels(row, emulator, "star")
    check_resolution(resolution)
    wavelength, fine, average = founding_wavelengths()
    with torch.no_grad():
        x = torch.from_numpy(row).float()
        sampler = emulator.sampler(fine, resolution, average)
        flux = emulator.flux(x[:, :-1], x[:, -1], torch.tensor([resolution]), sampler)[0].double().numpy()
    sigma = np.full(flux.shape, 1 / snr)
    noisy = flux + sigma * np.random.default_rng(seed).standard_normal(flux.shape)
    table = Table({"wavelength": wavelength, "flux": noisy.round(5), "sigma": sigma})
    table["wavelength"].unit = "Angstrom"
    table.meta.update(
        medium="air",
        frame="rest",
        normalised=True,
        resolution=float(resolution),
        truth=dict(zip(COLUMNS, map(float, labels), strict=True)),
    )
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
