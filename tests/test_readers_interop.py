"""Round trips: specutils, ECSV, FITS; APOGEE and DESI through specutils."""

import importlib
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.errors import FormatError, MauryError, OutputError
from maury.readers import from_specutils, read, to_specutils, write
from maury.spectra import Observation
from maury.wavelengths import air_to_vacuum


def same(one: Observation, other: Observation) -> None:
    assert len(one.orders) == len(other.orders)
    assert (one.frame, one.normalised, one.resolution) == (other.frame, other.normalised, other.resolution)
    assert one.barycentric_kms == other.barycentric_kms
    for a, b in zip(one.orders, other.orders, strict=True):
        np.testing.assert_array_equal(a.wavelength_aa, b.wavelength_aa)
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_array_equal(a.flux[~a.mask], b.flux[~b.mask])
        assert (a.sigma is None) == (b.sigma is None)
        if a.sigma is not None:
            np.testing.assert_array_equal(a.sigma[~a.mask], b.sigma[~b.mask])


@pytest.mark.parametrize("ending", [".ecsv", ".fits"])
@pytest.mark.parametrize("family", [observatory.espresso_s1d, observatory.hires, observatory.eso_phase3])
def test_what_is_written_is_read_back(family, ending, tmp_path):
    expected = family(tmp_path)
    seen = read(expected.path, resolution=60_000)
    target = tmp_path / f"written{ending}"
    write(seen, target)
    again = read(target)
    same(seen, again)
    assert again.provenance["medium"] == "air"
    assert not any("assumed" in rule for rule in again.provenance["rules"])


def test_other_endings_are_refused(tmp_path):
    seen = read(observatory.ispec_fits(tmp_path).path)
    with pytest.raises(OutputError, match=r"\.ecsv or \.fits"):
        write(seen, tmp_path / "star.xyz")
    assert not (tmp_path / "star.xyz").exists()


@pytest.mark.parametrize("family", [observatory.espresso_s1d, observatory.hires, observatory.eso_phase3])
def test_specutils_round_trip(family, tmp_path):
    pytest.importorskip("specutils")
    seen = read(family(tmp_path).path)
    same(seen, from_specutils(to_specutils(seen)))


def test_a_specutils_spectrum_of_other_units_and_variance(tmp_path):
    specutils = pytest.importorskip("specutils")
    from astropy import units as u
    from astropy.nddata import VarianceUncertainty

    wave = observatory.linear()
    flux, sigma = observatory.observe(wave, 50.0)
    spectrum = specutils.Spectrum(
        flux=flux * u.ct,
        spectral_axis=air_to_vacuum(wave) / 1e4 * u.um,
        uncertainty=VarianceUncertainty(sigma**2),
    )
    order = from_specutils(spectrum, medium="vacuum", resolution=50_000).single()
    np.testing.assert_allclose(order.wavelength_aa, wave, atol=1e-6)
    np.testing.assert_allclose(order.sigma, sigma)
    assert order.resolution == 50_000


def test_a_specutils_spectrum_in_frequency_is_turned_round():
    specutils = pytest.importorskip("specutils")
    from astropy import units as u

    wave = observatory.linear()
    flux, _ = observatory.observe(wave)
    axis = (air_to_vacuum(wave) * u.AA).to(u.THz, u.spectral())
    order = from_specutils(specutils.Spectrum(flux=flux * u.ct, spectral_axis=axis), medium="vacuum").single()
    np.testing.assert_allclose(order.wavelength_aa, wave, atol=1e-6)
    np.testing.assert_allclose(order.flux, flux)


def test_without_specutils_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "specutils", None)
    seen = read(observatory.ispec_fits(tmp_path).path)
    with pytest.raises(MauryError, match=r"maury\[specutils\]"):
        to_specutils(seen)
    with pytest.raises(FormatError, match=r"DESI coadd files .*maury\[specutils\]"):
        read(desi(tmp_path, targets=1))


