"""Calibration of refined posteriors: the measures against distributions that are known, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from maury.cli.app import main
from maury.emulator import load_cached
from maury.evaluation.calibration import tarp, tarp_curve
from maury.evaluation.recovery import Recovered
from maury.evaluation.refined import conformal, refined_bound
from maury.labels import FURTHER_ELEMENTS
from maury.likelihood.target import with_alpha
from maury.networks import load_posterior


def stars(width, count=600, seed=1):
    """TARP shares of posteriors of unit normals whose samples are ``width`` times too wide."""
    generator = np.random.default_rng(seed)
    shares = []
    for i in range(count):
        truth = generator.standard_normal(3)
        centre = truth + generator.standard_normal(3)
        samples = centre + width * generator.standard_normal((300, 3))
        shares.append(tarp(samples, truth, i))
    return np.array(shares)


def test_tarp_of_calibrated_and_of_narrow_posteriors():
    assert tarp_curve(stars(1.0))["p"] > 1e-3
    assert tarp_curve(stars(0.6))["p"] < 1e-6


def test_conformal_factors():
    """Errors half as large as they should be need a factor of 2."""
    generator = np.random.default_rng(2)
    truth = np.zeros((4000, 1))
    median = generator.standard_normal((4000, 1))
    recovered = Recovered(truth, median, truth, truth[:, 0], truth[:, 0])
    factors = conformal(recovered, np.full((4000, 1), 0.5), 0)
    assert factors["0.68"] == pytest.approx(2, abs=0.1)
    assert factors["0.95"] == pytest.approx(3.92, abs=0.2)


def test_alpha_joins_the_labels():
    names, labels = with_alpha(("mg", "ca", "ti"), torch.tensor([[0.3, 0.2, 0.1]]))
    assert names == ("mg", "ca", "ti", "alpha")
    assert float(labels[0, 3]) == pytest.approx(0.2)
    assert with_alpha(("teff",), torch.ones(1, 1))[0] == ("teff",)


def test_refined_errors_reach_the_bound():
    """White noise alone: posteriors are as narrow as the Cramer-Rao bound, not narrower, and errors suit them.

    Eight stars at two S/N: the scatter of a label is known within 18 %, that of all within 6 %.
    """
    network, _ = load_posterior("default")
    rows = refined_bound(network, load_cached(), 8, 500, 5, snrs=(30.0, 200.0))["labels"]
    scatter = {}
    for name, measured in rows.items():
        assert [row["error_ratio"] for row in measured] == pytest.approx([1, 1], abs=0.15), name
        scatter[name] = np.sqrt(np.mean([row["scatter_ratio"] ** 2 for row in measured]))
        assert (0.4 if name in FURTHER_ELEMENTS else 0.5) < scatter[name] < 1.65, name  # of some hardly known
    for name in ("teff", "logg", "mh", "mg"):
        assert np.mean([row["error_ratio"] for row in rows[name]]) == pytest.approx(1, abs=0.06)
    assert np.sqrt(np.mean(np.square(list(scatter.values())))) == pytest.approx(1, abs=0.2)


def test_command(tmp_path, capsys):
    few = ["--stars", "20", "--own-stars", "3", "--bound-stars", "0", "--target-ess", "50"]
    with pytest.raises(SystemExit) as stop:
        main(["validate", *few, "--out", str(tmp_path)])
    assert stop.value.code == 0
    report = json.loads((tmp_path / "calibration.json").read_text())
    assert report["simulated"]["n"] == 20
    assert report["unreliable_weights"] < 0.3
    inside = [label["coverage"]["0.95"] for label in report["simulated"]["labels"].values()]
    assert np.mean(inside) > 0.85
    own = report["own_errors"]["simulated"]
    assert own["n"] == 3
    assert own["nll"] != report["simulated"]["nll"]
    assert np.mean([label["coverage"]["0.95"] for label in own["labels"].values()]) > 0.85
    assert report["by"]["teff"] == [] or report["by"]["teff"][0]["n"] >= 20
    assert (tmp_path / "figures" / "coverage.png").is_file()
    assert "conformal" in capsys.readouterr().out


def test_a_network_without_posterior(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["calibrate", "starnet-spc", "--out", str(tmp_path)])
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert "maury calibrate is now maury validate" in printed
    assert "gives point estimates" in printed
