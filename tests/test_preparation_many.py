"""Many files: their order kept, the same by two processes as by one, failures among the results."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest

import observatory
from maury.errors import ConfigError
from maury.preparation.many import Options, prepare_files
from maury.readers import read, write
from nights import K_DWARF, OLD_GIANT, SUN, Instrument, observe
from verbs import run

COARSE = Instrument(44_000.0, 0.05)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    paths = []
    for i, labels in enumerate((SUN, K_DWARF, OLD_GIANT)):
        paths.append(folder / f"star{i}.fits")
        write(observe(labels, COARSE, velocity_kms=10.0 * i, snr=60, seed=i), paths[-1])
    paths.insert(1, folder / "nothing.fits")
    paths[1].write_bytes(b"")
    return paths


HINTS = {"resolution": 44_000.0}


def test_two_processes_give_what_one_gives_in_the_same_order(files, tmp_path):
    results = {}
    for workers in (1, 2):
        options = Options(HINTS, {}, tmp_path / str(workers), keep=True)
        results[workers] = list(prepare_files(files, options, workers))
    for one, other in zip(results[1], results[2], strict=True):
        assert one.file == other.file
        assert one.error == other.error
        assert one.record.keys() == other.record.keys()
        if one.error is None:  # other processes may round otherwise: a small part of the noise, 0.02
            assert one.record["velocity_kms"] == pytest.approx(other.record["velocity_kms"], abs=2e-3)
            assert one.record["template"] == pytest.approx(other.record["template"], rel=1e-3, abs=0.02)
            assert one.record["flags"] == other.record["flags"]
            np.testing.assert_allclose(one.preparation.spectrum.flux, other.preparation.spectrum.flux, atol=1e-3)
            np.testing.assert_allclose(read(one.written).single().flux, read(other.written).single().flux, atol=1e-3)
    assert [result.file for result in results[1]] == files
    velocities = [result.record["velocity_kms"] for result in results[1] if result.error is None]
    assert velocities == pytest.approx([0, 10, 20], abs=0.1)


def test_a_file_that_fails_is_a_result_in_one_line(files, tmp_path):
    results = list(prepare_files(files, Options(HINTS, {}, tmp_path, "fits")))
    assert [result.error is None for result in results] == [True, False, True, True]
    failed = results[1]
    assert failed.error == f"{files[1]}: empty file"
    assert (failed.record, failed.written, failed.preparation) == ({}, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["star0.fits", "star1.fits", "star2.fits"]
    assert read(results[0].written).frame == "rest"
    assert results[0].preparation is None


def test_without_a_folder_nothing_is_written(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (result,) = prepare_files(files[:1], Options(HINTS))
    assert result.written is None
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_before_the_first_file(files):
    with pytest.raises(ConfigError, match="velocity 1900 km/s"):
        list(prepare_files(files, Options(HINTS, {"velocity_kms": 1900.0})))


def test_an_input_is_never_overwritten(files):
    before = files[0].read_bytes()
    with pytest.raises(ConfigError, match=r"star0\.fits: is an input and would be overwritten"):
        list(prepare_files(files, Options(HINTS, {}, files[0].parent, "fits")))
    assert files[0].read_bytes() == before


def test_two_files_of_one_name_are_refused(tmp_path):
    paths = []
    for night in ("a", "b"):
        (tmp_path / night).mkdir()
        paths.append(observatory.linear_fits(tmp_path / night).path)
    with pytest.raises(ConfigError, match=r"a/a\.fits and .*b/a\.fits: both would be written as a; use two folders"):
        list(prepare_files(paths, Options(HINTS, {}, tmp_path / "out")))
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Deadly(Options):
    """Options with which ``star1`` kills the worker process that prepares it, as a machine without memory does."""

    parent: int = field(default_factory=os.getpid)

    def target(self, file):
        if file.stem == "star1" and os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().target(file)


def test_a_killed_worker_costs_its_own_file_alone(files, monkeypatch, capsys):
    """One line for that file, the others have results, exit code 2; relative names count from here."""
    monkeypatch.setattr("maury.preparation.many.Options", Deadly)
    monkeypatch.chdir(files[0].parent)
    names = [path.name for path in files if path.stem.startswith("star")]
    assert run("prepare", "-R", 44_000, "--workers", 2, *names) == 2
    printed = capsys.readouterr()
    assert "error: star1.fits: crashed with SIGKILL\n" in printed.err
    assert printed.err.count("error: star") == 1
    assert [name in printed.out for name in names] == [True, False, True]
