"""Choose labels for new spectra: candidates over the whole domain, drawn where the ensemble disagrees most."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from maury.designs import dense_labels, sobol_labels
from maury.emulator.domain import atmosphere_exists
from maury.emulator.model import Emulator
from maury.files import atomic_path
from maury.labels import INTRINSIC, SYNTHESISED


def candidates(
    emulator: Emulator, count: int, seed: int, teff_range: tuple[float, float] | None = None
) -> NDArray[np.float64]:
    """Draw labels (count, k) all over an emulator's domain.

    For the labels of the packaged library, `sobol_labels` or `dense_labels` draws them. For others they are scrambled
    Sobol points, uniform in the ranges, without points where the library has no spectra (`maury.emulator.domain`).

    Args:
        emulator: the emulator.
        count: number of points.
        seed: seed of the scrambling.
        teff_range: lowest and highest Teff, K; None for the emulator's.

    Raises:
        DomainError: ``teff_range`` exceeds the emulator's range.
    """
    space = emulator.space
    low, high = np.array(space.lower), np.array(space.upper)
    if teff_range is not None:
        space.subset(["teff"]).require_inside(np.array(teff_range)[:, None], "teff")
        low[space.names.index("teff")], high[space.names.index("teff")] = teff_range
    if space.names == INTRINSIC:
        return sobol_labels(count, seed, teff_range or (low[0], high[0]))
    if space.names == SYNTHESISED and teff_range is None:
        return dense_labels(count, seed)
    points = np.empty((0, len(space)))
    sobol = qmc.Sobol(len(space), scramble=True, seed=seed)
    while len(points) < count:
        new = low + (high - low) * sobol.random(1 << (count - 1).bit_length())
        points = np.concatenate([points, new[atmosphere_exists(emulator, new)]])
    return points[:count]


def disagreement(emulator: Emulator, labels: NDArray[np.float64], batch: int = 1024) -> NDArray[np.float64]:
    """Standard deviation of the flux between the members of the ensemble, rms over pixels, for labels (n, k): (n,)."""
    parts = []
    with torch.no_grad():
        for rows in torch.from_numpy(labels).float().split(batch):
            spread = emulator.member_coefficients(rows).var(0).sum(-1)
            parts.append((spread / emulator.grid.size).sqrt())
    return torch.cat(parts).double().numpy()


def choose_labels(
    emulator: Emulator, count: int, pool: int, teff_range: tuple[float, float] | None, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw from ``pool`` candidates without replacement, with probability proportional to the disagreement squared.

    Drawing them, not taking those of largest disagreement, keeps the choice spread over label space.

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
