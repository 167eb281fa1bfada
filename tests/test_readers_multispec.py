"""IRAF dispersion functions against naive evaluations of their definition."""

import numpy as np
import pytest
from astropy.io import fits

import observatory
from maury.errors import FormatError
from maury.readers import read
from maury.readers.multispec import dispersion, planes, spline, wavelengths
from maury.readers.source import Log


def naive_polynomial(kind, coefficients, low, high, pixel):
    """The recurrences of the IRAF help page, one pixel at a time."""
    x = (pixel - (high + low) / 2) / ((high - low) / 2)
    terms = [1.0, x]
    for i in range(2, len(coefficients)):
        if kind == 1:
            terms.append(2 * x * terms[-1] - terms[-2])
        else:
            terms.append(((2 * i - 1) * x * terms[-1] - (i - 1) * terms[-2]) / i)
    return sum(c * t for c, t in zip(coefficients, terms, strict=False))


def naive_spline(coefficients, pieces, low, high, pixel, cubic):
    s = (pixel - low) / (high - low) * pieces
    j = min(int(s), pieces - 1)
    a, b = (j + 1) - s, s - j
    if not cubic:
        return a * coefficients[j] + b * coefficients[j + 1]
    z = [a**3, 1 + 3 * a * (1 + a * b), 1 + 3 * b * (1 + a * b), b**3]
    return sum(coefficients[j + i] * z[i] for i in range(4))


@pytest.mark.parametrize("kind", [1, 2])
def test_polynomials(kind):
    c = [5100.0, 30.0, -0.6, 0.2, 0.01]
    spec = f"1 90 2 5070 0.03 500 0. 1. 2. 1. 0. {kind} 5 1. 500. " + " ".join(map(str, c))
    wave, logarithmic = dispersion(spec, 500)
    assert not logarithmic
    np.testing.assert_allclose(wave, [naive_polynomial(kind, c, 1, 500, p) for p in range(1, 501)], rtol=1e-12)


@pytest.mark.parametrize(("kind", "extra"), [(3, 3), (4, 1)])
def test_splines(kind, extra):
    rng = np.random.default_rng(2)
    c = 850.0 + np.sort(rng.uniform(0, 5, 6 + extra))
    spec = f"1 90 2 5070 0.03 500 0. 1. 2. 1. 0. {kind} 6 1. 500. " + " ".join(map(repr, c.tolist()))
    wave, _ = dispersion(spec, 500)
    want = [naive_spline(c, 6, 1, 500, p, kind == 3) for p in range(1, 501)]
    np.testing.assert_allclose(wave, want, rtol=1e-12)


def test_a_cubic_spline_of_equal_coefficients_is_constant():
    position = np.linspace(0, 4, 50)
    np.testing.assert_allclose(spline(np.full(7, 2.5), 4, position, cubic=True), 15.0)  # B-spline basis sums to 6


def test_sum_of_weighted_functions_and_doppler_factor():
    one = "0.75 10. 1 2 1. 100. 5100. 2."
    two = "0.25 -6. 2 2 1. 100. 5100. 4."
    wave, _ = dispersion(f"1 90 2 5000 0.03 100 1e-4 1. 2. {one} {two}", 100)
    x = (np.arange(1, 101) - 50.5) / 49.5
    np.testing.assert_allclose(wave, (0.75 * (5110 + 2 * x) + 0.25 * (5094 + 4 * x)) / 1.0001, rtol=1e-12)


def test_a_cut_image_keeps_its_physical_pixels():
    spec = "1 90 0 5000 0.1 100 0. 1. 2."
    whole, _ = dispersion(spec, 100)
    cut, _ = dispersion(spec, 60, physical=(-40.0, 1.0))  # logical = physical - 40
    np.testing.assert_allclose(cut, whole[40:], rtol=1e-12)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("1 90 -1 5000 0.1 100 0. 1. 2.", "no wavelength calibration"),
        ("1 90 7 5000 0.1 100 0. 1. 2.", "dispersion type 7"),
        ("1 90 2 5000 0.1 100 0. 1. 2. 1. 0. 9 4 1 100", "dispersion function 9"),
        ("1 90 2 5000 0.1 100 0. 1. 2. 1. 0. 1 4 1. 100. 5000.", "4 coefficients announced, 1 there"),
        ("1 90", "2 numbers"),
    ],
)
def test_malformed_entries(spec, reason):
    with pytest.raises(ValueError, match=reason):
        dispersion(spec, 100)


def test_a_missing_order_is_named(tmp_path):
    header = fits.Header()
    header["WAT1_001"] = "wtype=multispec label=Wavelength units=angstroms"
    header["WAT2_001"] = 'wtype=multispec spec1 = "1 90 0 5000. 0.1 100 0. 1. 2."'
    with pytest.raises(FormatError, match=r"1 of 2 orders, e\.g\. spec2"):
        wavelengths(header, 100, 2, Log(tmp_path / "a.fits"))


def test_planes_without_identifiers(tmp_path):
    rng = np.random.default_rng(1)
    sigma = np.full((2, 4000), 300.0)
    flux = 30_000 + sigma * rng.standard_normal((2, 4000))
    log = Log(tmp_path / "a.fits")
    found, noise, source = planes(fits.Header(), np.stack([flux, flux * 2, sigma]), log)
    np.testing.assert_array_equal(found, flux)
    np.testing.assert_array_equal(noise, sigma)
    assert source == "plane 3, a sigma by its size"


def test_an_aperture_without_calibration_is_left_out(tmp_path):
    wave = np.array([5040.0, 5090.0])[:, None] + 0.035 * np.arange(1600)
    specs = ["1 90 0 5040.0 0.035 1600 0. 1. 2.", "2 89 -1 1. 1. 1600 0. 1. 2."]
    seen = read(observatory._multispec(tmp_path, specs, observatory.observe(wave)[0]))
    assert len(seen.orders) == 1
    assert any("no wavelength calibration" in text for text in seen.provenance["warnings"])
