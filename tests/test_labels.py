"""The label space: ranges, normalisation, tables."""

import numpy as np
import pytest
import torch
from astropy import units
from astropy.table import MaskedColumn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maury.errors import DomainError, FormatError
from maury.labels import FOUNDING, FURTHER_ELEMENTS, INTRINSIC, LABELS, LabelSpace, as_table, lowest_logg

SPACE = LabelSpace.of(FOUNDING)


def test_lowest_gravities_are_those_of_the_founding_grid():
    """253 pairs of temperature and gravity, in rows of 11, 10, 9, 8 and 7."""
    teff = np.arange(3500, 9751, 250)
    gravities = [int((np.arange(0, 5.1, 0.5) >= lowest).sum()) for lowest in lowest_logg(teff)]
    assert gravities == [11] * 11 + [10] * 6 + [9] * 3 + [8] * 3 + [7] * 3
    assert sum(gravities) == 253
    assert 253 * 7 * 29 == 51_359


@given(st.floats(3500, 9750), st.floats(3500, 9750))
def test_the_lowest_gravity_never_falls_with_temperature(one, other):
    cool, hot = sorted([one, other])
    assert 0 <= lowest_logg(cool) <= lowest_logg(hot) <= 2


def test_units_are_read_by_astropy():
    assert [units.Unit(unit) for unit in SPACE.units][:2] == [units.K, units.dex(units.cm / units.s**2)]
    assert units.Unit(LABELS["vsini"].unit) == units.km / units.s
    assert all(units.Unit(label.unit) for label in LABELS.values())


def test_packaged_labels_are_all_but_those_of_the_disc_and_alpha():
    assert set(LABELS) - set(INTRINSIC) == {"vsini", "alpha", "vmac", *FURTHER_ELEMENTS}


def test_a_subset_keeps_ranges_and_order():
    space = SPACE.subset(["vsini", "teff"])
    assert (space.names, space.lower, space.upper) == (("vsini", "teff"), (0.0, 3500.0), (200.0, 9750.0))
    with pytest.raises(DomainError, match="no label c; there are teff, logg, mh, vsini"):
        SPACE.subset(["c"])


def test_normalisation_puts_the_ends_of_the_ranges_at_zero_and_one():
    ends = np.array([SPACE.lower, SPACE.upper, (6625.0, 2.5, -1.25, 50.0)])
    np.testing.assert_allclose(SPACE.normalise(ends), [[0] * 4, [1] * 4, [0.5, 0.5, 0.5, 0.25]], atol=1e-15)
    tensor = torch.tensor(ends)
    assert torch.equal(SPACE.normalise(tensor), torch.tensor(SPACE.normalise(ends)))
    assert SPACE.normalise(tensor.float()).dtype == torch.float32


@given(arrays(float, (3, 4), elements=st.floats(-2, 3)))
def test_denormalise_undoes_normalise(values):
    labels = SPACE.denormalise(values)
    np.testing.assert_allclose(SPACE.normalise(labels), values, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("teff", "colour"), (0.0, 0.0), (1.0, 1.0)), "unknown label colour; allowed: teff, logg"),
        ((("teff",), (0.0, 0.0), (1.0, 1.0)), "got 1 names, 2 lower and 2 upper"),
        ((("teff",), (5000.0,), (5000.0,)), r"range of teff is empty: \[5000, 5000\] K"),
        ((("teff",), (float("nan"),), (5000.0,)), "range of teff is empty"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(DomainError, match=message):
        LabelSpace(*arguments)


def test_an_unknown_label_is_refused_by_name():
    with pytest.raises(DomainError, match="unknown label colour"):
        LabelSpace.of(["teff", "colour"])


def test_values_inside_pass_and_the_ends_belong():
    SPACE.require_inside([SPACE.lower, SPACE.upper])
    SPACE.require_inside(np.empty((0, 4)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 3400.0, "stars.csv: row 2: teff = 3400 K is outside the allowed range 3500 to 9750"),
        (1, 5.1, r"logg = 5.1 dex\(cm/s2\) is outside the allowed range 0 to 5"),
        (2, np.nan, "mh = nan dex is outside"),
        (3, np.inf, r"vsini = inf km/s is outside the allowed range 0 to 200 \(1 of 3 rows"),
    ],
)
def test_a_value_outside_is_named_with_its_row_and_range(column, value, message):
    table = np.tile([5772.0, 4.44, 0.0, 2.0], (3, 1))
    table[1, column] = value
    with pytest.raises(DomainError, match=message):
        SPACE.require_inside(table, "stars.csv")


def test_a_table_of_another_width_is_refused():
    with pytest.raises(DomainError, match="labels: 1 columns, but the labels are teff, logg, mh, vsini"):
        SPACE.require_inside(np.full((4, 1), 1.0))


def test_columns_are_stacked_in_the_order_asked_for():
    table = {"logg": [4.0, 3.0], "extra": ["a", "b"], "teff": [5000, 6000]}
    np.testing.assert_array_equal(as_table(table, ["teff", "logg"], "x"), [[5000.0, 4.0], [6000.0, 3.0]])
    structured = np.array([(4.0, 5000.0), (3.0, 6000.0)], [("logg", "f4"), ("teff", "f8")])
    np.testing.assert_array_equal(as_table(structured, ["teff", "logg"], "x"), [[5000.0, 4.0], [6000.0, 3.0]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"teff": [1.0]}, "stars.csv: missing column logg; columns found: teff"),
        ({}, "missing column teff, logg; columns found: none"),
        (np.zeros(3), "missing column teff, logg; columns found: none"),
        ({"teff": [1.0], "logg": ["high"]}, "stars.csv: column logg is not a number in every row"),
        ({"teff": [1.0, 2.0], "logg": [1.0]}, r"column logg \(1,\) and teff \(2,\) differ in shape"),
        (
            {"teff": [1.0, 2.0], "logg": MaskedColumn([1.0, 0.0], mask=[False, True])},
            "stars.csv: column logg is empty in row 2",
        ),
    ],
)
def test_a_bad_table_is_refused_by_column(table, message):
    with pytest.raises(FormatError, match=message):
        as_table(table, ["teff", "logg"], "stars.csv")
