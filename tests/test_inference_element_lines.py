"""Abundances by single lines: by hand on lines made here, on simulated stars, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest

from maury import write
from maury.errors import DomainError
from maury.inference import element_lines, predict, to_table
from maury.inference.element_lines import _mean, features, without_element
from maury.plots import plot_element_lines
from nights import SUN, Instrument, observe
from verbs import run

WAVE = np.arange(5100.0, 5110.0, 0.04)
Y_II = (5087.42, 5123.21, 5200.41, 5205.73)
"""Strong lines of Y II in the Sun, Å in air (NIST)."""


def line(centre: float, depth: float, width: float = 0.1) -> np.ndarray:
    """What a line of the abundance takes away, per dex."""
    return -depth * np.exp(-0.5 * ((WAVE - centre) / width) ** 2)


def places(slope: np.ndarray, weight: np.ndarray) -> list[float]:
    """Where the lines that count are deepest, Å."""
    return [round(float(WAVE[one.inside][one.slope.argmin()]), 1) for one in features(WAVE, slope, weight)]


def test_a_line_alone_measures_as_well_as_its_pixels_allow():
    """sigma = 0.01, Gaussian of depth 0.1 and width 0.1 Å: the sum of squares is d^2 sqrt(pi) w / step."""
    (found,) = features(WAVE, line(5105.0, 0.1), np.full(len(WAVE), 100.0))
    whole = (100 * 0.1) ** 2 * np.sqrt(np.pi) * 0.1 / 0.04
    assert found.error == pytest.approx(whole**-0.5, rel=0.03)
    assert WAVE[found.inside][0] < 5104.8
    assert WAVE[found.inside][-1] > 5105.2


def test_lines_that_are_weak_growing_or_masked_do_not_count():
    weight = np.full(len(WAVE), 100.0)
    slope = line(5102.0, 0.1) + line(5104.0, 0.002) - line(5106.0, 0.1) + line(5108.0, 0.08)
    assert places(slope, weight) == [5102.0, 5108.0]
    weight[np.abs(WAVE - 5108) < 0.6] = 0.0
    assert places(slope, weight) == [5102.0]
    assert features(WAVE, np.zeros(len(WAVE)), weight) == []


def test_a_wrong_continuum_does_not_count():
    """A constant is projected out: a slope that is the same everywhere measures nothing."""
    assert features(WAVE, -0.1 + 1e-6 * np.sin(WAVE), np.full(len(WAVE), 100.0)) == []


def test_the_mean_of_lines_has_the_larger_of_two_errors():
    mean = _mean(np.array([0.0, 0.3, 0.0, 0.3]), np.full(4, 0.02))
    assert mean["mean"] == pytest.approx(0.15)
    assert mean["scatter"] == pytest.approx(0.15 * (4 / 3) ** 0.5)
    assert mean["error_of_mean"] == pytest.approx(mean["scatter"] / 2)
    assert _mean(np.full(4, 0.1), np.full(4, 0.02))["error_of_mean"] == pytest.approx(0.01)
    assert _mean(np.array([]), np.array([])) == {"mean": None, "error_of_mean": None, "scatter": None}


@pytest.fixture(scope="module")
def rich(one_thread):
    """A star like the Sun, rich in yttrium."""
    night = observe({**SUN, "y": 0.5, "mn": -0.2}, Instrument(60_000.0, 0.04), snr=200)
    return night, predict(night, resolution=60_000.0, labels="abundances", systematics=False)


def test_an_element_with_all_its_lines_masked_has_no_value(rich, tmp_path, capsys):
    night, _ = rich
    mask = ((5105.0, 5106.2), (5152.8, 5153.7), (5217.7, 5218.7), (5219.5, 5220.6))
    result = predict(night, resolution=60_000.0, labels="abundances:cu,y", systematics=False, mask=mask)
    assert result.lines["cu"] == 0
    assert result.lines["y"] >= 4
    assert result.record()["cu_fe"] is None
    assert result.values["y"] == pytest.approx(0.5, abs=0.1)
    assert {"lines_masked_cu"} == {flag for flag in result.flags if flag.startswith("lines_masked")}
    write(night, tmp_path / "star.fits")
    masked = [part for first, last in mask for part in ("--mask", f"{first}-{last}")]
    assert run("predict", tmp_path / "star.fits", "-R", "60000", "--labels", "abundances:cu", *masked) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["cu_fe"]]
    assert "all lines masked" in row


def test_lines_of_a_simulated_star_give_its_abundances(rich):
    _, result = rich
    table = element_lines(result, "y")
    assert result.lines["y"] == len(table) == result.record()["y_fe_lines"]
    for known in Y_II:
        assert np.abs(table["wavelength"].value - known).min() < 0.05
    assert table.meta["mean"] == pytest.approx(0.5, abs=4 * table.meta["error_of_mean"])
    assert table.meta["mean"] == pytest.approx(result.values["y"], abs=2 * result.record()["y_fe_err"])
    pull = (table["abundance"].value - 0.5) / table["error"].value
    assert np.abs(pull).max() < 4
    assert element_lines(result, "mn").meta["mean"] == pytest.approx(-0.2, abs=0.1)


def test_columns_and_figure(rich):
    _, result = rich
    table = to_table([result])
    assert table["y_fe_lines"][0] == result.lines["y"]
    assert "0.3 dex" in table["y_fe_lines"].info.description
    figure = plot_element_lines(result, "y")
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(shown) == min(9, result.lines["y"])
    least, without = without_element(result, "y")
    assert least == -1.5
    at_line = np.abs(result.wavelength_aa - Y_II[0]) < 0.05
    assert (without - result.refinement.model)[at_line].min() > 0.2


def test_what_cannot_be_measured_is_refused_or_named(rich, tmp_path, capsys):
    night, result = rich
    with pytest.raises(DomainError, match="no element 'zr' in the model; there are c, mg"):
        element_lines(result, "zr")
    with pytest.raises(DomainError, match="need a refined result"):
        element_lines(predict(night, resolution=60_000.0, refine=False), "y")
    sodium = ["5148.3-5149.4", "5152.7-5154.2"]
    write(night, tmp_path / "star.fits")
    options = [part for text in sodium for part in ("--mask", text)]
    asked = ("--labels", "abundances:na,y", "--lines", tmp_path / "lines", "-R", 60_000, "--samples", 400)
    assert run("predict", tmp_path / "star.fits", *asked, *options) == 0
    assert "no line measures na_fe" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "lines").iterdir()}
    assert names == {"star-y_fe.ecsv", "star-y_fe.png", "star-y_fe.pdf"}


def test_twins_relative_to_the_sun_line_by_line():
    """Lines of the Sun and of a twin are wrong by the same: relative to the Sun the twin's abundances are right."""
    rng = np.random.default_rng(5)
    instrument = Instrument(60_000.0, 0.04)
    sun = {**SUN, "vmic": 1.0, "vsini": 1.6}
    twin = {**sun, "teff": 5800.0, "logg": 4.4, "mh": 0.05, "y": 0.15, "co": -0.1}
    wave = observe(sun, instrument).single().wavelength_aa
    wrong = 1 + 0.1 * np.interp(wave, np.arange(5030, 5371, 0.3), rng.standard_normal(1137))

    def wronged(labels, seed):
        night = observe(labels, instrument, snr=200, seed=seed)
        order = night.single()
        continuum = instrument.continuum(0, wave)
        flux = continuum - (continuum - order.flux) * np.clip(wrong, 0.4, 1.6)
        return type(night)((order.with_(flux=flux),), None, night.provenance)

    reference = wronged(sun, 1)
    star = wronged(twin, 2)
    plain, relative = (
        predict(star, resolution=60_000.0, labels="abundances", reference=other) for other in (None, reference)
    )
    own = {name: element_lines(relative, name).meta for name in ("y", "co", "ni", "cr", "ti")}
    truth = {"y": 0.15, "co": -0.1}
    for name, meta in own.items():
        assert meta["mean"] == pytest.approx(truth.get(name, 0.0), abs=0.05)
        assert meta["scatter"] < 0.5 * element_lines(plain, name).meta["scatter"]


def test_the_lines_of_a_model_are_drawn_and_those_that_are_not_there_named(tmp_path, capsys):
    assert run("explain", "--label", "y_fe", "--out", tmp_path) == 0
    assert {"y.ecsv", "y.png", "y-lines.png"} <= {path.name for path in tmp_path.iterdir()}
    hot = ("--teff", 9000, "--mh", -2.5, "--vsini", 150, "--out", tmp_path / "hot")
    assert run("explain", "--label", "cu_fe", *hot) == 0
    assert "no line in the window measures [Cu/M] of this star" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "hot" / "cu-lines.png").exists()
