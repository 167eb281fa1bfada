"""Libraries: what is written is read, files are joined, bad files are refused in one line."""

import h5py
import numpy as np
import pytest

from libraries import line_library
from maury.errors import FormatError, OutputError
from maury.library import read_label_table, read_libraries, read_library, write_library


@pytest.fixture(scope="module")
def library():
    return line_library(6)


@pytest.fixture
def path(tmp_path, library):
    write_library(library, tmp_path / "a.h5")
    return tmp_path / "a.h5"


def test_round_trip_is_exact(path, library):
    back = read_library(path)
    assert np.array_equal(back.counts, library.counts)
    assert np.array_equal(back.labels, library.labels)
    assert np.array_equal(back.wavelength_aa, library.wavelength_aa)
    assert np.allclose(back.flux([2]), library.counts[2] * library.scale, atol=1e-7)
    assert back.attributes["code"] == "test"


def test_joining_keeps_each_star_once_in_order(tmp_path, library):
    write_library(library.subset(slice(0, 4)), tmp_path / "a.h5")
    write_library(library.subset(slice(2, 6)), tmp_path / "b.h5")
    joined = read_libraries([str(tmp_path / "[ab].h5")])
    assert np.array_equal(joined.labels, library.labels)
    assert np.array_equal(joined.counts, library.counts)


def test_files_on_different_wavelengths_are_not_joined(tmp_path, path, library):
    with h5py.File(path) as source, h5py.File(tmp_path / "b.h5", "w") as target:
        for name in source:
            source.copy(name, target)
        target["wavelength"][:] += 0.5
    with pytest.raises(FormatError, match=r"b\.h5: wavelengths 5045\.46 to .* differ from those of a\.h5"):
        read_libraries([path, tmp_path / "b.h5"])


def test_float_flux_is_accepted_and_quantised(path, library):
    with h5py.File(path, "a") as file:
        flux = file["flux"][...] * library.scale
        del file["flux"]
        file["flux"] = flux
    assert np.array_equal(read_library(path).counts, library.counts)


def _drop_dataset(file):
    del file["labels"]


def _no_known_label(file):
    labels = file["labels"][...]
    del file["labels"]
    file["labels"] = np.rec.fromarrays([labels["teff"]], names=["temperature"])


def _wrong_length(file):
    flux = file["flux"][:-1]
    del file["flux"]
    file["flux"] = flux


def _nan_flux(file):
    flux = np.ones(file["flux"].shape)
    flux[3, 7] = np.nan
    del file["flux"]
    file["flux"] = flux


def _nan_label(file):
    labels = file["labels"][...]
    labels["mh"][1] = np.nan
    file["labels"][...] = labels


def _decreasing(file):
    file["wavelength"][...] = file["wavelength"][...][::-1]


def _no_scale(file):
    del file["flux"].attrs["scale"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_dataset, "missing dataset labels; found: flux, kind, wavelength"),
        (_no_known_label, "no column of labels is one of teff, logg, .* columns found: temperature"),
        (_wrong_length, r"flux has shape \(5, 30788\); by labels and wavelength must be \(6, 30788\)"),
        (_nan_flux, "flux of row 4 is not finite at pixel 8"),
        (_nan_label, "label mh of row 2 is not finite"),
        (_decreasing, "strictly increasing"),
        (_no_scale, "positive attribute 'scale'"),
    ],
)
def test_bad_library_is_named(path, spoil, message):
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(FormatError, match=f"a.h5: .*{message}"):
        read_library(path)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.95])
def test_truncated_library_is_named(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(FormatError, match=r"a\.h5"):
        read_library(path)


def test_missing_file_and_pattern_without_match(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        read_library(tmp_path / "none.h5")
    with pytest.raises(FormatError, match=r"none\*\.h5: no such file"):
        read_libraries([tmp_path / "none*.h5"])


def test_unwritable_output_leaves_nothing(tmp_path, library):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_library(library, tmp_path / "file" / "a.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_label_table(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("# a comment\nlogg, teff\n4.4,5772\n2.5,4500\n")
    assert np.array_equal(read_label_table(path, ["teff", "logg"]), [[5772, 4.4], [4500, 2.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teff,logg\n5772,warm\n", "column logg is not a number"),
        ("teff,logg\n5772,nan\n", "column logg of row 1 is not a finite number"),
        ("teff\n5772\n", "missing column logg; columns found: teff"),
        ("teff,logg\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_bad_label_table_is_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=f"labels.csv: .*{message}"):
        read_label_table(path, ["teff", "logg"])
