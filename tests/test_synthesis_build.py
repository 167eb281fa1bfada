"""Building a library: parts, a kill half-way, failures that are listed, the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import synthesizers
from maury.cli.app import app, main
from maury.errors import DomainError, SynthesisError
from maury.library import read_libraries, read_library
from maury.synthesis import SynthesisConfig, build_library, make_plan
from synthesis_inputs import atmosphere_folder, synthesis_folder

pytest.importorskip("pysme", reason="needs the extra 'synthesis'")


def slopes(lines, wavelength, physics, cool):
    """Stand-ins for PySME in the workers."""
    return synthesizers.Slope, (wavelength, os.environ.get("MARKS"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthesis_folder(tmp_path_factory.mktemp("inputs"))


def write_labels(path, teffs):
    path.write_text("teff,logg,mh,vmic\n" + "".join(f"{teff},4.5,-0.5,1.0\n" for teff in teffs))


def settings(folder, teffs, **more):
    write_labels(folder / "labels.csv", teffs)
    design = {"kind": "table", "file": str(folder / "labels.csv")}
    files = {"line_list": str(folder / "a.lin"), "atmospheres": str(folder / "models")}
    return SynthesisConfig(**files, design=design, window=(5060.0, 5062.0), step=0.05, **more)


def test_a_library_that_others_read(tmp_path, folder, workers):
    teffs = [5000, 5100, 5200]
    plan = make_plan(settings(folder, teffs), workers)
    done = []
    assert build_library(tmp_path / "lib.h5", plan, workers, done.append, make=slopes) == []
    library = read_library(tmp_path / "lib.h5")
    assert sum(done) == 3
    np.testing.assert_array_equal(library.labels[:, 0], teffs)
    np.testing.assert_allclose(library.flux().mean(1), [0.5, 0.501, 0.502], atol=3e-5)
    np.testing.assert_array_equal(library.wavelength_aa, plan.config.wavelength_aa)
    assert library.extrapolated.tolist() == [False] * 3
    assert json.loads(library.attributes["window"]) == [5060.0, 5062.0]
    digests = {
        Path(plan.lines.source).name: plan.lines.digest,
        Path(plan.atmospheres.source).name: plan.atmospheres.digest,
    }
    assert json.loads(library.attributes["digests"]) == digests
    assert library.attributes["recipe_digest"] == plan.config.recipe_digest
    assert library.attributes["code"].startswith("PySME 1.2")
    again = SynthesisConfig.model_validate_json(library.attributes["settings"])
    assert again == plan.config
    assert os.listdir(tmp_path) == ["lib.h5"]


def test_failures_are_listed_and_leave_no_hole(tmp_path, folder, workers):
    plan = make_plan(settings(folder, [5000, 5001, 5003, 5004, 5100]), workers)
    failures = build_library(tmp_path / "lib.h5", plan, workers, make=slopes)
    assert [f.row for f in failures] == [2, 3, 4]
    assert [f.reason for f in failures] == [
        "crashed with SIGSEGV",
        "the flux is not finite",
        "ArithmeticError: no convergence",
    ]
    library = read_library(tmp_path / "lib.h5")
    np.testing.assert_array_equal(library.labels[:, 0], [5000, 5100])
    np.testing.assert_allclose(library.flux().mean(1), [0.5, 0.501], atol=3e-5)
    with h5py.File(tmp_path / "lib.h5") as file:
        assert file["failures"]["row"].tolist() == [2, 3, 4]
        assert file["failures"]["teff"].tolist() == [5001, 5003, 5004]
        assert file["failures"]["reason"][0] == b"crashed with SIGSEGV"


def test_nothing_but_failures_is_an_error(tmp_path, folder, workers):
    plan = make_plan(settings(folder, [5003, 5004]), workers)
    with pytest.raises(SynthesisError, match=r"not one of 2 spectra could be made: row 1 \(teff 5003.*not finite"):
        build_library(tmp_path / "lib.h5", plan, workers, make=slopes)
    assert os.listdir(tmp_path) == []


def test_extrapolated_gravities_are_recorded_also_when_joined(tmp_path, folder, workers):
    models = atmosphere_folder(tmp_path / "models", logg=(4.5, 5.0))
    config = settings(folder, [5000, 5100]).model_copy(update={"atmospheres": str(models), "extrapolate_logg": True})
    (folder / "labels.csv").write_text("teff,logg,mh\n5200,4.3,0\n5200,4.6,0\n")
    plan = make_plan(config, workers)
    assert "log g of 1 spectra lies below the lowest models" in plan.notes[-1]
    build_library(tmp_path / "a.h5", plan, workers, make=slopes)
    assert read_library(tmp_path / "a.h5").extrapolated.tolist() == [True, False]
    build_library(tmp_path / "b.h5", make_plan(settings(folder, [5300]), workers), workers, make=slopes)
    assert read_libraries([tmp_path / "b.h5", tmp_path / "a.h5"]).extrapolated.tolist() == [False, True, False]
    (folder / "labels.csv").write_text("teff,logg,mh\n5200,4.3,0\n")
    with pytest.raises(DomainError, match=r"logg = 4\.3 is outside 4\.5 to 5"):
        make_plan(config.model_copy(update={"extrapolate_logg": False}), workers)


SCRIPT = """
import sys, test_synthesis_build as t
from maury.synthesis import SynthesisConfig, Workers, build_library, make_plan
config = SynthesisConfig.model_validate_json(sys.argv[1])
with Workers(2) as workers:
    build_library(sys.argv[2], make_plan(config, workers), workers, notify=print, make=t.slopes)
