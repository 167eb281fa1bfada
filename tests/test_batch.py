"""One bad file ends no batch: 25 files, ten damaged in ten ways, in every verb that takes many."""

from __future__ import annotations

import csv
import gzip
import json
import pkgutil
import shutil

import numpy as np
import pytest
from astropy.io import fits

from maury.catalogue import read_catalogue
from maury.errors import DomainError, in_one_line
from maury.preparation import prepare
from maury.readers import write
from nights import SUN, Instrument, observe
from verbs import run

GOOD, BAD = 15, 10


def columns(path, wavelength, flux):
    np.savetxt(path, np.c_[wavelength, flux])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Fifteen prepared spectra, and ten files damaged in ten ways among them."""
    folder = tmp_path_factory.mktemp("night")
    star = prepare(observe(SUN, Instrument(30_000.0, 0.15), velocity_kms=5, snr=80), resolution=30_000.0).spectrum
    write(star, folder / "star00.ecsv")
    for number in range(1, GOOD):
        shutil.copy(folder / "star00.ecsv", folder / f"star{number:02d}.ecsv")
    wave, rng = np.arange(5040.0, 5360.0, 0.1), np.random.default_rng(4)
    flux = rng.normal(1000, 10, wave.size)
    hdu = fits.PrimaryHDU(flux, fits.Header({"CRVAL1": 5040.0, "CDELT1": 0.1, "CRPIX1": 1.0}))
    hdu.writeto(folder / "whole.fits")
    whole = (folder / "whole.fits").read_bytes()
    (folder / "whole.fits").unlink()
    (folder / "bad0_empty.fits").write_bytes(b"")
    (folder / "bad1_prose.txt").write_text("The night was cloudy.\nNothing was observed.\n")
    (folder / "bad2_picture.fits").write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(500))
    (folder / "bad3_cut.fits").write_bytes(whole[:1500])
    (folder / "bad4_cut.fits.gz").write_bytes(gzip.compress(whole)[:2000])
    (folder / "bad5_noise.fits").write_bytes(rng.bytes(5000))
    (folder / "bad6_cut.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + rng.bytes(500))
    columns(folder / "bad7_nan.txt", wave, np.full(wave.size, np.nan))
    columns(folder / "bad8_zero.txt", wave, np.zeros(wave.size))
    columns(folder / "bad9_shuffled.txt", rng.permutation(wave), flux)
    found = sorted(folder.iterdir(), key=lambda path: path.name[::-1])
    assert len(found) == GOOD + BAD
    return found


def failures(printed: str) -> set[str]:
    """Names of the files that an error line is about."""
    lines = [line for line in printed.splitlines() if line.startswith("error: ") and " files failed: " not in line]
    names = {line.split(": ")[1].rsplit("/", 1)[-1] for line in lines}
    assert len(names) == len(lines)
    return names


def damaged(files) -> set[str]:
    return {path.name for path in files if path.name.startswith("bad")}


@pytest.mark.parametrize(
    "words",
    [("inspect",), ("prepare", "-R", 30_000), ("predict", "--no-refine", "--samples", 50)],
    ids=lambda words: words[0],
)
def test_every_good_file_has_a_result_every_bad_one_a_line_and_the_code_is_2(words, files, capsys):
    verb, *options = words
    assert run(verb, "--json", *options, *files) == 2
    printed = capsys.readouterr()
    records = json.loads(printed.out)
    assert [record["file"].rsplit("/", 1)[-1] for record in records if "error" not in record] == [
        path.name for path in files if path.name.startswith("star")
    ]
    assert len(records) == GOOD + BAD
    assert failures(printed.err) == damaged(files)
    assert "Traceback" not in printed.err
    assert "Warning" not in printed.err


def test_a_catalogue_has_a_row_for_each_good_file_and_rejects_the_others(files, tmp_path, capsys):
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file"], *([str(path)] for path in files)])
    words = ("catalog", tmp_path / "list.csv", "--no-refine", "--samples", 50, "--out", tmp_path / "out.fits")
    assert run(*words) == 2
    printed = capsys.readouterr().err
    assert sum("bad" in line.split(":")[0] for line in printed.splitlines()) == BAD
    assert "Traceback" not in printed
    assert len(read_catalogue(tmp_path / "out.fits")) == GOOD


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("inspect",), "maury.readers.summary.summarise"),
        (("prepare",), "maury.preparation.pipeline.Preparation.record"),
        (("predict", "--no-refine", "--samples", 50), "maury.inference.Result.record"),
    ],
    ids=["inspect", "prepare", "predict"],
)
def test_a_fault_of_the_program_is_one_line_too(words, place, files, capsys, monkeypatch):
    """File, type and text in one line; the next file has its result."""
    pair = [path for path in files if path.name in ("star01.ecsv", "star02.ecsv")]
    name, attribute = place.rsplit(".", 1)
    real, calls = getattr(pkgutil.resolve_name(name), attribute), []

    def first_fails(*given):
        calls.append(given)
        return real(*given) if len(calls) > 1 else 1 / 0

    monkeypatch.setattr(place, first_fails)
    assert run(words[0], "--json", *words[1:], *pair) == 2
    printed = capsys.readouterr()
    assert f"error: {pair[0]}: unexpected ZeroDivisionError: division by zero" in printed.err
    assert "Traceback" not in printed.err
    assert ["error" in record for record in json.loads(printed.out)] == [True, False]


def test_the_line_of_an_unexpected_error(monkeypatch, capsys):
    assert in_one_line(DomainError("a.fits: too\n faint"), "a.fits") == "a.fits: too faint"
    try:
        [][1]
    except IndexError as error:
        line = in_one_line(error, "a.fits")
        assert line.startswith("a.fits: unexpected IndexError: list index out of range (MAURY_DEBUG=1")
        assert capsys.readouterr().err == ""
        monkeypatch.setenv("MAURY_DEBUG", "1")
        in_one_line(error, "a.fits")
    assert "Traceback" in capsys.readouterr().err
