"""The SPC grid: its nodes, its pixels, its settings and its two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from maury.config import Settings
from maury.designs import LOGG, MH, TEFF_K, spc_nodes
from maury.emulator import MAX_RESOLUTION
from maury.errors import ConfigError
from maury.labels import FOUNDING, LabelSpace, lowest_logg

_SLOW = (0, 1, 2, 4, 6, 8, 10, 12, 16, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70)
_FAST = (80, 90, 100, 110, 120, 140, 160, 180, 200)
VSINI_KMS = tuple(float(v) for v in (*_SLOW, *_FAST))

_ENDS = [(axis[0], axis[-1]) for axis in (TEFF_K, LOGG, MH, VSINI_KMS)]
SPACE = LabelSpace(FOUNDING, tuple(low for low, _ in _ENDS), tuple(high for _, high in _ENDS))
"""The four labels with the ranges of the whole grid; they normalise labels of a part of the grid, too."""

LOWEST_RESOLUTION = 5000.0
"""At lower R, 200 km/s of rotation plus three sigma of the instrument exceed the emulator's margins of 280 km/s."""

_AXES = {"teff": TEFF_K, "logg": LOGG, "mh": MH, "vsini": VSINI_KMS}


class GridConfig(Settings):
    """Settings of a grid at the SPC nodes; the defaults give the founding project's grid.

    Attributes:
        preset: always "spc".
        pixels: 29,788, or 7,447 for the average of 4 neighbouring pixels.
        resolution: R = lambda / FWHM of a Gaussian instrument profile; 44,000 is that of TRES.
        limb_darkening: linear coefficient of the rotation profile.
        teff: lowest and highest Teff of the nodes, K.
        logg: lowest and highest log g of the nodes.
        mh: lowest and highest [M/H] of the nodes.
        vsini: lowest and highest v sin i, km/s.
        seed: seed of the two splits.
    """

    preset: Literal["spc"] = "spc"
    pixels: Literal[7447, 29788] = 7447
    resolution: Annotated[float, Field(ge=LOWEST_RESOLUTION, le=MAX_RESOLUTION)] = 44_000.0
    limb_darkening: Annotated[float, Field(ge=0, le=1)] = 0.6
    teff: tuple[float, float] = (TEFF_K[0], TEFF_K[-1])
    logg: tuple[float, float] = (LOGG[0], LOGG[-1])
    mh: tuple[float, float] = (MH[0], MH[-1])
    vsini: tuple[float, float] = (VSINI_KMS[0], VSINI_KMS[-1])
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator(*_AXES)
    @classmethod
    def _holds_a_node(cls, limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        axis = _AXES[str(info.field_name)]
        if not any(limits[0] <= value <= limits[1] for value in axis):
            raise ValueError(f"no node in this range; nodes lie between {axis[0]:g} and {axis[-1]:g}")
        return limits


def rotations(config: GridConfig) -> NDArray[np.float64]:
    """Projected rotational velocities (k,) of every node, km/s."""
    low, high = config.vsini
    return np.array([v for v in VSINI_KMS if low <= v <= high])


def nodes(config: GridConfig) -> NDArray[np.float64]:
    """Nodes (n, 3): Teff (K), log g, [M/H], the last varying fastest.

    The lowest log g rises with Teff (`maury.labels.lowest_logg`): 1,771 nodes in all.

    Raises:
        ConfigError: the ranges of Teff and log g have no node in common.
    """
    table = spc_nodes(config.teff, config.logg, config.mh)
    if not len(table):
        (t0, t1), (g0, g1) = config.teff, config.logg
        lowest = float(lowest_logg(max(t0, TEFF_K[0])))
        raise ConfigError(
            f"no node has teff {t0:g} to {t1:g} K and logg {g0:g} to {g1:g}; lowest logg there: {lowest:g}"
        )
    return table


def labels(config: GridConfig) -> NDArray[np.float64]:
    """Labels (n, 4) of all spectra: Teff, log g, [M/H], v sin i; the rotations of a node follow one another."""
    table, vsini = nodes(config), rotations(config)
    return np.column_stack([np.repeat(table, len(vsini), axis=0), np.tile(vsini, len(table))])


def both_splits(table: NDArray[np.float64], seed: int, names: Sequence[str] = FOUNDING) -> dict[str, NDArray[np.bool_]]:
    """The two splits of spectra with these labels (n, k), by name."""
    return {"random": random_split(len(table), seed), "block": block_split(table, seed, names)}


def random_split(count: int, seed: int) -> NDArray[np.bool_]:
    """Mask (count,) of a quarter of the spectra, drawn at random, for validation: 12,840 of 51,359.

    As in the founding project, nearly equal spectra (one node, two rotations) may fall on both sides of the split.
    """
    return _quarter(count, np.random.default_rng((seed, 0)))


def block_split(table: NDArray[np.float64], seed: int, names: Sequence[str] = FOUNDING) -> NDArray[np.bool_]:
    """Mask (n,) of a quarter of the nodes for validation, each with the spectra of all its rotations."""
    columns = [i for i, name in enumerate(names) if name != "vsini"]
    unique, block = np.unique(table[:, columns], axis=0, return_inverse=True)
    return _quarter(len(unique), np.random.default_rng((seed, 1)))[block.ravel()]


def _quarter(count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[generator.permutation(count)[: round(count / 4)]] = True
    return mask
