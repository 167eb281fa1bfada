"""Air or vacuum: what rests on a convention that many programs break is flagged, what is stated or given is not."""

import numpy as np
import pytest
from astropy.io import fits

import observatory
from maury.readers import read

WAVE = observatory.linear()
FLUX = observatory.truth(WAVE)


def axis(path, **cards):
    image = fits.PrimaryHDU(FLUX)
    image.header.update({"CRVAL1": WAVE[0], "CDELT1": 0.02, "CRPIX1": 1.0, "CUNIT1": "Angstrom"} | cards)
    image.writeto(path)


def column(path, ucd, **cards):
    columns = [fits.Column("WAVE", "D", "Angstrom", array=WAVE), fits.Column("FLUX", "D", array=FLUX)]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["TUCD1"] = ucd
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    fits.HDUList([primary, table]).writeto(path)


def text(path, header):
    np.savetxt(path, np.stack([WAVE, FLUX], axis=1), header=header)


@pytest.mark.parametrize(
    ("write", "medium", "assumed"),
    [
        (lambda path: axis(path), "air", True),
        (lambda path: axis(path, CTYPE1="WAVE"), "vacuum", True),
        (lambda path: axis(path, CTYPE1="WAVE-LOG", CDELT1=0.02), "vacuum", True),
        (lambda path: axis(path, CTYPE1="AWAV"), "air", False),
        (lambda path: axis(path, CTYPE1="WAVE", AIRORVAC="air"), "air", False),
        (lambda path: axis(path, VACUUM=True), "vacuum", False),
        (lambda path: column(path, "em.wl"), "vacuum", True),
        (lambda path: column(path, "em.wl;em.opt"), "vacuum", True),
        (lambda path: column(path, "em.wl", ORIGIN="ESO"), "vacuum", False),
        (lambda path: column(path, "em.wl;obs.atmos"), "air", False),
        (lambda path: text(path, "air mass 1.3, airmass 1.2\nwavelength flux"), "air", True),
        (lambda path: text(path, "wavelengths in vacuum\nwavelength flux"), "vacuum", False),
        (lambda path: text(path, "wave_vac flux"), "vacuum", False),
    ],
)
def test_a_medium_that_rests_on_a_convention_is_marked(write, medium, assumed, tmp_path):
    write(tmp_path / "star")
    seen = read(tmp_path / "star").provenance
    assert (seen["medium"], seen["medium_assumed"]) == (medium, assumed)
    for given in ("air", "vacuum"):
        seen = read(tmp_path / "star", medium=given).provenance
        assert (seen["medium"], seen["medium_assumed"]) == (given, False)
