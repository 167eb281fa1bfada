"""What columns and data sets are by their names: numbers, magnitudes, percent, rows of units, several spectra."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.errors import FormatError
from maury.readers import read
from maury.readers.roles import named
from maury.wavelengths import air_to_vacuum

WAVE = observatory.linear()
FLUX, SIGMA = observatory.observe(WAVE, 100.0)
ORDERS = observatory.orders(count=3, size=1500)


@pytest.mark.parametrize(
    ("name", "role", "tags"),
    [
        ("Wavelength1", "wavelength", ("1",)),
        ("sky2", None, ()),
        ("log10_wave", "wavelength", ("log10",)),
        ("F_λ", "flux", ()),
        ("σ", "sigma", ()),
        ("err_percent", "relative error", ()),
        ("STAT", "variance", ()),
        ("BOX_COUNTS_NIVAR", None, ()),
    ],
)
def test_names(name, role, tags):
    array = named(name, np.ones(3))
    assert (array.role, array.tags) == (role, tags)


def text(path, names, *columns):
    rows = zip(*columns, strict=True)
    path.write_text("\n".join([*names, *(",".join(f"{value:.9g}" for value in row) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "flux"),
    [
        ("wavelength,mag,mag_err", -2.5 * np.log10(FLUX)),
        ("wave,log_flux,err", np.log10(FLUX)),
        ("wave (A),log10(F_lambda),err", np.log10(FLUX)),
        ("wavelength [A],flux [mag],err", -2.5 * np.log10(FLUX)),
        ("WL/nm,ln(flux),err", np.log(FLUX)),
        ("wave,flux,err\nAngstrom,mag,mag", -2.5 * np.log10(FLUX)),
    ],
)
def test_magnitudes_and_logarithms_are_refused(names, flux, tmp_path):
    with pytest.raises(FormatError, match="magnitudes or logarithms"):
        read(text(tmp_path / "a.csv", [names], WAVE, flux, SIGMA))


def test_a_linear_flux_goes_before_magnitudes(tmp_path):
    path = text(tmp_path / "a.csv", ["wave,mag,flux,err"], WAVE, -2.5 * np.log10(FLUX), FLUX, SIGMA)
    np.testing.assert_allclose(read(path).single().flux, FLUX, rtol=1e-7)


@pytest.mark.parametrize("names", ["wave,flux,error (%)", "wave,flux,err_percent"])
def test_percent(names, tmp_path):
    order = read(text(tmp_path / "a.csv", [names], WAVE, FLUX, 100 * SIGMA / FLUX)).single()
    np.testing.assert_allclose(order.sigma, SIGMA, rtol=1e-6)


def test_a_row_of_units_is_not_the_names(tmp_path):
    path = text(tmp_path / "a.csv", ["wavelength,flux,error", "(nm),(adu),(adu)"], WAVE / 10, FLUX, SIGMA)
    order = read(path).single()
    np.testing.assert_allclose(order.sigma, SIGMA, rtol=1e-6)
    assert abs(order.wavelength_aa[0] - WAVE[0]) < 1e-4


def test_two_wavelengths_without_names_are_refused(tmp_path):
    with pytest.raises(FormatError, match="columns 1 and 2 both run through"):
        read(text(tmp_path / "a.csv", [], air_to_vacuum(WAVE), WAVE, FLUX))


def test_vacuum_denied_in_text(tmp_path):
    path = text(tmp_path / "a.csv", ["# VACUUM  =                    F / air", "wave,flux"], WAVE, FLUX)
    assert read(path).provenance["medium"] == "air"


@pytest.mark.parametrize("count", [2, 3])
def test_numbered_pairs_of_wavelength_and_flux_are_orders(count, tmp_path):
    columns = [values for wave in ORDERS[:count] for values in (wave, observatory.observe(wave)[0])]
    path = text(tmp_path / "a.csv", [",".join(f"w{n},f{n}" for n in range(count))], *columns)
    assert [order.wavelength_aa.size for order in read(path).orders] == [1500] * count


def test_numbered_fluxes_are_several_stars(tmp_path):
    fits.BinTableHDU(Table({"wave": WAVE, "flux1": FLUX, "flux2": FLUX})).writeto(tmp_path / "a.fits")
    with pytest.raises(FormatError, match=r"2 spectra .* fibre \(1, 2\)"):
        read(tmp_path / "a.fits")


def test_stars_in_data_sets_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["wave"] = WAVE
        for star in ("HD1_flux", "HD2_flux", "HD3_flux"):
            file[star] = FLUX
    with pytest.raises(FormatError, match=r"3 spectra .* fibre \(hd1, hd2, hd3\)"):
        read(tmp_path / "a.h5")
    assert read(tmp_path / "a.h5", fibre="HD2").single().flux.size == WAVE.size
