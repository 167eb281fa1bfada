"""Which rows a network is judged on, and spectra between the nodes of a grid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury.broadening import transfer
from maury.emulator import Emulator, Sampler, load
from maury.errors import DomainError, FormatError
from maury.evaluation import samples
from maury.evaluation.samples import (
    emulated_flux,
    flux_sample,
    held_out_rows,
    labels_between,
    library_flux,
    validation_sample,
)
from maury.grids import Grid, GridConfig, build_grid, open_grid, spc
from maury.labels import FOUNDING, INTRINSIC, LabelSpace, lowest_logg
from maury.library import NODE, OFF_NODE, SCALE, Library, read_library
from maury.networks import StarNet, predict
from maury.networks.architectures import StarNetConfig
from maury.wavelengths import founding_wavelengths


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return tiny_emulator()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator) -> Grid:
    """3 x 3 x 2 nodes with 6 rotations: 108 spectra at R = 30,000, limb darkening 0.3."""
    path = tmp_path_factory.mktemp("grid") / "grid.h5"
    config = GridConfig(
        teff=(5000, 5500), logg=(4, 5), mh=(0, 0.5), vsini=(0, 8), resolution=30_000, limb_darkening=0.3
    )
    build_grid(path, emulator, "ab" * 32, config)
    return open_grid(path)


@pytest.fixture(scope="module")
def network() -> StarNet:
    return StarNet(StarNetConfig(dense=(8, 8)), seed=3).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def header() -> dict[str, object]:
    space = LabelSpace.of(FOUNDING)
    labels = {"names": space.names, "lower": space.lower, "upper": space.upper}
    return {"labels": labels, "flux": {"mean": 0.9, "std": 0.1}}


@pytest.fixture(scope="module")
def whole(grid: Grid) -> Grid:
    """The nodes of the whole SPC grid, without spectra."""
    return dataclasses.replace(grid, labels=spc.labels(GridConfig()))


@pytest.fixture(scope="module")
def library(emulator: Emulator) -> Library:
    """Sampled from the emulator itself: five off-node spectra, one of them outside `grid`, and a node."""
    wavelength = np.linspace(5045.2, 5354.8, 30_788)
    labels = np.zeros((6, len(INTRINSIC)))
    labels[:, :4] = [
        [5100, 4.2, 0.1, 1.5],
        [5400, 4.9, 0.4, 2.5],
        [5250, 4.5, 0.2, 1.0],
        [5250, 4.5, 0.2, 2.0],
        [9000, 4.5, 0.2, 2.0],
        [5300, 4.6, 0.3, 2.0],
    ]
    kind = np.array([OFF_NODE, OFF_NODE, OFF_NODE, NODE, OFF_NODE, OFF_NODE], np.uint8)
    sampler = Sampler(emulator.grid, wavelength, band_limit=0.4)
    flux = sampler(emulator.modes(torch.from_numpy(labels).float())).numpy()
    return Library(wavelength, labels, np.rint(flux / SCALE).astype(np.uint16), SCALE, kind, ("fake.h5",))


class TestHeldOutRows:
    @pytest.mark.parametrize("split", ["random", "block"])
    def test_own_split_gives_all_its_validation_rows(self, grid: Grid, split: str) -> None:
        np.testing.assert_array_equal(held_out_rows(grid, split, split), np.flatnonzero(grid.split(split)))

    @pytest.mark.parametrize(("split", "trained_on"), [("random", "block"), ("block", "random")])
    def test_other_split_never_holds_a_row_that_was_trained_on(self, grid: Grid, split: str, trained_on: str) -> None:
        rows = held_out_rows(grid, split, trained_on)
        trained = np.flatnonzero(~grid.split(trained_on))
        wanted = np.setdiff1d(np.flatnonzero(grid.split(split)), trained)
        np.testing.assert_array_equal(rows, wanted)
        assert 0 < len(rows) < grid.split(split).sum()

    def test_random_rows_of_a_block_trained_network_lie_on_unseen_nodes(self, grid: Grid) -> None:
        rows = held_out_rows(grid, "random", "block")
        seen = {tuple(node) for node in grid.labels[~grid.split("block"), :3]}
        assert not seen & {tuple(node) for node in grid.labels[rows, :3]}


class TestValidation:
    @pytest.mark.parametrize("split", ["random", "block"])
    def test_truth_and_predictions_are_of_the_same_rows(
        self, grid: Grid, network: StarNet, header: dict[str, object], split: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(samples, "_BATCH", 7)
        done: list[int] = []
        sample = validation_sample(network, header, grid, split, "random", done.append)
        assert sample is not None
        rows = held_out_rows(grid, split, "random")
        np.testing.assert_array_equal(sample.true, grid.labels[rows])
        flux = grid.read_flux(rows) * np.float32(grid.scale)
        np.testing.assert_allclose(sample.predicted, predict(network, header, flux), rtol=1e-6, atol=1e-4)
        assert sum(done) == len(rows)
        assert sample.facts["trained_on_this_split"] == (split == "random")
        assert sample.facts["validation_rows"] == grid.split(split).sum()
        assert f"{len(rows):,}" in sample.description

    def test_no_unseen_row(self, grid: Grid, network: StarNet, header: dict[str, object]) -> None:
        splits = {"random": grid.split("random"), "block": ~grid.split("random")}
        disjoint = dataclasses.replace(grid, splits=splits)
        assert validation_sample(network, header, disjoint, "block", "random") is None

    def test_given_flux(self, grid: Grid, network: StarNet, header: dict[str, object]) -> None:
        flux = grid.read_flux([0, 1]) * np.float32(grid.scale)
        sample = flux_sample(network, header, flux, grid.labels[:2], "mine", "my spectra", "...")
        np.testing.assert_array_equal(sample.predicted, predict(network, header, flux))
        assert not sample.on_nodes
        with pytest.raises(FormatError, match="my spectra: 2 spectra but 3 rows"):
            flux_sample(network, header, flux, grid.labels[:3], "mine", "my spectra", "...")
        flux[1, 9] = np.nan
        with pytest.raises(FormatError, match="my spectra: flux of row 2 is not finite"):
            flux_sample(network, header, flux, grid.labels[:2], "mine", "my spectra", "...")


class TestLabelsBetween:
    def test_they_fill_the_domain_of_the_atmospheres_and_leave_it_nowhere(self, whole: Grid) -> None:
        labels = labels_between(whole, 4096, seed=1)
        assert labels.shape == (4096, 4)
        whole.space.require_inside(labels)
        assert (labels[:, 1] >= lowest_logg(labels[:, 0]) - 1e-9).all()
        for column, (low, high) in zip(labels.T, [(3500, 9750), (0, 5), (-2.5, 0.5), (0, 200)], strict=True):
            assert column.min() < low + 0.01 * (high - low)
            assert column.max() > high - 0.01 * (high - low)
        hot = labels[labels[:, 0] > 9500]
        assert hot[:, 1].min() == pytest.approx(2.0, abs=0.1)

    def test_rotations_are_as_dense_as_the_nodes(self, whole: Grid) -> None:
        vsini = labels_between(whole, 4096, seed=1)[:, 3]
        nodes = np.unique(whole.labels[:, 3])
        assert np.median(vsini) == pytest.approx(nodes[14], rel=0.03)
        assert (vsini < 12).mean() == pytest.approx(7 / 28, abs=0.01)

    def test_they_are_between_nodes_and_repeatable(self, whole: Grid) -> None:
        labels = labels_between(whole, 100, seed=1)
        np.testing.assert_array_equal(labels, labels_between(whole, 100, seed=1))
        assert not np.array_equal(labels, labels_between(whole, 100, seed=2))
        for column, nodes in zip(labels.T, whole.labels.T, strict=True):
            assert not np.isin(column, nodes).any()

    @pytest.mark.parametrize("count", [0, -3])
    def test_count(self, grid: Grid, count: int) -> None:
        with pytest.raises(DomainError, match="must be positive"):
            labels_between(grid, count, seed=1)

    def test_a_grid_without_space(self, grid: Grid) -> None:
        line = np.array([[5000, 4, 0, 0], [5250, 4.5, 0, 0.0]])  # one log g per temperature
        with pytest.raises(DomainError, match="no space"):
            labels_between(dataclasses.replace(grid, labels=line), 8, seed=1)

    def test_scattered_spectra_have_no_nodes(self, grid: Grid) -> None:
        scattered = np.random.default_rng(0).uniform(grid.labels.min(0), grid.labels.max(0), (50, 4))
        with pytest.raises(DomainError, match="its labels are scattered"):
            labels_between(dataclasses.replace(grid, labels=scattered), 8, seed=1)


class TestEmulatedFlux:
    def test_on_nodes_they_are_the_grids_spectra(self, grid: Grid, emulator: Emulator) -> None:
        rows = np.arange(0, len(grid), 5)
        flux = emulated_flux(emulator, grid, grid.labels[rows])
        np.testing.assert_allclose(flux, grid.read_flux(rows) * grid.scale, atol=0.51 * grid.scale + 1e-6)

    def test_limb_darkening_and_resolution_are_the_grids(self, grid: Grid, emulator: Emulator) -> None:
        rows = np.flatnonzero(grid.labels[:, 3] == 8)[:3]
        right = grid.read_flux(rows) * grid.scale
        for other in (
            dataclasses.replace(grid, resolution=60_000.0),
            dataclasses.replace(grid, attributes={**grid.attributes, "limb_darkening": 1.0}),
        ):
            assert np.abs(emulated_flux(emulator, other, grid.labels[rows]) - right).max() > 20 * grid.scale

    def test_outside_the_emulator(self, grid: Grid, emulator: Emulator) -> None:
        with pytest.raises(DomainError, match="teff = 20000"):
            emulated_flux(emulator, grid, np.array([[20_000, 4, 0, 0.0]]))

    def test_other_wavelengths(self, grid: Grid, emulator: Emulator) -> None:
        """On pixels of its own a line stays where it is; outside the emulator's wavelengths there is nothing."""
        moved = dataclasses.replace(grid, wavelength_aa=grid.wavelength_aa[100:200] + 0.5)
        here, there = (emulated_flux(emulator, g, grid.labels[:1])[0] for g in (grid, moved))
        wanted = np.interp(moved.wavelength_aa, grid.wavelength_aa, here)
        np.testing.assert_allclose(there, wanted, atol=0.01)
        assert np.abs(there - here[100:200]).max() > 0.05
        with pytest.raises(DomainError, match="exceed the emulator's range 5044"):
            emulated_flux(emulator, dataclasses.replace(grid, wavelength_aa=grid.wavelength_aa - 50), grid.labels[:1])


