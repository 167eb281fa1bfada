"""Figures of a star's posterior and of well-known stars: what is drawn is what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from maury import plots
from maury.errors import FormatError
from maury.labels import lowest_logg
from maury.plots.corner import SHARES
from maury.plots.style import COLOURS, INK, MOON, NIGHT

NAMES = ("teff", "logg", "mh")
MEAN, WIDTH = np.array([5771.0, 4.42, 0.01]), np.array([45.0, 0.08, 0.04])


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    correlation = np.array([[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]])
    generator = np.random.default_rng(1)
    return MEAN + WIDTH * generator.multivariate_normal(np.zeros(3), correlation, 4000)


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.axison]


class TestCorner:
    def test_panels_are_the_pairs_of_labels(self, samples: np.ndarray) -> None:
        drawn = panels(plots.plot_corner({"a": samples}, NAMES))
        assert len(drawn) == 6
        assert "5771" in drawn[0].get_title()
        assert drawn[0].get_title().endswith("$")
        last = drawn[-3:]
        assert [axes.get_xlabel().split(" (")[-1] for axes in last] == ["K)", "cgs)", "dex)"]

    def test_a_median_of_almost_zero_has_no_sign(self, samples: np.ndarray) -> None:
        values = samples - np.median(samples, axis=0) - [0, 0, 1e-7]
        assert "$0.0" in (title := panels(plots.plot_corner({"a": values}, NAMES))[-1].get_title()), title

    def test_contours_hold_their_shares(self, samples: np.ndarray) -> None:
        """Drawn around a normal posterior, the contours hold 39 and 86 % of its samples."""
        axes = panels(plots.plot_corner({"a": samples}, NAMES))[1]
        inside = [
            np.mean(path.contains_points(samples[:, :2]))
            for collection in axes.collections
            for path in collection.get_paths()
            if len(path.vertices)
        ]
        for share in SHARES:
            assert min(abs(share - found) for found in inside) < 0.04

    def test_several_posteriors_and_given_values(self, samples: np.ndarray) -> None:
        figure = plots.plot_corner({"a": samples, "b": samples + WIDTH}, NAMES, truth={"logg": 4.44})
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "given"]
        pair = panels(figure)[1]
        (line,) = (line for line in pair.get_lines() if line.get_linestyle() == "--")
        assert set(line.get_ydata()) == {4.44}

    def test_a_label_that_does_not_vary(self, samples: np.ndarray) -> None:
        """A posterior of one value, as of a label that is fixed, is drawn and does not fail."""
        samples = samples.copy()
        samples[:, 2] = 0.0
        plots.plot_corner({"a": samples}, NAMES)


class TestKiel:
    def test_the_edge_of_the_atmospheres_is_drawn(self, samples: np.ndarray) -> None:
        whole, near = plots.plot_kiel(samples[:, 0], samples[:, 1]).axes
        x, y = max((line.get_xydata().T for line in whole.get_lines()), key=lambda data: data.shape[1])
        inside = (x > 3600) & (x < 9700)
        np.testing.assert_allclose(y[inside][:-1], lowest_logg(x[inside])[:-1])
        for axes in (whole, near):
            assert axes.xaxis_inverted()
            assert axes.yaxis_inverted()

    def test_the_right_panel_shows_posterior_and_literature(self, samples: np.ndarray) -> None:
        _, near = plots.plot_kiel(samples[:, 0], samples[:, 1], literature=(6400.0, 20.0, 4.0, 0.02)).axes
        right, left = near.get_xlim()[::-1]
        assert right < 5771 < 6400 < left
        assert [text.get_text() for text in near.get_legend().get_texts()] == ["posterior", "literature"]


class TestLiterature:
    TABLE: ClassVar = {
        "star": ["Sun", "Sun", "Arcturus", "Arcturus"],
        "label": ["teff", "logg", "teff", "logg"],
        "literature": [5772.0, 4.44, 4286.0, 1.64],
        "literature_error": [1.0, 0.01, 35.0, 0.06],
        "maury": [5780.0, 4.45, 4586.0, 1.60],
        "maury_error": [40.0, 0.05, 50.0, 0.1],
    }

    def test_differences_with_their_errors(self) -> None:
        teff, logg = panels(plots.plot_literature(self.TABLE))
        points = [line.get_xydata() for line in teff.get_lines() if line.get_marker() in ("o", "D")]
        drawn = np.concatenate(points)
        np.testing.assert_allclose(drawn[np.argsort(drawn[:, 1])], [[8.0, 0], [300.0, 1]])
        assert "mean $+154$" in teff.get_title()
        assert [text.get_text() for text in teff.get_yticklabels()] == ["Sun", "Arcturus"]
        assert len(logg.get_lines()) > 1

    def test_stars_far_off_stand_out(self) -> None:
        teff, logg = panels(plots.plot_literature(self.TABLE))
        far = {axes: [line for line in axes.get_lines() if line.get_marker() == "D"] for axes in (teff, logg)}
        assert [len(line.get_xdata()) for line in far[teff]] == [1]
        assert [len(line.get_xdata()) for line in far[logg]] == [0]

    def test_a_missing_column_is_named(self) -> None:
        with pytest.raises(FormatError, match="missing column maury_error"):
            plots.plot_literature({key: value for key, value in self.TABLE.items() if key != "maury_error"})


class TestDark:
    def test_ground_and_ink_change_and_come_back(self, samples: np.ndarray, tmp_path: Path) -> None:
        figure = plots.plot_kiel(samples[:, 0], samples[:, 1])
        light = plots.save_figure(figure, tmp_path / "light")
        dark = plots.save_figure(figure, tmp_path / "dark", dark=True)
        again = plots.save_figure(figure, tmp_path / "again")
        assert light[0].read_bytes() == again[0].read_bytes()
        assert light[1].read_bytes() == again[1].read_bytes()
        found = {}
        for name, path in (("light", light[0]), ("dark", dark[0])):
            pixels = np.rint(255 * imread(path)[..., :3]).astype(int) @ (0x10000, 0x100, 1)
            found[name] = {f"#{rgb:06x}" for rgb in np.unique(pixels)}
        assert {NIGHT, MOON} <= found["dark"]
        assert INK not in found["dark"]
        assert "#ffffff" not in found["dark"]
        assert COLOURS[0] in found["light"] & found["dark"]

    def test_a_figure_without_a_ground(self, samples: np.ndarray, tmp_path: Path) -> None:
        figure = plots.plot_kiel(samples[:, 0], samples[:, 1])
        for dark, ink in ((False, INK), (True, MOON)):
            (tmp_path / "a.png").write_bytes(plots.figure_bytes(figure, "png", dark=dark, dpi=60, clear=True))
            pixels = imread(tmp_path / "a.png")
            assert pixels[0, 0, 3] == 0
            assert ink in {to_hex(rgb) for rgb in pixels[pixels[..., 3] == 1][:, :3]}
