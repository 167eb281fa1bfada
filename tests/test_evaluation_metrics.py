"""Metrics against the naive formulas, and for errors whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from maury.errors import FormatError
from maury.evaluation.metrics import bin_edges, binned_errors, error_summary, error_unit, score
from maury.labels import FOUNDING, LabelSpace

RNG = np.random.default_rng(1)


class TestSummary:
    def test_gaussian_errors(self) -> None:
        error = RNG.normal(30, 50, 200_000)
        figures = error_summary(error)
        assert figures["bias"] == pytest.approx(30, abs=0.5)
        assert figures["scatter"] == pytest.approx(50, rel=0.01)
        assert figures["robust_scatter"] == pytest.approx(50, rel=0.01)
        assert figures["p95"] == pytest.approx(113.1, rel=0.01)  # |N(30, 50)| has its 95th percentile at 113.1

    def test_outliers_move_the_scatter_but_not_the_robust_one(self) -> None:
        error = RNG.normal(0, 1, 10_000)
        with_outliers = error.copy()
        with_outliers[:100] = 1000
        before, after = error_summary(error), error_summary(with_outliers)
        assert after["scatter"] > 50 * before["scatter"]
        assert after["robust_scatter"] == pytest.approx(before["robust_scatter"], rel=0.03)

    def test_robust_scatter_is_about_the_median_not_about_zero(self) -> None:
        assert error_summary([5.0, 5.0, 5.0, 6.0]) == {
            "bias": 5.25,
            "scatter": pytest.approx(0.4330127),
            "robust_scatter": 0,
            "p95": pytest.approx(5.85),
        }


class TestBins:
    def test_nodes_are_never_cut_apart(self) -> None:
        nodes = np.arange(3500, 9751, 250.0)
        edges = bin_edges(np.repeat(nodes, 7))
        assert len(edges) == 14
        counts = np.histogram(nodes, np.clip(edges, -1e9, 1e9))[0]
        np.testing.assert_array_equal(counts, 2)
        assert not np.isin(edges, nodes).any()

    def test_few_nodes_have_a_bin_each(self) -> None:
        np.testing.assert_allclose(bin_edges([0, 0.5, 1.0, 1.0]), [-np.inf, 0.25, 0.75, np.inf])

    def test_one_node_has_one_bin(self) -> None:
        np.testing.assert_array_equal(bin_edges([2.0, 2.0]), [-np.inf, np.inf])

    def test_rows_against_naive_selection(self) -> None:
        x, error = RNG.uniform(0, 3, 500), RNG.normal(0, 1, 500)
        edges = np.array([-np.inf, 1, 2, np.inf])
        columns = binned_errors(error, x, edges)
        for i, (low, high) in enumerate([(-9, 1), (1, 2), (2, 9)]):
            inside = (x >= low) & (x < high)
            assert columns["n"][i] == inside.sum()
            assert columns["centre"][i] == pytest.approx(x[inside].mean())
            assert columns["bias"][i] == pytest.approx(error[inside].mean())
            assert columns["p95"][i] == pytest.approx(np.quantile(np.abs(error[inside]), 0.95))
        assert sum(columns["n"]) == 500

    def test_bins_with_few_spectra_are_left_out(self) -> None:
        x = np.r_[np.zeros(9), np.ones(10)]
        columns = binned_errors(np.zeros(19), x, [-np.inf, 0.5, np.inf])
        assert columns["n"] == [10]
        assert columns["centre"] == [1.0]


class TestScore:
    space = LabelSpace.of(FOUNDING)

    def table(self, count: int = 300) -> np.ndarray:
        return self.space.denormalise(RNG.uniform(0, 1, (count, 4)))

    def test_mse_and_mae_are_of_normalised_labels(self) -> None:
        true = self.table()
        predicted = true + np.array([62.5, 0.05, -0.035, 2.0])  # a hundredth of each range
        figures = score(true, predicted, self.space, {})
        assert figures["mse"] == pytest.approx(1e-4)
        assert figures["mae"] == pytest.approx(1e-2)
        assert figures["n"] == 300
        teff, mh = figures["labels"]["teff"], figures["labels"]["mh"]
        assert (teff["unit"], teff["bias"]) == ("K", pytest.approx(62.5))
        assert (mh["unit"], mh["bias"]) == ("dex", pytest.approx(-0.035))
        assert mh["mse"] == pytest.approx(1e-4)

    def test_overall_figures_are_means_over_labels(self) -> None:
        true = self.table()
        figures = score(true, true + RNG.normal(0, [100, 0.1, 0.1, 5], true.shape), self.space, {})
        labels = figures["labels"].values()
        assert figures["mse"] == pytest.approx(np.mean([label["mse"] for label in labels]))
        assert figures["mae"] == pytest.approx(np.mean([label["mae"] for label in labels]))

    def test_a_subset_of_labels_is_binned_by_labels_it_does_not_predict(self) -> None:
        true = self.table(1000)
        error = np.where(true[:, 3] > 100, 80.0, 10.0)
        edges = np.array([-np.inf, 100, np.inf])
        figures = score(
            true[:, :1], true[:, :1] + error[:, None], LabelSpace.of(["teff"]), {"vsini": (true[:, 3], edges)}
        )
        assert list(figures["labels"]) == ["teff"]
        np.testing.assert_allclose(figures["labels"]["teff"]["by"]["vsini"]["bias"], [10, 80])

    def test_not_finite(self) -> None:
        true = self.table(5)
        predicted = true.copy()
        predicted[3, 1] = np.nan
        with pytest.raises(FormatError, match="logg for row 4"):
            score(true, predicted, self.space, {})

    @pytest.mark.parametrize("shape", [(4, 4), (5, 3), (0, 4)])
    def test_other_shapes(self, shape: tuple[int, int]) -> None:
        true = np.zeros((0, 4)) if shape[0] == 0 else self.table(5)
        with pytest.raises(FormatError, match="one shape"):
            score(true, np.zeros(shape), self.space, {})


def test_errors_in_log_g_are_in_dex() -> None:
    assert [error_unit(name) for name in FOUNDING] == ["K", "dex", "dex", "km/s"]
