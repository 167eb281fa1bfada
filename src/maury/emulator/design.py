"""Designs in label space: candidates over the whole domain, and those where an ensemble disagrees most."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, qmc

from maury.emulator.domain import atmosphere_exists
from maury.emulator.model import Emulator
from maury.files import atomic_path
from maury.labels import INTRINSIC, LabelSpace, lowest_logg


def sobol_labels(
    count: int, seed: int, teff_range: tuple[float, float] = (3500.0, 9750.0), *, abundances: bool = True
) -> NDArray[np.float64]:
    """Scrambled Sobol points (count, 10) over the domain of the library.

    Uniform in Teff, log g above the lowest model atmosphere, and [M/H]; microturbulence 0.5 to 4 km/s, denser at low
    values; abundances scattered about a common alpha enhancement as in real stars.

    Args:
        count: number of points.
        seed: of the scrambling.
        teff_range: K.
        abundances: False for solar-scaled abundances and microturbulence 2 km/s, as in the SPC grid.
    """
    u = qmc.Sobol(11, scramble=True, seed=seed).random(1 << (count - 1).bit_length())[:count]
    q = norm.ppf(np.clip(u, 1e-4, 1 - 1e-4))
    teff = teff_range[0] + (teff_range[1] - teff_range[0]) * u[:, 0]
    low = lowest_logg(teff)
    logg, mh = low + (5 - low) * u[:, 1], -2.5 + 3 * u[:, 2]
    if not abundances:
        rest = np.zeros((count, 7))
        rest[:, 0] = 2.0
        return np.column_stack([teff, logg, mh, rest])
    alpha = -0.2 + 0.75 * u[:, 10]
    carbon = np.clip(0.15 * q[:, 4], -0.6, 0.6)
    alphas = [np.clip(alpha + 0.12 * q[:, k], -0.3, 0.7) for k in (5, 6, 7)]
    iron_peak = [np.clip(0.1 * q[:, k], -0.3, 0.3) for k in (8, 9)]
    return np.column_stack([teff, logg, mh, 0.5 + 3.5 * u[:, 3] ** 1.3, carbon, *alphas, *iron_peak])


def candidates(
    emulator: Emulator, count: int, seed: int, teff_range: tuple[float, float] | None = None
) -> NDArray[np.float64]:
    """Labels (count, k) all over an emulator's domain.

    For the packaged labels those of `sobol_labels`; for others scrambled Sobol points, uniform in the ranges, without
    those where the library has no spectra (`maury.emulator.domain`).

    Args:
        emulator: the emulator.
        count: number of points.
        seed: of the scrambling.
        teff_range: K; None for all.

    Raises:
        DomainError: temperatures outside the emulator's.
    """
    space = emulator.space
    low, high = np.array(space.lower), np.array(space.upper)
    if teff_range is not None:
        space.subset(["teff"]).require_inside(np.array(teff_range)[:, None], "teff")
        low[space.names.index("teff")], high[space.names.index("teff")] = teff_range
    if space == LabelSpace.of(INTRINSIC):
        return sobol_labels(count, seed, teff_range or (low[0], high[0]))
    points = np.empty((0, len(space)))
    sobol = qmc.Sobol(len(space), scramble=True, seed=seed)
    while len(points) < count:
        new = low + (high - low) * sobol.random(1 << (count - 1).bit_length())
        points = np.concatenate([points, new[atmosphere_exists(emulator, new)]])
    return points[:count]


def disagreement(emulator: Emulator, labels: NDArray[np.float64], batch: int = 1024) -> NDArray[np.float64]:
    """Standard deviation of the flux among the members of the ensemble, rms over pixels (n,)."""
    parts = []
    with torch.no_grad():
        for rows in torch.from_numpy(labels).float().split(batch):
            spread = emulator.member_coefficients(rows).var(0).sum(-1)
            parts.append((spread / emulator.grid.size).sqrt())
    return torch.cat(parts).double().numpy()


def choose_labels(
    emulator: Emulator, count: int, pool: int, teff_range: tuple[float, float] | None, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw candidates with a probability that grows with the square of the disagreement, without replacement.

    Drawing instead of taking the largest keeps the choice spread over label space.

    Returns:
        Labels (count, k) and their disagreement (count,).
    """
    labels = candidates(emulator, max(pool, count), seed, teff_range)
    spread = disagreement(emulator, labels)
    chosen = np.random.default_rng(seed).choice(len(labels), count, replace=False, p=spread**2 / (spread**2).sum())
    return labels[chosen], spread[chosen]


def write_label_table(
    labels: NDArray[np.float64], path: str | os.PathLike[str], names: Sequence[str] = INTRINSIC
) -> None:
    """Write labels (n, k) as CSV with a header line."""
    with atomic_path(path) as temporary:
        np.savetxt(temporary, labels, delimiter=",", header=",".join(names), comments="", fmt="%.6f")
