"""`maury prepare`: what is shown and written; bad input is one line and code 2, and a batch goes on."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.cli.app import main
from maury.flags import FLAGS
from maury.readers import read, write
from nights import K_DWARF, SUN, Instrument, observe

WAVE = observatory.linear(0.05)


@pytest.fixture
def run(capsys):
    """Run the command line; exit code, output and errors, white space folded."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["prepare", *map(str, arguments)])
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return call


def flat(text):
    return " ".join(text.split())


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "star.fits"
    seen = observe(SUN, Instrument(44_000.0, 0.05, 6, True), velocity_kms=62.5, snr=80)
    write(seen, path)
    return path


def test_the_table_shows_what_was_found_and_done(run, star):
    code, out, err = run(star, "--resolution", 44_000)
    assert (code, err) == (0, "")
    text = flat(out)
    for part in (
        str(star),
        "velocity +62.",
        "km/s, barycentric frame",
        "300 Å of the window, 6 orders",
        "per pixel of",
    ):
        assert part in text
    assert "template teff 5" in text
    assert "(a by-product, not a result)" in text
    assert "done noise of the file" in text
    assert "done 80 pixels masked: at order edges" in text
    assert "flag" not in text


def test_flags_are_explained(run, tmp_path):
    write(observe(SUN, Instrument(44_000.0, 0.05), snr=60, second=(K_DWARF, 90.0, 0.3)), tmp_path / "two.fits")
    _, out, _ = run(tmp_path / "two.fits")
    text = flat(out)
    assert f"flag double_lined: {FLAGS['double_lined'].meaning}" in text
    assert f"flag resolution_unknown: {FLAGS['resolution_unknown'].meaning}" in text
    assert "second star suspected at +90 km/s" in text


def test_json_figures_and_files(run, star, tmp_path):
    out_folder, figures = tmp_path / "new" / "prepared", tmp_path / "figures"
    code, out, _ = run(star, "-R", 44_000, "--json", "--out", out_folder, "--plot", figures, "--step", 2)
    assert code == 0
    (record,) = json.loads(out)
    assert record["velocity_kms"] == pytest.approx(62.5, abs=0.05)
    assert record["step_kms"] == 2
    assert record["prepared"] == str(out_folder / "star.ecsv")
    assert record["flags"] == []
    assert (figures / "star.png").stat().st_size > 10_000
    seen = read(out_folder / "star.ecsv")
    assert (seen.frame, seen.normalised, seen.resolution) == ("rest", True, 44_000)


def test_masks_are_shown(run, star):
    _, out, _ = run(star, "-R", 44_000, "--mask", "5183-5184.2", "--mask", "5100-5101")
    assert "masked 5100-5101, 5183-5184.2 Å at rest" in flat(out)


def test_predict_takes_what_prepare_wrote(run, star, tmp_path, capsys):
    assert run(star, "-R", 44_000, "--out", tmp_path / "out", "--format", "fits")[0] == 0
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(tmp_path / "out" / "star.fits"), "--json"])
    (record,) = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0
    assert record["teff"] == pytest.approx(5772, abs=500)
    assert "velocity_kms" not in record


def test_hints_reach_the_reader(run, tmp_path):
    expected = observatory.apf_raw(tmp_path)
    assert run(expected.path)[0] == 2
    hints = expected.hints
    code, out, _ = run(
        expected.path, "--wavelength-file", hints["wavelength_file"], "--sigma-file", hints["sigma_file"], "--json"
    )
    assert code == 2, "a made-up spectrum, no star's: named as damaged"
    assert "noise of the file" in " ".join(json.loads(out)[0]["notes"])


def test_a_batch_goes_on_and_names_what_failed(run, star, tmp_path):
    picture = tmp_path / "picture.fits"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = run(picture, star, tmp_path / "missing.fits", "-R", 44_000)
    assert code == 2
    assert "velocity +62." in flat(out)
    errors = flat(err)
    assert f"error: {picture}: a PNG picture, not a spectrum" in errors
    assert f"2 of 3 files failed: {picture}, {tmp_path / 'missing.fits'}" in errors
    assert "Traceback" not in err
    code, out, _ = run(picture, star, "--json", "-R", 44_000)
    assert code == 2
    records = json.loads(out)
    assert [sorted(records[0]), records[1]["file"]] == [["error", "file"], str(star)]


def table(folder, flux, wave=WAVE, sigma=None):
    columns = {"wavelength": wave, "flux": flux} | ({} if sigma is None else {"sigma": sigma})
    hdu = fits.BinTableHDU(Table(columns, units={"wavelength": "Angstrom"}))
    hdu.writeto(folder / "bad.fits")
    return folder / "bad.fits"


