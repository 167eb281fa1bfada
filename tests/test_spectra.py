"""`Spectrum` and `Observation`: what they accept, what they mask, what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maury.errors import FormatError
from maury.spectra import Observation, Spectrum

WAVELENGTH = np.linspace(5100.0, 5101.0, 5)


def make(**changes):
    values = {"wavelength_aa": WAVELENGTH, "flux": np.ones(5), "provenance": {"file": "star.fits"}}
    return Spectrum(**values | changes)


@given(
    flux=arrays(float, 5, elements=st.sampled_from([1.0, 0.5, np.nan, np.inf])),
    sigma=arrays(float, 5, elements=st.sampled_from([0.1, 0.0, -1.0, np.nan, np.inf])),
    mask=arrays(bool, 5),
)
def test_a_pixel_is_masked_if_anything_about_it_is_bad(flux, sigma, mask):
    if (mask | ~np.isfinite(flux)).all():
        with pytest.raises(FormatError, match=r"star\.fits: no pixel has a finite, unmasked flux"):
            make(flux=flux, sigma=sigma, mask=mask)
        return
    spectrum = make(flux=flux, sigma=sigma, mask=mask)
    expected = [m or f not in (1.0, 0.5) or s != 0.1 for f, s, m in zip(flux, sigma, mask, strict=True)]
    np.testing.assert_array_equal(spectrum.mask, expected)
    np.testing.assert_array_equal(spectrum.flux, flux)


def test_a_clean_spectrum_masks_nothing():
    spectrum = make(flux=[1, 1, 1, 1, 1])
    assert not spectrum.mask.any()
    assert spectrum.flux.dtype == float


def test_a_changed_copy_leaves_the_original():
    original = make()
    changed = original.with_(normalised=True, flux=np.full(5, 0.5))
    assert (changed.normalised, original.normalised) == (True, False)
    assert (changed.flux[0], original.flux[0]) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": np.ones(4)}, r"wavelength \(5,\) and flux \(4,\) must be 1-D and of one length"),
        ({"wavelength_aa": np.ones((5, 1)), "flux": np.ones((5, 1))}, "must be 1-D"),
        ({"wavelength_aa": [5100.0], "flux": [1.0]}, "at least 2 pixels, got 1"),
        ({"wavelength_aa": WAVELENGTH[::-1]}, "finite and strictly increasing"),
        ({"wavelength_aa": np.full(5, 5100.0)}, "finite and strictly increasing"),
        ({"wavelength_aa": [1, 2, np.nan, 4, 5]}, "finite and strictly increasing"),
        ({"sigma": np.ones(3)}, r"sigma \(3,\) and flux \(5,\) differ in shape"),
        ({"mask": np.zeros(3, bool)}, r"mask \(3,\) and flux \(5,\) differ in shape"),
        ({"flux": np.full(5, np.nan)}, "no pixel has a finite, unmasked flux"),
        ({"mask": np.ones(5, bool)}, "no pixel has a finite, unmasked flux"),
        ({"frame": 45_000.0}, r"frame must be one of rest, barycentric, topocentric, unknown; got 45000\.0"),
        ({"normalised": 45_000.0}, r"normalised must be True or False; got 45000\.0"),
        ({"resolution": True}, r"resolution must be None or a finite number above 0; got True"),
        ({"resolution": 0.0}, r"resolution must be None or a finite number above 0; got 0\.0"),
        ({"resolution": np.inf}, r"resolution must be None or a finite number above 0; got inf"),
    ],
)
def test_what_is_no_spectrum_is_refused_with_the_name_of_its_file(changes, message):
    with pytest.raises(FormatError, match=message) as error:
        make(**changes)
    assert str(error.value).startswith("star.fits: ")


def test_only_wavelengths_and_flux_may_be_given_without_their_names():
    """R = 1 cannot come from arguments in the wrong order."""
    flux, sigma, mask = np.ones(5), np.ones(5), np.zeros(5, bool)
    assert Spectrum(WAVELENGTH, flux, resolution=45_000.0).resolution == 45_000.0
    with pytest.raises(TypeError, match="positional argument"):
        Spectrum(WAVELENGTH, flux, sigma, mask, "rest", 45_000.0, True)


@pytest.fixture
def echelle():
    """Two overlapping orders: 5100-5101 and 5100.75-5101.75 Å."""
    return Observation((make(), make(wavelength_aa=WAVELENGTH + 0.75)), provenance={"file": "star.fits"})


def test_an_observation_knows_what_its_orders_cover(echelle):
    assert echelle.span_aa == (5100.0, 5101.75)
    assert [len(echelle.overlapping(*span)) for span in ((5100.8, 5100.9), (5101.5, 5102), (5102, 5103))] == [0, 1, 0]
    assert len(echelle.overlapping(5100.9, 5101.2)) == 2


def test_several_orders_are_not_one_spectrum(echelle):
    with pytest.raises(FormatError, match=r"star\.fits: holds 2 orders, which have to be merged first"):
        echelle.single()
    assert Observation(echelle.orders[:1]).single() is echelle.orders[0]


def test_orders_agree_on_frame_and_normalisation(echelle):
    with pytest.raises(FormatError, match="orders differ in frame"):
        Observation((echelle.orders[0], echelle.orders[1].with_(frame="rest")))
    with pytest.raises(FormatError, match="at least one order"):
        Observation(())
