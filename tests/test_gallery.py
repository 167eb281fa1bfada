"""The gallery of the documentation shows every script it has; the build of the documentation runs them."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
SCRIPTS = {path.stem for path in (DOCS / "gallery").glob("*.py")} - {"sunlike"}


def test_every_script_is_shown():
    shown = re.findall(r"```\{gallery\} (\w+)", (DOCS / "gallery.md").read_text("utf-8"))
    assert sorted(shown) == sorted(SCRIPTS)
    assert len(SCRIPTS) >= 10


def test_a_script_runs_and_its_figure_is_what_it_says(monkeypatch):
    """The posterior of the gallery is narrower once log g is known, in log g and in what goes with it."""
    monkeypatch.setattr(sys, "path", [str(DOCS / "gallery"), *sys.path])
    made = runpy.run_path(str(DOCS / "gallery" / "corner.py"))
    before, after = (np.std(values, axis=0) for values in made["posteriors"].values())
    assert after[1] < 0.6 * before[1]
    assert after[0] < 0.95 * before[0]
    assert before[0] == pytest.approx(31, rel=0.2)
    assert len(made["figure"].axes) == 25
