"""Labels to synthesise: the nodes of the SPC grid, and quasi-random points in the domain of the packaged library."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from maury.labels import FURTHER_ELEMENTS, INTRINSIC, LABELS, SYNTHESISED, lowest_logg

TEFF_K = tuple(float(t) for t in range(3500, 9751, 250))
LOGG = tuple(g / 2 for g in range(11))
MH = tuple(m / 2 for m in range(-5, 2))
VMIC_KMS = 2.0
"""Microturbulence of every node of the SPC grid; all its abundance ratios [X/M] are zero."""


def spc_nodes(
    teff: tuple[float, float] = (TEFF_K[0], TEFF_K[-1]),
    logg: tuple[float, float] = (LOGG[0], LOGG[-1]),
    mh: tuple[float, float] = (MH[0], MH[-1]),
) -> NDArray[np.float64]:
    """Nodes (n, 3) of the SPC grid within ranges: Teff (K), log g, [M/H], the last varying fastest.

    The lowest log g rises with Teff (`maury.labels.lowest_logg`): 1,771 nodes in all.
    """
    table = [
        (t, g, m)
        for t in TEFF_K
        for g in LOGG
        for m in MH
        if teff[0] <= t <= teff[1] and max(logg[0], float(lowest_logg(t))) <= g <= logg[1] and mh[0] <= m <= mh[1]
    ]
    return np.array(table).reshape(-1, 3)


def intrinsic_labels(table: ArrayLike, count: int = len(INTRINSIC)) -> NDArray[np.float64]:
    """Add the microturbulence and abundances of the SPC nodes to Teff, log g and [M/H] (n, 3): labels (n, count).

    Args:
        table: (n, 3).
        count: 10 for `maury.labels.INTRINSIC`, 17 for `maury.labels.SYNTHESISED`.
    """
    table = np.asarray(table, float)
    full = np.zeros((len(table), count))
    full[:, :3], full[:, INTRINSIC.index("vmic")] = table, VMIC_KMS
    return full


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
    from scipy.stats import qmc  # slow to import, and not needed for the SPC nodes

    u = qmc.Sobol(11, scramble=True, seed=seed).random(1 << (count - 1).bit_length())[:count]
    q = ndtri(np.clip(u, 1e-4, 1 - 1e-4))
    teff = teff_range[0] + (teff_range[1] - teff_range[0]) * u[:, 0]
    low = lowest_logg(teff)
    metals = LABELS["mh"]
    logg, mh = low + (5 - low) * u[:, 1], metals.lower + (metals.upper - metals.lower) * u[:, 2]
    if not abundances:
        return intrinsic_labels(np.column_stack([teff, logg, mh]))
    alpha = -0.2 + 0.75 * u[:, 10]
    carbon = np.clip(0.15 * q[:, 4], -0.6, 0.6)
    alphas = [np.clip(alpha + 0.12 * q[:, k], -0.3, 0.7) for k in (5, 6, 7)]
    iron_peak = [np.clip(0.1 * q[:, k], -0.3, 0.3) for k in (8, 9)]
    return np.column_stack([teff, logg, mh, 0.5 + 3.5 * u[:, 3] ** 1.3, carbon, *alphas, *iron_peak])


_TEFF_SHARES = ((3500.0, 0.0), (4000.0, 0.2), (4500.0, 0.36), (5500.0, 0.58), (7000.0, 0.82), (9750.0, 1.0))
"""Share of the points of `dense_labels` below each Teff (K)."""

_MH_SHARES = ((-3.0, 0.0), (-2.0, 0.38), (-1.0, 0.66), (0.5, 1.0))
"""Share of the points of `dense_labels` below each [M/H]."""

_METAL_RICH_TEFF_SHARES = ((3500.0, 0.0), (4000.0, 0.12), (4500.0, 0.25), (5500.0, 0.6), (7000.0, 0.95), (9750.0, 1.0))
_METAL_RICH_MH_SHARES = ((-3.0, 0.0), (-1.0, 0.05), (-0.5, 0.25), (0.5, 1.0))
"""The same for ``metal_rich=True``: densest where most observed stars are."""

_LOWEST_VMIC_KMS = 0.2
_SCATTER = {"y": (0.5, 1.5), "nd": (0.5, 1.5)}
"""Standard deviation and limit (dex) of [X/M] of the further elements; 0.25 and 0.8 for those not named."""


def dense_labels(count: int, seed: int, *, metal_rich: bool = False) -> NDArray[np.float64]:
    """Scrambled Sobol points (count, 17) over the domain, densest where stars are coolest and most metal-poor.

    Labels of `maury.labels.SYNTHESISED`. Log g is uniform above the lowest model atmosphere, microturbulence 0.2 to 4
    km/s and denser at low values; [X/M] of C, Mg, Ca, Ti, Cr and Ni as in `sobol_labels`, of the further elements with
    the scatter that real stars have.

    Args:
        count: number of points.
        seed: of the scrambling.
        metal_rich: densest at 4500 to 7000 K and [M/H] -0.5 to 0.5 instead.
    """
    from scipy.stats import qmc

    u = qmc.Sobol(len(SYNTHESISED) + 1, scramble=True, seed=seed).random(1 << (count - 1).bit_length())[:count]
    q = ndtri(np.clip(u, 1e-4, 1 - 1e-4))
    tables = (_METAL_RICH_TEFF_SHARES, _METAL_RICH_MH_SHARES) if metal_rich else (_TEFF_SHARES, _MH_SHARES)
    (teff_k, teff_share), (metals, mh_share) = (np.array(shares).T for shares in tables)
    teff = np.interp(u[:, 0], teff_share, teff_k)
    low = lowest_logg(teff)
    logg, mh = low + (5 - low) * u[:, 1], np.interp(u[:, 2], mh_share, metals)
    vmic = _LOWEST_VMIC_KMS + (LABELS["vmic"].upper - _LOWEST_VMIC_KMS) * u[:, 3] ** 1.3
    alpha = -0.2 + 0.75 * u[:, 17]
    columns = [teff, logg, mh, vmic, np.clip(0.15 * q[:, 4], -0.6, 0.6)]
    columns += [np.clip(alpha + 0.12 * q[:, k], -0.3, 0.7) for k in (5, 6, 7)]
    columns += [np.clip(0.1 * q[:, k], -0.3, 0.3) for k in (8, 9)]
    for k, name in enumerate(FURTHER_ELEMENTS, start=10):
        scatter, limit = _SCATTER.get(name, (0.25, 0.8))
        columns.append(np.clip(scatter * q[:, k], -limit, limit))
    return np.column_stack(columns)