def desi(folder, targets):
    wave = air_to_vacuum(observatory.linear())
    flux, sigma = observatory.observe(observatory.linear(), 20.0)
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["INFIL000"] = "cframe.fits"
    hdus.append(fits.BinTableHDU(Table({"TARGETID": np.arange(targets)}), name="FIBERMAP"))
    hdus.append(fits.BinTableHDU(Table({"TARGETID": np.arange(targets)}), name="SCORES"))
    for band in "BRZ":
        hdus.append(fits.ImageHDU(wave, name=f"{band}_WAVELENGTH"))
        hdus[-1].header["BUNIT"] = "Angstrom"
        hdus.append(fits.ImageHDU(np.tile(flux, (targets, 1)), name=f"{band}_FLUX"))
        hdus[-1].header["BUNIT"] = "10**-17 erg/(s cm2 Angstrom)"
        hdus.append(fits.ImageHDU(np.tile(sigma**-2, (targets, 1)), name=f"{band}_IVAR"))
        hdus[-1].header["BUNIT"] = "10**+34 (s2 cm4 Angstrom2) / erg2"
        hdus.append(fits.ImageHDU(np.zeros((targets, wave.size), np.int32), name=f"{band}_MASK"))
        hdus.append(fits.ImageHDU(np.zeros((targets, 11, wave.size)), name=f"{band}_RESOLUTION"))
    path = folder / "coadd.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def test_desi_through_specutils(tmp_path):
    pytest.importorskip("specutils")
    seen = read(desi(tmp_path, targets=1))
    assert len(seen.orders) == 3
    assert seen.provenance["medium"] == "vacuum"
    np.testing.assert_allclose(seen.orders[0].wavelength_aa, observatory.linear(), atol=1e-6)
    _, sigma = observatory.observe(observatory.linear(), 20.0)
    np.testing.assert_allclose(seen.orders[0].sigma, sigma, rtol=1e-6)
    with pytest.raises(FormatError, match="holds 3 spectra, not one"):
        read(desi(tmp_path, targets=3))


def test_apogee_through_specutils(tmp_path):
    pytest.importorskip("specutils")
    size = 8575
    primary = fits.PrimaryHDU()
    primary.header["SFILE1"] = "apVisit-1.fits"
    primary.header["HISTORY"] = "APOGEE Reduction Pipeline"
    rng = np.random.default_rng(1)
    images = [1000 + 10 * rng.standard_normal((2, size)), np.full((2, size), 10.0), np.zeros((2, size))]
    hdus = [primary]
    for values in images:
        hdu = fits.ImageHDU(values)
        hdu.header.update(CRVAL1=4.179, CDELT1=6e-6, CRPIX1=1, CTYPE1="LOG-LINEAR", BUNIT="Flux")
        hdu.header["DC-FLAG"] = 1
        hdus.append(hdu)
    path = tmp_path / "apStar.fits"
    fits.HDUList(hdus).writeto(path)
    seen = read(path, window_aa=None)
    assert seen.frame == "rest"
    order = seen.single()
    np.testing.assert_allclose(air_to_vacuum(order.wavelength_aa), 10 ** (4.179 + 6e-6 * np.arange(size)), rtol=1e-6)


def test_importing_the_readers_needs_no_specutils(monkeypatch):
    monkeypatch.setitem(sys.modules, "specutils", None)
    importlib.reload(importlib.import_module("maury.readers.interop"))


@pytest.mark.parametrize("kind", ["wcs1d-fits", "tabular-fits"])
def test_masks_that_specutils_writes_are_used(kind, tmp_path):
    specutils = pytest.importorskip("specutils")
    from astropy import units as u
    from astropy.nddata import StdDevUncertainty
    from astropy.wcs import WCS

    axis = WCS(naxis=1)
    axis.wcs.ctype, axis.wcs.cunit = ["AWAV"], ["Angstrom"]
    axis.wcs.crval, axis.wcs.crpix, axis.wcs.cdelt = [5040.0], [1], [0.02]
    flux, sigma = observatory.observe(observatory.linear())
    bad = np.arange(flux.size) // 100 == 5
    spectrum = specutils.Spectrum(flux=flux * u.adu, wcs=axis, uncertainty=StdDevUncertainty(sigma), mask=bad)
    spectrum.write(tmp_path / "a.wcs1d.fits", format=kind)
    np.testing.assert_array_equal(read(tmp_path / "a.wcs1d.fits").single().mask, bad)
