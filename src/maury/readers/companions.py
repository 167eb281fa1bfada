"""Arrays from a second file: wavelengths or noise that the user gives beside the spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.readers.fitsfile import open_fits
from maury.readers.noise import NoiseKind, named_noise
from maury.readers.roles import NOISE_KINDS, Named, named
from maury.readers.source import Floats, Log, Raw
from maury.readers.textfile import read_numbers


def other_file(path: Path, shape: tuple[int, ...], log: Log, what: str) -> tuple[Floats, Named]:
    """An array of the shape of the flux from another file (FITS, text or .npy), and what its name tells.

    Raises:
        FormatError: the file is missing or holds no array of that shape.
    """
    if not path.is_file():
        raise log.fail(f"{what} {path} is not a file")
    inner = Log(path)
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
    raise log.fail(f"{what} {path} holds no array of the shape of the flux {shape}; it has {shapes}")


def apply_sigma_file(raw: Raw, log: Log) -> None:
    """Set the noise of all orders from the sigma file: the kind that its extension is named, else sigma.

    Raises:
        FormatError: the file is missing or holds no array of the shape of the flux.
    """
    if log.options.sigma_file is None:
        return
    path = Path(log.options.sigma_file)
    if len({order.flux.size for order in raw.orders}) > 1:
        raise log.fail("a sigma file needs orders of one length, and these differ")
    flux = np.squeeze(np.stack([order.flux for order in raw.orders]))
    values, array = other_file(path, flux.shape, log, "sigma file")
    kind: NoiseKind = array.role if array.role in NOISE_KINDS else "sigma"
    log.rule(f"noise: {path.name}, given by the user, read as {kind}")
    sigma, raw.sigma = named_noise(values, kind, flux, log, path.name)
    for index, order in enumerate(raw.orders):
        order.sigma = None if sigma is None else sigma.reshape(len(raw.orders), -1)[index]
