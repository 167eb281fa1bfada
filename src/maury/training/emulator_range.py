"""What a library supports: labels that vary and their ranges, its window, where it has spectra in Teff and log g."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.emulator.domain import hull_of
from maury.errors import ConfigError, FormatError
from maury.labels import LABELS, LabelSpace, is_packaged, tensor_axes
from maury.library import Library
from maury.wavelengths import C_KMS

MARGIN_KMS = 280.0
"""Kept free at both ends of a library's wavelengths: 200 km/s of rotation and three sigma of R = 5,000."""

_REACH = 0.05
"""Of a range: a library that comes as near to its ends as this covers it."""


@dataclass(frozen=True)
class Domain:
    """What an emulator of a library may be asked for.

    Attributes:
        space: the labels that vary, with their ranges.
        fixed: labels that all spectra share.
        window_aa: first and last wavelength without margins, Å.
        resolution: R of the spectra, 0 for infinite.
        hull: corners of the hull in Teff and log g, None where the packaged library's lowest log g holds.
        axes: values of each label that varies, when the spectra are nodes of a tensor grid.
    """

    space: LabelSpace
    fixed: dict[str, float]
    window_aa: tuple[float, float]
    resolution: float
    hull: list[list[float]] | None
    axes: dict[str, list[float]] | None = None

    def header(self) -> dict[str, Any]:
        """Range as entries of the emulator's header; those that do not apply are left out."""
        known: dict[str, Any] = {"window": list(self.window_aa)}
        for name in ("fixed", "resolution", "hull", "axes"):
            if getattr(self, name):
                known[name] = getattr(self, name)
        return known


def find_domain(library: Library, ranges: Mapping[str, tuple[float, float]] | None = None) -> Domain:
    """What a library supports.

    The range of a label is, in this order: that of ``ranges``; that of the library's own ``domain``; the packaged one,
    for a library of the packaged labels that reaches its ends in Teff, log g and [M/H]; from its lowest to its highest
    value.

    Raises:
        FormatError: no label varies, the library's ``domain`` or ``window`` cannot be read, or no window is left.
        ConfigError: a range of a label that is not there or does not vary, or that goes beyond the spectra by more
            than 5 % of their span.
    """
    varying = [name for name in library.names if np.ptp(library.column(name)) > 0]
    if not varying:
        raise FormatError(f"{', '.join(library.sources)}: no label varies: there is nothing to fit")
    for name in ranges or {}:
        if name not in varying:
            raise ConfigError(f"ranges: {name} is not a label that varies; there are {', '.join(varying)}")
    stated = _attribute(library, "domain") or {}
    packaged = _is_packaged(library)
    ends = []
    for name in varying:
        low, high = float(library.column(name).min()), float(library.column(name).max())
        if ranges and name in ranges:
            low, high = _checked(name, ranges[name], low, high)
        elif name in stated:
            low, high = map(float, stated[name])
        elif packaged:
            low, high = LABELS[name].lower, LABELS[name].upper
        ends.append((low, high))
    space = LabelSpace(tuple(varying), *(tuple(side) for side in zip(*ends, strict=True)))
    hull = hull_of(library.column("teff"), library.column("logg")) if {"teff", "logg"} <= set(varying) else None
    fixed = {name: float(library.column(name)[0]) for name in library.names if name not in varying}
    resolution = float(library.attributes.get("resolution", 0.0))
    values = tensor_axes(np.stack([library.column(name) for name in varying], axis=-1))
    axes = None if values is None else {name: axis.tolist() for name, axis in zip(varying, values, strict=True)}
    return Domain(space, fixed, _window(library), resolution, None if packaged else hull, axes)


def _attribute(library: Library, name: str) -> Any:
    text = library.attributes.get(name)
    try:
        return None if text is None else json.loads(text)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{', '.join(library.sources)}: attribute {name} is not JSON ({error})") from error


def _is_packaged(library: Library) -> bool:
    if not is_packaged(library.names):
        return False
    for name in ("teff", "logg", "mh"):
        values, label = library.column(name), LABELS[name]
        slack = _REACH * (label.upper - label.lower)
        if abs(values.min() - label.lower) > slack or abs(values.max() - label.upper) > slack:
            return False
    return True


def _checked(name: str, wanted: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    slack = _REACH * (high - low)
    if not low - slack <= wanted[0] < wanted[1] <= high + slack:
        raise ConfigError(
            f"ranges: {name} = {wanted[0]:g} to {wanted[1]:g}, but the spectra have {low:g} to {high:g} "
            f"(at most 5 % beyond are allowed)"
        )
    return wanted


def _window(library: Library) -> tuple[float, float]:
    """The library's own window, or its wavelengths less the margins, rounded inwards to whole Å."""
    stated = _attribute(library, "window")
    if stated is not None:
        return float(stated[0]), float(stated[1])
    wavelength: NDArray[np.float64] = library.wavelength_aa
    low = float(np.ceil(wavelength[0] * (1 + MARGIN_KMS / C_KMS)))
    high = float(np.floor(wavelength[-1] * (1 - MARGIN_KMS / C_KMS)))
    if not low < high:
        raise FormatError(
            f"{', '.join(library.sources)}: {wavelength[0]:.2f} to {wavelength[-1]:.2f} Å leave no window within "
            f"margins of {MARGIN_KMS:g} km/s at both ends"
        )
    return low, high
