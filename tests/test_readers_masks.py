"""Masks and quality arrays: used where their meaning is documented or in their name, else named in a warning."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.readers import read
from maury.readers.summary import summarise

WAVE = observatory.linear()
FLUX, SIGMA = observatory.observe(WAVE)
BAD = np.zeros(WAVE.size, np.int16)
BAD[200:230] = 4


@pytest.mark.parametrize(
    ("name", "values", "used"),
    [
        ("quality", BAD, True),
        ("bpm", BAD, True),
        ("badpix", BAD, True),
        ("DQ", BAD, True),
        ("good", BAD == 0, True),
        ("good_pixels", BAD == 0, True),
        ("valid", BAD == 0, True),
        ("mask", BAD, False),
        ("mask", BAD == 0, False),
    ],
)
@pytest.mark.parametrize("form", ["fits", "csv", "ecsv"])
def test_columns(name, values, used, form, tmp_path):
    path = tmp_path / f"a.{form}"
    table = Table({"wavelength": WAVE, "flux": FLUX, "sigma": SIGMA, name: values.astype(np.int16)})
    table.write(path, format={"fits": "fits", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}[form])
    seen = read(path)
    assert seen.single().mask.sum() == (30 if used else 0)
    notes = seen.provenance["rules"] if used else seen.provenance["warnings"]
    assert any(name in text for text in notes)
    assert summarise(seen, (5050, 5350))["masked"] == pytest.approx(30 / WAVE.size if used else 0)


@pytest.mark.parametrize("name", ["DQ", "BPM", "QUALITY"])
@pytest.mark.parametrize("orders", [False, True])
def test_extensions(name, orders, tmp_path):
    flux = fits.PrimaryHDU(np.stack([FLUX, FLUX]) if orders else FLUX)
    bad = fits.ImageHDU(np.stack([BAD, BAD]) if orders else BAD, name=name)
    parts = [flux, bad]
    if orders:
        parts.append(fits.ImageHDU(np.stack([WAVE, WAVE + 300]), name="WAVELENGTH"))
    else:
        flux.header["CRVAL1"], flux.header["CDELT1"] = WAVE[0], 0.02
    fits.HDUList(parts).writeto(tmp_path / "a.fits")
    assert all(order.mask.sum() == 30 for order in read(tmp_path / "a.fits").orders)


def test_starfish_masks_mark_the_good_pixels(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["wls"], file["fls"], file["sigmas"], file["masks"] = WAVE, FLUX, SIGMA, BAD == 0
    assert read(tmp_path / "a.hdf5").single().mask.sum() == 30
