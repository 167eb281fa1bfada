"""Spectra of `specutils`, in and out, and the survey products that are read through it: APOGEE, DESI."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from maury.errors import MauryError
from maury.readers.fitsfile import Part
from maury.readers.noise import NoiseKind, named_noise
from maury.readers.source import Log, Medium, Raw, RawOrder, as_floats
from maury.spectra import Observation, Spectrum

_UNCERTAINTY: dict[str, NoiseKind] = {"std": "sigma", "var": "variance", "ivar": "inverse variance"}


def _specutils() -> Any:
    try:
        return importlib.import_module("specutils")
    except ImportError as error:
        raise MauryError("specutils is not installed: pip install 'maury[specutils]'") from error


def to_specutils(spectrum: Spectrum | Observation) -> Any:
    """Convert to `specutils.Spectrum`, or an observation of several orders to `specutils.SpectrumList`.

    Flux is dimensionless, the spectral axis Å in air; what specutils has no place for (frame, resolution,
    normalisation, medium, provenance) goes to ``meta["maury"]``, from where `from_specutils` takes it.

    Raises:
        MauryError: specutils is not installed.
    """
    specutils = _specutils()
    from astropy import units as u
    from astropy.nddata import StdDevUncertainty

    if isinstance(spectrum, Observation):
        orders = [to_specutils(order) for order in spectrum.orders]
        for order in orders:
            order.meta["maury"]["barycentric_kms"] = spectrum.barycentric_kms
        return orders[0] if len(orders) == 1 else specutils.SpectrumList(orders)
    meta = {
        "medium": "air",
        "frame": spectrum.frame,
        "normalised": spectrum.normalised,
        "resolution": spectrum.resolution,
        "provenance": dict(spectrum.provenance),
    }
    return specutils.Spectrum(
        flux=spectrum.flux * u.dimensionless_unscaled,
        spectral_axis=spectrum.wavelength_aa * u.AA,
        uncertainty=None if spectrum.sigma is None else StdDevUncertainty(spectrum.sigma),
        mask=spectrum.mask,
        meta={"maury": meta},
    )


def _order(spectrum: Any, log: Log, name: str) -> tuple[RawOrder, str]:
    """One order of a specutils spectrum, and where its sigma came from."""
    from astropy import units as u

    flux = as_floats(spectrum.flux.value)
    row = log.options.row or 1
    count = flux.size // flux.shape[-1]
    if flux.ndim > 2 or row > count or (count > 1 and log.options.row is None):
        raise log.fail(f"holds {count} spectra, not one; choose one by row (1 to {count})", "row")

    def chosen(values: Any) -> Any:
        return np.array(values).reshape(count, -1)[row - 1]

    wave = as_floats(spectrum.spectral_axis.to_value(u.AA, u.spectral()))
    sigma, source = None, "none"
    if spectrum.uncertainty is not None:
        kind = _UNCERTAINTY.get(spectrum.uncertainty.uncertainty_type)
        if kind is None:
            log.warn(f"uncertainty of type {spectrum.uncertainty.uncertainty_type}: not used")
        else:
            values = as_floats(chosen(spectrum.uncertainty.array))
            sigma, source = named_noise(values, kind, chosen(flux), log, "uncertainty")
    mask = None if spectrum.mask is None else chosen(spectrum.mask) != 0
    return RawOrder(wave, chosen(flux), sigma, mask, name, row=row), source


def raw_from_specutils(spectra: Iterable[Any], log: Log, medium: Medium | None, reader: str = "specutils") -> Raw:
    """A `Raw` from spectra of specutils; ``meta["maury"]`` is taken where it is there."""
    spectra = list(spectra)
    if not spectra:
        raise log.fail("specutils gives no spectrum")
    orders = [_order(s, log, str(i + 1) if len(spectra) > 1 else "") for i, s in enumerate(spectra)]
    raw = Raw(reader, [order for order, _ in orders], medium=medium, sigma=orders[0][1])
    own = getattr(spectra[0], "meta", {}).get("maury", {})
    if own:
        raw.medium, raw.frame = own.get("medium"), own.get("frame", "unknown")
        raw.normalised, raw.resolution = own.get("normalised"), own.get("resolution")
        raw.barycentric_kms = own.get("barycentric_kms")
        log.rule("medium, frame, normalisation and resolution: as maury wrote them")
    return raw


def _is_apogee(parts: list[Part]) -> str | None:
    header = parts[0].header
    history = "".join(str(line) for line in header["HISTORY"]) if "HISTORY" in header else ""
    if "APOGEE" in history and str(header.get("SFILE1", "")).startswith(("apVisit", "asVisit")):
        return "APOGEE apStar"
    if "APOGEE" in history and "apogee" in str(header.get("SURVEY", "")) and len(parts) > 4:
        return "APOGEE apVisit"
    if len(parts) > 4 and "ASPCAPFLAG" in [str(value) for value in parts[-1].header.values()]:
        return "APOGEE aspcapStar"
    return None


def _is_desi(parts: list[Part]) -> str | None:
    if {"FIBERMAP", "B_WAVELENGTH"} <= {part.name for part in parts}:
        return "DESI coadd" if "INFIL000" in parts[0].header else "DESI spectra"
    return None


def read_survey(parts: list[Part], log: Log) -> Raw | None:
    """Read APOGEE and DESI products, recognised by their headers, through specutils; vacuum, barycentric.

    Raises:
        FormatError: specutils is not installed or cannot read the file, or it holds several targets.
    """
    name = _is_apogee(parts) or _is_desi(parts)
    if name is None:
        return None
    try:
        specutils = _specutils()
    except MauryError as error:
        raise log.fail(
            f"{name} files are read through specutils, which {str(error).removeprefix('specutils ')}"
        ) from error
    kind = specutils.SpectrumList if name.startswith("DESI") else specutils.Spectrum
    try:
        spectra = kind.read(str(Path(log.path)), format=name)
    except Exception as error:
        raise log.fail(f"specutils cannot read this {name} file: {' '.join(str(error).split())[:200]}") from error
    raw = raw_from_specutils(spectra if name.startswith("DESI") else [spectra], log, "vacuum", f"{name} (specutils)")
    raw.one_star = True  # arms of one spectrograph, visits of one star
    raw.frame = "rest" if name in ("APOGEE apStar", "APOGEE aspcapStar") else "barycentric"
    log.rule(f"vacuum wavelengths, frame {raw.frame}: {name}")
    return raw
