"""The figure of a preparation shows what the preparation holds."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from maury.plots import plot_preparation, save_figure
from maury.preparation import prepare
from nights import SUN, Instrument, observe


@pytest.fixture(scope="module")
def result():
    seen = observe(SUN, Instrument(44_000.0, 0.05, 3, True), velocity_kms=41.0, snr=60, second=({**SUN}, -60.0, 0.3))
    return prepare(seen, resolution=44_000.0)


def curves(axes):
    return [line.get_xydata().T for line in axes.get_lines()]


def test_orders_continua_and_correlation_are_those_of_the_result(result):
    figure = plot_preparation(result, rows=2)
    orders, correlation, *rows = figure.axes
    assert len(rows) == 2 or len(rows) == 4
    top = max(order.segment.scale for order in result.orders)
    drawn = curves(orders)
    for order in result.orders:
        wanted = np.where(order.segment.good, order.continuum, np.nan) * order.segment.scale / top
        assert any(y.shape == wanted.shape and np.allclose(y, wanted, equal_nan=True) for _, y in drawn)
    np.testing.assert_array_equal(curves(correlation)[0], [result.correlation.velocity_kms, result.correlation.value])
    verticals = [line.get_xdata()[0] for line in correlation.get_lines()[1:]]
    assert verticals == pytest.approx([result.velocity_kms, result.second_star[0]])
    spectra = [x for axes in rows for x, y in curves(axes) if x.size > 100]
    assert min(x.min() for x in spectra) <= 5050
    assert max(x.max() for x in spectra) >= 5350


def test_the_title_tells_velocity_template_and_flags(result):
    title = plot_preparation(result).get_suptitle()
    assert f"{result.velocity_kms:.2f}" in title
    assert "double lined" in title
    assert "night.fits" in title


def test_it_is_saved_without_changing_settings(result, tmp_path):
    before = mpl.rcParams.copy()
    save_figure(plot_preparation(result), tmp_path / "night")
    assert mpl.rcParams.copy() == before
    assert (tmp_path / "night.png").stat().st_size > 20_000