"""


def test_killed_half_way_it_goes_on_with_nothing_lost_or_doubled(tmp_path, folder):
    teffs = list(range(5010, 5130, 3))
    config = settings(folder, teffs)
    marks = tmp_path / "marks"
    marks.mkdir()
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": paths, "MARKS": str(marks), "SLOW": "0.05"}
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), str(tmp_path / "lib.h5")]
    shards = tmp_path / ".lib.h5.shards"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(list(shards.glob("*.npz"))) < 12:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list(shards.glob("*.npz")))
    assert 12 <= before < len(teffs)
    (shards / ".000003.npz.1.tmp").write_bytes(b"half")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{before} of {len(teffs)} parts are there" in done.stdout
    library = read_library(tmp_path / "lib.h5")
    np.testing.assert_array_equal(library.labels[:, 0], teffs)
    np.testing.assert_allclose(library.flux().mean(1), 0.5 + 1e-5 * (np.array(teffs) - 5000), atol=3e-5)
    assert not shards.exists()
    made = sum(len(file.read_text()) for file in marks.iterdir())
    assert len(teffs) <= made <= len(teffs) + 2  # of those under way at the kill, one in each worker


def test_parts_of_other_settings_are_not_used(tmp_path, folder, workers):
    config = settings(folder, [5000, 5200])
    plan = make_plan(config, workers)
    shards = tmp_path / ".lib.h5.shards"
    messages = []
    with pytest.raises(KeyboardInterrupt):
        build_library(tmp_path / "lib.h5", plan, workers, _interrupt, messages.append, slopes)
    assert len(list(shards.glob("*.npz"))) >= 1
    other = make_plan(settings(folder, [5000, 5100]), workers)
    build_library(tmp_path / "lib.h5", other, workers, lambda n: None, messages.append, slopes)
    assert messages == ["an interrupted build with other settings or inputs was found: starting anew"]
    assert len(read_library(tmp_path / "lib.h5")) == 2


def _interrupt(count):
    raise KeyboardInterrupt


def run(*arguments):
    return CliRunner().invoke(app, ["synthesize", *map(str, arguments)])


def test_command_line_from_files_to_a_library(tmp_path, folder):
    write_labels(folder / "labels.csv", [5200, 5400])
    options = ["--line-list", folder / "a.lin", "--atmospheres", folder / "models", "--window", 5062, 5082]
    result = run("--labels", folder / "labels.csv", *options, "--out", tmp_path / "lib.h5", "--workers", 2)
    assert result.exit_code == 0, result.output
    library = read_library(tmp_path / "lib.h5")
    assert len(library) == 2
    assert 0.1 < library.flux().min() < 0.9
    assert library.wavelength_aa[0] < 5057.3


def test_settings_file_and_options(tmp_path, folder):
    (tmp_path / "s.toml").write_text(
        f'line_list = "{folder / "a.lin"}"\natmospheres = "{folder / "models"}"\nwindow = [5062, 5082]\nstep = 0.1\n'
        '[design]\nkind = "nodes"\nvalues = { teff = [5200, 5400], logg = [4.5], mh = [0], alpha = [0, 0.3] }\n'
        '[physics]\nsampling = "adaptive"\n'
    )
    result = run(tmp_path / "s.toml", "--sampling", "uniform", "--out", tmp_path / "lib.h5")
    assert result.exit_code == 0, result.output
    library = read_library(tmp_path / "lib.h5")
    assert library.names == ("teff", "logg", "mh", "vmic", "alpha")
    assert "uniform sampling" in library.attributes["code"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--line-list": "absent.lin"}, r"absent.lin: cannot be read: No such file"),
        ({"--line-list": "labels.csv"}, "not a line list of VALD"),
        ({"--atmospheres": "nowhere"}, "nowhere: no such folder or archive of model atmospheres"),
        ({"--window": (7000, 7010)}, "do not cover the window 7000.00 to 7010.00"),
        ({"--labels": "hot.csv"}, "1 of 1 rows lie outside the model atmospheres"),
        ({"--sampling": "often"}, "physics.sampling = 'often'"),
        ({"--workers": 0}, "workers = 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, folder, monkeypatch, capsys, change, message):
    monkeypatch.chdir(folder)
    write_labels(folder / "labels.csv", [5200])
    write_labels(folder / "hot.csv", [8000])
    options = {"--labels": "labels.csv", "--line-list": "a.lin", "--atmospheres": "models", "--window": (5062, 5082)}
    flat = []
    for name, value in (options | change | {"--out": tmp_path / "x.h5"}).items():
        flat += [name, *map(str, value if isinstance(value, tuple) else (value,))]
    with pytest.raises(SystemExit) as stop:
        main(["synthesize", *flat])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_without_pysme_the_extra_is_named(tmp_path, folder, monkeypatch, capsys):
    (tmp_path / "pysme").mkdir()
    (tmp_path / "pysme" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'pysme'\")")
    monkeypatch.syspath_prepend(tmp_path)
    write_labels(folder / "labels.csv", [5200])
    options = ["--line-list", folder / "a.lin", "--atmospheres", folder / "models", "--window", 5062, 5082]
    with pytest.raises(SystemExit) as stop:
        main(["synthesize", "--labels", f"{folder}/labels.csv", *map(str, options), "--out", f"{tmp_path}/l.h5"])
    assert stop.value.code == 2
    assert "error: synthesis needs PySME; install it with: pip install 'maury[synthesis]'" in capsys.readouterr().err


def test_failures_on_the_command_line(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setattr("maury.synthesis.build_library", lambda *args: build_library(*args[:5], make=slopes))
    write_labels(folder / "labels.csv", [5000, 5003, 5100])
    options = ["--line-list", folder / "a.lin", "--atmospheres", folder / "models", "--window", 5062, 5082]
    with pytest.raises(SystemExit) as stop:
        main(
            ["synthesize", "--labels", str(folder / "labels.csv"), *map(str, options), "--out", str(tmp_path / "l.h5")]
        )
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert "row 2 (teff 5003, logg 4.5" in printed
    assert "1 of 3 spectra could not be made" in printed
    assert len(read_library(tmp_path / "l.h5")) == 2
