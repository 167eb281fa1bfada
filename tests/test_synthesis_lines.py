"""Line lists of VALD: layouts, medium, units, damage."""

import numpy as np
import pytest

from maury.errors import DomainError, FormatError
from maury.synthesis import read_atmospheres, read_lines, synthesize
from maury.wavelengths import air_to_vacuum
from synthesis_inputs import LINES, atmosphere_folder, vald_short, vald_stellar

pytest.importorskip("pysme", reason="needs the extra 'synthesis'")


def test_short_list_of_all(tmp_path, workers):
    lines = read_lines(vald_short(tmp_path / "a.lin"), workers)
    assert len(lines) == len(LINES)
    assert (np.diff(lines.wavelength_aa) > 0).all()
    assert lines.species[0] == "Fe 1"
    assert lines.log_gf[0] == -2.0
    assert (lines.layout, lines.span, lines.notes) == ("short", (5055.0, 5195.0), ())
    assert len(lines.within(5060, 5080)) == 7


@pytest.mark.parametrize("layout", ["short", "long"])
def test_extracts_for_a_star(tmp_path, workers, layout):
    everything = read_lines(vald_short(tmp_path / "a.lin"), workers)
    lines = read_lines(vald_stellar(tmp_path / "s.lin", layout), workers)
    assert (lines.layout, lines.span) == (layout, (5050.0, 5200.0))
    for name in ("species", "wlcent", "excit", "gflog", "gamrad", "gamqst", "gamvw"):
        np.testing.assert_array_equal(lines.columns[name], everything.columns[name])
    assert ("e_upp" in lines.columns) == (layout == "long")
    text = (tmp_path / "s.lin").read_text()
    cut = text[: text.index("'Fe 1', 5195")]
    (tmp_path / "s.lin").write_text(cut)
    with pytest.raises(FormatError, match=r"s\.lin: "):
        read_lines(tmp_path / "s.lin", workers)


def test_long_format_makes_spectra(tmp_path, workers):
    short = read_lines(vald_short(tmp_path / "a.lin"), workers)
    long = read_lines(vald_stellar(tmp_path / "s.lin", "long"), workers)
    atmospheres = read_atmospheres(atmosphere_folder(tmp_path / "models"))
    wavelength = np.arange(5060.0, 5080.0, 0.02)
    star = [5500.0, 4.5, 0.0, 1.0] + [0.0] * 6
    a, b = (synthesize(lines, atmospheres, [star], wavelength, workers=workers).flux for lines in (short, long))
    assert a.min() < 0.5
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_vacuum_becomes_air_and_is_noted(tmp_path, workers):
    air = read_lines(vald_short(tmp_path / "a.lin"), workers)
    text = (tmp_path / "a.lin").read_text().replace("WL_air(A)", "WL_vac(A)")
    for wave in air.wavelength_aa:
        text = text.replace(f"{wave:.5f}", f"{float(air_to_vacuum(wave)):.5f}")
    (tmp_path / "v.lin").write_text(text)
    vacuum = read_lines(tmp_path / "v.lin", workers)
    np.testing.assert_allclose(vacuum.wavelength_aa, air.wavelength_aa, atol=1e-5)
    assert vacuum.notes == ("wavelengths converted from vacuum to air",)


def test_nanometres_become_angstroms(tmp_path, workers):
    text = vald_short(tmp_path / "a.lin").read_text().replace("WL_air(A)", "WL_air(nm)")
    for _, wave, *_ in LINES:
        text = text.replace(f"{wave:.5f}", f"{wave / 10:.6f}")
    (tmp_path / "n.lin").write_text(text)
    lines = read_lines(tmp_path / "n.lin", workers)
    assert lines.span == pytest.approx((5055.0, 5195.0))
    assert lines.notes == ("wavelengths converted from nm to Å",)


def test_other_strengths(tmp_path, workers):
    lines = read_lines(vald_short(tmp_path / "a.lin"), workers)
    other = lines.with_log_gf(lines.log_gf + 0.1)
    np.testing.assert_allclose(other.log_gf - lines.log_gf, 0.1)
    with pytest.raises(DomainError, match="log_gf must be 12 finite numbers"):
        lines.with_log_gf([1.0])


def test_window_must_be_covered(tmp_path, workers):
    lines = read_lines(vald_short(tmp_path / "a.lin"), workers)
    lines.require(5060.0, 5190.0)
    with pytest.raises(DomainError, match=r"5055.00 to 5195.00 Å do not cover the window 6000.00 to 6010.00 Å"):
        lines.require(6000.0, 6010.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("WL_air(A)", "WL_air(cm^-1)", r"wavelengths are given in cm\^-1"),
        ("WL_air(A)", "Lambda", "not a line list of VALD"),
        ("5079.22300", "nan", "wlcent of spectral line 7 is not a finite number"),
        ("2.1980", "word", "excit of spectral line 7 is not a finite number: word"),
    ],
)
def test_other_formats_are_named(tmp_path, workers, old, new, message):
    path = tmp_path / "x.lin"
    path.write_text(vald_short(tmp_path / "a.lin").read_text().replace(old, new))
    with pytest.raises(FormatError, match=rf"x\.lin: .*{message}"):
        read_lines(path, workers)


def test_absent_file(tmp_path):
    with pytest.raises(FormatError, match=r"none\.lin: cannot be read: No such file"):
        read_lines(tmp_path / "none.lin")


@pytest.mark.shared
def test_the_list_of_the_shared_library(shared, workers):
    lines = read_lines(shared / "data/linelists/mgb_5035_5365_air.lin", workers)
    assert len(lines) == 23_517
    assert {"MgH 1", "C2 1", "CN 1", "Fe 1"} <= set(lines.species)
    assert lines.span == (5035.005, 5365.0)
