"""What goes into a paper: tables for journals, and what to cite."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy.table import Table

from maury import predict
from maury.inference import to_table, write_table
from nights import SUN, Instrument, observe
from verbs import run


@pytest.fixture(scope="module")
def results(one_thread):
    sun = observe(SUN, Instrument(60_000.0, 0.04), snr=100)
    fast = observe({**SUN, "teff": 6300.0, "mh": -2.3, "vsini": 60.0}, Instrument(60_000.0, 0.04), snr=60)
    given = {"resolution": 60_000.0, "labels": "abundances:ni,mg", "samples": 1000}
    return [predict(sun, **given), predict(fast, velocity_kms=0.0, **given)]


def test_a_table_for_latex_has_values_and_uncertainties(results, tmp_path):
    write_table(results, tmp_path / "stars.tex")
    text = (tmp_path / "stars.tex").read_text()
    assert text.startswith(r"\begin{deluxetable}")
    first, second = text.split(r"\startdata")[1].split(r"\enddata")[0].strip().split("\\\\\n")
    teff = results[0].record()
    assert rf"${teff['teff']:.0f} \pm {teff['teff_err']:.0f}$" in first
    assert r"\nodata" in second  # nickel, on which it has no information
    assert second.count("&") == first.count("&") == len(results[0].values) + 1
    assert r"\colhead{km\,s$^{-1}$}" in text


def test_a_machine_readable_table_comes_back(results, tmp_path):
    write_table(results, tmp_path / "stars.mrt")
    back, own = Table.read(tmp_path / "stars.mrt", format="ascii.mrt"), to_table(results)
    assert back.colnames == own.colnames
    for name in ("teff", "logg_err", "mg_fe", "rv_kms"):
        assert np.asarray(back[name]) == pytest.approx(own[name].value, abs=1e-4)
    assert back["ni_fe"].mask.tolist() == [False, True]
    assert str(back["teff"].unit) == "K"
    assert "dex" in back["mg_fe"].description


def test_what_to_cite(capsys):
    assert run("cite") == 0
    printed = capsys.readouterr().out
    entries = re.findall(r"^@(\w+)\{(\w+),(.*?)^\}", printed, re.M | re.S)
    assert len({key for _, key, _ in entries}) == len(entries) > 10
    for kind, key, body in entries:
        assert re.search(r"author = \{.+\}", body), key
        assert re.search(r"year = \{\d{4}\}", body), key
        assert kind == "software" or re.search(r"(doi|eprint) = \{\S+\}", body), key
    assert "@VERSION@" not in printed
