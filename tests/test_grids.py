"""The SPC nodes and splits, and grids on disk: layout, fast reading against h5py, every kind of damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from maury.errors import ConfigError, DomainError, FormatError, MauryError, SchemaError
from maury.grids import Grid, GridConfig, encode, open_grid, quantise, spc, write_grid
from maury.grids.file import SCALE, decode
from maury.labels import LABELS
from maury.wavelengths import founding_wavelengths

PIXELS = 50


@pytest.fixture(scope="module")
def flux() -> np.ndarray:
    """Flux (70, 50), more spectra than one reading thread takes at a time."""
    return np.random.default_rng(5).uniform(0, 1.02, (70, PIXELS)).astype(np.float32)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, flux: np.ndarray) -> Path:
    """A small valid grid; not to be changed."""
    path = tmp_path_factory.mktemp("grids") / "good.h5"
    labels = spc.labels(GridConfig())[: len(flux)]
    splits = {"random": spc.random_split(len(flux), 1), "block": spc.block_split(labels, 1)}
    attributes = {"preset": "spc", "resolution": 44_000.0, "settings": "{}", "emulator_digest": "0" * 64}
    write_grid(path, np.linspace(5050, 5051, PIXELS), labels, encode(quantise(flux)), splits, 1, attributes)
    return path


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(good, tmp_path / "copy.h5"))


class TestNodes:
    def test_counts_are_those_of_the_founding_project(self) -> None:
        labels = spc.labels(GridConfig())
        assert len(labels) == 51_359
        assert len(np.unique(labels, axis=0)) == 51_359
        assert len(np.unique(labels[:, :2], axis=0)) == 253
        teff, counts = np.unique(labels[:, 0], return_counts=True)
        np.testing.assert_array_equal(teff, np.arange(3500, 9751, 250))
        expected = np.select([teff <= 6000, teff <= 7500, teff <= 8250, teff <= 9000], [2233, 2030, 1827, 1624], 1421)
        np.testing.assert_array_equal(counts, expected)

    @pytest.mark.parametrize(
        ("teff", "lowest"), [(6000, 0), (6250, 0.5), (7500, 0.5), (7750, 1), (8500, 1.5), (9250, 2)]
    )
    def test_lowest_logg_rises_with_teff(self, teff: float, lowest: float) -> None:
        labels = spc.labels(GridConfig(teff=(teff, teff)))
        np.testing.assert_array_equal(np.unique(labels[:, 1]), np.arange(lowest, 5.1, 0.5))

    def test_rotations_of_a_node_are_neighbours(self) -> None:
        labels = spc.labels(GridConfig())
        assert (labels[:29, :3] == labels[0, :3]).all()
        assert labels[:29, 3].tolist() == list(spc.VSINI_KMS)
        assert labels[29, :3].tolist() == [3500, 0, -2]

    def test_ranges_keep_their_ends(self) -> None:
        labels = spc.labels(GridConfig(teff=(5000, 5400), logg=(4, 4.5), mh=(0, 0), vsini=(0, 2)))
        assert len(labels) == 2 * 2 * 1 * 3
        assert np.unique(labels[:, 0]).tolist() == [5000, 5250]

    def test_wavelengths(self) -> None:
        full, short = founding_wavelengths(29_788)[0], founding_wavelengths(7447)[0]
        assert (full[0], full[-1], full.size) == (5050, 5350, 29_788)
        np.testing.assert_allclose(np.diff(full), 300 / 29_787, rtol=1e-6)
        np.testing.assert_allclose(short[[0, -1]], [full[:4].mean(), full[-4:].mean()], rtol=1e-12)

    @pytest.mark.parametrize(
        "change",
        [
            {"preset": "apogee"},
            {"pixels": 7448},
            {"resolution": 4000},
            {"resolution": float("nan")},
            {"limb_darkening": 1.1},
            {"teff": (5010, 5090)},
            {"vsini": (20, 0)},
            {"seed": -1},
        ],
    )
    def test_settings_outside_the_allowed_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            GridConfig.model_validate(change)

    def test_no_cool_giants_among_hot_stars(self) -> None:
        with pytest.raises(ConfigError, match="lowest logg there: 2"):
            spc.nodes(GridConfig(teff=(9500, 9750), logg=(0, 1)))


class TestSplits:
    def test_random_split_has_the_founding_sizes(self) -> None:
        mask = spc.random_split(51_359, 0)
        assert (int((~mask).sum()), int(mask.sum())) == (38_519, 12_840)
        assert (mask == spc.random_split(51_359, 0)).all()
        assert (mask != spc.random_split(51_359, 1)).any()

    def test_block_split_holds_out_whole_nodes(self) -> None:
        labels = spc.labels(GridConfig())
        by_node = spc.block_split(labels, 0).reshape(-1, 29)
        assert (by_node.all(1) == by_node.any(1)).all()
        assert by_node.all(1).sum() == round(1771 / 4)

    def test_random_split_does_not(self) -> None:
        by_node = spc.random_split(51_359, 0).reshape(-1, 29)
        assert (by_node.any(1) & ~by_node.all(1)).mean() > 0.95

    def test_block_split_follows_rows_in_any_order(self) -> None:
        labels = spc.labels(GridConfig(teff=(5000, 5500)))
        order = np.random.default_rng(0).permutation(len(labels))
        np.testing.assert_array_equal(spc.block_split(labels[order], 3), spc.block_split(labels, 3)[order])


class TestCounts:
    def test_rounds_to_half_a_count(self, flux: np.ndarray) -> None:
        counts = quantise(flux)
        assert counts.dtype == np.uint16
        assert np.abs(counts * SCALE - flux).max() <= SCALE / 2 * 1.001

    def test_a_little_below_zero_is_zero(self) -> None:
        assert quantise(np.array([-0.03, 0.5, 1.0], np.float32)).tolist() == [0, 10_000, 20_000]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -0.06, 1.6])
    def test_implausible_flux_is_refused(self, value: float) -> None:
        with pytest.raises(DomainError, match=r"node X: .*allowed: -0\.05 to 1\.5"):
            quantise(np.array([1.0, value], np.float32), "node X")

    @pytest.mark.parametrize("skipped", [0, 1, 2, 3])
    def test_decode_undoes_the_filters_that_were_applied(self, skipped: int) -> None:
        import zlib

        counts = np.random.default_rng(1).integers(0, 65_536, 101).astype("<u2")
        raw = counts.tobytes() if skipped & 1 else zlib.decompress(encode(counts[None])[0])
        out = np.zeros_like(counts)
        decode(raw if skipped & 2 else zlib.compress(raw), out, skipped)
        np.testing.assert_array_equal(out, counts)


class TestReading:
    def test_flux_is_what_was_written(self, good: Path, flux: np.ndarray) -> None:
        grid = open_grid(good)
        seen: list[int] = []
        counts = grid.read_flux(progress=seen.append)
        assert np.abs(counts * grid.scale - flux).max() < 2.6e-5
        assert sum(seen) == len(grid) == 70

    def test_fast_reading_equals_h5py(self, good: Path) -> None:
        with h5py.File(good) as file:
            expected = file["flux"][...]
        grid = open_grid(good)
        rows = np.random.default_rng(2).permutation(70)
        np.testing.assert_array_equal(grid.read_flux(), expected)
        np.testing.assert_array_equal(grid.read_flux(rows), expected[rows])
        np.testing.assert_array_equal(grid.read_flux(rows > 30), expected[rows > 30])
        np.testing.assert_array_equal(grid.read_flux(slice(3, 60, 7)), expected[3:60:7])
        assert grid.read_flux(rows < 0).shape == (0, PIXELS)

    def test_description(self, good: Path) -> None:
        grid = open_grid(good)
        np.testing.assert_array_equal(grid.labels, spc.labels(GridConfig())[:70])
        np.testing.assert_array_equal(grid.split("random"), spc.random_split(70, 1))
        np.testing.assert_array_equal(grid.split("block"), spc.block_split(grid.labels, 1))
        assert grid.names == ("teff", "logg", "mh", "vsini")
        assert grid.space.lower == (3500, 0, -2.5, 0)
        assert grid.space.upper == (9750, 5, 0.5, 200)
        assert (grid.resolution, grid.scale, grid.seeds["block"]) == (44_000, SCALE, 1)
        with pytest.raises(ConfigError, match="'test' is unknown; allowed: random, block"):
            grid.split("test")

    def test_digest_is_that_of_the_bytes(self, good: Path, copy: Path) -> None:
        assert open_grid(copy).digest == open_grid(good).digest
        with h5py.File(copy, "r+") as file:
            file.attrs["resolution"] = 43_000.0
        assert open_grid(copy).digest != open_grid(good).digest

    def test_units_and_medium_are_in_the_file(self, good: Path) -> None:
        with h5py.File(good) as file:
            assert dict(file["wavelength"].attrs) == {"unit": "Angstrom", "medium": "air"}
            assert list(file["labels"].attrs["units"]) == ["K", LABELS["logg"].unit, "dex", "km/s"]
            assert file["flux"].chunks == (1, PIXELS)


Damage = Callable[[h5py.File], None]


def _replace(file: h5py.File, name: str, value: np.ndarray) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = value
    file[name].attrs.update(attributes)


def _without_column(file: h5py.File) -> None:
    table = file["labels"][...]
    _replace(file, "labels", table[["teff", "logg", "vsini"]].copy())


def _label(value: float) -> Damage:
    def damage(file: h5py.File) -> None:
        table = file["labels"][...]
        table["mh"][4] = value
        _replace(file, "labels", table)

    return damage


def _chunk(row: int, flux: np.ndarray | None) -> Damage:
    def damage(file: h5py.File) -> None:
        chunk = b"\x78\x01garbage" if flux is None else encode((flux * 20_000).astype(np.uint16)[None])[0]
        file["flux"].id.write_direct_chunk((row, 0), chunk)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.__delitem__("labels"), "missing dataset labels; found: flux, split, wavelength"),
        (lambda f: f.__delitem__("split/block"), "missing dataset split/block"),
        (_without_column, "missing column mh; columns found: teff, logg, vsini"),
        (_label(np.nan), "labels: row 5: mh = nan dex is outside the allowed range -2.5 to 0.5"),
        (_label(0.75), "labels: row 5: mh = 0.75 dex is outside the allowed range -2.5 to 0.5"),
        (lambda f: _replace(f, "labels", f["labels"][:60]), r"flux has shape \(70, 50\); .* must be \(60, 50\)"),
        (
            lambda f: _replace(f, "wavelength", f["wavelength"][...][::-1]),
            "wavelength must be 1-D, finite and strictly incr",
        ),
        (lambda f: _replace(f, "flux", np.full((70, PIXELS), np.nan)), "flux must be uint16 in chunks .* got float64"),
        (lambda f: f["flux"].attrs.__setitem__("scale", 0.0), "attribute scale of flux must be within 0 to 1, got 0"),
        (lambda f: _replace(f, "split/random", np.full(70, 2)), "split/random must hold 0 or 1 for each of the 70"),
        (lambda f: f.attrs.__setitem__("resolution", np.nan), "attribute resolution must be positive, got nan"),
        (lambda f: f.attrs.__setitem__("settings", "{"), "attribute settings is not JSON"),
        (lambda f: f.attrs.__setitem__("kind", "library"), "not a grid of maury's"),
        (lambda f: f.attrs.__delitem__("kind"), "not a grid of maury's"),
        (lambda f: f["split/block"].attrs.__delitem__("seed"), "not a readable grid"),
        (_chunk(69, None), "flux of row 70 is missing or damaged"),
        (_chunk(0, np.zeros(PIXELS)), "highest flux of row 1 is 0; allowed: above 0, up to 1.5"),
        (_chunk(35, np.full(PIXELS, 2.0)), "highest flux of row 36 is 2; allowed: above 0, up to 1.5"),
        (_chunk(0, np.ones(PIXELS - 1)), "flux of row 1 is missing or damaged .98 bytes instead of 100"),
    ],
)
def test_damaged_grids_are_refused_in_one_line(copy: Path, damage: Damage, message: str) -> None:
    with h5py.File(copy, "r+") as file:
        damage(file)
    with pytest.raises(MauryError, match=message) as caught:
        open_grid(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damage_in_the_middle_is_found_on_reading(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        _chunk(20, None)(file)
    grid = open_grid(copy)
    with pytest.raises(FormatError, match="row 21"):
        grid.read_flux()


def test_missing_spectra_are_not_taken_for_zeros(good: Path, tmp_path: Path) -> None:
    grid = open_grid(good)
    path = tmp_path / "short.h5"
    chunks = encode(grid.read_flux())[:-1]
    write_grid(path, grid.wavelength_aa, grid.labels, chunks, dict(grid.splits), 1, dict(grid.attributes))
    with pytest.raises(FormatError, match="row 70 is missing"):
        open_grid(path)


def test_other_schema_is_refused(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs["schema"] = 3
    with pytest.raises(SchemaError, match="grid schema 3; this version of maury reads schemas 1 to 2"):
        open_grid(copy)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.98])
def test_truncated_files_are_refused(copy: Path, keep: float) -> None:
    whole = copy.read_bytes()
    copy.write_bytes(whole[: int(keep * len(whole) if keep < 1 else keep)])
    with pytest.raises(FormatError, match=r"copy\.h5: not a readable HDF5 file, perhaps truncated"):
        open_grid(copy)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.h5: no such file"):
        open_grid(tmp_path / "none.h5")


def test_a_grid_needs_no_open_file(copy: Path) -> None:
    grid = open_grid(copy)
    assert isinstance(grid, Grid)
    copy.unlink()
    with pytest.raises(FormatError, match="no such file"):
        grid.read_flux()