class TestLibraryFlux:
    def test_off_node_spectra_inside_the_grid_are_taken(self, grid: Grid, library: Library) -> None:
        flux, labels = library_flux(library, grid, seed=1)
        np.testing.assert_array_equal(labels[:, :3], library.labels[[0, 1, 2, 5], :3])
        assert ((labels[:, 3] >= 0) & (labels[:, 3] <= 8)).all()
        assert len(np.unique(labels[:, 3])) == 4
        assert flux.shape == (4, 7447)

    def test_they_agree_with_broadening_the_emulator(self, grid: Grid, emulator: Emulator, library: Library) -> None:
        flux, labels = library_flux(library, grid, seed=1)
        intrinsic = torch.from_numpy(library.labels[[0, 1, 2, 5]]).float()
        sampler = emulator.sampler(founding_wavelengths(7447)[1], grid.resolution, average=4)
        kernel = transfer(
            emulator.frequency[: sampler.modes],
            vsini_kms=torch.from_numpy(labels[:, 3]).float(),
            resolution=torch.tensor(grid.resolution),
            limb_darkening=0.3,
        )
        expected = sampler(emulator.modes(intrinsic, sampler.modes) * kernel).numpy()
        np.testing.assert_allclose(flux, expected, atol=2e-4)

    def test_none_inside(self, grid: Grid, library: Library) -> None:
        with pytest.raises(FormatError, match=r"fake.h5: no off-node spectrum"):
            library_flux(library.subset([3, 4]), grid, seed=1)


@pytest.mark.shared
def test_real_library_spectra_agree_with_the_packaged_emulator(grid: Grid, shared: Path) -> None:
    library = read_library(shared / "data" / "library" / "spc_library.h5")
    flux, labels = library_flux(library, dataclasses.replace(grid, attributes={}), seed=1)
    emulator = load()
    _, fine, average = founding_wavelengths(7447)
    sampler = emulator.sampler(fine, grid.resolution, average)
    inside = ((library.labels[:, :3] >= [5000, 4, 0]) & (library.labels[:, :3] <= [5500, 5, 0.5])).all(1)
    old = torch.from_numpy(library.labels[inside & (library.kind == OFF_NODE)]).float()
    rows = torch.nn.functional.pad(old, (0, len(emulator.space) - old.shape[1]))
    resolution = torch.full((len(rows),), grid.resolution)
    with torch.no_grad():
        expected = emulator.flux(rows, torch.from_numpy(labels[:, 3]).float(), resolution, sampler).numpy()
    # the library's line list is older than the emulator's: they differ by 0.012 here
    assert np.median(np.sqrt(((flux - expected) ** 2).mean(1))) < 0.02
