"""The model spectrum of a result, to be drawn over the data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from maury.designs import VMIC_KMS
from maury.emulator import MAX_RESOLUTION, load_cached
from maury.errors import DomainError
from maury.inference.result import Result
from maury.labels import ALPHA, FOUNDING, LABELS


def drawn_labels(result: Result) -> dict[str, float]:
    """The labels of a result; those flagged as outside the ranges of its network moved into those of maury's models."""
    return {
        name: min(max(value, LABELS[name].lower), LABELS[name].upper) if f"outside_{name}" in result.flags else value
        for name, value in result.values.items()
    }


def model_flux(result: Result) -> NDArray[np.float64] | None:
    """The model spectrum of a result on the network's pixels, or None where there is none.

    It is that of the pair where two stars were found, else of the refined fit, else the packaged emulator's for the
    labels (`drawn_labels`). The emulator has none where one of the four founding labels is missing, or labels or window
    are outside its ranges. Labels that the network lacks are set as in the SPC grid: microturbulence 2 km/s,
    solar-scaled abundances.
    """
    if result.two is not None and result.two.status == "two":
        return result.two.model
    if result.refinement is not None:
        return result.refinement.model
    if any(name not in result.values for name in FOUNDING):
        return None
    emulator = load_cached()
    wavelength, (low, high) = result.wavelength_aa, emulator.window_aa
    values = drawn_labels(result)
    known = {"vmic": VMIC_KMS, **dict.fromkeys(ALPHA, values.get("alpha", 0.0)), **values}
    labels = np.array([[known.get(name, 0.0) for name in emulator.space.names]])
    try:
        emulator.space.require_inside(labels, result.file)
    except DomainError:
        return None
    if wavelength[0] < low or wavelength[-1] > high or result.resolution > MAX_RESOLUTION:
        return None
    sampler = emulator.sampler(wavelength, result.resolution)
    vsini, resolution = torch.tensor([[values["vsini"]], [result.resolution]]).float()
    flux = emulator.flux(torch.from_numpy(labels).float(), vsini, resolution, sampler)
    return flux[0].double().numpy()
