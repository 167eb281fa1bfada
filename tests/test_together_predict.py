"""Exposures of one star from files to a result: `maury.predict` with a list, and `maury predict --together`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.table import QTable

import maury
from maury.catalogue import CatalogueConfig, read_catalogue, run_catalogue
from maury.catalogue.lists import FileList
from maury.errors import DomainError, FormatError
from maury.inference import Exposure, write_samples
from maury.inference.exposures import common_flags, exposures_table, prepare_exposures, velocity_of
from maury.inference.ready import Ready
from verbs import run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three exposures of one star by two spectrographs, one of another star, and a file that is not a spectrum."""
    folder = tmp_path_factory.mktemp("exposures")
    star = ("emulator", "star", "--teff", 5900, "--logg", 4.3, "--mh", -0.2, "--vsini", 6)
    for name, r, snr, seed in (("a", 45_000, 40, 1), ("b", 28_000, 60, 2), ("c", 45_000, 50, 3)):
        assert run(*star, "--snr", snr, "-R", r, "--seed", seed, "-o", folder / f"{name}.ecsv") == 0
    other = ("emulator", "star", "--teff", 6600, "--logg", 4.3, "--mh", -0.2, "--vsini", 6)
    assert run(*other, "--snr", 50, "-R", 45_000, "-o", folder / "other.ecsv") == 0
    (folder / "notes.txt").write_text("not a spectrum\n")
    return folder


def test_exposures_give_one_row_and_a_bad_file_is_left_out_by_name(files, tmp_path, capsys):
    names = [files / name for name in ("a.ecsv", "b.ecsv", "notes.txt", "c.ecsv")]
    out = tmp_path / "star.ecsv"
    assert run("predict", *names, "--together", "--json", "--no-systematics", "--out", out) == 2
    captured = capsys.readouterr()
    assert "notes.txt" in captured.err
    (record,) = json.loads(captured.out)
    assert record["n_exposures"] == 3
    assert record["teff"] == pytest.approx(5900, abs=4 * record["teff_err"])
    assert [row["status"] for row in record["exposures"]] == ["ok", "ok", "failed", "ok"]
    assert "notes.txt" in record["exposures"][2]["error"]
    assert [row["resolution"] for row in record["exposures"]] == [45_000, 28_000, None, 45_000]
    assert "exposures_skipped" in record["flags"]
    assert "exposures_disagree" not in record["flags"]
    table = QTable.read(tmp_path / "star-exposures.ecsv")
    assert list(table["status"]) == ["ok", "ok", "failed", "ok"]
    row = QTable.read(out)
    assert len(row) == 1
    assert row["n_exposures"][0] == 3


def test_the_uncertainty_is_smaller_than_that_of_each_exposure(files):
    together = maury.predict([files / "a.ecsv", files / "c.ecsv"], systematics=False)
    alone = maury.predict(files / "a.ecsv", systematics=False)
    for name in ("teff", "mh"):
        assert together.numbers()[f"{name}_err"] < 0.95 * alone.numbers()[f"{name}_err"]
    assert together.spectrum.flux.shape == alone.spectrum.flux.shape
    assert float(together.spectrum.sigma.median()) < 0.75 * float(alone.spectrum.sigma.median())


def test_an_exposure_of_another_star_is_named(files):
    result = maury.predict([files / name for name in ("a.ecsv", "b.ecsv", "other.ecsv", "c.ecsv")], systematics=False)
    assert [exposure.status for exposure in result.exposures] == ["ok", "ok", "disagrees", "ok"]
    assert "exposures_disagree" in result.flags
    assert result.status == "flagged"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "none of 0 exposures"),
        (("notes.txt",), "none of 1 exposures can be used"),
        (("a.ecsv", "a.ecsv"), "the same file twice"),
    ],
)
def test_what_cannot_be_one_star_is_refused(files, names, words):
    with pytest.raises(DomainError, match=words):
        maury.predict([files / name for name in names])


def test_samples_are_as_arviz_and_corner_take_them(files, tmp_path, monkeypatch):
    """As docs/networks.md has it: by name (chain, draw) for one, (draws, labels) for the other; neither is used."""
    for package in ("arviz", "corner"):
        monkeypatch.setitem(sys.modules, package, None)
    fit = maury.predict(files / "a.ecsv", samples=300, parallax=(20.0, 0.1), gmag=6.0)
    by_name = {name: fit.samples[name].value[None] for name in fit.samples.colnames}
    assert {"teff", "logg", "luminosity", "radius", "mass"} <= set(by_name)
    assert {values.shape for values in by_name.values()} == {(1, 300)}
    assert np.median(by_name["radius"]) == pytest.approx(fit.numbers()["radius"])
    assert fit.posterior.samples.shape == (300, len(fit.values))
    write_samples([fit], tmp_path / "samples.h5")
    with h5py.File(tmp_path / "samples.h5") as file:
        stored = dict(zip(file["samples"].attrs["labels"], file["samples"][:1].transpose(2, 0, 1), strict=True))
        assert list(file["samples"].attrs["units"])[-3:] == ["L_sun", "R_sun", "M_sun"]
    assert list(stored) == [*fit.values, "luminosity", "radius", "mass"]
    for name, values in stored.items():
        np.testing.assert_allclose(values, by_name[name], rtol=1e-6)


