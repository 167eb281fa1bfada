"""Sets of spectra with known labels, and a network's predictions for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from maury.broadening import cutoff, transfer
from maury.emulator import MAX_RESOLUTION, Emulator, Sampler, grid_for, to_modes
from maury.errors import DomainError, FormatError
from maury.grids import Grid
from maury.grids.spc import intrinsic_labels
from maury.library import OFF_NODE, Library
from maury.networks import predict
from maury.wavelengths import LogGrid, founding_wavelengths

Floats = NDArray[np.float64]
Advance = Callable[[int], None]

SPLITS = ("random", "block")
_BATCH = 512
_TRANSFORMED = 64  # library spectra at a time: their transform needs much memory


@dataclass(frozen=True)
class Sample:
    """Spectra of one kind, their truth and what the network says.

    Attributes:
        name: key in the report.
        title: a few words for figures.
        description: which spectra these are and what they can tell.
        true: labels of the grid (n, 4) in their units.
        predicted: the network's labels (n, k) in their units.
        on_nodes: whether the true labels are nodes of the grid.
        facts: more for the report, such as how many validation rows there are in all.
    """

    name: str
    title: str
    description: str
    true: Floats
    predicted: Floats
    on_nodes: bool
    facts: dict[str, Any]


def held_out_rows(grid: Grid, split: str, trained_on: str) -> NDArray[np.int64]:
    """Validation rows of ``split`` that a network trained on the split ``trained_on`` has never seen.

    These are all validation rows of its own split; of the other, those that are validation rows of both.
    """
    return np.flatnonzero(grid.split(split) & grid.split(trained_on))


def validation_sample(
    network: Any, header: dict[str, Any], grid: Grid, split: str, trained_on: str, advance: Advance | None = None
) -> Sample | None:
    """Predictions for the validation part of a split, or None when no row of it is unseen.

    Args:
        network: the network.
        header: its header.
        grid: the grid, on the network's pixels.
        split: "random" or "block".
        trained_on: the split the network was trained with.
        advance: called with the number of spectra done.
    """
    rows = held_out_rows(grid, split, trained_on)
    if not len(rows):
        return None
    parts = []
    for first in range(0, len(rows), _BATCH):
        part = rows[first : first + _BATCH]
        parts.append(predict(network, header, grid.read_flux(part) * np.float32(grid.scale)))
        if advance is not None:
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
        "Other rotations of their nodes were trained on, so these figures say little more than the random split: "
        "the block split is measured by a network trained on it."
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
    """Predictions for spectra that are given: flux (n, p) on the network's pixels and labels (n, 4) of the grid.

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
    """Labels (count, 4) between the nodes of a grid: scrambled Sobol points, as dense as the nodes along each axis.

    Along each axis a uniform number is mapped onto the nodes by linear interpolation, so that low rotations are as
    frequent as in the grid. Points below the lowest or above the highest log g of their temperature (interpolated
    between the nodes) are left out: nothing is extrapolated.

    Raises:
        DomainError: a count below 1, or a grid that has no space between its nodes.
    """
    if count < 1:
        raise DomainError(f"number of spectra between nodes must be positive, got {count}")
    nodes = [np.unique(column) for column in grid.labels.T]
    teff, logg = grid.labels[:, 0], grid.labels[:, 1]
    low = [logg[teff == t].min() for t in nodes[0]]
    high = [logg[teff == t].max() for t in nodes[0]]
    sobol = qmc.Sobol(len(nodes), scramble=True, seed=seed)
    points = np.empty((0, len(nodes)))
    for _ in range(16):
        u = sobol.random(1 << max(count - 1, 1).bit_length())
        axes = zip(u.T, nodes, strict=True)
        new = np.column_stack([np.interp(x * (len(axis) - 1), np.arange(len(axis)), axis) for x, axis in axes])
        lowest, highest = np.interp(new[:, 0], nodes[0], low), np.interp(new[:, 0], nodes[0], high)
        points = np.concatenate([points, new[(new[:, 1] >= lowest) & (new[:, 1] <= highest)]])
        if len(points) >= count:
            return points[:count]
    raise DomainError(f"{grid.path}: its nodes leave no space in Teff and log g for spectra between them")


