"""Figures: what is drawn is what was given; saving is repeatable and changes nothing global."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from maury import plots
from maury.errors import OutputError
from maury.labels import FOUNDING, LABELS
from maury.pixelspectra import PixelSpectra
from maury.plots.style import COLOURS, INK, axis_label, error_label
from patience import PATIENCE_S

NODES = np.repeat([4000.0, 4250.0, 4500.0, 5000.0], 25)


def lines_of(axes: Any) -> dict[str, np.ndarray]:
    """Data (2, n) of the labelled lines."""
    return {line.get_label(): line.get_xydata().T for line in axes.get_lines() if line.get_label()[0] != "_"}


@pytest.fixture
def errors() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 50, len(NODES))


def figure_of(errors: np.ndarray, true: np.ndarray = NODES) -> Any:
    return plots.plot_predicted(true[:, None], (true + errors)[:, None], ["teff"], colour=np.arange(len(true)))


class TestStyle:
    def test_import_loads_no_pyplot_and_changes_no_setting(self) -> None:
        code = (
            "import sys, matplotlib; before = matplotlib.rcParams.copy(); import maury.plots;"
            "assert 'matplotlib.pyplot' not in sys.modules; assert matplotlib.rcParams.copy() == before"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)

    def test_drawing_and_saving_leave_settings_alone(self, errors: np.ndarray, tmp_path: Path) -> None:
        before = mpl.rcParams.copy()
        figure = figure_of(errors)
        plots.save_figure(figure, tmp_path / "a")
        plots.figure_svg(figure, "a", "a")
        assert mpl.rcParams.copy() == before

    def test_every_label_has_a_unit_on_its_axis(self) -> None:
        assert [axis_label(name).rpartition(" (")[2] for name in FOUNDING] == ["K)", "cgs)", "dex)", "km s$^{-1}$)"]
        assert error_label("logg").endswith("(dex)")

    def test_colours_differ_for_dichromats(self) -> None:
        """Simulated protanopia and deuteranopia (Vienot et al. 1999) keep all pairs apart in luminance or blue."""
        rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS]) ** 2.2
        for matrix in (
            [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
            [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
        ):
            seen = (rgb @ np.array(matrix).T).clip(0) ** (1 / 2.2)
            distance = np.abs(seen[:, None] - seen[None]).max(-1)
            assert distance[np.triu_indices(len(seen), 1)].min() > 0.07


class TestSaving:
    def test_png_and_pdf_are_repeatable(self, errors: np.ndarray, tmp_path: Path) -> None:
        paths = plots.save_figure(figure_of(errors), tmp_path / "folder" / "a")
        again = plots.save_figure(figure_of(errors), tmp_path / "b")
        assert [path.name for path in paths] == ["a.png", "a.pdf"]
        assert paths[0].read_bytes().startswith(b"\x89PNG")
        assert paths[1].read_bytes().startswith(b"%PDF")
        for path, other in zip(paths, again, strict=True):
            assert path.read_bytes() == other.read_bytes()
        assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["a.pdf", "a.png"]

    def test_unwritable(self, errors: np.ndarray, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="file/a"):
            plots.save_figure(figure_of(errors), tmp_path / "file" / "a")

    def test_svg_is_xml_with_its_own_names_and_the_pages_ink(self, errors: np.ndarray) -> None:
        text = plots.figure_svg(figure_of(errors), "first", "a < b & 'c'")
        root = ET.fromstring(text)
        assert root.get("aria-label") == "a < b & 'c'"
        assert root.get("width") is None
        names = {element.get("id") for element in root.iter()} - {None}
        assert names
        assert all(name.startswith("first-") for name in names)
        targets = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
        assert {a or b for a, b in targets} <= names
        assert INK not in text
        assert "currentColor" in text


class TestPredictions:
    def test_points_on_nodes_are_spread_within_a_third_and_keep_their_values(self, errors: np.ndarray) -> None:
        figure = figure_of(errors)
        main, strip, bar = figure.axes
        x, y = main.collections[0].get_offsets().data.T
        order = np.argsort(y)
        expected = np.argsort(NODES + errors)
        np.testing.assert_allclose(y[order], (NODES + errors)[expected])
        shift = x[order] - NODES[expected]
        room = np.where(NODES[expected] == 5000, 500, 250) / 3
        assert (np.abs(shift) <= room).all()
        assert np.abs(shift).max() > 50
        np.testing.assert_allclose(np.sort(strip.collections[0].get_offsets().data[:, 1]), np.sort(errors))
        assert bar.get_ylabel() == axis_label("vsini")

    def test_colours_follow_their_points(self, errors: np.ndarray) -> None:
        points = figure_of(errors).axes[0].collections[0]
        rows = [int(np.argmin(np.abs(NODES + errors - y))) for y in points.get_offsets().data[:, 1]]
        np.testing.assert_array_equal(points.get_array(), rows)

    def test_points_between_nodes_stay_where_they_are(self, errors: np.ndarray) -> None:
        true = np.linspace(4000, 5000, len(errors))
        x, y = figure_of(errors, true).axes[0].collections[0].get_offsets().data.T
        np.testing.assert_allclose(np.sort(x), true)
        np.testing.assert_allclose(y[np.argsort(x)], true + errors)

    def test_points_beyond_the_axis_are_counted(self) -> None:
        errors = np.zeros(4000)
        errors[:3] = 1e5
        main, strip, _ = figure_of(errors, np.tile(NODES, 40)).axes
        assert main.get_title("right") == strip.get_title("right") == "3 beyond the axis"

    def test_four_labels_have_a_panel_and_a_strip_each(self) -> None:
        true = np.random.default_rng(2).uniform([3500, 0, -2.5, 0], [9750, 5, 0.5, 200], (50, 4))
        figure = plots.plot_predicted(true, true, FOUNDING, colour=true[:, 3], notes=list("abcd"))
        panels = figure.axes[:8]
        assert [axes.get_ylabel() for axes in panels[::2]] == ["predicted " + axis_label(name) for name in FOUNDING]
        assert [axes.get_ylabel() for axes in panels[1::2]] == [error_label(name) for name in FOUNDING]
        assert [axes.texts[0].get_text() for axes in panels[::2]] == list("abcd")

    def test_residuals_show_the_bands_they_are_given(self, errors: np.ndarray) -> None:
        band = {"centre": [4000, 4500], "bias": [10.0, -20.0], "robust_scatter": [30.0, 40.0]}
        figure = plots.plot_residuals(NODES[:, None], (NODES + errors)[:, None], ["teff"], bands={"teff": band})
        (axes,) = figure.axes
        np.testing.assert_array_equal(lines_of(axes)["bias"], [[4000, 4500], [10, -20]])
        corners = axes.collections[1].get_paths()[0].vertices
        assert {tuple(v) for v in corners} >= {(4000, 40), (4000, -20), (4500, 20), (4500, -60)}


class TestErrors:
    @staticmethod
    def curves(names: tuple[str, ...]) -> dict[str, Any]:
        columns = {"centre": [1.0, 2.0], "robust_scatter": [3.0, 4.0], "p95": [9.0, 16.0], "bias": [0.5, -0.5]}
        empty = {key: [] for key in columns}
        first = {name: dict.fromkeys(FOUNDING, columns) for name in names}
        second = {name: dict.fromkeys(FOUNDING, empty) for name in names}
        return {"random split": first, "between nodes": second}

    @pytest.mark.parametrize("names", [FOUNDING, ("teff",)])
    def test_one_panel_per_label_and_axis(self, names: tuple[str, ...]) -> None:
        figure = plots.plot_errors(self.curves(names))
        assert len(figure.axes) == 4 * len(names)
        for axes in figure.axes:
            scatter, p95 = (line.get_ydata() for line in axes.get_lines())
            np.testing.assert_array_equal(scatter, [3, 4])
            np.testing.assert_array_equal(p95, [9, 16])
            assert axes.get_yscale() == "log"
        shown = [text.get_text() for text in figure.legends[0].get_texts()]
        assert shown == ["random split", "between nodes", "robust scatter", "95 % of absolute errors"]

    def test_many_labels_have_room(self) -> None:
        columns = {"centre": [1.0, 2.0], "bias": [0.5, -0.5]}
        figure = plots.plot_bias({"random split": {"teff": dict.fromkeys(LABELS, columns)}})
        panels = [axes.get_tightbbox() for axes in figure.axes]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(panels))

    def test_bias_is_linear_about_zero(self) -> None:
        axes = plots.plot_bias(self.curves(("teff",))).axes[0]
        assert axes.get_yscale() == "linear"
        np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [0.5, -0.5])
        np.testing.assert_array_equal(axes.get_lines()[1].get_ydata(), [0, 0])


def test_learning_curve_marks_the_lowest_validation_loss() -> None:
    curve = {
        "epoch": [1, 2, 3],
        "train_loss": [0.3, 0.2, np.nan],
        "train_mae": [0.4, 0.3, np.nan],
        "val_loss": [0.25, 0.15, 0.16],
        "val_mae": [0.35, 0.22, 0.21],
        "step_epoch": [0.5, 1.0],
        "step_loss": [0.5, 0.3],
        "step_mae": [0.6, 0.4],
    }
    figure = plots.plot_learning_curve(curve, reference={"label": "before", "loss": 0.1, "mae": 0.2})
    loss, mae = (lines_of(axes) for axes in figure.axes)
    np.testing.assert_array_equal(loss["training, mean"], [[0.5, 1.5], [0.3, 0.2]])
    np.testing.assert_array_equal(loss["validation"], [[1, 2, 3], [0.25, 0.15, 0.16]])
    np.testing.assert_array_equal(loss["training, steps"], [[0.5, 1], [0.5, 0.3]])
    assert loss["kept: 0.15"][0] == mae["kept: 0.22"][0] == 2
    assert set(loss["before: 0.1"][1]) == {0.1}


def test_grid_coverage_colours_the_share_held_out() -> None:
    teff, logg = np.array([5000, 5000, 5000, 5250.0]), np.array([4, 4, 4.5, 4])
    axes = plots.plot_grid_coverage(teff, logg, held_out=[True, False, False, True]).axes[0]
    points = axes.collections[0]
    shares = dict(zip(map(tuple, points.get_offsets().data), points.get_array(), strict=True))
    assert shares == {(5000, 4): 50, (5000, 4.5): 0, (5250, 4): 100}
    assert axes.xaxis_inverted()
    assert axes.yaxis_inverted()


def test_spectrum_fit_hides_masked_pixels_and_shows_differences() -> None:
    wave = np.linspace(5160, 5190, 61)
    model = 1 - 0.5 * np.exp(-(((wave - 5172.684) / 0.5) ** 2))
    flux = model + np.random.default_rng(3).normal(0, 0.01, wave.size)
    flux[5], mask = np.nan, np.arange(wave.size) == 40
    figure = plots.plot_spectrum_fit(
        wave, flux, model, sigma=np.full(61, 0.01), mask=mask, lines=[("Mg b2", 5172.684)], rows=2
    )
    assert len(figure.axes) == 4
    main, strip = figure.axes[:2]
    drawn = lines_of(main)["observed"][1]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(drawn)), [5, 40])
    residual = strip.get_lines()[-1].get_ydata()
    good = np.isfinite(drawn)
    np.testing.assert_allclose(residual[good], (flux - model)[good])
    assert main.get_xlim() == (5160, 5175)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["Mg b2"]
    assert to_hex(main.get_lines()[2].get_color()) == COLOURS[1]


def test_strong_lines_are_named_where_the_model_has_them() -> None:
    """Without names given, those of the table: the deepest first, none where nothing is, none over another."""
    wave = np.linspace(5150, 5350, 20_001)
    model = np.ones(wave.size)
    for centre, depth in ((5172.68, 0.8), (5173.74, 0.5), (5183.60, 0.9), (5300.5, 0.9), (5150.84, 0.6)):
        model -= depth * np.exp(-(((wave - centre) / 0.1) ** 2))
    figure = plots.plot_spectrum_fit(wave, model, model, rows=2)
    texts = [text for axes in figure.axes for text in axes.texts]
    assert [text.get_text() for text in texts] == ["Fe I", "Mg I", "Mg I"]
    assert texts[0].get_ha() == "left"
    whole = np.linspace(5049.8, 5350.2, 500)
    rows = plots.plot_spectrum_fit(whole, np.ones(500), np.ones(500), rows=2)
    ends = {tuple(np.round(axes.get_position().intervalx, 6)) for axes in rows.axes}
    assert len(ends) == 1, "a number at the end of a row (5200 Å) makes it narrower"
    roomy = plots.plot_spectrum_fit(wave, model, model, rows=8)
    assert [text.get_text() for axes in roomy.axes for text in axes.texts] == ["Fe I", "Mg I", "Ti I", "Mg I"]


class TestEmulator:
    def test_lines_are_median_and_ninetieth_percentile(self) -> None:
        labels = np.linspace(3500, 9750, 100)[:, None]
        rms = np.random.default_rng(4).uniform(0.001, 0.01, 100)
        drawn = lines_of(plots.plot_emulator_error(labels, rms, ["teff"]).axes[0])
        np.testing.assert_allclose(drawn["median"][1], np.median(rms.reshape(10, 10), axis=1))
        np.testing.assert_allclose(drawn["90 %"][1], np.quantile(rms.reshape(10, 10), 0.9, axis=1))

    def test_power_law_of_library_size(self) -> None:
        sizes = np.array([300, 600, 1200, 2400])
        figure = plots.plot_library_size(sizes, {"hot": 0.4 * sizes**-0.75}, targets={"hot": 0.003})
        assert r"N^{-0.75}" in next(iter(lines_of(figure.axes[0]).keys() - {"_"}))

    def test_pixels_share_one_scale(self) -> None:
        wave = np.linspace(5050, 5350, 50)
        figure = plots.plot_emulator_pixels(wave, {"hot": np.full(50, 0.002), "cool": np.full(50, 0.01)})
        low, high = figure.axes[0].get_ylim()
        assert (low, high) == figure.axes[1].get_ylim()
        assert low == 0
        assert high > 0.01


class TestObservations:
    def test_pairs_are_drawn_and_bad_pixels_left_blank(self) -> None:
        wave = np.linspace(5155, 5215, 60)
        good = np.arange(60) % 10 > 0
        left, right = (
            PixelSpectra(flux=np.full(60, level), sigma=0.1, mask=~good, resolution=50_000.0) for level in (0.8, 0.6)
        )
        figure = plots.plot_observations(wave, [left, left], [right, right], ["one", "two"])
        panels = figure.axes
        assert [panel.get_title("left") for panel in panels] == ["one", "", "two", ""]
        drawn = [panel.get_lines()[0].get_ydata() for panel in panels]
        assert [float(np.nanmedian(y)) for y in drawn] == [0.8, 0.6, 0.8, 0.6]
        assert (np.isnan(drawn[0]) == ~good).all()
        with pytest.raises(ValueError, match="zip"):
            plots.plot_observations(wave, [left], [right, right], ["one", "two"])


def test_heads_are_drawn_as_differences_shares_and_ratios() -> None:
    def result(difference: float) -> dict[str, Any]:
        shares = {"0.68": 0.7, "0.95": 0.9}
        test = {"nll_difference": difference, "nll_difference_error": 0.1, "coverage": shares, "width_ratio": 1.2}
        return {"usual": test, "worse": {**test, "nll_difference": 3 * difference}}

    figure = plots.plot_heads({"flow": result(0.0), "Gaussian": result(1.5)})
    densities, shares, widths = figure.axes
    assert [text.get_text() for text in densities.get_yticklabels()] == ["flow", "Gaussian"]
    drawn = [container[0].get_xdata().tolist() for container in densities.containers]
    assert drawn == [[0.0, 1.5], [0.0, 4.5]]
    assert shares.lines[0].get_xdata().tolist() == pytest.approx([70, 70])
    assert shares.lines[1].get_xdata().tolist() == pytest.approx([90, 90])
    assert widths.lines[0].get_xdata().tolist() == [1.2, 1.2]
