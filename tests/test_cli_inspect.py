"""`maury inspect`: everything shown, JSON for programs, a batch that goes on."""

import json

import pytest
import typer
from typer.testing import CliRunner

import observatory
from maury.cli.inspect import inspect


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(inspect)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def flat(text):
    return " ".join(text.split())


def test_the_table_shows_reader_rules_and_warnings(run, tmp_path):
    result = run(observatory.eso_phase3(tmp_path).path)
    assert result.exit_code == 0
    text = flat(result.output)
    for part in (
        "FITS table",
        "5040.00 to 5359.98 Å air, step 0.0200 Å",
        "topocentric, barycentric velocity +0.690 km/s",
        "resolution 42310",
        "ERR, a sigma",
        "rule 1 air wavelengths: WAVE em.wl;obs.atmos",
        "not divided out",
    ):
        assert part in text


def test_assumptions_stand_as_warnings(run, tmp_path):
    text = flat(run(observatory.hires(tmp_path).path).output)
    assert "warning the file does not say whether its wavelengths are in air or vacuum: air assumed" in text
    assert "read as relative error" in text


def test_json_holds_numbers(run, tmp_path):
    result = run("--json", observatory.ispec_fits(tmp_path).path)
    (entry,) = json.loads(result.stdout)
    assert entry["orders"] == 1
    assert entry["wavelength_aa"] == pytest.approx([5040.0, 5359.98])
    assert entry["step_aa"] == pytest.approx(0.02)
    assert entry["snr_sigma"] == pytest.approx(observatory.SNR, rel=0.05)
    assert 20 < entry["snr_measured"] < 1.1 * observatory.SNR  # lines lower it
    assert entry["normalised"] is True


def test_a_batch_goes_on_and_names_what_failed(run, tmp_path):
    good = observatory.linear_fits(tmp_path).path
    png = tmp_path / "picture.fits"
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    result = run(png, good, tmp_path / "missing.fits")
    assert result.exit_code == 2
    assert "1-D FITS image" in result.stdout
    errors = flat(result.stderr)
    assert f"error: {png}: a PNG picture, not a spectrum" in errors
    assert "does not exist" in errors
    assert f"2 of 3 files failed: {png}, {tmp_path / 'missing.fits'}" in errors


def test_a_batch_in_json_keeps_stdout_parsable(run, tmp_path):
    good = observatory.linear_fits(tmp_path).path
    result = run("--json", good, tmp_path / "missing.fits")
    assert result.exit_code == 2
    entries = json.loads(result.stdout)
    assert "error" not in entries[0]
    assert entries[1]["error"].endswith("does not exist")


def test_hints_reach_the_reader(run, tmp_path):
    expected = observatory.apf_raw(tmp_path)
    assert run(expected.path).exit_code == 2
    hints = expected.hints
    result = run(
        expected.path,
        "--wavelength-file",
        hints["wavelength_file"],
        "--sigma-file",
        hints["sigma_file"],
        "--resolution",
        95000,
    )
    assert result.exit_code == 0
    assert "resolution 95000" in flat(result.output)
    assert "sigma.npy, a sigma" in flat(result.output)
