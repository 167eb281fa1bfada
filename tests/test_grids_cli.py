"""`maury grid`: building, describing, and one line with exit code 2 for a user's mistake."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_emulator
from maury.cli.app import main
from maury.files import sha256
from maury.grids import GridConfig, encode, open_grid, spc, write_grid


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "emulator.safetensors"
    tiny_emulator().save(path)
    return path


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `maury grid`."""
    with pytest.raises(SystemExit) as caught:
        main(["grid", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_build_then_info(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spc.h5"
    limits = ["--teff", 6000, 6250, "--logg", 0, 1, "--mh", 0, 0.5, "--vsini", 0, 2]
    code, out, _ = _run(capsys, "build", "--emulator", model, "--out", path, *limits)
    assert (code, re.sub(r"\d+ MB, \d+ s", "", out)) == (0, f"{path}: 30 spectra of 7,447 pixels, \n")
    assert open_grid(path).attributes["emulator_digest"] == sha256(model)
    code, out, _ = _run(capsys, "info", path)
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[:5] == [
        ["30", "spectra", "by", "Teff", "(K)", "and", "log", "g"],
        ["Teff", "0.0", "0.5", "1.0", "all"],
        ["6000", "6", "6", "6", "18"],
        ["6250", "6", "6", "12"],
        ["all", "6", "12", "12", "30"],
    ]
    assert "resolution: 44000, limb darkening 0.6" in out
    assert "split random: 22 train, 8 validation, seed 0" in out
    assert "split block: 21 train, 9 validation, seed 0" not in out
    assert "split block: 24 train, 6 validation, seed 0" in out
    assert sha256(model) in out


def test_info_of_the_full_grid_prints_the_founding_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "full.h5"
    labels = spc.labels(GridConfig())
    splits = {"random": spc.random_split(len(labels), 0), "block": spc.block_split(labels, 0)}
    chunks = encode(np.full((1, 8), 20_000, np.uint16)) * len(labels)
    write_grid(path, np.linspace(5050, 5350, 8), labels, chunks, splits, 0, {"resolution": 44_000.0})
    code, out, _ = _run(capsys, "info", path)
    totals = {row[0]: row[-1] for row in (line.split() for line in out.splitlines()[2:29])}
    expected = {3500: "2,233", 6000: "2,233", 6250: "2,030", 7500: "2,030", 7750: "1,827", 8250: "1,827"}
    expected |= {8500: "1,624", 9000: "1,624", 9250: "1,421", 9750: "1,421"}
    assert code == 0
    assert {teff: totals[str(teff)] for teff in expected} == expected
    assert totals["all"] == "51,359"
    assert "203" in out.splitlines()[2]
    assert "split random: 38,519 train, 12,840 validation" in out
    assert max(map(len, out.splitlines()[:29])) <= 80


def test_info_of_scattered_spectra_stays_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scattered.h5"
    labels = np.random.default_rng(1).uniform(spc.SPACE.lower, spc.SPACE.upper, (60, 4))
    splits = {"random": spc.random_split(60, 0), "block": spc.block_split(labels, 0)}
    chunks = encode(np.full((1, 8), 20_000, np.uint16)) * 60
    write_grid(path, np.linspace(5050, 5350, 8), labels, chunks, splits, 0, {"resolution": 44_000.0})
    code, out, _ = _run(capsys, "info", path)
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[1][:3] == ["Teff", "0.0", "0.5"]
    assert rows[2][0] == "3500"
    assert rows[3][0] == "4000"
    assert len(rows) < 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pixels", 7448], "options: pixels = 7448: Input should be 7447 or 29788"),
        (["--preset", "apogee"], "options: preset = 'apogee': Input should be 'spc'"),
        (["--resolution", 200_000], "options: resolution = 200000.0: Input should be less than or equal to 115000"),
        (
            ["--teff", 5010, 5090],
            "options: teff = (5010.0, 5090.0): Value error, no node in this range; nodes lie between 3500 and 9750",
        ),
        (
            ["--teff", 9500, 9750, "--logg", 0, 1],
            "no node has teff 9500 to 9750 K and logg 0 to 1; lowest logg there: 2",
        ),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], options: list[object], message: str
) -> None:
    code, out, err = _run(capsys, "build", "--emulator", model, "--out", tmp_path / "spc.h5", *options)
    assert (code, out, err) == (2, "", f"error: {message}\n")
    assert os.listdir(tmp_path) == []


def test_unreadable_inputs_and_outputs_are_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = tmp_path / "none.h5"
    assert _run(capsys, "info", none) == (2, "", f"error: {none}: no such file\n")
    assert _run(capsys, "build", "--emulator", none, "--out", none) == (2, "", f"error: {none}: no such file\n")
    none.write_bytes(b"\x89HDF")
    code, _, err = _run(capsys, "info", none)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = _run(capsys, "build", "--emulator", model, "--out", none / "spc.h5", "--teff", 5000, 5000)
    assert (code, err.splitlines()[-1].startswith(f"error: {none / 'spc.h5'}: cannot be written")) == (2, True)


def test_packaged_emulator_makes_stars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sun.h5"
    limits = ["--teff", 5750, 5750, "--logg", 4.5, 4.5, "--mh", -1, 0]
    assert _run(capsys, "build", "--out", path, *limits)[0] == 0
    grid = open_grid(path)
    flux = grid.read_flux().reshape(3, 29, -1) * grid.scale
    depth = 1 - flux
    # Mg b2 at rest, at 5172.68 Å, is the strongest line hereabouts and fills in with rotation.
    core = np.abs(grid.wavelength_aa - 5172.684).argmin()
    assert flux[2, 0, core] < 0.25
    assert flux[2, 0, core] + 0.2 < flux[2, -1, core]
    # Metals deepen the spectrum; rotation moves absorption about and destroys none.
    assert (np.diff(depth.mean(2), axis=0) > 0.01).all()
    middle = depth[:, :, 300:-300].mean(2)
    assert np.abs(middle / middle[:, :1] - 1).max() < 0.02
