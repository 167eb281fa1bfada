"""Sets of spectra with known labels, and a network's predictions for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from maury.broadening import cutoff, remaining_resolution, transfer
from maury.designs import intrinsic_labels
from maury.emulator import MAX_RESOLUTION, Emulator, Sampler, grid_for, to_modes
from maury.errors import DomainError, FormatError
from maury.grids import Grid
from maury.labels import SYNTHESISED, tensor_axes
from maury.library import OFF_NODE, Library
from maury.networks import predict
from maury.progress import Advance, silent
from maury.wavelengths import FOUNDING_PIXELS, Floats, LogGrid, founding_wavelengths, pixel_points

SPLITS = ("random", "block")
_BATCH = 512
_TRANSFORMED = 64  # library spectra at a time: their transform needs much memory


@dataclass(frozen=True)
class Sample:
    """True and predicted labels of one set of test spectra."""

    name: str  # key in the report
    title: str  # a few words for figures
    description: str  # which spectra these are and what they test
    true: Floats  # labels of the grid (n, g) in their units
    predicted: Floats  # the network's labels (n, k) in their units
    on_nodes: bool  # whether the true labels are nodes of the grid
    facts: dict[str, Any]  # more for the report, such as how many validation rows there are in all


def held_out_rows(grid: Grid, split: str, trained_on: str) -> NDArray[np.int64]:
    """Validation rows of ``split`` that a network trained on the split ``trained_on`` has never seen.

    These are all validation rows of its own split; of the other, those that are validation rows of both.
    """
    return np.flatnonzero(grid.split(split) & grid.split(trained_on))


def validation_sample(
    network: Any, header: dict[str, Any], grid: Grid, split: str, trained_on: str, advance: Advance = silent
) -> Sample | None:
    """Predictions for the validation part of a split, or None when no row of it is unseen."""
    rows = held_out_rows(grid, split, trained_on)
    if not len(rows):
        return None
    parts = []
    for first in range(0, len(rows), _BATCH):
        part = rows[first : first + _BATCH]
        parts.append(predict(network, header, grid.read_flux(part) * np.float32(grid.scale)))
        advance(len(part))
    own, total = split == trained_on, int(grid.split(split).sum())
    facts = {"validation_rows": total, "trained_on_this_split": own}
    text = _describe(split, own, len(rows), total)
    return Sample(split, f"{split} split", text, grid.labels[rows], np.concatenate(parts), True, facts)


def _describe(split: str, own: bool, used: int, total: int) -> str:
    if split == "random" and own:
        return (
            f"All {total:,} validation rows of the random split, none of them trained on. Near-twins (the same star "
            "with a neighbouring v sin i) were trained on, and the weights kept are those best on these rows."
        )
    if split == "block" and own:
        return (
            f"All {total:,} validation rows of the block split: whole (Teff, log g, [M/H]) nodes with all rotations, "
            "of which the network saw no spectrum. The weights kept are those best on these rows."
        )
    twins = (
        "Other rotations of their nodes were trained on, so this test is hardly harder than the random split: "
        "to test on unseen nodes, train a network with the block split."
        if split == "block"
        else "Their nodes were held out with all rotations."
    )
    other = "random" if split == "block" else "block"
    return (
        f"The {used:,} of {total:,} validation rows of the {split} split that are validation rows of the {other} split "
        f"too; the others were trained on. {twins}"
    )


def flux_sample(
    network: Any, header: dict[str, Any], flux: NDArray[np.float32], true: Floats, name: str, title: str, text: str
) -> Sample:
    """Predictions for spectra that are given: flux (n, p) on the network's pixels and labels (n, g) of the grid.

    Raises:
        FormatError: numbers of spectra and labels differ, or a flux is not finite.
    """
    if len(flux) != len(true):
        raise FormatError(f"{title}: {len(flux)} spectra but {len(true)} rows of labels")
    bad = ~np.isfinite(flux).all(axis=1)
    if bad.any():
        raise FormatError(f"{title}: flux of row {int(np.argmax(bad)) + 1} is not finite")
    return Sample(name, title, text, true, predict(network, header, flux), False, {})


def labels_between(grid: Grid, count: int, seed: int) -> Floats:
    """Labels (count, g) between the nodes of a grid: scrambled Sobol points, as dense as the nodes along each axis.

    Along each axis a uniform number is mapped onto the nodes by linear interpolation, so that low rotations are as
    frequent as in the grid. Points below the lowest or above the highest log g of their temperature (interpolated
    between the nodes), where these are labels of the grid, are left out: nothing is extrapolated.

    Raises:
        DomainError: a count below 1, a grid that has no space between its nodes, or scattered spectra without nodes.
    """
    if count < 1:
        raise DomainError(f"number of spectra between nodes must be positive, got {count}")
    if tensor_axes(grid.labels) is None:
        raise DomainError(f"{grid.path}: its labels are scattered, so there are no nodes for spectra to lie between")
    nodes = [np.unique(column) for column in grid.labels.T]
    sobol = qmc.Sobol(len(nodes), scramble=True, seed=seed)
    points = np.empty((0, len(nodes)))
    for _ in range(16):
        u = sobol.random(1 << max(count - 1, 1).bit_length())
        axes = zip(u.T, nodes, strict=True)
        new = np.column_stack([np.interp(x * (len(axis) - 1), np.arange(len(axis)), axis) for x, axis in axes])
        points = np.concatenate([points, new[_between_gravities(grid, new)]])
        if len(points) >= count:
            return points[:count]
    raise DomainError(f"{grid.path}: its nodes leave no space in Teff and log g for spectra between them")


def _between_gravities(grid: Grid, labels: Floats) -> NDArray[np.bool_]:
    """Whether log g lies between the lowest and the highest of the grid at that temperature (n,)."""
    if not {"teff", "logg"} <= set(grid.names):
        return np.ones(len(labels), bool)
    teff, logg = grid.column("teff"), grid.column("logg")
    nodes = np.unique(teff)
    low, high = ([pick(logg[teff == t]) for t in nodes] for pick in (np.min, np.max))
    t, g = (labels[:, grid.names.index(name)] for name in ("teff", "logg"))
    return np.asarray((g >= np.interp(t, nodes, low)) & (g <= np.interp(t, nodes, high)))


def emulator_labels(emulator: Emulator, grid: Grid, labels: Floats) -> Floats:
    """Labels (n, k) for the emulator, from the labels (n, g) and the fixed labels of a grid.

    Spectra of the SPC nodes share microturbulence and abundance ratios.

    Raises:
        DomainError: the emulator has a label that the grid lacks, or the reverse, or a label lies outside the
            emulator's ranges.
    """
    shared = dict(grid.fixed)
    if grid.attributes.get("preset") == "spc":
        shared |= dict(zip(SYNTHESISED[3:], intrinsic_labels(np.zeros((1, 3)), len(SYNTHESISED))[0, 3:], strict=True))
    known = (*emulator.space.names, *emulator.fixed, "vsini")
    unknown = [name for name in grid.names if name not in known]
    missing = [name for name in emulator.space.names if name not in (*grid.names, *shared)]
    if unknown or missing:
        raise DomainError(
            f"{grid.path}: the emulator does not suit it: "
            + (f"it has no label {', '.join(unknown)}" if unknown else f"the grid has no label {', '.join(missing)}")
        )
    columns = [
        labels[:, grid.names.index(name)] if name in grid.names else np.full(len(labels), shared[name])
        for name in emulator.space.names
    ]
    table = np.stack(columns, axis=-1)
    emulator.space.require_inside(table, "spectra between nodes")
    return table


def _rotations(grid: Grid, labels: Floats) -> Floats:
    """Values (n,) of v sin i, km/s, for labels of a grid (n, g); its fixed value or 0 where it is not a label."""
    if "vsini" in grid.names:
        return labels[:, grid.names.index("vsini")]
    return np.full(len(labels), grid.fixed.get("vsini", 0.0))


def emulated_flux(emulator: Emulator, grid: Grid, labels: Floats, advance: Advance = silent) -> NDArray[np.float32]:
    """Emulator spectra (n, p) with the pixels, resolution and limb darkening of a grid.

    Raises:
        DomainError: labels or wavelengths outside the emulator's ranges, or a resolution above its own.
    """
    intrinsic = emulator_labels(emulator, grid, labels)
    observer = _Observer(emulator.grid, grid, emulator.native_resolution)
    vsini = _rotations(grid, labels)
    parts = []
    with torch.no_grad():
        for first in range(0, len(labels), _BATCH):
            rows = slice(first, first + _BATCH)
            modes = emulator.modes(torch.from_numpy(intrinsic[rows]).float(), observer.sampler.modes)
            parts.append(observer(modes, vsini[rows]))
            advance(len(parts[-1]))
    return np.concatenate(parts)


def library_flux(
    library: Library, grid: Grid, seed: int, advance: Advance = silent
) -> tuple[NDArray[np.float32], Floats]:
    """The off-node spectra of a library as the grid's instrument sees them, each with a drawn v sin i.

    v sin i has the density of the grid's nodes; if it is not a label of the grid, all spectra share its value. Spectra
    of kind `OFF_NODE` inside the grid's ranges are taken; ``seed`` is that of the rotations.

    Returns:
        Flux (n, p), and labels of the grid (n, g).

    Raises:
        FormatError: the library lacks a label of the grid, or has no off-node spectrum inside the grid's ranges.
        DomainError: the library's wavelengths or resolution do not suffice.
    """
    names = [name for name in grid.names if name != "vsini"]
    inside = library.kind == OFF_NODE
    for name in names:
        values, nodes = library.column(name), grid.column(name)
        inside &= (values >= nodes.min()) & (values <= nodes.max())
    library = library.subset(np.flatnonzero(inside))
    if not len(library):
        raise FormatError(f"{', '.join(library.sources)}: no off-node spectrum inside the grid's ranges")
    speeds = np.unique(_rotations(grid, grid.labels))
    u = np.random.default_rng(seed).uniform(0, len(speeds) - 1, len(library))
    vsini = np.interp(u, np.arange(len(speeds)), speeds)
    log_grid = grid_for(library.wavelength_aa)
    observer = _Observer(log_grid, grid, float(library.attributes.get("resolution") or np.inf))
    parts = []
    for first in range(0, len(library), _TRANSFORMED):
        rows = slice(first, first + _TRANSFORMED)
        modes = to_modes(library.flux(rows), library.wavelength_aa, log_grid)[:, : observer.sampler.modes]
        parts.append(observer(torch.from_numpy(modes), vsini[rows]))
        advance(len(parts[-1]))
    true = {"vsini": vsini, **{name: library.column(name) for name in names}}
    return np.concatenate(parts), np.stack([true[name] for name in grid.names], axis=-1)


def _points(wavelength_aa: Floats) -> tuple[Floats, int]:
    """Points that a grid's pixels average, and how many in each: those of the founding pixels, else four."""
    if FOUNDING_PIXELS % len(wavelength_aa) == 0:
        founding, points, average = founding_wavelengths(len(wavelength_aa))
        if np.allclose(founding, wavelength_aa, rtol=0, atol=1e-3):
            return points, average
    return pixel_points(wavelength_aa), 4


class _Observer:
    """Rotation, instrument and pixels of a grid, applied to Fourier modes of intrinsic spectra."""

    def __init__(self, log_grid: LogGrid, grid: Grid, native_resolution: float) -> None:
        limit = min(MAX_RESOLUTION, native_resolution)
        if grid.resolution > limit:
            raise DomainError(f"{grid.path}: resolution {grid.resolution:g}; highest allowed: {limit:g}")
        points, average = _points(grid.wavelength_aa)
        self.sampler = Sampler(log_grid, points, cutoff(grid.resolution), average)
        self.frequency = torch.from_numpy(log_grid.frequency[: self.sampler.modes]).float()
        self.resolution = remaining_resolution(torch.tensor(grid.resolution), native_resolution)
        self.limb_darkening = float(grid.attributes.get("limb_darkening", 0.6))

    def __call__(self, modes: torch.Tensor, vsini_kms: Floats) -> NDArray[np.float32]:
        kernel = transfer(
            self.frequency,
            vsini_kms=torch.from_numpy(vsini_kms).float(),
            resolution=self.resolution,
            limb_darkening=self.limb_darkening,
        )
        flux: NDArray[np.float32] = self.sampler(modes * kernel).numpy()
        return flux
