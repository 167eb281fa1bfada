"""Wavelength units: names, conversions, the rule for missing ones, and what must be refused."""

import numpy as np
import pytest

from maury.errors import FormatError
from maury.readers.source import Log
from maury.readers.units import guess_unit, is_wavelength, parse_unit, to_angstrom


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "star.fits")


WAVE = np.linspace(5050.0, 5350.0, 3000)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Angstroms", "angstrom"),
        ("[0.1 nm]", "angstrom"),
        ("10**-10 m", "angstrom"),
        ("NM", "nm"),
        ("micron", "um"),
        ("log10(Angstrom)", "log10"),
        ("km/s", "velocity"),
        ("parsec", None),
        ("", None),
        (None, None),
    ],
)
def test_names(text, unit):
    assert parse_unit(text) == unit


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (WAVE, "angstrom"),
        (WAVE / 10, "nm"),
        (WAVE / 1e4, "um"),
        (WAVE / 1e10, "m"),
        (np.log10(WAVE), "log10"),
        (np.log(WAVE), "ln"),
    ],
)
def test_values_without_a_unit_come_back_as_angstrom(values, unit, log):
    assert guess_unit(values) == unit
    np.testing.assert_allclose(to_angstrom(values, None, log), WAVE, rtol=1e-12)
    assert len(log.rules) == 1
    assert unit in log.rules[0]


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(2400.0, 2600.0, 3000),  # neither all nm nor all Å
        np.linspace(-100.0, 100.0, 3000),  # velocities
        np.arange(3000.0),  # pixel numbers
        np.array([5050.0, 5150.0, 5250.0]),  # steps of no spectrum
    ],
)
def test_values_that_fit_no_unit_beyond_doubt_are_refused(values, log):
    assert guess_unit(values) is None
    with pytest.raises(FormatError, match=r"star\.fits: .*give the unit"):
        to_angstrom(values, None, log)


@pytest.mark.parametrize("unit", ["km/s", "pixel", "velocity"])
def test_other_axes_are_refused(unit, log):
    with pytest.raises(FormatError, match="not wavelengths"):
        to_angstrom(WAVE, unit, log)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (1e8 / WAVE, "cm-1"),
        (1e8 / WAVE, "wavenumber"),
        (1e10 / WAVE, "m-1"),
        (2.99792458e18 / WAVE, "Hz"),
        (2.99792458e6 / WAVE, "THz"),
        (12398.41984 / WAVE, "eV"),
    ],
)
def test_wavenumbers_frequencies_and_energies_are_converted(values, unit, log):
    np.testing.assert_allclose(to_angstrom(values, unit, log), WAVE, rtol=1e-9)
    assert "converted" in log.rules[0]


@pytest.mark.parametrize("unit", ["Hz", "eV"])
def test_a_converted_unit_that_the_values_contradict_is_refused(unit, log):
    with pytest.raises(FormatError, match="outside 900"):
        to_angstrom(WAVE, unit, log)


def test_a_unit_that_the_values_contradict_is_refused(log):
    with pytest.raises(FormatError, match=r"505 to 535 in angstrom are .* outside 900"):
        to_angstrom(WAVE / 10, "Angstrom", log)


def test_wavelengths_without_a_name():
    assert is_wavelength(WAVE)
    assert is_wavelength(WAVE[::-1])
    padded = np.concatenate([np.zeros(100), WAVE])
    assert is_wavelength(padded)
    saw = np.concatenate([WAVE, WAVE + 280, WAVE + 560])
    assert is_wavelength(saw)
    assert is_wavelength(np.stack([WAVE, WAVE + 280]))
    rng = np.random.default_rng(1)
    assert not is_wavelength(rng.permutation(WAVE))
    assert not is_wavelength(5000 + 100 * rng.standard_normal(3000))
    assert not is_wavelength(WAVE * 0)
    assert not is_wavelength(np.arange(3000.0))
