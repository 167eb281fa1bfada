"""Importing what cannot be imported: each fault is named with its file, all of them are listed, nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

import synthetic
from maury.cli.app import app, main
from maury.errors import ConfigError, FormatError, MauryError
from maury.grids import open_grid
from maury.grids.importers import ImportConfig, ImportProblemsError, import_grid, import_library, make_family, survey
from maury.grids.importers.names import read_label_files
from synthetic import NODES, WINDOW

PAIR = NODES[:2]


def run(kind: str, source: Path, out: Path, labels: Path | None = None, **settings: Any) -> list[str]:
    """Import and return the list of problems."""
    config = ImportConfig(kind=kind, **{"window": WINDOW, "native_resolution": None, **settings})
    family = make_family(kind)
    try:
        found = survey(family, family.find([str(source)]), labels)
        import_grid(out, family, found, config, [str(source)])
    except ImportProblemsError as error:
        assert not out.exists()
        assert not list(out.parent.glob(f".{out.name}*"))
        return error.problems
    raise AssertionError("nothing was wrong")


def first_file(folder: Path) -> Path:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "WAVE" not in path.name)[0]


class TestNodes:
    def test_two_files_of_one_node_are_both_named(self, tmp_path: Path) -> None:
        source = synthetic.phoenix(tmp_path / "p")
        one = first_file(source)
        (source / "again").mkdir()
        two = Path(shutil.copy(one, source / "again"))
        (problem,) = run("phoenix", source, tmp_path / "g.h5")
        assert str(one) in problem
        assert str(two) in problem
        assert "are both teff 5000, logg 4, mh 0, alpha 0" in problem

    def test_name_and_header_disagree(self, tmp_path: Path) -> None:
        source = synthetic.phoenix(tmp_path / "p")
        fits.setval(first_file(source), "PHXLOGG", value=4.0 + 0.5)
        (problem,) = run("phoenix", source, tmp_path / "g.h5")
        assert "logg is 4 in its name and 4.5 in its header" in problem

    def test_labels_that_nothing_tells(self, tmp_path: Path) -> None:
        source = synthetic.turbospectrum(tmp_path / "t")
        first_file(source).rename(source / "sun.spec")
        (problem,) = run("turbospectrum", source, tmp_path / "g.h5")
        assert "sun.spec: name and header do not give its labels: a table of labels is needed" in problem

    def test_files_with_other_labels(self, tmp_path: Path) -> None:
        source = synthetic.header_fits(tmp_path / "f")
        fits.delval(source / "model7.fits", "VTURB")
        (problem,) = run("atlas", source, tmp_path / "g.h5")
        assert "model7.fits: has the labels" in problem
        assert "model0.fits has" in problem

    def test_nothing_varies(self, tmp_path: Path) -> None:
        source = synthetic.phoenix(tmp_path / "p", NODES[:1])
        with pytest.raises(ConfigError, match="no label varies"):
            run("phoenix", source, tmp_path / "g.h5")


class TestPixels:
    def test_mixed_samplings_name_both_files(self, tmp_path: Path) -> None:
        source = synthetic.korg(tmp_path / "k")
        with h5py.File(source / "5.h5", "r+") as file:
            for name in ("wls", "flux", "cntm"):
                values = file[name][::2]
                del file[name]
                file[name] = values
        (problem,) = run("hdf5", source, tmp_path / "g.h5", native_resolution=100_000)
        assert problem == (f"{source}/5.h5: its pixels are not those of {source}/0.h5; give a common width")

    def test_a_common_width_brings_mixed_samplings_together(self, tmp_path: Path) -> None:
        source = synthetic.korg(tmp_path / "k")
        with h5py.File(source / "5.h5", "r+") as file:
            for name in ("wls", "flux", "cntm"):
                values = file[name][::2]
                del file[name]
                file[name] = values
        family = make_family("hdf5")
        config = ImportConfig(kind="hdf5", window=WINDOW, step=0.1, native_resolution=100_000)
        import_grid(tmp_path / "g.h5", family, survey(family, family.find([str(source)])), config, [])
        grid = open_grid(tmp_path / "g.h5")
        row = int(np.flatnonzero((grid.labels == NODES[5]).all(1))[0])
        wanted = synthetic.truth(grid.wavelength_aa, *NODES[5])
        assert np.abs(grid.read_flux([row])[0] * grid.scale - wanted).max() < 0.02

    def test_irregular_pixels_need_a_width(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            file["wavelength"][...] += 0.015 * np.sin(np.arange(file["wavelength"].size) / 300)
        with pytest.raises(ConfigError, match=r"neither equidistant .*give the width of the pixels"):
            run("hdf5", source, tmp_path / "g.h5")

    def test_wavelengths_must_increase(self, tmp_path: Path) -> None:
        source = synthetic.turbospectrum(tmp_path / "t")
        path = first_file(source)
        lines = path.read_text().splitlines()
        lines[2000], lines[2001] = lines[2001], lines[2000]
        path.write_text("\n".join(lines))
        (problem,) = run("turbospectrum", source, tmp_path / "g.h5", native_resolution=100_000)
        assert problem == f"{path}: wavelengths must increase"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"window": (5140.0, 5190.0)}, r"begins at 51\d\d\.\d+ Å; 5141\.\d+ to 5191\.\d+ Å are needed \(vacuum\)"),
            ({"window": (5160.0, 5230.0)}, "ends at 520"),
            ({"window": (6000.0, 6100.0)}, r"6001\.\d+ to 6101\.\d+ Å are needed .*: window not covered"),
            (
                {"window": (5152.0, 5190.0), "resolution": 5_000, "vsini": (0.0, 100.0)},
                r"212 km/s more than the window for broadening\): window not covered",
            ),
        ],
    )
    def test_a_window_that_is_not_covered(self, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
        import re

        source = synthetic.phoenix(tmp_path / "p", PAIR)
        problems = run("phoenix", source, tmp_path / "g.h5", **settings)
        assert re.search(message, problems[0]), problems
        assert len(problems) == 2


class TestFlux:
    def test_nan_is_named_with_its_wavelength(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            file["flux"][3, 1000:1004] = np.nan
        (problem,) = run("hdf5", source, tmp_path / "g.h5")
        assert problem == f"{source}, spectrum 4: flux is not finite in 4 pixels, the first at 5170.000 Å"

    def test_nan_outside_the_window_does_no_harm(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            file["flux"][3, :100] = np.nan
        with pytest.raises(AssertionError, match="nothing was wrong"):
            run("hdf5", source, tmp_path / "g.h5")

    def test_flux_beyond_what_a_continuum_allows(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            file["flux"][2, 1000] *= 3
        (problem,) = run("hdf5", source, tmp_path / "g.h5")
        assert "spectrum 3: normalised flux runs from" in problem
        assert "allowed: -0.05 to 1.5" in problem

    def test_a_continuum_that_is_none(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            file["continuum"][2, 1000] = 0
        (problem,) = run("hdf5", source, tmp_path / "g.h5")
        assert "spectrum 3: its continuum is not positive and finite everywhere" in problem

    def test_no_normalised_column(self, tmp_path: Path) -> None:
        source = synthetic.turbospectrum(tmp_path / "t")
        path = first_file(source)
        rows = np.loadtxt(path.read_text().replace("D", "E").splitlines())
        np.savetxt(path, rows[:, [0, 2]])
        (problem,) = run("turbospectrum", source, tmp_path / "g.h5", native_resolution=100_000)
        assert problem == f"{path}: no column between 0 and 1.5, as a normalised flux is"


class TestMedium:
    def test_lines_tell_a_wrong_medium(self, tmp_path: Path) -> None:
        """Turbospectrum writes air; these files are in vacuum."""
        source = tmp_path / "t"
        source.mkdir()
        wave = synthetic.vacuum_pixels()
        air = synthetic.vacuum_to_air(wave)
        for node in NODES:
            rows = np.column_stack([wave, synthetic.truth(air, *node)])
            np.savetxt(source / f"{synthetic.marcs_name(*node)}.spec", rows, fmt="%.4f %.6f")
        family = make_family("turbospectrum")
        found = survey(family, family.find([str(source)]))
        config = ImportConfig(kind="turbospectrum", window=WINDOW, native_resolution=100_000)
        with pytest.raises(
            FormatError, match="strong lines stand where they would in vacuum, not in air: wrong medium"
        ):
            import_grid(tmp_path / "g.h5", family, found, config, [])
        assert not (tmp_path / "g.h5").exists()
        wide = config.model_copy(update={"window": (5165.0, 5190.0)})
        with pytest.raises(FormatError, match="wrong medium"):
            import_library(tmp_path / "l.h5", family, found, wide, [])

    def test_what_files_say_cannot_be_overruled(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is in vacuum, not in air"):
            run("phoenix", synthetic.phoenix(tmp_path / "p", PAIR), tmp_path / "g.h5", medium="air")

    def test_what_files_do_not_say_is_asked_for(self, tmp_path: Path) -> None:
        source = synthetic.hdf5(tmp_path / "a.h5")
        with h5py.File(source, "r+") as file:
            del file.attrs["medium"]
        with pytest.raises(ConfigError, match="does not say whether its wavelengths are in air or vacuum"):
            run("hdf5", source, tmp_path / "g.h5")

    def test_files_in_different_media(self, tmp_path: Path) -> None:
        source = synthetic.korg(tmp_path / "k")
        with h5py.File(source / "6.h5", "r+") as file:
            file.attrs["medium"] = "air"
        (problem,) = run("hdf5", source, tmp_path / "g.h5", native_resolution=100_000)
        assert problem == f"{source}/6.h5: in air, but {source}/0.h5 in vacuum"


class TestResolution:
    def test_it_cannot_be_raised(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="its R is 50000; it cannot be raised to 80000"):
            run("bosz", synthetic.bosz_2024(tmp_path / "b"), tmp_path / "g.h5", resolution=80_000)

    def test_it_has_to_be_known(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the spectra have no instrument: give the resolution"):
            run("turbospectrum", synthetic.turbospectrum(tmp_path / "t"), tmp_path / "g.h5")

    def test_what_files_say_cannot_be_overruled(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="its R is 50000, not 100000"):
            run("bosz", synthetic.bosz_2024(tmp_path / "b"), tmp_path / "g.h5", native_resolution=100_000)

    def test_files_of_different_resolution(self, tmp_path: Path) -> None:
        source = synthetic.bosz_2017(tmp_path / "b")
        path = first_file(source)
        path.rename(path.with_name(path.name.replace("b50000", "b20000")))
        (*problems,) = run("bosz", source, tmp_path / "g.h5")
        assert len(problems) == 7
        assert "R = 50000.0, but" in problems[0]

    def test_rotations_twice(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the files have rotations of their own"):
            run("atlas", synthetic.cfa(tmp_path / "c"), tmp_path / "g.h5", vsini=(0.0, 5.0), resolution=42_000)
        family = make_family("atlas")
        found = survey(family, family.find([str(tmp_path / "c")]))
        with pytest.raises(ConfigError, match="a library has no rotations"):
            import_library(tmp_path / "l.h5", family, found, ImportConfig(kind="atlas"), [])


def _cut(share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return damage


def _scribble(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[len(lines) // 2] = "what is this"
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("phoenix", _cut(0.7), "truncated: its image ends at byte"),
        ("phoenix", _cut(0.0), "not a readable FITS file"),
        ("cfa-linear", _cut(0.6), "truncated"),
        ("bosz-2017", _cut(0.5), "truncated or damaged"),
        ("bosz-2017-fits", _cut(0.5), "not a readable FITS file, perhaps truncated"),
        ("bosz-2024", _cut(0.9), "truncated or damaged"),
        ("pollux", _cut(0.5), "window not covered"),
        ("turbospectrum", _scribble, "'what is this' is cut or no number"),
        ("ambre", _scribble, "'what is this' is cut or no number"),
        ("moog", _cut(0.5), "depths, but its header tells 2750; truncated?"),
        ("moog", _scribble, "a depth is no number"),
        ("hdf5-table", _cut(0.5), "not a readable HDF5 file, perhaps truncated"),
        ("ferre", _cut(0.5), "rows, but the header tells 8 nodes; truncated?"),
        ("ferre", _cut(0.999), "pixels, but the header tells 2700"),
        ("files", _scribble, "has 3 columns, the lines before 2"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, damage: Callable[[Path], None], message: str) -> None:
    kind, write = synthetic.WRITERS[name]
    source = write(tmp_path / name)
    labels = source / "labels.csv" if name == "files" else None
    path = source if source.is_file() else first_file(source)
    if name == "files":
        path = source / "run4.txt"
    if name == "bosz-2024":
        path = next((source / "r50000").rglob("*.gz"))
    damage(path)
    settings: dict[str, Any] = {"medium": "air"} if name == "files" else {}
    if name.startswith(("turbo", "moog", "ambre", "pollux", "files", "cfa")):
        settings["native_resolution"] = 100_000
    problems = run(kind, source, tmp_path / "g.h5", labels, **settings)
    assert len(problems) == 1
    assert str(path) in problems[0]
    assert message in problems[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("&SYNTH", "&LISTA"), "does not start with &SYNTH"),
        (lambda text: text.replace("\n /\n", "\n"), "its header has no end"),
        (lambda text: text.replace("NPIX", "PIXELS"), "its header lacks 'npix'"),
        (lambda text: text.replace("'TEFF'", "'COLOUR'"), "dimension 'COLOUR' is no label that maury knows"),
    ],
)
def test_ferre_headers(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    source = synthetic.ferre(tmp_path / "f.dat")
    source.write_text(change(source.read_text()))
    (problem,) = run("ferre", source, tmp_path / "g.h5")
    assert message in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.move("flux", "cube"), "no dataset named as a wavelength and one as a flux"),
        (lambda f: f.move("wavelength", "pixels"), "no dataset named as a wavelength"),
        (lambda f: f.__delitem__("labels"), "spectrum 1: name and header do not give its labels"),
    ],
)
def test_hdf5_layouts(tmp_path: Path, change: Callable[[h5py.File], None], message: str) -> None:
    source = synthetic.hdf5(tmp_path / "a.h5")
    with h5py.File(source, "r+") as file:
        change(file)
    assert message in run("hdf5", source, tmp_path / "g.h5")[0]


def test_hdf5_matrices_need_names_that_are_known(tmp_path: Path) -> None:
    source = synthetic.hdf5(tmp_path / "a.h5", "matrix")
    with h5py.File(source, "r+") as file:
        file["labels"].attrs["names"] = ["teff", "logg", "colour"]
    assert "column colour of labels is no label that maury knows" in run("hdf5", source, tmp_path / "g.h5")[0]
    with h5py.File(source, "r+") as file:
        del file["labels"].attrs["names"]
    assert "needs an attribute 'names', one per column" in run("hdf5", source, tmp_path / "g.h5")[0]


def test_wavelength_files(tmp_path: Path) -> None:
    source = synthetic.phoenix(tmp_path / "deep" / "er" / "p", PAIR)
    wave = next(source.glob("WAVE*"))
    moved = wave.rename(tmp_path / "waves.fits")
    assert (
        "no WAVE_PHOENIX-ACES-AGSS-COND-2011.fits there or in the folders above"
        in run("phoenix", source, tmp_path / "g.h5")[0]
    )
    family = make_family("phoenix", moved)
    found = survey(family, family.find([str(source)]))
    import_grid(tmp_path / "g.h5", family, found, ImportConfig(kind="phoenix", window=WINDOW), [])
    assert len(open_grid(tmp_path / "g.h5")) == 2
    fits.PrimaryHDU(np.arange(100.0)).writeto(moved, overwrite=True)
    with pytest.raises(ImportProblemsError, match="pixels, but 100 wavelengths in"):
        import_grid(
            tmp_path / "h.h5",
            make_family("phoenix", moved),
            found,
            ImportConfig(kind="phoenix", window=WINDOW),
            [],
        )


def test_bosz_wavelength_files(tmp_path: Path) -> None:
    source = synthetic.bosz_2024(tmp_path / "b")
    wave = source / "bosz2024_wave_r50000.txt"
    text = wave.read_text()
    wave.write_text("\n".join(text.splitlines()[:-5]))
    assert "2600 rows, but 2595 wavelengths in" in run("bosz", source, tmp_path / "g.h5")[0]
    wave.unlink()
    assert "no bosz2024_wave_r50000.txt there or in the folders above" in run("bosz", source, tmp_path / "g.h5")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("teff,logg\n5000,4\n", "missing column file; columns found: teff, logg"),
        ("file,teff,colour\na,5000,4\n", "column colour is not one of teff, logg"),
        ("file\na\n", "column of labels is not one of"),
        ("file,teff\na,5000\na,5500\n", "row 2: a is there twice"),
        ("file,teff\na,hot\n", "row 1: a label of a is not a number"),
    ],
)
def test_bad_tables_of_labels(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(FormatError, match=f"l.csv: .*{message}"):
        read_label_files(tmp_path / "l.csv")


def test_tables_that_name_no_file(tmp_path: Path) -> None:
    source = synthetic.plain_text(tmp_path / "t")
    with open(source / "labels.csv", "a") as stream:
        stream.write("run99.txt,5000,4,0\n")
    (problem,) = run("files", source, tmp_path / "g.h5", source / "labels.csv", medium="air")
    assert problem.endswith("labels.csv: run99.txt is not there")


def test_tables_that_name_a_file_twice_or_two_files(tmp_path: Path) -> None:
    source = synthetic.plain_text(tmp_path / "a [1]")
    (source / "more").mkdir()
    (source / "more" / "run1.txt").write_bytes((source / "run1.txt").read_bytes())
    rows = ["run0.txt,5000,4,0", f"{source}/run0.txt,5500,4,0", "run1.txt,6000,4,0", "more/run1.txt,6500,4,0"]
    (tmp_path / "l.csv").write_text("\n".join(["file,teff,logg,mh", *rows]))
    twice, two = run("files", source, tmp_path / "g.h5", tmp_path / "l.csv", medium="air")
    assert twice.endswith(f"{source}/run0.txt is a second name of {source}/run0.txt")
    assert two.endswith("run1.txt is 2 files")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": (5200, 5100)}, "window"),
        ({"step": 0}, "step"),
        ({"resolution": 3}, "resolution"),
        ({"vsini": (5, 5)}, "vsini"),
        ({"vsini": (-5,)}, "vsini"),
        ({"medium": "water"}, "medium"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImportConfig(kind="phoenix", **settings)


class TestCommand:
    def test_all_faults_are_listed_and_the_code_is_2(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = synthetic.korg(tmp_path / "k")
        (source / "2.h5").write_bytes(b"nothing")
        with h5py.File(source / "5.h5", "r+") as file:
            file["flux"][1500] = np.nan
        with pytest.raises(SystemExit) as stop:
            main(["grid", "import", "hdf5", str(source), "--out", str(tmp_path / "g.h5"), "--window", "5160", "5195"])
        assert stop.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1  # labels first: a file that cannot be opened has none
        (source / "2.h5").unlink()
        with h5py.File(source / "6.h5", "r+") as file:
            file["cntm"][1500] = -1
        command = ["grid", "import", "hdf5", str(source), "--out", str(tmp_path / "g.h5"), "--window", "5160", "5195"]
        with pytest.raises(SystemExit) as stop:
            main([*command, "--native-resolution", "100000"])
        assert stop.value.code == 2
        text = capsys.readouterr().err
        errors = [line for line in text.splitlines() if line.startswith("error:")]
        assert len(errors) == 2
        assert "5.h5: flux is not finite" in errors[0]
        assert "6.h5: its continuum" in errors[1]
        assert "missing: teff 5000, logg 4.5, mh -0.5" in text

    def test_long_lists_end(self, tmp_path: Path) -> None:
        source = synthetic.plain_text(tmp_path / "t")
        rows = ["file,teff,logg,mh", *[f"none{i}.txt,{5000 + i},4,0" for i in range(50)]]
        (source / "labels.csv").write_text("\n".join(rows))
        problems = run("files", source, tmp_path / "g.h5", source / "labels.csv", medium="air")
        assert len(problems) == 21
        assert problems[-1] == "these are enough: the rest was not looked at"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["grid", "import", "files", "X"], "files: give a table of labels with --labels"),
            (["grid", "import", "apogee", "X"], "kind 'apogee' is unknown"),
            (["grid", "import", "phoenix", "X"], "X: no such file or folder"),
            (["grid", "import", "phoenix", "X", "--vsini", "0;5"], "--vsini 0;5: must be numbers"),
            (["grid", "import", "phoenix", "X", "--step", "-1"], "options: step = -1.0"),
            (["library", "import", "zarr", "X"], "X: no such store"),
        ],
    )
    def test_wrong_options_are_one_line(self, tmp_path: Path, arguments: list[str], message: str) -> None:
        result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "o.h5")])
        assert isinstance(result.exception, MauryError)
        assert message in str(result.exception)

    def test_a_folder_without_such_files(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match=r"holds no file named lte\*\.fits"):
            make_family("phoenix").find([str(tmp_path)])
