"""What a grid is to hold: labels of its spectra, the emulator's labels of its nodes, rotations, pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

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
from maury.labels import FOUNDING, INTRINSIC, LABELS, LabelSpace, is_packaged
from maury.wavelengths import Floats, founding_wavelengths, pixel_points, window_pixels


class NodesConfig(Settings):
    """A grid at nodes of one's own: a tensor grid of the values of each label.

    Attributes:
        preset: always "nodes".
        nodes: values of each label of the emulator, and of vsini (km/s; 0 if left out). A label of a library that was
            a tensor grid itself may be left out: its own values are taken.
        window: first and last pixel, Å air; by default the emulator's window.
        step: width of a pixel, Å.
        resolution: R = lambda / FWHM of a Gaussian instrument profile.
        limb_darkening: linear coefficient of the rotation profile.
        seed: of the two splits.
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
    """A grid before it is computed.

    Attributes:
        space: labels of the spectra, with the ranges that normalise them.
        labels: of all spectra (n r, k), the r rotations of a node one after the other.
        nodes: the emulator's labels (n, l) of the nodes, those of one shard together.
        shards: rows of ``nodes`` that are kept in one file until the grid is complete.
        vsini_kms: rotations (r,) of every node.
        wavelength_aa: pixels (p,), Å air.
        points_aa: wavelengths (p * average,) that the pixels average.
        average: how many in each.
        fixed: labels that all spectra share.
        left_out: nodes of the product of all values where the emulator's library has no spectra.
    """

    space: LabelSpace
    labels: Floats
    nodes: Floats
    shards: tuple[slice, ...]
    vsini_kms: Floats
    wavelength_aa: Floats
    points_aa: Floats
    average: int
    fixed: dict[str, float]
    left_out: int = 0

    def spectra(self, shard: int) -> int:
        """Spectra of a shard."""
        rows = self.shards[shard]
        return int(rows.stop - rows.start) * len(self.vsini_kms)

    def describe(self, row: int) -> str:
        """The node in a row of ``nodes``, for messages."""
        values = zip(self.space.names, self.labels[row * len(self.vsini_kms)], strict=True)
        return "node " + ", ".join(f"{name} {value:g}" for name, value in values if name != "vsini")


def make_plan(config: AnyGridConfig, emulator: Emulator) -> Plan:
    """The plan of a grid.

    Raises:
        ConfigError: no node within the ranges, a label without values, or one that the emulator does not have.
        DomainError: a node outside the emulator's labels, a window or resolution that it does not have.
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
            f"the preset spc needs an emulator of the labels {', '.join(INTRINSIC)}; this one has "
            f"{', '.join(emulator.space.names)}: give nodes of your own",
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
        raise ConfigError("nodes: none of them lies where the emulator's library has spectra")
    vsini = np.array(config.nodes.get("vsini", [0.0]))
    LabelSpace.of(["vsini"]).require_inside(vsini[:, None], "nodes")
    table = np.column_stack([np.repeat(nodes, len(vsini), axis=0), np.tile(vsini, len(nodes))])
    space, labels, constant = split_constants((*names, "vsini"), table)
    first, last = emulator.window_aa
    low, high = config.window or (first, last)
    if not first <= low < high <= last:
        raise DomainError(f"window {low:g} to {high:g} Å leaves the emulator's {first:g} to {last:g} Å")
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


def _slices(starts: NDArray[np.intp], count: int) -> tuple[slice, ...]:
    ends = [*starts[1:], count]
    return tuple(slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True))


def _axis(config: NodesConfig, emulator: Emulator, name: str) -> list[float]:
    values = config.nodes.get(name, emulator.header.get("axes", {}).get(name))
    if values is None:
        low, high = (side[emulator.space.names.index(name)] for side in (emulator.space.lower, emulator.space.upper))
        raise ConfigError(f"nodes: values of {name} are needed; the emulator has {low:g} to {high:g}")
    return list(values)


def split_constants(names: tuple[str, ...], table: Floats) -> tuple[LabelSpace, Floats, dict[str, float]]:
    """Labels (n, k) without those that never vary, the space of their ranges, and the constants by name.

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


def extra_attributes(plan: Plan) -> dict[str, Any]:
    """Header of a grid other than the founding one: the labels that all its spectra share."""
    return {"fixed": json.dumps(plan.fixed)} if plan.space.names != FOUNDING or plan.fixed else {}
