"""Benchmarks still run: each explains itself, and those with a smoke run make it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_imports_what_it_needs(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert script.name in capsys.readouterr().out


def smoke(script, *options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(BENCHMARKS / script), "--smoke", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_training_of_the_founding_network_is_still_measured():
    report = json.loads(smoke("founding_training.py", "--threads", "1"))
    assert report["maury"]["spectra_per_second"] > 0
    assert set(report) >= {"date", "machine", "peak_gflops"}


def test_the_gpu_script_runs_all_its_parts_on_a_cpu(tmp_path):
    smoke("gpu.py", "--out", str(tmp_path / "gpu.json"))
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["failed"] == []
    assert set(report) >= {"simulation", "prediction", "likelihood", "refinement", "training", "date", "seed"}
