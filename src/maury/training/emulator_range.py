"""Domain of an emulator from its library: labels that vary, their ranges, window, hull of spectra in Teff and log g."""

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
"""Tolerance at the ends of a range, as a fraction of the range."""


@dataclass(frozen=True)
class Domain:
    """Labels and wavelengths for which an emulator of a library is valid."""

    space: LabelSpace  # the labels that vary, with their ranges
    fixed: dict[str, float]  # labels that are the same in all spectra, with their values
    window_aa: tuple[float, float]  # first and last wavelength without margins, Å
    resolution: float  # R of the spectra, 0 for infinite
    # corners of the convex hull of spectra in Teff and log g; None for a library with the packaged ranges, in which
    # `maury.labels.lowest_logg` bounds log g
    hull: list[list[float]] | None
    # values of each label that varies, if the spectra are nodes of a tensor grid
    axes: dict[str, list[float]] | None = None

    def header(self) -> dict[str, Any]:
        """Domain as entries of the emulator's header, without empty ones."""
        known: dict[str, Any] = {"window": list(self.window_aa)}
        for name in ("fixed", "resolution", "hull", "axes"):
            if getattr(self, name):
                known[name] = getattr(self, name)
        return known


def find_domain(library: Library, ranges: Mapping[str, tuple[float, float]] | None = None) -> Domain:
    """Find the domain of an emulator fitted to a library.

    The range of a label is the first of these that exists: the one in ``ranges``; the one in the library's attribute
    ``domain``; the packaged one, if the library has the packaged labels and reaches the packaged ends of Teff, log g
    and [M/H]; the lowest to the highest value.

    Raises:
        FormatError: no label varies, the library's ``domain`` or ``window`` cannot be read, or no window is left.
        ConfigError: a label in ``ranges`` does not exist or does not vary, or its range exceeds that of the spectra by
            more than 5 %.
    """
    varying = [name for name in library.names if np.ptp(library.column(name)) > 0]
    if not varying:
        raise FormatError(f"{', '.join(library.sources)}: no label varies: an emulator cannot be fitted")
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


def _checked(name: str, limits: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    slack = _REACH * (high - low)
    if not low - slack <= limits[0] < limits[1] <= high + slack:
        raise ConfigError(
            f"ranges: {name} = {limits[0]:g} to {limits[1]:g}, but the spectra have {low:g} to {high:g} "
            f"(each end may exceed this by 5 % of the span at most)"
        )
    return limits


def _window(library: Library) -> tuple[float, float]:
    """Window in the library's attributes, or its wavelengths without the margins, rounded inwards to whole Å."""
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
