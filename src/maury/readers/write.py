"""Write spectra as ECSV or FITS tables that name everything, so that reading them needs no rule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from maury.errors import OutputError
from maury.files import atomic_path
from maury.spectra import Observation, Spectrum

if TYPE_CHECKING:
    from astropy.table import Table

_SPECSYS = {"barycentric": "BARYCENT", "topocentric": "TOPOCENT", "rest": "SOURCE"}


def _columns(orders: tuple[Spectrum, ...]) -> Table:
    """wavelength, flux, sigma (if any order has one), quality (0 good, 1 bad), order (if several)."""
    from astropy.table import Table

    table = Table()
    table["wavelength"] = np.concatenate([o.wavelength_aa for o in orders]) * u.AA
    table["wavelength"].description = "wavelength in air"
    table["flux"] = np.concatenate([o.flux for o in orders])
    if any(order.sigma is not None for order in orders):
        blank = [np.full(o.flux.size, np.nan) if o.sigma is None else o.sigma for o in orders]
        table["sigma"] = np.concatenate(blank)
        table["sigma"].description = "standard deviation of the flux"
    table["quality"] = np.concatenate([np.asarray(o.mask, np.int16) for o in orders])
    table["quality"].description = "0: good, 1: masked"
    if len(orders) > 1:
        table["order"] = np.concatenate([np.full(o.flux.size, i + 1, np.int32) for i, o in enumerate(orders)])
    return table


def _prepared(spectrum: Spectrum) -> dict[str, Any]:
    """What `maury.prepare` noted, or nothing."""
    found: dict[str, Any] = {}
    for key in ("velocity_kms", "velocity_error_kms", "prepared", "flags", "mask"):
        value = spectrum.provenance.get(key)
        if value is not None:
            found[key] = list(value) if isinstance(value, tuple) else float(value)
    return found


def write(spectrum: Spectrum | Observation, path: str | os.PathLike[str]) -> None:
    """Write a spectrum or the orders of an observation to ``.ecsv`` or ``.fits``.

    Wavelengths in Å air; frame, normalisation, resolution and barycentric velocity in the metadata; of a prepared
    spectrum also the velocity taken out, its error, what was done, the flags and the mask asked for.

    Raises:
        OutputError: the ending is another one, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".ecsv", ".fits"):
        raise OutputError(
            f"{target}: spectra are written as .ecsv or .fits, not {target.suffix or 'without an ending'}"
        )
    orders = spectrum.orders if isinstance(spectrum, Observation) else (spectrum,)
    velocity = spectrum.barycentric_kms if isinstance(spectrum, Observation) else None
    table, first = _columns(orders), orders[0]
    if target.suffix.lower() == ".ecsv":
        meta = {
            "medium": "air",
            "frame": first.frame,
            "normalised": bool(first.normalised),
            "resolution": first.resolution,
            "barycentric_kms": velocity,
            **_prepared(first),
        }
        table.meta.update({key: value for key, value in meta.items() if value is not None})
        with atomic_path(target) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
        return
    hdu = fits.table_to_hdu(table)
    hdu.name = "SPECTRUM"
    header = fits.PrimaryHDU().header
    header["AIRORVAC"] = ("air", "medium of the wavelengths")
    header["CONTNORM"] = (bool(first.normalised), "continuum divided out")
    if first.frame in _SPECSYS:
        header["SPECSYS"] = (_SPECSYS[first.frame], "frame of the wavelengths")
    if first.resolution is not None:
        header["SPEC_RES"] = (first.resolution, "wavelength over FWHM")
    if velocity is not None:
        header["BERV"] = (velocity, "[km/s] barycentric velocity, not taken out")
    done = _prepared(first)
    for key, name in (("STARVEL", "velocity_kms"), ("STARVELE", "velocity_error_kms")):
        if name in done:
            header[key] = (done[name], f"[km/s] {name.removesuffix('_kms').replace('_', ' ')} taken out")
    if "flags" in done:
        header["PREPFLAG"] = (",".join(done["flags"]), "what limits the trust in it")
    if done.get("mask"):
        header["PREPMASK"] = (",".join(done["mask"]), "[Angstrom] left out of the fit")
    for line in done.get("prepared", ()):
        header["HISTORY"] = line
    with atomic_path(target) as temporary:
        fits.HDUList([fits.PrimaryHDU(header=header), hdu]).writeto(temporary, overwrite=True)
