"""Test a network: load it, check that the grid has its pixels and labels, predict all test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from maury.emulator import file_of, load
from maury.errors import ConfigError, DomainError, FormatError
from maury.evaluation.history import read_history
from maury.evaluation.samples import (
    SPLITS,
    Sample,
    emulated_flux,
    flux_sample,
    held_out_rows,
    labels_between,
    library_flux,
    validation_sample,
)
from maury.files import sha256
from maury.grids import Grid, open_grid
from maury.labels import LabelSpace
from maury.library import read_libraries
from maury.networks import load as load_network
from maury.progress import counted


@dataclass(frozen=True)
class Model:
    """A trained network with its header and the log of its training."""

    name: str  # of the run directory or packaged model
    network: Any  # the network
    header: dict[str, Any]  # its header
    # the log of its training (`maury.evaluation.history.read_history`), None when there is none
    history: dict[str, NDArray[np.float64]] | None = None
    folder: Path | None = None  # the run directory, None for a packaged model or a file

    @property
    def space(self) -> LabelSpace:
        """The labels it predicts, with the ranges that normalise them."""
        return LabelSpace.from_header(self.header)

    @property
    def split(self) -> str:
        """The split it was trained with."""
        return str(self.header["split"])


def load_model(run: str) -> Model:
    """Read a network from a run directory, a file, or by the name of a packaged model.

    Raises:
        FormatError: no such run or model, a run without a finished model, an unreadable log.
        SchemaError: another schema, or not a network.
    """
    folder = Path(run)
    if not folder.is_dir():
        network, header = load_network(run)
        return _checked(Model(folder.stem if folder.is_file() else run, network, header))
    network, header = load_network(folder)
    log = folder / "metrics.csv"
    history = read_history(log) if log.is_file() else None
    return _checked(Model(folder.resolve().name, network, header, history, folder))


def _checked(model: Model) -> Model:
    if "split" not in model.header:
        raise FormatError(f"{model.name}: its header does not say with which split it was trained")
    return model


def find_grid(model: Model, path: Path | None) -> Grid:
    """Open the grid at ``path``, or the one that a run was trained on.

    Raises:
        ConfigError: no path for a packaged model, or the run's grid is no longer where it was.
        FormatError: not a grid of maury's.
    """
    if path is None:
        path = Path(model.header.get("training", {}).get("grid", "")) if model.folder else None
        if path is None or not path.is_file():
            where = f"; {path}, on which it was trained, is not there" if path else ""
            raise ConfigError(f"{model.name}: name the grid to test it on{where}", parameter="grid")
    return open_grid(path)


def check_grid(model: Model, grid: Grid) -> list[str]:
    """Check that a grid suits a network.

    Returns:
        Notes for the reader: a grid that is not the one it was trained on.

    Raises:
        DomainError: other pixels, wavelengths, resolution or normalising ranges than the network's.
        ConfigError: the grid lacks a label of the network, or its split.
    """
    header, names = model.header, model.space.names
    pixels, wavelength = header["network"]["pixels"], grid.wavelength_aa
    if pixels != len(wavelength):
        raise DomainError(f"{grid.path}: {len(wavelength)} pixels; {model.name} takes {pixels}")
    if header.get("sampling", "linear") != grid.sampling:
        raise DomainError(f"{grid.path}: {grid.sampling} pixels; {model.name} takes {header.get('sampling', 'linear')}")
    ends = header["wavelength"]
    if not np.allclose(wavelength[[0, -1]], ends, rtol=0, atol=1e-3):
        raise DomainError(
            f"{grid.path}: {wavelength[0]:.3f} to {wavelength[-1]:.3f} Å; "
            f"{model.name} takes {ends[0]:.3f} to {ends[1]:.3f} Å"
        )
    if not np.isclose(grid.resolution, header["resolution"], rtol=1e-6):
        raise DomainError(f"{grid.path}: resolution {grid.resolution:g}; {model.name} takes {header['resolution']:g}")
    missing = [name for name in names if name not in grid.names]
    if missing:
        raise ConfigError(f"{grid.path}: no label {', '.join(missing)}, which {model.name} predicts")
    grid.split(model.split)
    if header.get("grid") == grid.digest:
        return []
    return [
        "This file is not the grid that the network was trained on (its checksum differs). The held-out rows are taken "
        "from this grid's split; they were unseen in training only if rows, order and seed are the same."
    ]


def why_not_between(grid: Grid, emulator: str = "packaged") -> str | None:
    """Why an emulator cannot make spectra between the nodes of a grid, in one line, or None if it can."""
    try:
        labels = labels_between(grid, 1, 0)
    except DomainError as error:
        return str(error)
    try:
        emulated_flux(load(emulator), grid, labels)
    except DomainError as error:
        return f"{error}. Name another emulator"
    return None


def make_samples(
    model: Model,
    grid: Grid,
    bar: Progress,
    *,
    between: int,
    seed: int,
    emulator: str = "packaged",
    libraries: Sequence[str] = (),
) -> list[Sample]:
    """Predict for the validation parts of both splits, for spectra between the nodes, and for library spectra.

    ``between`` is the number of spectra between nodes; ``seed`` is that of their labels and of library rotations.

    Raises:
        FormatError: the emulator or a library cannot be read.
        DomainError: the emulator does not cover the grid.
    """
    samples = []
    for split in SPLITS:
        rows = len(held_out_rows(grid, split, model.split))
        advance = counted(bar, f"{split} split", rows)
        sample = validation_sample(model.network, model.header, grid, split, model.split, advance)
        samples += [sample] if sample is not None else []
    if between:
        samples.append(_between_nodes(model, grid, bar, between, seed, emulator))
    if libraries:
        samples.append(_from_library(model, grid, bar, libraries, seed))
    return samples


def _between_nodes(model: Model, grid: Grid, bar: Progress, count: int, seed: int, emulator: str) -> Sample:
    true = labels_between(grid, count, seed)
    flux = emulated_flux(load(emulator), grid, true, counted(bar, "between nodes", count))
    same = sha256(file_of(emulator)) == grid.attributes.get("emulator_digest")
    origin = "the emulator that made the grid" if same else "another emulator than the one that made the grid"
    shared = [f"{name} {value:g}" for name, value in grid.fixed.items()]
    if grid.attributes.get("preset") == "spc":
        shared = ["microturbulence 2 km/s", "solar-scaled abundances"]
    text = (
        f"{count:,} spectra between the nodes of the grid, made with {origin}: "
        f"{', '.join([f'labels as dense as the nodes along each axis (Sobol, seed {seed})', *shared])}. None of them "
        "was seen in training or in choosing the weights."
    )
    return flux_sample(model.network, model.header, flux, true, "offnode", "between nodes", text)


def _from_library(model: Model, grid: Grid, bar: Progress, libraries: Sequence[str], seed: int) -> Sample:
    task = bar.add_task("library", total=None)
    library = read_libraries(list(libraries))
    bar.update(task, total=len(library))
    flux, true = library_flux(library, grid, seed, partial(bar.advance, task))
    hidden = [name for name in library.names if name not in grid.names]
    bar.update(task, total=len(true), completed=len(true))
    text = (
        f"{len(true):,} synthesised spectra between the nodes ({', '.join(library.sources)}), with rotations drawn "
        f"with seed {seed}. Labels that the grid does not have ({', '.join(hidden) or 'none'}) may differ from the "
        "grid's values; the network cannot know them, which adds to its errors."
    )
    return flux_sample(model.network, model.header, flux, true, "library_offnode", "library spectra", text)
