"""Read and check tables of labels; write emulated spectra for them; write one simulated star."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import h5py
import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray

from maury.emulator.domain import require_known
from maury.emulator.model import MAX_RESOLUTION, Emulator
from maury.errors import DomainError
from maury.files import atomic_path
from maury.haze import haze_of, with_haze
from maury.labels import LABELS, LabelSpace
from maury.library import read_label_table
from maury.wavelengths import (
    FOUNDING_END_AA,
    FOUNDING_PIXELS,
    FOUNDING_START_AA,
    Floats,
    founding_wavelengths,
    pixel_points,
)

MIN_RESOLUTION = 5_000.0
"""Lowest R: below it the wings of the instrument profile reach beyond the margins of the window."""

_STAR_STEP_AA = (FOUNDING_END_AA - FOUNDING_START_AA) / (FOUNDING_PIXELS - 1)
"""Pixel width of simulated stars, Å: that of the founding project."""


def columns(emulator: Emulator) -> tuple[str, ...]:
    """Columns of a table of labels: the emulator's labels and vsini."""
    return (*emulator.space.names, "vsini")


def emulator_pixels(emulator: Emulator, pixels: int) -> tuple[Floats, Floats, int]:
    """Equidistant pixels over the emulator's window.

    Returns:
        Wavelengths (pixels,) in Å air, the points over which pixels average, and the number of points per pixel. In the
        founding window these are the founding project's pixels.

    Raises:
        DomainError: fewer than two pixels, or in the founding window no divisor of 29,788.
    """
    if emulator.window_aa == (FOUNDING_START_AA, FOUNDING_END_AA):
        return founding_wavelengths(pixels)
    if pixels < 2:
        raise DomainError(f"at least 2 pixels are needed, got {pixels}")
    wavelength = np.linspace(*emulator.window_aa, pixels)
    return wavelength, pixel_points(wavelength), 4


def read_labels(path: str | os.PathLike[str], emulator: Emulator) -> NDArray[np.float64]:
    """Read and check a CSV table of labels (n, k + 1): the emulator's and v sin i.

    Raises:
        FormatError: a missing column or a value that is not a finite number.
        DomainError: a value outside the emulator's domain.
    """
    table = read_label_table(path, columns(emulator))
    check_labels(table, emulator, str(path))
    return table


def check_labels(table: NDArray[np.float64], emulator: Emulator, where: str) -> None:
    """Check labels (n, k + 1) against the emulator's domain.

    Raises:
        DomainError: a label is outside its range, or there is no atmosphere at its Teff and log g.
    """
    LabelSpace.of(["vsini"]).require_inside(table[:, -1:], where)
    require_known(emulator, table[:, :-1], where)


def check_resolution(resolution: float, emulator: Emulator) -> None:
    """Check that the emulator allows this R = lambda / FWHM.

    Raises:
        DomainError: R is outside 5,000 to 115,000, or above that of the emulator's library.
    """
    limit = min(MAX_RESOLUTION, emulator.native_resolution)
    if not MIN_RESOLUTION <= resolution <= limit:
        raise DomainError(f"resolution = {resolution:g} is outside the allowed range {MIN_RESOLUTION:g} to {limit:g}")


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
        table: labels (n, k + 1), checked.
        resolution: R = lambda / FWHM.
        pixels: pixels over the emulator's window (`emulator_pixels`).
        path: output file.
        advance: called with the number of spectra just written.
        batch: number of spectra computed together.

    Raises:
        DomainError: the resolution or the number of pixels is not allowed.
        OutputError: the file cannot be written.
    """
    check_resolution(resolution, emulator)
    wavelength, fine, average = emulator_pixels(emulator, pixels)
    sampler = emulator.sampler(fine, resolution, average)
    rows = torch.from_numpy(table).float()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file["wavelength"] = wavelength
        file["wavelength"].attrs.update(unit="Angstrom", medium="air")
        file["labels"] = np.rec.fromarrays(table.T, dtype=[(name, "f8") for name in columns(emulator)])
        file["labels"].attrs["units"] = ", ".join(LABELS[name].unit for name in columns(emulator))
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
    emulator: Emulator,
    labels: Sequence[float],
    resolution: float,
    snr: float,
    seed: int,
    path: str | os.PathLike[str],
    vmac: float = 0.0,
) -> None:
    """Write one noisy, normalised rest-frame spectrum as ECSV with its true labels in the header.

    Spectra of cool stars include the haze of weak lines missing from line lists (`maury.haze`).

    Args:
        emulator: the emulator.
        labels: the emulator's labels and v sin i (`columns`), in their units.
        resolution: R = lambda / FWHM.
        snr: signal-to-noise ratio of the continuum per pixel of 0.01 Å; the noise is Gaussian with constant sigma.
        seed: seed of the noise.
        path: output file.
        vmac: radial-tangential macroturbulence, km/s.

    Raises:
        DomainError: labels or resolution outside the domain.
        OutputError: the file cannot be written.
    """
    row = np.array([labels], float)
    check_labels(row, emulator, "star")
    check_resolution(resolution, emulator)
    low, high = emulator.window_aa
    wavelength, fine, average = emulator_pixels(emulator, round((high - low) / _STAR_STEP_AA) + 1)
    with torch.no_grad():
        x = torch.from_numpy(row).float()
        sampler = emulator.sampler(fine, resolution, average)
        given = torch.tensor([resolution]), sampler, torch.tensor([vmac])
        clear = emulator.flux(x[:, :-1], x[:, -1], *given).double()
        flux = with_haze(clear, haze_of(x, emulator.space.names).double())[0].numpy()
    sigma = np.full(flux.shape, 1 / snr)
    noisy = flux + sigma * np.random.default_rng(seed).standard_normal(flux.shape)
    table = Table({"wavelength": wavelength, "flux": noisy.round(5), "sigma": sigma})
    table["wavelength"].unit = "Angstrom"
    table.meta.update(
        medium="air",
        frame="rest",
        normalised=True,
        resolution=float(resolution),
        truth={**dict(zip(columns(emulator), map(float, labels), strict=True)), "vmac": vmac},
    )
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
