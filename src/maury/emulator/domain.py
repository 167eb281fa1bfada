"""Domain of an emulator: inside the ranges of its labels and, in Teff and log g, near spectra of its library."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError

from maury.emulator.model import Emulator
from maury.errors import DomainError
from maury.labels import is_packaged, lowest_logg

_SLACK = 0.05
"""Largest distance of a point outside the hull of the library's spectra, as a fraction of the ranges of Teff and log g:
a hundred or more spectra at random leave corners of this size empty."""


def hull_of(teff: ArrayLike, logg: ArrayLike) -> list[list[float]] | None:
    """Corners of the convex hull of spectra in Teff (K) and log g; None if they all lie on a line."""
    points = np.unique(np.column_stack([np.asarray(teff, float), np.asarray(logg, float)]), axis=0)
    width = np.ptp(points, axis=0)
    if len(points) < 3 or not width.all():
        return None
    try:
        corners = ConvexHull(points / width).vertices
    except QhullError:
        return None
    return [[float(t), float(g)] for t, g in points[corners]]


def require_fixed(emulator: Emulator, given: Mapping[str, float], where: str) -> None:
    """Check that labels which are constant in the emulator's library are given with that constant.

    Raises:
        DomainError: a value differs from that of the library.
    """
    for name, value in emulator.fixed.items():
        if name in given and not np.isclose(given[name], value, rtol=1e-6, atol=1e-6):
            raise DomainError(f"{where}: {name} = {given[name]:g}, but all spectra of the library have {value:g}")


def atmosphere_exists(emulator: Emulator, labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the emulator's library has spectra near the Teff and log g of labels (n, k): mask (n,).

    Points must lie in the convex hull in the emulator's header; the packaged library has a lowest log g for each Teff
    instead (`maury.labels.lowest_logg`).
    """
    names = emulator.space.names
    if not {"teff", "logg"} <= set(names):
        return np.ones(len(labels), bool)
    teff, logg = (labels[:, names.index(name)] for name in ("teff", "logg"))
    hull = emulator.header.get("hull")
    if hull is None:
        return logg >= lowest_logg(teff) - 1e-6 if is_packaged(names) else np.ones(len(labels), bool)
    corners = np.array(hull)
    width = np.ptp(corners, axis=0)
    planes = ConvexHull(corners / width).equations
    outside = np.column_stack([teff, logg]) / width @ planes[:, :2].T + planes[:, 2]
    return np.asarray(outside.max(1) <= _SLACK)


def require_known(emulator: Emulator, labels: ArrayLike, where: str) -> None:
    """Check that labels (n, k) are inside the emulator's ranges and have an atmosphere.

    Raises:
        DomainError: a label is outside its range, or there is no atmosphere at its Teff and log g.
    """
    table = np.atleast_2d(np.asarray(labels, float))
    emulator.space.require_inside(table, where)
    bad = np.flatnonzero(~atmosphere_exists(emulator, table))
    if not bad.size:
        return
    i, names = int(bad[0]), emulator.space.names
    teff, logg = (table[i, names.index(name)] for name in ("teff", "logg"))
    if "hull" in emulator.header:
        reason = f"the emulator's library has no spectra near logg = {logg:g} at teff = {teff:g} K"
    else:
        low = float(lowest_logg(teff))
        reason = f"logg = {logg:g} is below {low:.2f}, the lowest of the model atmospheres at teff = {teff:g} K"
    raise DomainError(f"{where}: row {i + 1}: {reason} ({bad.size} of {len(table)} rows fail this check)")