def counts(sigma=0.01, wave=WAVE):
    return 1000 * (1 + sigma * np.random.default_rng(1).standard_normal(wave.size))


def nan_flux(folder):
    return table(folder, np.full(WAVE.size, np.nan))


def zero_flux(folder):
    return table(folder, np.zeros(WAVE.size))


def negative_flux(folder):
    return table(folder, -counts())


def constant_flux(folder):
    return table(folder, np.full(WAVE.size, 5.0))


def no_light(folder):
    return table(folder, np.random.default_rng(1).standard_normal(WAVE.size))


def microns_as_angstrom(folder):
    return table(folder, counts(), wave=WAVE / 1e4)


def far_away(folder):
    return table(folder, counts(), wave=WAVE + 1500)


def fifty_angstrom(folder):
    keep = (WAVE > 5160) & (WAVE < 5210)
    return table(folder, observatory.observe(WAVE[keep], 1000.0)[0], wave=WAVE[keep])


def few_pixels(folder):
    return table(folder, counts()[:30], wave=WAVE[1000:1030])


def picture(folder):
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return folder / "bad.png"


def empty(folder):
    (folder / "bad.fits").write_bytes(b"")
    return folder / "bad.fits"


def directory(folder):
    return folder


def missing(folder):
    return folder / "bad.fits"


BAD = [
    (nan_flux, "no pixel has a wavelength and a finite flux|all flux NaN"),
    (zero_flux, "no pixel has a wavelength and a finite flux|all flux zero"),
    (negative_flux, "fewer than 40 pixels with light"),
    (constant_flux, "fewer than 40 pixels with light"),
    (no_light, "fewer than 40 pixels with light"),
    (microns_as_angstrom, "outside 900 to"),
    (far_away, "covers 6540.0 to 6859.9 Å; 5050 to 5350 Å is needed"),
    (fifty_angstrom, r"covers \d+\.\d Å of the window 5050 to 5350 Å; at least 60 Å are needed"),
    (few_pixels, "fewer than 40 pixels with light"),
    (picture, "a PNG picture, not a spectrum"),
    (empty, "empty file"),
    (directory, "is a directory"),
    (missing, "does not exist"),
]


@pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_bad_input_is_one_line_with_the_file_and_code_2(make, reason, run, tmp_path):
    path = make(tmp_path)
    code, out, err = run(path, "--out", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: {path}: ")
    assert re.search(reason, err), err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--format", "pdf"], "format 'pdf': must be ecsv or fits"),
        (["--velocity", "1900"], "velocity 1900 km/s: must be between -1500 and 1500"),
        (["--velocity", "nan"], "velocity nan km/s: must be between -1500 and 1500"),
        (["--step", "0.01"], "pixel of 0.01 km/s: must be between 0.2 and 20"),
        (["--resolution", "-5"], "resolution -5"),
        (["--mask", "5184"], "mask '5184': must be two wavelengths in Å, such as 5183-5184.2"),
        (["--mask", "4000-4100"], "mask 4000-4100: outside of the window"),
        (["--mask", "5040-5330"], "at least 60 Å are needed"),
    ],
)
def test_settings_out_of_range_are_one_line(options, reason, run, star):
    code, out, err = run(star, *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert reason in err


def test_an_unwritable_folder_is_told_before_any_work(run, star, tmp_path, monkeypatch):
    monkeypatch.setattr("maury.preparation.many.prepare", lambda *_, **__: pytest.fail("worked first"))
    (tmp_path / "file").write_text("no folder")
    for option in ("--out", "--plot"):
        code, out, err = run(star, option, tmp_path / "file")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "cannot be written" in err
    if os.geteuid() != 0:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert run(star, "--out", tmp_path / "locked")[0] == 2


@pytest.mark.parametrize("sigma", [0.0, np.inf, np.nan])
def test_decreasing_wavelengths_and_errors_without_numbers_are_no_reason_to_fail(run, tmp_path, sigma):
    """The noise is measured then, and said to be."""
    star = observe(SUN, Instrument(44_000.0, 0.05), velocity_kms=-30, snr=80).single()
    table(tmp_path, star.flux[::-1], star.wavelength_aa[::-1], np.full(star.flux.size, sigma))
    code, out, _ = run(tmp_path / "bad.fits", "-R", 44_000, "--json")
    assert code == 0
    (record,) = json.loads(out)
    assert record["velocity_kms"] == pytest.approx(-30, abs=0.1)
    assert any(note.startswith("noise measured") for note in record["notes"])
