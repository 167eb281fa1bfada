"""Benchmarks still run: each explains itself and makes its smoke run on inputs that it makes itself."""

import importlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())
NEEDS = {
    "app_first_result": ("playwright", "streamlit"),
    "catalogue_speed": ("pyarrow",),
    "cool_species": ("pysme",),
    "departures": ("pysme",),
    "metal_poor_atmospheres": ("pysme",),
    "onnx_points": ("onnx", "onnxruntime", "onnxscript"),
    "own_window": ("pysme",),
    "rare_earths": ("pysme",),
    "ray_tune": ("ray", "optuna"),
    "synthesis_agreement": ("pysme",),
    "tune_cluster": ("ray", "optuna"),
}
"""Packages of extras."""


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Run a benchmark in this process with options; temporary files go to the test's folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    known = set(sys.modules)

    def run(name, *options):
        for package in NEEDS.get(name, ()):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"needs {package}")
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        importlib.import_module(name).main()

    yield run
    torch.set_num_threads(1)
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in known:
            sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_explains_itself(script, benchmark, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark(script.stem, "--help")
    assert ended.value.code == 0
    assert script.name in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_makes_its_smoke_run(script, benchmark, capfd, tmp_path):
    """A script without `--smoke` fails here."""
    if script.stem == "app_first_result" and not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("needs an installed Chromium")
    benchmark(script.stem, "--smoke")
    if script.stem == "founding_training":
        report = json.loads(capfd.readouterr().out)
        assert report["maury"]["spectra_per_second"] > 0
        assert set(report) >= {"date", "machine", "peak_gflops"}
    if script.stem == "gpu":
        (written,) = tmp_path.rglob("gpu.json")
        report = json.loads(written.read_text())
        assert report["failed"] == []
        assert set(report) >= {"simulation", "prediction", "likelihood", "refinement", "training", "date", "seed"}
