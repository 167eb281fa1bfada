"""Plan of a grid before it is computed: labels of spectra and nodes, rotations, pixels, shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from maury.config import Settings
from maury.designs import intrinsic_labels
from maury.emulator import MAX_RESOLUTION, Emulator
from maury.emulator.domain import atmosphere_exists
from maury.errors import ConfigError, DomainError
from maury.grids import spc
from maury.grids.spc import LOWEST_RESOLUTION, GridConfig
from maury.labels import INTRINSIC, LABELS, LabelSpace, is_packaged
from maury.wavelengths import Floats, founding_wavelengths, pixel_points, window_pixels


class NodesConfig(Settings):
    """Settings of a grid at nodes chosen by the user: all combinations of the values of each label.

    Attributes:
        preset: always "nodes".
        nodes: values of each label of the emulator, and of vsini (km/s; by default 0). If the emulator's library is
            itself a tensor grid, a label may be left out: the values of the library are used.
        window: first and last pixel, Å air; by default the emulator's window.
        step: width of a pixel, Å.
        resolution: R = lambda / FWHM of a Gaussian instrument profile.
        limb_darkening: linear coefficient of the rotation profile.
        seed: seed of the two splits.
    """

    preset: Literal["nodes"] = "nodes"
    nodes: dict[str, Annotated[list[float], Field(min_length=1)]] = Field(default_factory=dict)
    window: tuple[float, float] | None = None
    step: Annotated[float, Field(gt=0, le=100)] = 0.04
    resolution: Annotated[float, Field(ge=LOWEST_RESOLUTION, le=MAX_RESOLUTION)] = 44_000.0
    limb_darkening: Annotated[float, Field(ge=0, le=1)] = 0.6
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("nodes")
    @classmethod
    def _known(cls, nodes: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, values in nodes.items():
            if name not in LABELS:
                raise ValueError(f"unknown label {name}; allowed: {', '.join(LABELS)}")
            if len(set(values)) < len(values) or not np.isfinite(values).all():
                raise ValueError(f"{name}: values must be finite and distinct")
        return {name: sorted(values) for name, values in nodes.items()}


AnyGridConfig: TypeAlias = GridConfig | NodesConfig


@dataclass(frozen=True)
class Plan:
    """Plan of a grid: everything that is known before spectra are computed."""

    space: LabelSpace  # labels of the spectra, with the ranges that normalise them
    labels: Floats  # labels of all spectra (n r, k); the r rotations of a node follow one another
    nodes: Floats  # labels of the nodes for the emulator (n, l), sorted by shard
    shards: tuple[slice, ...]  # slices of ``nodes``, each kept in one file until the grid is complete
    vsini_kms: Floats  # v sin i (r,) of the spectra of every node, km/s
    wavelength_aa: Floats  # pixels (p,), Å air
    points_aa: Floats  # wavelengths (p * average,) over which the pixels average, Å air
    average: int  # number of points per pixel
    fixed: dict[str, float]  # labels that are the same in all spectra, with their values
    left_out: int = 0  # number of nodes left out because the emulator's library has no spectra near them

    def spectra(self, shard: int) -> int:
        """Number of spectra in a shard."""
        rows = self.shards[shard]
        return int(rows.stop - rows.start) * len(self.vsini_kms)

    def describe(self, row: int) -> str:
        """Labels of a row of ``nodes``, in words for messages."""
        values = zip(self.space.names, self.labels[row * len(self.vsini_kms)], strict=True)
        return "node " + ", ".join(f"{name} {value:g}" for name, value in values if name != "vsini")


def make_plan(config: AnyGridConfig, emulator: Emulator) -> Plan:
    """Plan a grid with these settings and this emulator.

    Raises:
        ConfigError: no node lies within the ranges, a label has no values, or the emulator does not have the label.
        DomainError: a node, the window or the resolution is outside the emulator's range.
    """
    if config.resolution > emulator.native_resolution:
        raise DomainError(
            f"resolution = {config.resolution:g} is above that of the emulator's library, "
            f"{emulator.native_resolution:g}"
        )
    plan = _spc_plan(config, emulator) if isinstance(config, GridConfig) else _nodes_plan(config, emulator)
    emulator.space.require_inside(plan.nodes, "nodes")
    return plan


def _spc_plan(config: GridConfig, emulator: Emulator) -> Plan:
    if not is_packaged(emulator.space.names):
        raise ConfigError(
            f"the preset spc needs an emulator with labels {', '.join(INTRINSIC)}; this one has "
            f"{', '.join(emulator.space.names)}: give the values of its labels as nodes",
            parameter="nodes",
        )
    nodes = spc.nodes(config)
    wavelength, points, average = founding_wavelengths(config.pixels)
    _, starts = np.unique(nodes[:, 0], return_index=True)
    return Plan(
        spc.SPACE,
        spc.labels(config),
        intrinsic_labels(nodes, len(emulator.space)),
        _slices(starts, len(nodes)),
        spc.rotations(config),
        wavelength,
        points,
        average,
        {},
    )


def _nodes_plan(config: NodesConfig, emulator: Emulator) -> Plan:
    names = emulator.space.names
    axes = [_axis(config, emulator, name) for name in names]
    for name, values in config.nodes.items():
        if name in emulator.fixed and not np.allclose(values, emulator.fixed[name], rtol=1e-6, atol=1e-6):
            raise DomainError(
                f"nodes: {name} = {values[0]:g}, but all spectra of the library have {emulator.fixed[name]:g}"
            )
        if name not in (*names, *emulator.fixed, "vsini"):
            raise ConfigError(f"nodes: the emulator has no label {name}; there are {', '.join(names)}")
    product = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(names))
    emulator.space.require_inside(product, "nodes")
    nodes = product[atmosphere_exists(emulator, product)]
    if not len(nodes):
        raise ConfigError("nodes: the emulator's library has no spectra near any of them")
    vsini = np.array(config.nodes.get("vsini", [0.0]))
    LabelSpace.of(["vsini"]).require_inside(vsini[:, None], "nodes")
    table = np.column_stack([np.repeat(nodes, len(vsini), axis=0), np.tile(vsini, len(nodes))])
    space, labels, constant = split_constants((*names, "vsini"), table)
    first, last = emulator.window_aa
    low, high = config.window or (first, last)
    if not first <= low < high <= last:
        raise DomainError(f"window {low:g} to {high:g} Å exceeds the emulator's window {first:g} to {last:g} Å")
    wavelength = window_pixels(low, high, config.step)
    points = pixel_points(wavelength)
    return Plan(
        space,
        labels,
        nodes,
        _slices(np.arange(0, len(nodes), _SHARD), len(nodes)),
        vsini,
        wavelength,
        points,
        4,
        emulator.fixed | constant,
        len(product) - len(nodes),
    )


_SHARD = 64
"""Nodes per shard of a `NodesConfig`."""


def _slices(starts: NDArray[np.intp], count: int) -> tuple[slice, ...]:
    ends = [*starts[1:], count]
    return tuple(slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True))


def _axis(config: NodesConfig, emulator: Emulator, name: str) -> list[float]:
    values = config.nodes.get(name, emulator.header.get("axes", {}).get(name))
    if values is None:
        low, high = (side[emulator.space.names.index(name)] for side in (emulator.space.lower, emulator.space.upper))
        raise ConfigError(f"nodes: values of {name} are needed; the emulator's range is {low:g} to {high:g}")
    return list(values)


def split_constants(names: tuple[str, ...], table: Floats) -> tuple[LabelSpace, Floats, dict[str, float]]:
    """Space of the labels that vary, with their ranges; the columns of these labels (n, k); the constants by name.

    Raises:
        ConfigError: no label varies.
    """
    varies = [i for i in range(len(names)) if np.ptp(table[:, i]) > 0]
    if not varies:
        raise ConfigError("no label varies: there is nothing to learn from such a grid")
    labels = table[:, varies]
    ends = (tuple(map(float, labels.min(0))), tuple(map(float, labels.max(0))))
    constants = {names[i]: float(table[0, i]) for i in range(len(names)) if i not in varies}
    return LabelSpace(tuple(names[i] for i in varies), *ends), labels, constants
