"""Labels of the spectra to synthesise: drawn by a design, completed, and checked against the model atmospheres."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.designs import VMIC_KMS, dense_labels, intrinsic_labels, sobol_labels, spc_nodes
from maury.errors import ConfigError, DomainError, FormatError
from maury.labels import FURTHER_ELEMENTS, INTRINSIC, SYNTHESISED
from maury.library import NODE, OFF_NODE, read_label_table
from maury.synthesis.atmospheres import AtmosphereGrid
from maury.synthesis.settings import GIVEN, DenseDesign, Design, NodesDesign, SobolDesign, StarDesign, TableDesign
from maury.wavelengths import Floats

WITH_ALPHA = ("mg", "ca", "ti")
"""Labels that equal alpha if only alpha is given; O, Ne, Si and S follow mg."""

_MOST_TRIES = 64


@dataclass(frozen=True)
class Targets:
    """Labels of the spectra to make."""

    # labels of the library: `maury.labels.INTRINSIC` or `SYNTHESISED`; if alpha is given, the labels given
    names: tuple[str, ...]
    labels: Floats  # values of these labels (n, k)
    complete: Floats  # values of the labels of `maury.labels.SYNTHESISED` (n, 17)
    extrapolated: NDArray[np.bool_]  # whether log g is below the lowest model atmosphere (n,)
    # range of each label that the design fills evenly
    domain: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # points and columns skipped

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> NDArray[np.uint8]:
        """`NODE` for nodes of the SPC grid, `OFF_NODE` for others (n,)."""
        nodes = {tuple(row) for row in check_labels(intrinsic_labels(spc_nodes())).tolist()}
        return np.array([NODE if tuple(row) in nodes else OFF_NODE for row in self.complete.tolist()], np.uint8)


def make_targets(design: Design, atmospheres: AtmosphereGrid) -> Targets:
    """Draw the labels of a design.

    Raises:
        FormatError: a table cannot be read.
        ConfigError: no node within the ranges.
        DomainError: rows of a table or nodes outside the atmospheres, or a design with hardly any point inside.
    """
    notes: list[str] = []
    domain: dict[str, tuple[float, float]] = {}
    if isinstance(design, TableDesign):
        names, table = _table(design, notes)
    elif isinstance(design, DenseDesign):
        names, table = SYNTHESISED, _dense(design, atmospheres)
    elif isinstance(design, NodesDesign):
        names, table = _nodes(design)
    else:
        names, table, domain = _points(design, atmospheres, notes)
    full = complete(names, table)
    what = design.file if isinstance(design, TableDesign) else f"design {design.kind}"
    extrapolated = atmospheres.check(full, what)
    if "alpha" in names:
        kept = tuple(name for name in GIVEN if name in {*names, "vmic"})
        stored = [table[:, names.index(name)] if name in names else full[:, SYNTHESISED.index(name)] for name in kept]
        return Targets(kept, np.stack(stored, axis=-1), full, extrapolated, domain, tuple(notes))
    further = any(name in FURTHER_ELEMENTS for name in names)
    kept = SYNTHESISED if further else INTRINSIC
    return Targets(kept, full[:, : len(kept)], full, extrapolated, domain, tuple(notes))


def complete(names: Iterable[str], table: Floats) -> Floats:
    """Complete the labels given (n, k) to those of `maury.labels.SYNTHESISED` (n, 17).

    If not given, microturbulence is 2 km/s, mg, ca and ti equal alpha, and every other [X/M] is 0.

    Raises:
        DomainError: a value is not finite, or a microturbulence not positive.
    """
    given = dict(zip(names, table.T, strict=True))
    full = np.zeros((len(table), len(SYNTHESISED)))
    full[:, SYNTHESISED.index("vmic")] = VMIC_KMS
    for i, name in enumerate(SYNTHESISED):
        if name in given:
            full[:, i] = given[name]
        elif name in WITH_ALPHA and "alpha" in given:
            full[:, i] = given["alpha"]
    return check_labels(full)


def check_labels(labels: ArrayLike) -> Floats:
    """Return labels as an array (n, 17).

    Args:
        labels: labels of `maury.labels.INTRINSIC` (n, 10), with [X/M] = 0 for other elements, or of `SYNTHESISED`.

    Raises:
        DomainError: the shape is another, a label is not finite, or a microturbulence not positive.
    """
    table = np.atleast_2d(np.asarray(labels, float))
    if table.ndim != 2 or table.shape[1] not in (len(INTRINSIC), len(SYNTHESISED)):
        raise DomainError(
            f"labels have shape {table.shape}; expected a row of {', '.join(INTRINSIC)} for each star, and perhaps "
            f"{', '.join(FURTHER_ELEMENTS)}"
        )
    bad = ~np.isfinite(table) | ((np.array(SYNTHESISED[: table.shape[1]]) == "vmic") & (table <= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DomainError(f"labels: row {row + 1}: {SYNTHESISED[column]} = {table[row, column]:g} is not allowed")
    return np.pad(table, ((0, 0), (0, len(SYNTHESISED) - table.shape[1])))


def _table(design: TableDesign, notes: list[str]) -> tuple[tuple[str, ...], Floats]:
    path = Path(design.file).expanduser()
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            header = next(csv.reader(line for line in stream if not line.startswith("#")), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: cannot be read as a CSV table ({error})") from error
    columns = [column.strip() for column in header]
    names = ("teff", "logg", "mh", *(name for name in GIVEN[3:] if name in columns))
    others = [column for column in columns if column not in names]
    if others:
        notes.append(f"{path}: columns that are not labels of the synthesis are skipped: {', '.join(others)}")
    return names, read_label_table(path, names)


def _nodes(design: NodesDesign) -> tuple[tuple[str, ...], Floats]:
    if design.values:
        names = tuple(design.values)
        table = np.array(list(product(*design.values.values())), float)
    else:
        names, table = INTRINSIC, intrinsic_labels(spc_nodes(design.teff, design.logg, design.mh))
    if not len(table):
        raise ConfigError("design: no node of the SPC grid lies within the ranges of teff, logg and mh")
    if design.count is not None and design.count < len(table):
        chosen = np.random.default_rng(design.seed).choice(len(table), design.count, replace=False)
        table = table[np.sort(chosen)]
    return names, table


def _dense(design: DenseDesign, atmospheres: AtmosphereGrid) -> Floats:
    """Points of the design that have an atmosphere, and the nodes drawn."""

    def inside(count: int, seed: int, metal_rich: bool) -> Floats:
        points = dense_labels(2 * count, seed, metal_rich=metal_rich)
        points = points[_inside(points, atmospheres)][:count]
        if len(points) < count:
            raise DomainError(
                f"design dense: fewer than {count} points have a model atmosphere in {atmospheres.source}"
            )
        return points

    nodes = spc_nodes()
    chosen = np.random.default_rng(design.seed).choice(len(nodes), min(design.nodes, len(nodes)), replace=False)
    chosen_nodes = check_labels(intrinsic_labels(nodes[np.sort(chosen)]))
    further = [inside(design.metal_rich, design.seed + 1, True)] if design.metal_rich else []
    return np.concatenate([inside(design.count, design.seed, False), chosen_nodes, *further])


def _points(
    design: SobolDesign | StarDesign, atmospheres: AtmosphereGrid, notes: list[str]
) -> tuple[tuple[str, ...], Floats, dict[str, tuple[float, float]]]:
    """Names, labels and ranges of a design of points, without those that have no atmosphere."""
    names, sample, domain = _star(design) if isinstance(design, StarDesign) else _sobol(design)
    drawn = design.count
    while True:
        table = sample(drawn)
        inside = np.flatnonzero(_inside(complete(names, table), atmospheres))[: design.count]
        if len(inside) == design.count:
            break
        drawn *= 2
        if drawn > _MOST_TRIES * design.count:
            raise DomainError(
                f"design {design.kind}: only {len(inside)} of {len(table)} points have a model atmosphere in "
                f"{atmospheres.source}"
            )
    left_out = int(inside[-1]) + 1 - design.count
    if left_out:
        notes.append(f"{left_out} points of the design are left out: they have no model atmosphere")
    return names, table[inside], domain


def _sobol(
    design: SobolDesign,
) -> tuple[tuple[str, ...], Callable[[int], Floats], dict[str, tuple[float, float]]]:
    if not design.ranges:
        return INTRINSIC, lambda count: sobol_labels(count, design.seed), {}
    return tuple(design.ranges), lambda count: _box(design.ranges, count, design.seed), dict(design.ranges)


def _star(
    design: StarDesign,
) -> tuple[tuple[str, ...], Callable[[int], Floats], dict[str, tuple[float, float]]]:
    names = tuple(design.centre)
    centre = np.array(list(design.centre.values()))
    widths = np.array([design.widths.get(name, 0.0) for name in names])
    box = {name: (design.centre[name] - width, design.centre[name] + width) for name, width in design.widths.items()}

    def sample(count: int) -> Floats:
        table = np.tile(centre, (count, 1))
        if design.shape == "box":
            table[:, widths > 0] = _box({n: box[n] for n in names if n in box}, count, design.seed)
            return table
        return table + widths * np.random.default_rng(design.seed).standard_normal(table.shape)

    return names, sample, box if design.shape == "box" else {}


def _box(ranges: Mapping[str, tuple[float, float]], count: int, seed: int) -> Floats:
    """The first points (count, k) of a scrambled Sobol sequence in a box."""
    from scipy.stats import qmc  # slow to import, and not needed in worker processes

    points = qmc.Sobol(len(ranges), scramble=True, seed=seed).random(1 << (count - 1).bit_length())[:count]
    low, high = np.array(list(ranges.values()), float).T
    return np.asarray(low + (high - low) * points)


def _inside(labels: Floats, atmospheres: AtmosphereGrid) -> NDArray[np.bool_]:
    """Whether there is an atmosphere for labels (n, 17)."""
    found = np.zeros(len(labels), bool)
    for row, values in enumerate(labels[:, :3].tolist()):
        try:
            atmospheres.corners(*values)
        except DomainError:
            continue
        found[row] = True
    return found
