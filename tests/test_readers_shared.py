"""The real spectra beside the checkout: all read, and a few lines of the Sun where they have to be."""

import csv

import numpy as np
import pytest

from maury.errors import FormatError
from maury.readers import read

MGB = (5167.321, 5172.684, 5183.604)


@pytest.mark.shared
def test_every_file_of_the_catalogue_is_read(shared):
    folder = shared / "data" / "observed"
    with open(folder / "CATALOG.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 40
    for row in rows:
        raw_apf = "wavelengths in aux_apf" in row["format"]
        hint = {"wavelength_file": folder / "aux_apf_wave_bj2.fits"} if raw_apf else {}
        seen = read(folder / row["file"], **hint)
        low, high = map(float, row["coverage_A"].split("-"))
        assert seen.span_aa == pytest.approx((low, high), abs=2), row["file"]
        for order in seen.orders:
            assert np.isfinite(order.flux[~order.mask]).all()
        stated = "SIGMA ext1" in row["format"] or "sigmas" in row["format"] or "sigma ext1" in row["format"]
        if stated:
            assert all(order.sigma is not None for order in seen.orders), row["file"]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "velocity", "hint"),
    [
        ("HARPS_Sun.fits", 0.1, None),
        ("UVES_Sun-1_cleaned_norm.txt", 0.1, None),
        ("HIRES_Ganymede_rj76.279.fits", -6.5, None),
        ("APF_Moon_rabh.225.fits", 0.1, "aux_apf_wave_bj2.fits"),
        ("TLS_BETA_GEM.fits", 11.7, None),
        ("FIES_HD222404_FIEg310102_step010_wave.fits", -54.2, None),
        ("SALT-HRS_DSTucA_mbgphH201811160014_u1we.fits", 22.9, None),
    ],
)
def test_magnesium_lines_lie_where_they_have_to(name, velocity, hint, shared):
    folder = shared / "data" / "observed"
    seen = read(folder / name, **({"wavelength_file": folder / hint} if hint else {}))
    found = []
    for line in MGB[1:]:
        want = line * (1 + velocity / 299_792.458)
        for order in seen.overlapping(want - 1, want + 1):
            near = np.abs(order.wavelength_aa - want) < 0.25
            if near.sum() < 8 or want - order.wavelength_aa[0] < 3 or order.wavelength_aa[-1] - want < 3:
                continue
            curve = np.polyfit(order.wavelength_aa[near] - want, order.flux[near] / order.flux[near].max(), 2)
            found.append(-curve[1] / (2 * curve[0]))
    assert found
    assert abs(np.median(found)) < 0.02


@pytest.mark.shared
def test_hires_orders_without_wavelengths_take_a_file(shared, tmp_path):
    from astropy.io import fits

    folder = shared / "data" / "observed"
    whole = read(folder / "HIRES_Ganymede_rj76.279.fits")
    with fits.open(folder / "HIRES_Ganymede_rj76.279.fits") as file:
        fits.PrimaryHDU(file[0].data).writeto(tmp_path / "raw.fits")
    with pytest.raises(FormatError, match="give the wavelength file"):
        read(tmp_path / "raw.fits")
    seen = read(tmp_path / "raw.fits", wavelength_file=folder / "aux_keck_rwav.fits")
    assert len(seen.orders) == len(whole.orders)
    for one, other in zip(seen.orders, whole.orders, strict=True):
        assert abs(one.wavelength_aa[2000] - other.wavelength_aa[2000]) < 0.3
