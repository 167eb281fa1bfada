"""Numbers for people: as many digits as their uncertainty needs."""

import pytest

from maury.inference.words import number


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("teff", 5771.6, 38.0, "5772"),
        ("teff", 5771.6, 0.3, "5771.6"),
        ("mh", -0.2916, 0.05, "-0.29"),
        ("mh", -0.2916, 0.0049, "-0.292"),
        ("mh", 0.0049, 0.0049, "0.005"),
        ("mh", -0.00001, 0.004, "0.000"),
        ("vsini", 11.98, 0.4, "12.0"),
        ("vsini", 11.98, 0.05, "11.98"),
        ("logg", 4.31, 0.0, "4.31"),
        ("logg", 4.31, float("nan"), "4.31"),
        ("logg", 4.3123456, 1e-9, "4.3123"),
        ("logg", 4.31, None, "4.31"),
    ],
)
def test_digits_follow_the_uncertainty(name, value, error, text):
    assert number(name, value, error) == text