def test_one_bad_file_among_ten_is_left_out_by_name():
    """Whatever fails in it: reading, or what the network needs."""

    def prepare(name):
        if name == "7.fits":
            raise FormatError("7.fits: truncated")
        return Ready(name, None, name, None, (), ())

    def check(spectrum, name):
        if name == "3.fits":
            raise DomainError(f"{name}: signal-to-noise 1.0")

    found = prepare_exposures([f"{k}.fits" for k in range(10)], prepare, check)
    assert [one.status == "failed" for one in found] == [k in (3, 7) for k in range(10)]
    assert found[7].error == "7.fits: truncated"
    assert "signal-to-noise 1.0" in found[3].error
    assert common_flags(found) == ("exposures_skipped",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--parallax", "27.3+-0.1"), "parallax is given without gmag"),
        (("--gmag", "5.1"), "gmag is given without parallax"),
        (("--gmag", "faint", "--parallax", "27.3+-0.1"), "Invalid value for '--gmag'"),
        (("--gmag", "5.1", "--parallax", "near"), "parallax 'near' is not understood"),
        (("--gmag", "5.1", "--parallax=-3+-0.1"), "at least 5 times its error is needed"),
    ],
)
def test_wrong_parallaxes_and_magnitudes_are_refused(files, capsys, options, words):
    assert run("predict", files / "a.ecsv", *options) == 2
    captured = capsys.readouterr()
    assert words in " ".join(captured.err.replace("│", " ").split())


def test_networks_without_a_posterior_are_refused(files):
    with pytest.raises(DomainError, match="posterior"):
        maury.predict([files / "a.ecsv"], "starnet-spc")


class _Row(Exposure):
    def record(self):
        velocity, error, frame, barycentric = (float(x) if x not in ("b", "u") else x for x in self.file.split())
        return {"rv_kms": velocity, "rv_err": error, "rv_zero_err": 0.3, "rv_frame": frame, "snr": 30.0,
                "rv_barycentric_kms": None if np.isnan(barycentric) else barycentric}  # fmt: skip


def test_the_mean_velocity_is_weighted_and_barycentric_where_it_can_be():
    found = velocity_of([_Row("9 1 b 10"), _Row("9 2 b 15")])
    assert found["rv_kms"] == pytest.approx(11.0)
    assert found["rv_err"] == pytest.approx(0.8**0.5, abs=1e-4)
    assert found["rv_zero_err"] == 0.3
    assert found["rv_scatter_kms"] == pytest.approx(5 / 2**0.5, abs=1e-4)
    assert found["snr"] == pytest.approx(42.4)
    assert velocity_of([_Row("9 1 b 10"), _Row("9 2 u nan")])["rv_kms"] is None
    assert velocity_of([_Row("9 1 u nan"), _Row("9 1 u nan")])["rv_frame"] == "u"


def test_an_exposure_has_its_date_and_the_zero_point_of_its_instrument(files):
    """The date of `test_readers_barycentric`, from the header; none where the file states none."""
    cards = {"RA": 258.725708, "DEC": -22.29055, "EXPTIME": 299.9959, "DATE-OBS": "2007-04-13T09:40:23.812",
             "TELESCOP": "ESO-3P6", "INSTRUME": "HARPS"}  # fmt: skip
    star = maury.read(files / "a.ecsv")
    star = replace(star, provenance=star.provenance | {"when_and_where": cards, "instrument": "HARPS"})
    dated, bare = maury.predict([star, files / "c.ecsv"], systematics=False).exposures
    table = exposures_table([dated, bare])
    assert table["bjd_tdb"][0].value == pytest.approx(2454203.908706, abs=2e-5)
    assert np.isnan(table["bjd_tdb"][1])
    assert dated.record()["rv_zero_err"] is None  # at rest: no velocity was measured
    assert table["bjd_tdb"].unit == "d"


def test_flags_are_those_of_most_exposures(files):
    assert common_flags([Exposure("a", "failed", "unreadable"), Exposure("b", "disagrees")]) == (
        "exposures_disagree",
        "exposures_skipped",
    )


def test_rows_of_one_star_are_fitted_together_in_a_catalogue(files, tmp_path):
    """Rows need not follow each other; the numbers are those of `maury.predict` with a list."""
    source = files / "list.csv"
    source.write_text("file,star\na.ecsv,one\nother.ecsv,\nnotes.txt,one\nc.ecsv,one\n")
    found = list(FileList(source))
    assert [(entry.id, entry.row, len(entry.exposures)) for entry in found] == [("one", 0, 3), ("other.ecsv", 1, 0)]
    run_catalogue(source, tmp_path / "out.fits", CatalogueConfig(model="default"))
    table = read_catalogue(tmp_path / "out.fits")
    assert list(table["id"]) == ["one", "other.ecsv"]
    assert table["n_exposures"][0] == 2
    assert "exposures_skipped" in table["flags"][0]
    assert "exposures_skipped" not in table["flags"][1]
    alone = maury.predict([files / "a.ecsv", files / "c.ecsv"])
    assert float(table["teff"][0].value) == pytest.approx(alone.values["teff"], rel=1e-6)


def test_velocities_that_differ_between_exposures_are_refused(tmp_path):
    source = tmp_path / "list.csv"
    source.write_text("file,star,velocity_kms\na.ecsv,one,5\nc.ecsv,one,7\n")
    (entry,) = FileList(source)
    assert "velocity_kms differs between exposures" in str(entry.error)