def emulated_flux(
    emulator: Emulator, grid: Grid, labels: Floats, advance: Advance | None = None
) -> NDArray[np.float32]:
    """Spectra (n, p) from the emulator as the grid's are made: microturbulence 2 km/s, solar-scaled abundances.

    Args:
        emulator: the emulator.
        grid: whose pixels, resolution and limb darkening to take.
        labels: teff, logg, mh, vsini (n, 4).
        advance: called with the number of spectra done.

    Raises:
        DomainError: labels outside the emulator's ranges, or a grid that is not on the founding pixels.
    """
    intrinsic = intrinsic_labels(labels[:, :3])
    emulator.space.require_inside(intrinsic, "spectra between nodes")
    observer = _Observer(emulator.grid, grid)
    parts = []
    with torch.no_grad():
        for first in range(0, len(labels), _BATCH):
            rows = slice(first, first + _BATCH)
            modes = emulator.modes(torch.from_numpy(intrinsic[rows]).float(), observer.sampler.modes)
            parts.append(observer(modes, labels[rows, 3]))
            if advance is not None:
                advance(len(parts[-1]))
    return np.concatenate(parts)


def library_flux(
    library: Library, grid: Grid, seed: int, advance: Advance | None = None
) -> tuple[NDArray[np.float32], Floats]:
    """The off-node spectra of a library as the grid's instrument sees them, each with a drawn v sin i.

    Rotations are as dense as the grid's nodes.

    Args:
        library: intrinsic spectra; those of kind `OFF_NODE` inside the grid's ranges are taken.
        grid: whose pixels, resolution and limb darkening to take.
        seed: of the rotations.
        advance: called with the number of spectra done.

    Returns:
        Flux (n, p), and labels teff, logg, mh, vsini (n, 4).

    Raises:
        FormatError: the library has no off-node spectrum inside the grid's ranges.
    """
    low, high = grid.labels[:, :3].min(0), grid.labels[:, :3].max(0)
    inside = ((library.labels[:, :3] >= low) & (library.labels[:, :3] <= high)).all(1)
    library = library.subset(np.flatnonzero((library.kind == OFF_NODE) & inside))
    if not len(library):
        raise FormatError(f"{', '.join(library.sources)}: no off-node spectrum inside the grid's ranges")
    speeds = np.unique(grid.labels[:, 3])
    u = np.random.default_rng(seed).uniform(0, len(speeds) - 1, len(library))
    vsini = np.interp(u, np.arange(len(speeds)), speeds)
    log_grid = grid_for(library.wavelength_aa)
    observer = _Observer(log_grid, grid)
    parts = []
    for first in range(0, len(library), _TRANSFORMED):
        rows = slice(first, first + _TRANSFORMED)
        modes = to_modes(library.flux(rows), library.wavelength_aa, log_grid)[:, : observer.sampler.modes]
        parts.append(observer(torch.from_numpy(modes), vsini[rows]))
        if advance is not None:
            advance(len(parts[-1]))
    return np.concatenate(parts), np.column_stack([library.labels[:, :3], vsini])


class _Observer:
    """Rotation, instrument and pixels of a grid, applied to Fourier modes of intrinsic spectra."""

    def __init__(self, log_grid: LogGrid, grid: Grid) -> None:
        wavelength, fine, average = founding_wavelengths(len(grid.wavelength_aa))
        if not np.allclose(wavelength, grid.wavelength_aa, rtol=0, atol=1e-3):
            raise DomainError(
                f"{grid.path}: spectra between nodes are made on the founding pixels, {wavelength[0]:.2f} to "
                f"{wavelength[-1]:.2f} Å; this grid's are {grid.wavelength_aa[0]:.2f} to {grid.wavelength_aa[-1]:.2f} Å"
            )
        if grid.resolution > MAX_RESOLUTION:
            raise DomainError(f"{grid.path}: resolution {grid.resolution:g}; highest allowed: {MAX_RESOLUTION:g}")
        self.sampler = Sampler(log_grid, fine, cutoff(grid.resolution), average)
        self.frequency = torch.from_numpy(log_grid.frequency[: self.sampler.modes]).float()
        self.resolution = torch.tensor(grid.resolution)
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
