"""Wavelength axes of FITS headers as WCSLIB, IRAF, MUSE and long slits have them, and those that are not linear."""

import numpy as np
import pytest
from astropy.io import fits

import observatory
from maury.errors import FormatError
from maury.readers import read
from maury.wavelengths import vacuum_to_air

WAVE = observatory.linear()
LOG = np.log10(5042.0) + 1.6e-6 * np.arange(16_000)
VACUUM_LOG = vacuum_to_air(10**LOG)


def image(path, air_aa, shape=(-1,), **cards):
    hdu = fits.PrimaryHDU(observatory.observe(air_aa)[0].reshape(shape))
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


@pytest.mark.parametrize(
    ("air", "shape", "cards"),
    [
        pytest.param(WAVE, (-1,), {"CRVAL1": 5040.0, "CDELT1": 1.0, "PC1_1": 0.02, "CUNIT1": "Angstrom"}, id="pc"),
        pytest.param(WAVE, (-1,), {"CRVAL1": 504e-9, "CDELT1": 1.0, "PC1_1": 2e-12, "CUNIT1": "m"}, id="wcslib"),
        pytest.param(VACUUM_LOG, (-1,), {"CRVAL1": LOG[0], "CDELT1": 1.6e-6, "CTYPE1": "WAVE-LOG"}, id="log10"),
        pytest.param(
            WAVE, (-1, 1), {"CRVAL1": 1.0, "CDELT1": 1.0, "CRVAL2": 504.0, "CD2_2": 0.002, "CUNIT2": "nm"}, id="second"
        ),
        pytest.param(
            WAVE, (-1, 1, 1), {"CTYPE1": "RA---TAN", "CTYPE3": "AWAV", "CRVAL3": 5040.0, "CDELT3": 0.02, "CRPIX3": 1.0},
            id="spaxel",
        ),
    ],
)  # fmt: skip
def test_axes_as_programs_write_them(air, shape, cards, tmp_path):
    order = read(image(tmp_path / "a.fits", air, shape, **cards)).single()
    np.testing.assert_allclose(order.wavelength_aa, air, atol=1e-6)


@pytest.mark.parametrize("ctype", ["WAVE-F2W", "AWAV-GRI", "WAVE-TAB"])
def test_an_axis_that_is_not_linear_is_refused_by_name(ctype, tmp_path):
    path = image(tmp_path / "a.fits", WAVE, CRVAL1=5040.0, CDELT1=0.02, CUNIT1="Angstrom", CTYPE1=ctype)
    with pytest.raises(FormatError, match=f"{ctype} is not linear"):
        read(path)
