"""From a spectrum to its stellar parameters: `predict` and its `Result`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable
from numpy.typing import NDArray

from maury.designs import intrinsic_labels
from maury.emulator import MAX_RESOLUTION, Emulator
from maury.emulator import load as load_emulator
from maury.errors import DomainError, OutputError
from maury.files import atomic_path
from maury.labels import FOUNDING, LABELS, LabelSpace
from maury.networks import load, pixel_wavelengths
from maury.networks import predict as predict_labels
from maury.preparation import Preparation, Prepared, prepare, to_pixels
from maury.spectra import Observation, Spectrum

DEFAULT_MODEL = "starnet-spc"

_WINDOW_SLACK_AA = 1.0
_OF_PREPARATION = ("velocity_kms", "velocity_error_kms", "barycentric_velocity_kms", "snr", "coverage_aa")

_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".vot": "votable", ".xml": "votable"}


@dataclass(frozen=True)
class Result:
    """What a network says of one star.

    Attributes:
        file: where the spectrum came from.
        model: name or path of the network.
        values: labels in their units.
        typical_errors: within which 68 % of the network's own validation spectra fall: noise-free synthetic spectra, so
            a lower limit and no error of this star.
        flags: what limits the trust in the values, by name; empty when nothing does.
        resolution: R of the spectra that the network knows, to which the spectrum was brought.
        prepared: the spectrum as the network saw it.
        preparation: how it was prepared, or None when it was normalised and at rest already.
    """

    file: str
    model: str
    values: dict[str, float]
    typical_errors: dict[str, float]
    flags: tuple[str, ...]
    resolution: float
    prepared: Prepared = field(repr=False)
    preparation: Preparation | None = field(default=None, repr=False)

    @property
    def summary(self) -> dict[str, u.Quantity]:
        """Labels as astropy quantities."""
        return {name: value * _unit(name) for name, value in self.values.items()}

    def record(self) -> dict[str, Any]:
        """Plain values for JSON: file, status, labels, flags, model."""
        status = "flagged" if self.flags else "ok"
        values = {name: round(value, 5) for name, value in self.values.items()}
        done = self.preparation
        velocity = {} if done is None else {key: done.record()[key] for key in _OF_PREPARATION}
        return {
            "file": self.file,
            "status": status,
            **values,
            **velocity,
            "flags": list(self.flags),
            "model": self.model,
        }


def to_table(results: Sequence[Result]) -> QTable:
    """One row per star, with units and column descriptions.

    Args:
        results: of one model.
    """
    names = list(results[0].values)
    table = QTable({"file": [r.file for r in results], "status": [r.record()["status"] for r in results]})
    for name in names:
        table[name] = [r.values[name] for r in results] * _unit(name)
        table[name].info.description = LABELS[name].description
    for key in ("velocity_kms", "velocity_error_kms"):
        if any(r.preparation is not None for r in results):
            table[key.removesuffix("_kms")] = [r.record().get(key, np.nan) for r in results] * u.km / u.s
    table["flags"] = [",".join(r.flags) for r in results]
    table["model"] = [r.model for r in results]
    table.meta["maury"] = "point estimates of a network trained on noise-free synthetic spectra; no errors per star"
    return table


def predict(
    star: Spectrum | Observation,
    model: str = DEFAULT_MODEL,
    *,
    resolution: float | None = None,
    velocity_kms: float | None = None,
    emulator: str = "packaged",
) -> Result:
    """Stellar parameters of an observed spectrum.

    What is not yet normalised and at rest is prepared first (`maury.prepare`): velocity, continuum, masks, merging.

    Args:
        star: what `maury.read` or `maury.prepare` give: any number of orders, in any frame, normalised or not.
        model: a packaged network, a run's folder or a network file.
        resolution: R = lambda / FWHM, where the file does not tell it.
        velocity_kms: radial velocity in the frame of the wavelengths, when it is known.
        emulator: "packaged" or an emulator's file, for the preparation: templates of the network's window.

    Raises:
        DomainError: the spectrum does not suit the network (coverage, resolution unknown).
        FormatError: the network or the emulator cannot be read.
    """
    network, header = _cached(model)
    wavelength = pixel_wavelengths(header)
    observation = star if isinstance(star, Observation) else Observation((star,), None, dict(star.provenance))
    file = str(observation.provenance.get("file", "spectrum"))
    resolution = observation.resolution if resolution is None else resolution
    if resolution is None:
        raise DomainError(f"{file}: its resolution is not in the file; give R = lambda / FWHM with --resolution")
    preparation = None
    if is_prepared(observation):
        spectrum = observation.single().with_(resolution=resolution)
    else:
        window = (float(wavelength[0]), float(wavelength[-1]))
        preparation = _prepare(observation, window, resolution, velocity_kms, emulator)
        spectrum = preparation.spectrum
    prepared = to_pixels(spectrum, wavelength, header["resolution"])
    values = predict_labels(network, header, prepared.flux[None])[0]
    space = LabelSpace.from_header(header)
    unit = space.normalise(values)
    flags = [] if preparation is None else list(preparation.flags)
    flags += [flag for flag in prepared.flags if flag not in flags]
    flags += [f"outside_{name}" for name, x in zip(space.names, unit, strict=True) if not 0 <= x <= 1]
    typical = {k: float(v) for k, v in header.get("typical_errors", {}).items()}
    labels = dict(zip(space.names, map(float, values), strict=True))
    return Result(file, model, labels, typical, tuple(flags), header["resolution"], prepared, preparation)


def is_prepared(observation: Observation) -> bool:
    """Whether a spectrum says of itself that it is one, normalised and at rest."""
    return len(observation.orders) == 1 and observation.normalised and observation.frame == "rest"


def _prepare(
    observation: Observation,
    window: tuple[float, float],
    resolution: float,
    velocity_kms: float | None,
    emulator: str,
) -> Preparation:
    """Prepare for a network's window.

    Raises:
        DomainError: the emulator is one of another window.
    """
    templates = _templates(emulator)
    low, high = templates.window_aa
    if window[0] < low - _WINDOW_SLACK_AA or window[1] > high + _WINDOW_SLACK_AA:
        file = observation.provenance.get("file", "spectrum")
        raise DomainError(
            f"{file}: has to be prepared for the network's window {window[0]:.0f} to {window[1]:.0f} Å, but the "
            f"emulator ({emulator}) is for {low:.0f} to {high:.0f} Å; give one of that window with --emulator"
        )
    return prepare(observation, resolution=resolution, velocity_kms=velocity_kms, window_aa=window, emulator=templates)


@lru_cache(maxsize=2)
def _templates(emulator: str) -> Emulator:
    return load_emulator(emulator)


@lru_cache(maxsize=4)
def _cached(model: str) -> tuple[Any, dict[str, Any]]:
    return load(model)


def _unit(name: str) -> u.UnitBase:
    return u.Unit(LABELS[name].unit)


def write_table(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write one row per star; the format goes by the file's name.

    Raises:
        OutputError: an unknown ending, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise OutputError(f"{path}: unknown ending {path.suffix or 'none'}; allowed: {', '.join(_FORMATS)}")
    with atomic_path(path) as temporary:
        to_table(results).write(temporary, format=_FORMATS[path.suffix], overwrite=True)


def model_flux(result: Result) -> NDArray[np.float64] | None:
    """The packaged emulator's spectrum for a result's labels on the network's pixels, or None where it has none.

    It has none for other labels than the founding four, outside its ranges and outside its window.
    Microturbulence 2 km/s and solar-scaled abundances, as in the grid that the founding network was trained on.
    """
    if any(name not in result.values for name in FOUNDING) or any(f.startswith("outside") for f in result.flags):
        return None
    emulator = load_emulator()
    wavelength, (low, high) = result.prepared.wavelength_aa, emulator.window_aa
    teff, logg, mh, vsini = (result.values[name] for name in FOUNDING)
    labels = intrinsic_labels([[teff, logg, mh]])
    try:
        emulator.space.require_inside(labels, result.file)
    except DomainError:
        return None
    if wavelength[0] < low or wavelength[-1] > high or result.resolution > MAX_RESOLUTION:
        return None
    sampler = emulator.sampler(wavelength, result.resolution)
    flux = emulator.flux(
        torch.from_numpy(labels).float(), torch.tensor([vsini]), torch.tensor([result.resolution]), sampler
    )
    return flux[0].double().numpy()
