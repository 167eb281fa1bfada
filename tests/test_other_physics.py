"""Another window, other labels, a smaller box: an emulator, a grid, a network, a report and a prediction from them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from rich.progress import Progress
from typer.testing import CliRunner

from libraries import line_library, other_library
from maury.broadening import instrument, remaining_resolution
from maury.cli.app import app
from maury.emulator import Emulator, load, rms_per_star, to_modes
from maury.emulator.design import choose_labels
from maury.emulator.domain import atmosphere_exists, hull_of, require_fixed, require_known
from maury.emulator.label_tables import columns, simulate_star, write_spectra
from maury.errors import ConfigError, DomainError, FormatError
from maury.evaluation.network import check_grid, load_model, make_samples, why_not_between
from maury.grids import Grid, NodesConfig, build_grid, open_grid
from maury.grids.plan import make_plan
from maury.inference import predict
from maury.labels import INTRINSIC, LabelSpace, missing_nodes
from maury.library import Library, read_library, write_library
from maury.readers import read
from maury.training.emulator_fit import fit_and_measure
from maury.training.emulator_range import find_domain
from maury.training.recipes import EmulatorConfig
from maury.wavelengths import pixel_points, regular_pixels, sampling_of, window_pixels

SETTINGS = EmulatorConfig(
    components=10, members=2, width=24, depth=2, epochs=60, batch_size=16, validation_fraction=0.15, test_fraction=0.15
)
NODES = {"teff": [5100, 5500, 5900], "logg": [3.75, 4.75], "mh": [-0.4, 0.2], "alpha": [0.0], "vsini": [0, 8, 20]}


@pytest.fixture(scope="module")
def library() -> Library:
    return other_library(128)


@pytest.fixture(scope="module")
def emulator_file(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulator")
    fit_and_measure(library, SETTINGS, folder / "run").save(folder / "e.safetensors")
    return folder / "e.safetensors"


@pytest.fixture(scope="module")
def emulator(emulator_file: Path) -> Emulator:
    return load(emulator_file)


@pytest.fixture(scope="module")
def grid(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    path = tmp_path_factory.mktemp("grid") / "other.h5"
    build_grid(path, emulator, "cd" * 32, NodesConfig(nodes=NODES, step=0.1, resolution=30_000))
    return open_grid(path)


class TestLibrary:
    def test_its_labels_are_kept(self, tmp_path: Path, library: Library) -> None:
        write_library(library, tmp_path / "a.h5")
        back = read_library(tmp_path / "a.h5")
        assert back.names == ("teff", "logg", "mh", "vmic", "alpha")
        np.testing.assert_array_equal(back.labels, library.labels)
        with pytest.raises(FormatError, match=r"a\.h5: no label c; there are teff"):
            back.column("c")

    def test_columns_are_told_by_their_names(self, tmp_path: Path, library: Library) -> None:
        write_library(library, tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            table = file["labels"][...]
            del file["labels"]
            file["labels"] = table[["alpha", "mh", "vmic", "logg", "teff"]]
        np.testing.assert_array_equal(read_library(tmp_path / "a.h5").labels, library.labels)


class TestDomain:
    def test_constants_are_no_labels(self, library: Library) -> None:
        domain = find_domain(library)
        assert domain.space.names == ("teff", "logg", "mh", "alpha")
        assert domain.fixed == {"vmic": 1.5}
        assert domain.window_aa == (6100.0, 6180.0)
        assert 5000 < domain.space.lower[0] < 5020

    def test_the_packaged_design_has_the_packaged_ranges(self) -> None:
        domain = find_domain(line_library(120, lines=1))
        assert domain.space == LabelSpace.of(INTRINSIC)
        assert domain.hull is None
        assert domain.window_aa == (5050.0, 5350.0)

    def test_a_part_of_it_has_its_own(self) -> None:
        library = line_library(120, lines=1)
        part = library.subset(library.labels[:, 0] < 6000)
        assert find_domain(part).space.upper[0] < 6000

    def test_ranges_may_be_promised_a_little_beyond(self, library: Library) -> None:
        assert find_domain(library, {"teff": (5000, 6000)}).space.upper[0] == 6000
        with pytest.raises(ConfigError, match="teff = 4500 to 6000, but the spectra have 50"):
            find_domain(library, {"teff": (4500, 6000)})
        with pytest.raises(ConfigError, match="vmic is not a label that varies"):
            find_domain(library, {"vmic": (1, 2)})

    def test_nothing_varies(self, library: Library) -> None:
        with pytest.raises(FormatError, match="no label varies"):
            find_domain(library.subset([0]))

    def test_values_of_a_tensor_grid_are_remembered(self, library: Library) -> None:
        table = np.array([(t, g, 0.0, 1.5, a) for t in (5000, 5500) for g in (4.0, 4.5, 5.0) for a in (0, 0.4)])
        nodes = Library(library.wavelength_aa, table, library.counts[:12], 1.0, library.kind[:12], names=library.names)
        assert find_domain(nodes).axes == {"teff": [5000, 5500], "logg": [4.0, 4.5, 5.0], "alpha": [0, 0.4]}
        assert find_domain(library).axes is None

    def test_holes_of_a_tensor_grid(self) -> None:
        table = np.array([(t, g) for t in (5000.0, 5500, 6000) for g in (4.0, 4.5)])
        np.testing.assert_array_equal(missing_nodes(np.delete(table, 3, 0)), [[5500, 4.5]])
        assert missing_nodes(table).shape == (0, 2)
        assert missing_nodes(np.random.default_rng(0).random((50, 3))) is None


class TestEmulator:
    def test_it_has_learned(self, emulator: Emulator) -> None:
        fresh = other_library(64, seed=9)
        table = np.delete(fresh.labels, 3, axis=1)
        inside = ((table >= emulator.space.lower) & (table <= emulator.space.upper)).all(1)
        modes = torch.from_numpy(to_modes(fresh.flux(), fresh.wavelength_aa, emulator.grid))[inside]
        rms = rms_per_star(emulator, torch.from_numpy(table[inside]).float(), modes)
        mean = torch.view_as_complex(emulator.mean.reshape(-1, 2))
        spread = torch.fft.irfft(modes - mean, n=emulator.grid.size).square().mean(1).sqrt().numpy()
        assert np.median(rms) < 0.2 * np.median(spread)

    def test_its_domain_is_in_the_file(self, emulator: Emulator) -> None:
        assert emulator.space.names == ("teff", "logg", "mh", "alpha")
        assert emulator.fixed == {"vmic": 1.5}
        assert emulator.window_aa == (6100, 6180)
        assert emulator.errors is not None
        assert emulator.errors.names == emulator.space.names
        assert torch.isfinite(emulator.errors.at(torch.tensor([[5500.0, 4.0, 0.0, 0.1]]))).all()

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ([4900, 4, 0, 0], "row 1: teff = 4900 K is outside the allowed range 50"),
            ([5500, 4, 0, 0.6], "row 1: alpha = 0.6 dex is outside the allowed range -0.0"),
        ],
    )
    def test_labels_outside_its_box_are_refused(self, emulator: Emulator, row: list[float], message: str) -> None:
        with pytest.raises(DomainError, match=message):
            require_known(emulator, row, "table")

    def test_corners_without_spectra_are_refused(self, emulator: Emulator) -> None:
        corner = Emulator.__new__(Emulator)
        corner.__dict__ = {**emulator.__dict__}
        corner.header = {**emulator.header, "hull": hull_of([5000, 5000, 6000], [3.5, 5, 5])}
        labels = np.array([[5100, 4.0, 0, 0.1], [5900, 3.7, 0, 0.1]])
        assert atmosphere_exists(corner, labels).tolist() == [True, False]
        with pytest.raises(DomainError, match=r"row 2: .* no spectra near logg = 3\.7 at teff = 5900 K"):
            require_known(corner, labels, "table")

    def test_a_line_has_no_hull(self) -> None:
        assert hull_of([5000, 5500, 6000], [4, 4, 4]) is None
        assert hull_of([5000, 5500, 6000], [4, 4.5, 5]) is None

    def test_fixed_labels_cannot_be_chosen(self, emulator: Emulator) -> None:
        require_fixed(emulator, {"vmic": 1.5, "teff": 1}, "star")
        with pytest.raises(DomainError, match=r"star: vmic = 2, but all spectra of the library have 1\.5"):
            require_fixed(emulator, {"vmic": 2}, "star")

    def test_new_labels_are_chosen_in_its_domain(self, emulator: Emulator) -> None:
        labels, spread = choose_labels(emulator, 20, 128, (5200, 5400), 1)
        assert labels[:, 0].min() >= 5200
        assert labels[:, 0].max() <= 5400
        require_known(emulator, labels, "chosen")
        assert len(spread) == 20
        with pytest.raises(DomainError, match="teff = 4000"):
            choose_labels(emulator, 20, 128, (4000, 5400), 1)

    def test_spectra_are_made_in_its_window(self, tmp_path: Path, emulator: Emulator) -> None:
        assert columns(emulator) == ("teff", "logg", "mh", "alpha", "vsini")
        write_spectra(emulator, np.array([[5500, 4, 0, 0, 5.0]]), 42_000, 801, tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5") as file:
            assert file["wavelength"][[0, -1]].tolist() == [6100, 6180]
            assert 0.2 < file["flux"][...].min() < 0.9

    def test_a_library_of_low_resolution_is_broadened_by_the_rest(self, emulator: Emulator) -> None:
        """From R = 40,000 to 20,000 by one Gaussian is from infinity to 40,000 and on to 20,000."""
        frequency = torch.linspace(0, 0.2, 50, dtype=torch.float64)
        both = instrument(frequency, torch.tensor(40_000.0, dtype=torch.float64)) * instrument(
            frequency, remaining_resolution(torch.tensor(20_000.0, dtype=torch.float64), 40_000)
        )
        torch.testing.assert_close(both, instrument(frequency, torch.tensor(20_000.0, dtype=torch.float64)))
        at_its_own = instrument(frequency, remaining_resolution(torch.tensor(40_000.0), 40_000).double())
        torch.testing.assert_close(at_its_own, torch.ones_like(frequency))
        low = Emulator.__new__(Emulator)
        low.__dict__ = {**emulator.__dict__}
        low.header = {**emulator.header, "resolution": 20_000.0}
        with pytest.raises(DomainError, match="resolution = 30000 is above that of the emulator's library, 20000"):
            make_plan(NodesConfig(nodes=NODES, resolution=30_000), low)


class TestGrid:
    def test_labels_and_ranges_are_its_own(self, grid: Grid) -> None:
        assert grid.names == ("teff", "logg", "mh", "vsini")
        assert grid.space.lower == (5100, 3.75, -0.4, 0)
        assert grid.fixed == {"vmic": 1.5, "alpha": 0.0}
        assert len(grid) == 36
        assert grid.sampling == "linear"
        assert grid.wavelength_aa[[0, -1]].tolist() == [6100, pytest.approx(6180)]
        assert grid.attributes["schema"] == 2
        blocks = {tuple(row) for row in grid.labels[grid.split("block"), :3]}
        assert len(blocks) == 3
        assert grid.split("block").sum() == 9

    def test_flux_is_that_of_the_emulator(self, grid: Grid, emulator: Emulator) -> None:
        row = 17
        teff, logg, mh, vsini = grid.labels[row]
        sampler = emulator.sampler(pixel_points(grid.wavelength_aa), 30_000, 4)
        labels = torch.tensor([[teff, logg, mh, 0.0]]).float()
        flux = emulator.flux(labels, torch.tensor([vsini]).float(), torch.tensor([30_000.0]), sampler)[0].numpy()
        np.testing.assert_allclose(grid.read_flux([row])[0] * grid.scale, flux, atol=3e-5)
        assert flux.std() > 0.02

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"nodes": {**NODES, "teff": [4000, 5500]}}, DomainError, "nodes: row 1: teff = 4000 K is outside"),
            ({"nodes": {**NODES, "c": [0.1]}}, ConfigError, "the emulator has no label c; there are teff, logg"),
            ({"nodes": {**NODES, "vmic": [2.0]}}, DomainError, "vmic = 2, but all spectra of the library have 1.5"),
            ({"nodes": {"teff": [5500]}}, ConfigError, "values of logg are needed; the emulator's range is 3.5"),
            ({"nodes": {**NODES, "vsini": [500]}}, DomainError, "vsini = 500 km/s is outside"),
            ({"nodes": NODES, "window": (6000, 6150)}, DomainError, "window 6000 to 6150 Å exceeds .* 6100"),
            ({"nodes": NODES, "step": 99.0}, DomainError, "holds no two pixels"),
            ({"nodes": {k: v[:1] for k, v in NODES.items()}}, ConfigError, "no label varies"),
        ],
    )
    def test_nodes_that_cannot_be(
        self, emulator: Emulator, change: dict[str, object], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            make_plan(NodesConfig.model_validate(change), emulator)

    @pytest.mark.parametrize("nodes", [{"colour": [1]}, {"teff": []}, {"teff": [5000, 5000]}, {"teff": [np.nan]}])
    def test_nodes_that_make_no_sense(self, nodes: dict[str, list[float]]) -> None:
        with pytest.raises(ValueError, match="nodes"):
            NodesConfig(nodes=nodes)

    def test_ranges_are_checked_on_reading(self, grid: Grid, tmp_path: Path) -> None:
        path = tmp_path / "a.h5"
        path.write_bytes(grid.path.read_bytes())
        with h5py.File(path, "r+") as file:
            file["labels"].attrs["upper"] = [5500.0, 4.75, 0.2, 20.0]
        with pytest.raises(DomainError, match=r"a\.h5: labels: row 25: teff = 5900 K is outside"):
            open_grid(path)


class TestPixels:
    @pytest.mark.parametrize("sampling", ["linear", "log"])
    def test_sampling_is_recognised(self, sampling: str) -> None:
        wavelength = regular_pixels(5000, 5300, 400, sampling)
        assert sampling_of(wavelength) == sampling
        wavelength[200] += 0.3
        with pytest.raises(DomainError, match="neither equidistant in wavelength nor in its logarithm"):
            sampling_of(wavelength)

    def test_points_fill_their_pixels(self) -> None:
        wavelength = window_pixels(5000, 5001, 0.25)
        assert wavelength.tolist() == [5000, 5000.25, 5000.5, 5000.75, 5001]
        points = pixel_points(wavelength, 5)
        np.testing.assert_allclose(np.diff(points), 0.05)
        np.testing.assert_allclose(points.reshape(5, 5).mean(1), wavelength)


def test_the_whole_road(emulator_file: Path, tmp_path: Path) -> None:
    """A grid from a config, a network of three labels, spectra between nodes to judge it, a star."""
    runner = CliRunner()

    def run(*arguments: object) -> str:
        result = runner.invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    nodes = "\n".join(f"{name} = {values}" for name, values in NODES.items())
    (tmp_path / "nodes.toml").write_text(f"step = 0.1\nresolution = 30000\n\n[nodes]\n{nodes}\n")
    grid, folder = tmp_path / "g.h5", tmp_path / "run"
    config = ["--config", tmp_path / "nodes.toml", "--emulator", emulator_file]
    assert "36 spectra of 801 pixels" in run("grid", "build", *config, "--out", grid)
    assert "vmic: 1.5 km/s in all spectra" in run("grid", "info", grid)
    refused = runner.invoke(app, list(map(str, ["grid", "build", *config, "--out", grid, "--teff", 5000, 6000])))
    assert "--config and --teff exclude each other" in str(refused.exception)
    train = ["train", "--grid", grid, "--out", folder, "--epochs", 2, "--batch-size", 8]
    nothing = runner.invoke(app, list(map(str, [*train, "--labels", "teff,alpha,c"])))
    assert "nothing to learn alpha (always 0), c from; choose some of --labels teff,logg,mh,vsini" in str(
        nothing.exception
    )
    run(*train, "--labels", "teff,logg,vsini")
    model, opened = load_model(str(folder)), open_grid(grid)
    assert check_grid(model, opened) == []
    emulator = str(emulator_file)
    samples = make_samples(model, opened, Progress(disable=True), between=32, seed=1, emulator=emulator)
    assert [sample.name for sample in samples] == ["random", "block", "offnode"]
    assert samples[2].true.shape == (32, 4)
    assert samples[2].predicted.shape == (32, 3)
    assert "made with the emulator that made the grid" in samples[2].description
    assert "vmic 1.5, alpha 0" in samples[2].description
    assert "the emulator does not suit it: the grid has no label c, mg" in str(why_not_between(opened))
    star = tmp_path / "star.ecsv"
    simulate_star(load(emulator_file), [5500, 4.2, 0, 0, 5], 40_000, 200, 1, star)
    result = predict(read(star, window_aa=None), str(folder))
    assert tuple(result.values) == ("teff", "logg", "vsini")
    assert result.wavelength_aa[[0, -1]].tolist() == [6100, pytest.approx(6180)]
