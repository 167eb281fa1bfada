"""`maury predict` from the command line: what it prints, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from maury.readers import write
from maury.spectra import Observation
from nights import SUN, Instrument, observe
from patience import PATIENCE_S
from verbs import run


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    path = tmp_path_factory.mktemp("star") / "star.ecsv"
    assert run("emulator", "star", "--teff", 5900, "--logg", 4.3, "--mh", -0.2, "--snr", 100, "-o", path) == 0
    return path


def test_the_table_says_what_was_done(star, capsys):
    assert run("predict", star, "--labels", "abundances", "--prior", "logg=4.3+-0.1") == 0
    printed = capsys.readouterr().out
    for text in (
        "teff",
        "mg_fe",
        "effective samples",
        "reduced chi-square",
        "effective after weighting by priors",
        "flags:",
    ):
        assert text in printed


def test_json_has_the_keys_that_are_promised(star, capsys):
    assert run("predict", star, "--json", "--labels", "alpha") == 0
    (record,) = json.loads(capsys.readouterr().out)
    wanted = {"file", "status", "teff", "teff_err", "logg", "logg_err", "mh", "mh_err", "vsini", "vsini_err",
              "vsini_upper", "alpha", "alpha_err", "chi2", "flags", "model"}  # fmt: skip
    assert wanted <= set(record)
    assert record["teff"] == pytest.approx(5900, abs=4 * record["teff_err"])
    assert record["model"] == "default"


def test_masks_are_left_out_and_told(star, capsys):
    assert run("predict", star, "--mask", "5183-5184.2", "--mask", "5166-5175", "--samples", 200) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "masked: 5166-5175, 5183-5184.2 Å at rest" in printed


def test_a_reference_is_prepared_once_for_all_stars(tmp_path, monkeypatch, capsys):
    from maury.inference import Reference
    from maury.readers import write
    from nights import SUN, Instrument, observe

    made, of = [], Reference.of
    monkeypatch.setattr(Reference, "of", lambda *arguments: made.append(arguments) or of(*arguments))
    sun = observe({**SUN, "vmic": 1.0, "vsini": 1.6}, Instrument(60_000.0, 0.04), snr=200)
    for name in ("sun", "a", "b"):
        write(sun, tmp_path / f"{name}.fits")
    options = ("--reference", tmp_path / "sun.fits", "-R", 60000, "--samples", 200, "--json")
    assert run("predict", tmp_path / "a.fits", tmp_path / "b.fits", *options) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["teff"] == second["teff"] == pytest.approx(5772, abs=30)
    assert len(made) == 1
    assert run("predict", tmp_path / "a.fits", *options, "--no-refine") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prior", "gravity=4"), "no label 'gravity'"),
        (("--prior", "logg=4.3+-0"), "its error 0 must be finite and above 0"),
        (("--mask", "5184-5183"), "mask 5184-5183: both ends must be finite, in Å, the lower first"),
        (("--mask", "6000-6010"), "outside of the window 5050 to 5350"),
        (("--resolution", "high"), "give a number, R = lambda / FWHM, or auto"),
        (("--relation", "gray"), "no relation 'gray'"),
        (("--labels", "all"), "no set of labels 'all'"),
        (("--reference-labels", "teff=hot"), "is no label=number"),
        (("--reference", "nowhere.fits"), "nowhere.fits"),
        (("--out", "table.json"), "table.json: unknown ending .json; allowed: .ecsv, .csv"),
    ],
)
def test_mistakes_are_one_line(star, options, message, capsys):
    assert run("predict", star, *options) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_a_figure_that_fails_loses_no_star(star, tmp_path, monkeypatch, capsys):
    def fail(_):
        raise ValueError("nothing to draw")

    monkeypatch.setattr("maury.plots.plot_result", fail)
    options = ("--no-refine", "--plot", tmp_path / "figures", "--out", tmp_path / "table.csv")
    assert run("predict", star, star, *options) == 2
    seen = capsys.readouterr()
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3
    assert seen.err.count("nothing to draw") == 2


HEAVY = {
    "ray", "optuna", "lightning", "torchmetrics", "tensorboard", "matplotlib", "pandas", "specutils", "streamlit",
    "plotly", "pysme", "pyarrow", "zarr", "onnx", "onnxscript", "onnxruntime", "sympy", "scipy.stats", "scipy.signal",
    "astropy.table",
}  # fmt: skip


def test_nothing_heavy_is_imported(tmp_path):
    """A star in a FITS file to its table by a process of its own: what it does not need would only make it wait."""
    seen = observe(SUN, Instrument(), velocity_kms=25.0)
    write(Observation(tuple(o.with_(resolution=60_000.0) for o in seen.orders), None, {}), tmp_path / "star.fits")
    code = (
        "import json, sys; from maury.cli.app import app; "
        f"app(['predict', {str(tmp_path / 'star.fits')!r}], standalone_mode=False); "
        f"json.dump(sorted(sys.modules), open({str(tmp_path / 'modules.json')!r}, 'w'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "velocity +25.0" in done.stdout
    assert HEAVY.isdisjoint(json.loads((tmp_path / "modules.json").read_text()))
