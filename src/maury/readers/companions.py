"""Arrays from a second file: wavelengths or noise that the user gives beside the spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.readers.fitsfile import open_fits
from maury.readers.noise import NoiseKind, named_noise
from maury.readers.roles import NOISE_KINDS, Named, named
from maury.readers.source import Floats, Job, Raw
from maury.readers.text import read_numbers


def other_file(path: Path, shape: tuple[int, ...], job: Job, what: str) -> tuple[Floats, Named]:
    """An array of the shape of the flux from another file (FITS, text or .npy), and what its name tells.

    Raises:
        FormatError: the file is missing or holds no array of that shape.
    """
    if not path.is_file():
        raise job.fail(f"{what} {path} is not a file")
    inner = Job(path, wavelength_unit=job.wavelength_unit)
    with open(path, "rb") as stream:
        magic = stream.read(9)
    if magic.startswith((b"SIMPLE", b"\x1f\x8b")):
        with open_fits(path, inner) as parts:
            arrays = [(named(p.name, np.empty(0), p.header.get("BUNIT")), p.image()) for p in parts if p.shape]
    elif magic.startswith(b"\x93NUMPY"):
        arrays = [(named("", np.empty(0)), np.squeeze(np.load(path, allow_pickle=False).astype(float)))]
    else:
        table = read_numbers(path, inner)
        arrays = [(named("", np.empty(0)), array) for array in (table.T, table, *table.T)]
    for array, values in arrays:
        if values.shape == shape:
            return values, array
    shapes = ", ".join(str(values.shape) for _, values in arrays) or "none"
    raise job.fail(f"{what} {path} holds no array of the shape of the flux {shape}; it has {shapes}")


def apply_sigma_file(raw: Raw, job: Job) -> None:
    """Set the noise of all arcs from ``job.sigma_file``: what its extension is named, else sigma, as the user says.

    Raises:
        FormatError: the file is missing or holds no array of the shape of the flux.
    """
    if job.sigma_file is None:
        return
    if len({arc.flux.size for arc in raw.arcs}) > 1:
        raise job.fail("a sigma file needs orders of one length, and these differ")
    flux = np.squeeze(np.stack([arc.flux for arc in raw.arcs]))
    values, array = other_file(job.sigma_file, flux.shape, job, "sigma file")
    kind: NoiseKind = array.role if array.role in NOISE_KINDS else "sigma"
    job.rule(f"noise: {job.sigma_file.name}, given by the user, read as {kind}")
    sigma, raw.sigma = named_noise(values, kind, flux, job, job.sigma_file.name)
    for index, arc in enumerate(raw.arcs):
        arc.sigma = None if sigma is None else sigma.reshape(len(raw.arcs), -1)[index]
