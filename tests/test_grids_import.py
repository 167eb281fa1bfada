"""Importing grids: every format comes back to 1e-4, broadened and rebinned as by direct integration; holes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad_vec

import synthetic
from maury.errors import ConfigError
from maury.grids import Grid, open_grid
from maury.grids.importers import ImportConfig, import_grid, import_library, make_family, survey
from maury.grids.importers import names as parse
from maury.grids.importers.normalise import (
    DIVIDED,
    GIVEN,
    PSEUDO,
    MediumCheck,
    Normalised,
    looks_normalised,
    pseudo_continuum,
)
from maury.library import read_library
from maury.wavelengths import C_KMS, pixel_edges, vacuum_to_air
from synthetic import NODES, WINDOW, WRITERS, truth


def imported(kind: str, source: Path, out: Path, labels: Path | None = None, **settings: Any) -> Grid:
    """Import as the command does."""
    config = ImportConfig(kind=kind, **{"window": WINDOW, **settings})
    family = make_family(kind)
    found = survey(family, family.find([str(source)]), labels)
    import_grid(out, family, found, config, [str(source)])
    return open_grid(out)


def expected(grid: Grid) -> np.ndarray:
    """The truth for all spectra of a grid; where rotation is a label of the files it dilutes the lines."""
    columns = [grid.column(name) for name in ("teff", "logg", "mh")]
    flux = np.stack([truth(grid.wavelength_aa, *node) for node in zip(*columns, strict=True)])
    if "vsini" in grid.names:
        flux = 1 - (1 - flux) * (1 - grid.column("vsini")[:, None] / 50)
    return flux


class TestRoundTrip:
    @pytest.mark.parametrize("name", WRITERS)
    def test_flux_and_labels_come_back(self, tmp_path: Path, name: str) -> None:
        kind, write = WRITERS[name]
        source = write(tmp_path / name)
        settings: dict[str, Any] = {"medium": "air"} if name == "files" else {}
        if name.startswith(("cfa", "fits", "pollux", "ambre", "turbo", "moog", "korg", "files")):
            settings["native_resolution"] = 200_000
        grid = imported(kind, source, tmp_path / "g.h5", source / "labels.csv" if name == "files" else None, **settings)
        assert len(grid) == len(NODES) * (2 if name.startswith("cfa") else 1)
        assert {tuple(row[:3]) for row in grid.labels} == set(NODES)
        assert_allclose(grid.read_flux() * grid.scale, expected(grid), rtol=0, atol=1e-4)
        assert WINDOW[0] <= grid.wavelength_aa[0] < WINDOW[0] + 0.03
        assert grid.sampling == ("log" if name in ("cfa-log", "bosz-2024", "ferre-log-vacuum") else "linear")

    def test_a_library_comes_back(self, tmp_path: Path) -> None:
        """From files to a library, from the library to a grid."""
        source = synthetic.hdf5(tmp_path / "a.h5")
        family = make_family("hdf5")
        config = ImportConfig(kind="hdf5", window=(5165.0, 5190.0))
        import_library(tmp_path / "lib.h5", family, survey(family, [source]), config, ["a.h5"])
        library = read_library(tmp_path / "lib.h5")
        assert library.names == ("teff", "logg", "mh")
        assert json.loads(library.attributes["window"]) == [5165.0, 5190.0]
        assert library.attributes["resolution"] == 300_000
        assert library.wavelength_aa[0] < 5165 * (1 - 279 / C_KMS)
        wanted = np.stack([truth(library.wavelength_aa, *labels) for labels in library.labels])
        assert_allclose(library.flux(), wanted, atol=1e-4)
        grid = imported("library", tmp_path / "lib.h5", tmp_path / "g.h5", window=(5165.0, 5190.0))
        assert_allclose(grid.read_flux() * grid.scale, expected(grid), atol=1e-4)
        assert grid.resolution == 300_000

    def test_zarr(self, tmp_path: Path) -> None:
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
        with h5py.File(synthetic.hdf5(tmp_path / "a.h5", "datasets")) as file:
            for key in file:
                group[key] = file[key][...]
            group.attrs.update({key: file.attrs[key] for key in file.attrs})
        grid = imported("zarr", tmp_path / "a.zarr", tmp_path / "g.h5")
        assert_allclose(grid.read_flux() * grid.scale, expected(grid), atol=1e-4)


class TestPixels:
    def test_wider_pixels_hold_the_mean_flux(self, tmp_path: Path) -> None:
        source = synthetic.phoenix(tmp_path / "p", NODES[:2])
        grid = imported("phoenix", source, tmp_path / "g.h5", step=0.07)
        assert grid.wavelength_aa[:2].tolist() == [5160, pytest.approx(5160.07)]
        edges = pixel_edges(grid.wavelength_aa)
        nodes = [(grid.fixed.get("teff", 5000.0), 4.0, mh) for mh in (-0.5, 0.0)]
        for row, node in enumerate(nodes):
            wanted = [
                quad_vec(lambda x, node=node: truth(np.array([x]), *node), a, b)[0][0] / (b - a)
                for a, b in zip(edges[:-1:9], edges[1::9], strict=True)
            ]
            got = grid.read_flux([row])[0] * grid.scale
            assert_allclose(got[::9], wanted, atol=1e-4)
            centres = truth(grid.wavelength_aa, *node)
            assert np.abs(centres - got).max() > 1e-3  # a pixel is not the value at its centre

    @pytest.mark.parametrize(("vsini", "resolution"), [((0.0, 9.0), 30_000.0), ((25.0,), 20_000.0)])
    def test_broadening_is_that_of_direct_convolution(
        self, tmp_path: Path, vsini: tuple[float, ...], resolution: float
    ) -> None:
        """The files are at R = 300,000, so the Gaussian has the width that is left of the one wanted."""
        source = synthetic.hdf5(tmp_path / "a.h5")
        window = (5164.0, 5190.0)
        grid = imported("hdf5", source, tmp_path / "g.h5", step=0.05, resolution=resolution, vsini=vsini, window=window)
        assert grid.resolution == resolution
        row = len(vsini) * 5 + len(vsini) - 1
        node = tuple(grid.labels[row, :3])
        step = 0.1
        velocity = np.arange(-1500, 1500, step)
        flux = truth(5177 * np.exp(velocity / C_KMS), *node)
        left = C_KMS / np.sqrt(8 * np.log(2)) * np.sqrt(resolution**-2 - 300_000.0**-2)
        cells = np.arange(-round(8 * left / step), round(8 * left / step) + 1)
        flux = _convolve(flux, np.exp(-0.5 * (cells * step / left) ** 2))
        cells = np.arange(-round(vsini[-1] / step), round(vsini[-1] / step) + 1)
        x = (cells[:, None] + (np.arange(51) - 25) / 51) * step / vsini[-1]
        y = np.sqrt(np.clip(1 - x**2, 0, None))
        flux = _convolve(flux, (2 * 0.4 * y + np.pi * 0.6 / 2 * y**2).mean(1))
        fine = grid.wavelength_aa[:, None] + 0.05 * (np.arange(20) - 9.5) / 20
        wanted = np.interp(np.log(fine / 5177) * C_KMS, velocity, flux).mean(1)
        got = grid.read_flux([row])[0] * grid.scale
        assert_allclose(got, wanted, atol=1e-4)
        assert got.min() > truth(grid.wavelength_aa, *node).min() + 0.02

    def test_rotations_of_a_node_are_neighbours_and_one_block(self, tmp_path: Path) -> None:
        grid = imported("hdf5", synthetic.hdf5(tmp_path / "a.h5"), tmp_path / "g.h5", vsini=(10.0, 0.0, 5.0))
        assert grid.names == ("teff", "logg", "mh", "vsini")
        assert grid.labels[:3].tolist() == [[5000, 4, -0.5, 0], [5000, 4, -0.5, 5], [5000, 4, -0.5, 10]]
        by_node = grid.split("block").reshape(-1, 3)
        assert (by_node.any(1) == by_node.all(1)).all()
        assert by_node.all(1).sum() == 2


def _convolve(flux: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return 1 - np.convolve(1 - flux, kernel / kernel.sum(), mode="same")


class TestRecord:
    def test_what_was_done_stands_in_the_file(self, tmp_path: Path) -> None:
        source = synthetic.phoenix(tmp_path / "p")
        grid = imported("phoenix", source, tmp_path / "g.h5", step=0.05, resolution=42_000, vsini=(0.0, 5.0))
        known = grid.attributes
        assert known["preset"] == "import"
        assert known["source"].startswith("PHOENIX-ACES (Husser et al. 2013): ")
        assert known["native_resolution"] == 500_000
        assert known["medium_of_files"] == "vacuum; checked by 3 strong lines of 8 spectra"
        assert known["normalisation"] == f"{PSEUDO} (8 spectra)"
        assert known["missing_nodes"] == 0
        assert ImportConfig.model_validate_json(known["settings"]).vsini == (0, 5)
        assert grid.fixed == {"alpha": 0.0}
        assert grid.space.lower == (5000, 4, -0.5, 0)

    @pytest.mark.parametrize(("name", "how"), [("bosz-2024", DIVIDED), ("turbospectrum", GIVEN)])
    def test_normalisation_is_told(self, tmp_path: Path, name: str, how: str) -> None:
        kind, write = WRITERS[name]
        grid = imported(kind, write(tmp_path / name), tmp_path / "g.h5", resolution=42_000, step=0.05)
        assert grid.attributes["normalisation"] == f"{how} (8 spectra)"

    def test_same_files_give_the_same_bytes(self, tmp_path: Path) -> None:
        source = synthetic.ferre(tmp_path / "f.dat")
        one, two = (imported("ferre", source, tmp_path / name, resolution=42_000) for name in ("1.h5", "2.h5"))
        assert one.digest == two.digest

    def test_holes_are_listed_and_allowed(self, tmp_path: Path) -> None:
        grid = imported("phoenix", synthetic.phoenix(tmp_path / "p", NODES[:-2]), tmp_path / "g.h5")
        assert len(grid) == 6
        assert grid.attributes["missing_nodes"] == 2
        with h5py.File(grid.path) as file:
            missing = file["missing"][...]
        assert [tuple(row)[:3] for row in missing] == [(5500, 4.5, -0.5), (5500, 4.5, 0)]

    def test_rows_of_zeros_are_holes_of_a_ferre_grid(self, tmp_path: Path) -> None:
        grid = imported("ferre", synthetic.ferre(tmp_path / "f.dat", hole=3), tmp_path / "g.h5")
        assert (len(grid), grid.attributes["missing_nodes"]) == (7, 1)
        assert (5500, 4.5, -0.5) not in {tuple(row) for row in grid.labels}
        assert grid.fixed == {"vmic": pytest.approx(1.5, abs=1e-4), "vsini": 0.0}

    def test_microturbulence_tied_to_gravity_is_no_label(self, tmp_path: Path) -> None:
        family = make_family("ambre")
        found = survey(family, family.find([str(synthetic.ambre(tmp_path / "a"))]))
        assert "vmic" not in found.names
        assert found.notes == ["vmic (1 to 2 km/s) follows from the other labels in these files: no label of its own"]
        assert found.missing is not None
        assert len(found.missing) == 0

    def test_scattered_labels_are_no_grid(self, tmp_path: Path) -> None:
        source = synthetic.plain_text(tmp_path / "t")
        table = ["file,teff,logg,mh"] + [f"run{i}.txt,{5000 + 37 * i},{4 + 0.013 * i},{-0.07 * i}" for i in range(8)]
        (source / "labels.csv").write_text("\n".join(table))
        family = make_family("files")
        assert survey(family, family.find([str(source)]), source / "labels.csv").missing is None

    def test_a_table_goes_before_names(self, tmp_path: Path) -> None:
        source = synthetic.ambre(tmp_path / "a")
        rows = [f"{path.name},{6000 + i},4.4" for i, path in enumerate(sorted(source.iterdir()))]
        (tmp_path / "l.csv").write_text("\n".join(["name,Teff,log g", *rows[:5]]))
        family = make_family("ambre")
        found = survey(family, family.find([str(source)]), tmp_path / "l.csv")
        assert found.names == ("teff", "logg")
        assert found.table[:, 0].tolist() == [6000, 6001, 6002, 6003, 6004]
        left = sorted(source.iterdir())[5:]
        assert found.notes == [
            f"{len(left)} files that {tmp_path / 'l.csv'} does not name are left out, such as {left[0]}"
        ]


class TestNames:
    @pytest.mark.parametrize(
        ("parser", "name", "labels"),
        [
            (
                parse.from_cfa_name,
                "t03500g00m25ap00k2v070z1i00.fits",
                {"teff": 3500, "logg": 0, "mh": -2.5, "alpha": 0, "vmic": 2, "vsini": 70},
            ),
            (
                parse.from_phoenix_name,
                "lte05800-4.50-0.0.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits",
                {"teff": 5800, "logg": 4.5, "mh": 0, "alpha": 0},
            ),
            (
                parse.from_phoenix_name,
                "lte12000-6.00+1.0.Alpha=-0.20.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits",
                {"teff": 12000, "logg": 6, "mh": 1, "alpha": -0.2},
            ),
            (
                parse.from_marcs_name,
                "s6000_g-0.5_m1.0_t05_st_z-1.50_a+0.40_c+0.00_n+0.00_o+0.40_r+0.00_s+0.00.mod",
                {"teff": 6000, "logg": -0.5, "mh": -1.5, "alpha": 0.4, "vmic": 5, "c": 0},
            ),
            (
                parse.from_marcs_name,
                "p6500:g+4.0:m0.0:t01:z+0.25:a-0.40.AMBRE",
                {"teff": 6500, "logg": 4, "mh": 0.25, "alpha": -0.4, "vmic": 1},
            ),
            (
                parse.from_pollux_name,
                "M_s3200g0.0z0.0t2.0_a0.00c0.00n0.00o0.00r0.00s0.00_VIS.spec",
                {"teff": 3200, "logg": 0, "mh": 0, "alpha": 0, "c": 0, "vmic": 2},
            ),
            (
                parse.from_sentences,
                "MODEL:   Teff = 4150    log g = 2.5    vt= 2.00 M/H=-0.10",
                {"teff": 4150, "logg": 2.5, "vmic": 2, "mh": -0.1},
            ),
            (
                parse.from_sentences,
                "effective temperature  : 5750. K\nsurface gravity (log g): 4.44\nmicroturbulent velocity = 1.0",
                {"teff": 5750, "logg": 4.44, "vmic": 1},
            ),
        ],
    )
    def test_names(self, parser: Any, name: str, labels: dict[str, float]) -> None:
        assert parser(name) == labels
        assert not parser("spectrum.fits")

    def test_bosz_names(self) -> None:
        labels, resolution, year = parse.from_bosz_name("amm13cp03om03t3500g25v20modrt0b5000rs.asc.bz2")
        assert labels == {"mh": -1.25, "c": 0.25, "alpha": -0.25, "teff": 3500, "logg": 2.5, "vmic": 2, "vsini": 0}
        assert (resolution, year) == (5000, 2017)
        name = "bosz2024_ap_t10000_g+4.5_m-0.75_a+0.25_c-0.50_v4_rorig_noresam.txt.gz"
        labels, resolution, year = parse.from_bosz_name(name)
        assert labels == {"mh": -0.75, "c": -0.5, "alpha": 0.25, "teff": 10000, "logg": 4.5, "vmic": 4}
        assert (resolution, year) == (np.inf, 2024)

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("[Fe/H]", "mh"),
            ("M_H", "mh"),
            ("T_eff", "teff"),
            ("log(g)", "logg"),
            ("[alpha/M]", "alpha"),
            ("v_rot", "vsini"),
        ],
    )
    def test_columns(self, text: str, name: str) -> None:
        assert parse.label_name(text) == name


class TestNormalisation:
    def test_the_upper_envelope_is_the_continuum_where_lines_leave_gaps(self) -> None:
        wavelength = np.arange(5100, 5300, 0.02)
        level = 1e14 * (1 + 2e-3 * (wavelength - 5200) - 1e-5 * (wavelength - 5200) ** 2)
        generator = np.random.default_rng(3)
        flux = np.ones(wavelength.size)
        for centre in generator.uniform(5100, 5300, 500):
            flux *= 1 - generator.uniform(0, 0.8) * np.exp(-0.5 * ((wavelength - centre) / 0.06) ** 2)
        found = pseudo_continuum(wavelength, flux * level)
        assert_allclose(found / level, 1, atol=5e-4)
        assert np.median(flux) < 0.99

    def test_what_is_normalised_is_recognised(self) -> None:
        air = synthetic.air_pixels()
        flux = truth(air, *NODES[0])
        assert looks_normalised(air, flux)
        assert not looks_normalised(air, flux * (1 - 0.01 * (air - 5150)))
        assert not looks_normalised(air, flux * 2)

    @pytest.mark.parametrize("stated", ["air", "vacuum"])
    @pytest.mark.parametrize("real", ["air", "vacuum"])
    def test_the_medium_is_checked_by_strong_lines(self, stated: str, real: str) -> None:
        wave = synthetic.air_pixels() if real == "air" else synthetic.vacuum_pixels()
        flux = truth(wave if real == "air" else vacuum_to_air(wave), *NODES[3])
        check = MediumCheck(stated)
        check.see(Normalised(wave if stated == "air" else vacuum_to_air(wave), flux, GIVEN))
        assert check.lines == 3
        assert check.wrong == (stated != real)

    def test_without_strong_lines_nothing_is_claimed(self) -> None:
        check = MediumCheck("air")
        check.see(Normalised(np.arange(6600, 6700, 0.1), np.ones(1000), GIVEN))
        assert not check.wrong
        assert check.describe() == "air; fewer than two strong lines in the window: not checked"


def test_kinds_are_checked() -> None:
    with pytest.raises(ConfigError, match="kind 'apogee' is unknown; allowed: phoenix, atlas, bosz"):
        make_family("apogee")
    with pytest.raises(ConfigError, match="ferre files hold their wavelengths"):
        make_family("ferre", Path("wave.txt"))
