"""Bad input: one clear line that names the file and the reason, whatever is wrong with it."""

from __future__ import annotations

import gzip
import warnings

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import observatory
from maury.errors import ConfigError, FormatError
from maury.readers import read


def image(path, data, **cards):
    hdu = fits.PrimaryHDU(np.asarray(data, float))
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


AXIS = {"CRVAL1": 5040.0, "CDELT1": 0.02, "CRPIX1": 1.0, "CUNIT1": "Angstrom"}
WAVE = observatory.linear()


def empty(folder):
    (folder / "bad").write_bytes(b"")
    return folder / "bad"


def blank(folder):
    (folder / "bad").write_text("\n \n")
    return folder / "bad"


def png(folder):
    (folder / "bad").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    return folder / "bad"


def prose(folder):
    (folder / "bad").write_text("Dear observer,\nthe spectrum is attached.\n")
    return folder / "bad"


def binary(folder):
    (folder / "bad").write_bytes(bytes(range(256)) * 20)
    return folder / "bad"


def truncated_fits(folder):
    whole = image(folder / "whole.fits", np.ones(16000), **AXIS)
    (folder / "bad").write_bytes(whole.read_bytes()[:30_000])
    return folder / "bad"


def truncated_header(folder):
    whole = image(folder / "whole.fits", np.ones(16000), **AXIS)
    (folder / "bad").write_bytes(whole.read_bytes()[:400])
    return folder / "bad"


def truncated_table(folder):
    whole = observatory.eso_phase3(folder).path
    (folder / "bad").write_bytes(whole.read_bytes()[:200_000])
    return folder / "bad"


def truncated_gzip(folder):
    whole = gzip.compress(observatory.linear_fits(folder).path.read_bytes())
    (folder / "bad").write_bytes(whole[: len(whole) // 2])
    return folder / "bad"


def truncated_hdf5(folder):
    whole = observatory.tres_hdf5(folder).path
    (folder / "bad").write_bytes(whole.read_bytes()[:50_000])
    return folder / "bad"


def hdf5_of_something_else(folder):
    with h5py.File(folder / "bad", "w") as file:
        file["temperature"] = np.ones(10)
    return folder / "bad"


def truncated_text(folder):
    rows = "\n".join(f"{w:.3f} 1.0 0.01" for w in WAVE)
    (folder / "bad").write_text(rows[:-5])
    return folder / "bad"


def words_among_numbers(folder):
    rows = [f"{w:.3f} 1.0" for w in WAVE]
    rows[500] = "5050.000 bad!"
    (folder / "bad").write_text("\n".join(rows))
    return folder / "bad"


def one_column(folder):
    np.savetxt(folder / "bad", WAVE)
    return folder / "bad"


def velocity_column(folder):
    path = folder / "bad"
    np.savetxt(path, np.stack([np.linspace(-300, 300, 2000), np.ones(2000)], 1), header="velocity flux")
    return path


def velocity_axis(folder):
    return image(folder / "bad", np.ones(500), CRVAL1=-300.0, CDELT1=1.0, CUNIT1="km/s", CTYPE1="VELO-LSR")


def sky_image(folder):
    return image(folder / "bad", np.ones((100, 120)), CTYPE1="RA---TAN", CRVAL1=150.0, CDELT1=-1e-4, CTYPE2="DEC--TAN")


def raw_frame(folder):
    return image(folder / "bad", np.random.default_rng(1).normal(500, 10, (600, 800)))


def orders_without_wavelengths(folder):
    return image(folder / "bad", np.random.default_rng(1).normal(500, 10, (40, 2000)))


def no_axis(folder):
    return image(folder / "bad", np.ones(3000))


def zero_step(folder):
    return image(folder / "bad", np.ones(3000), CRVAL1=5040.0, CDELT1=0.0)


def all_nan(folder):
    return image(folder / "bad", np.full(16000, np.nan), **AXIS)


def all_zero(folder):
    return image(folder / "bad", np.zeros(16000), **AXIS)


def no_rows(folder):
    fits.BinTableHDU(Table({"WAVE": np.empty(0), "FLUX": np.empty(0)})).writeto(folder / "bad")
    return folder / "bad"


def catalogue(folder):
    fits.BinTableHDU(Table({"ra": np.arange(20.0), "dec": np.arange(20.0)})).writeto(folder / "bad")
    return folder / "bad"


def primary_only(folder):
    fits.PrimaryHDU().writeto(folder / "bad")
    return folder / "bad"


def shuffled(folder):
    order = np.random.default_rng(1).permutation(WAVE.size)
    table = Table({"wave": WAVE[order], "flux": np.ones(WAVE.size)}, units={"wave": "Angstrom"})
    fits.BinTableHDU(table).writeto(folder / "bad")
    return folder / "bad"


def duplicated(folder):
    table = Table({"wave": np.repeat(WAVE, 2), "flux": np.ones(2 * WAVE.size)}, units={"wave": "Angstrom"})
    fits.BinTableHDU(table).writeto(folder / "bad")
    return folder / "bad"


def contradicting_unit(folder):
    return image(folder / "bad", np.ones(16000), **{**AXIS, "CRVAL1": 504.0, "CDELT1": 0.002})


def elsewhere(folder):
    return image(folder / "bad", np.ones(16000), **{**AXIS, "CRVAL1": 6400.0})


def uncalibrated_multispec(folder):
    specs = [f"{n + 1} {n + 1} -1 1. 1. 2000 0. 1. 2." for n in range(4)]
    return observatory._multispec(folder, specs, np.ones((4, 2000)))


def incomplete_polynomials(folder):
    path = observatory.harps_e2ds(folder).path
    with fits.open(path, mode="update") as file:
        del file[0].header["ESO DRS CAL TH COEFF LL17"]
    return path


def several_apertures(folder):
    header = {"WAT0_001": "system=equispec", "BANDID1": "spectrum", **AXIS}
    return image(folder / "bad", np.ones((1, 5, 3000)) + np.zeros((3, 5, 3000)), **header)


def rows_on_one_axis(folder):
    rng = np.random.default_rng(1)
    return image(folder / "bad", 1e4 + 100 * rng.standard_normal((3, 16000)), **AXIS)


def several_stars(folder):
    table = Table({"wave": np.tile(WAVE, (5, 1)), "flux": np.ones((5, WAVE.size))}, units={"wave": "Angstrom"})
    fits.BinTableHDU(table).writeto(folder / "bad")
    return folder / "bad"


def library(folder):
    with h5py.File(folder / "bad", "w") as file:
        file["wavelength"] = WAVE
        file["flux"] = np.ones((4, WAVE.size))
    return folder / "bad"


def huge(folder):
    """A header that claims 8 TB."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", -64), ("NAXIS", 2), ("NAXIS1", 10**6), ("NAXIS2", 10**6)])
    text = header.tostring(sep="", endcard=True, padding=True)
    (folder / "bad").write_bytes(text.encode() + bytes(2880))
    return folder / "bad"


def directory(folder):
    return folder


def missing(folder):
    return folder / "bad"


BAD = [
    (empty, "empty file"),
    (blank, "empty file"),
    (png, "a PNG picture, not a spectrum"),
    (prose, "text without a line of two numbers"),
    (binary, "binary file"),
    (truncated_fits, "truncated: extension 0 ends at byte"),
    (truncated_header, "damaged or not understood|truncated|no spectrum"),
    (truncated_table, "truncated: extension 1 ends at byte"),
    (truncated_gzip, "truncated or damaged gzip"),
    (truncated_hdf5, "truncated or damaged HDF5"),
    (hdf5_of_something_else, "no dataset named as a wavelength .* it has temperature"),
    (truncated_text, "line 16000 has 2 columns, the lines before 3"),
    (words_among_numbers, "line 501: .*bad!.* is not all numbers"),
    (one_column, "text without a line of two numbers"),
    (velocity_column, "are a velocity .*not wavelengths"),
    (velocity_axis, "not wavelengths"),
    (sky_image, "an image of the sky"),
    (raw_frame, "2-D image without wavelengths"),
    (orders_without_wavelengths, "give the wavelength file"),
    (no_axis, "no wavelengths in header or extensions"),
    (zero_step, "no wavelengths in header or extensions"),
    (all_nan, "all flux NaN|no pixel has a wavelength and a finite flux"),
    (all_zero, "no pixel has a wavelength and a finite flux"),
    (no_rows, "no spectrum"),
    (catalogue, "no spectrum .*ra, dec"),
    (primary_only, "no spectrum"),
    (shuffled, "wavelengths are in no order"),
    (duplicated, "16000 of 32000 pixels have the wavelength of the pixel before"),
    (contradicting_unit, "outside 900 to"),
    (uncalibrated_multispec, "spec1: no wavelength calibration"),
    (incomplete_polynomials, "COEFF LL17 missing, 24 coefficients needed"),
    (several_apertures, "several spectra, not one"),
    (rows_on_one_axis, "3 rows on one wavelength axis: several spectra"),
    (several_stars, "5 spectra cover nearly the same wavelengths"),
    (library, "4 spectra cover nearly the same wavelengths .* by row \\(1, 2, 3, 4\\)"),
    (huge, "no spectrum"),
    (directory, "is a directory"),
    (missing, "does not exist"),
]


def test_any_window_is_read_unless_one_is_asked_for(tmp_path):
    path = elsewhere(tmp_path)
    assert read(path).span_aa[0] > 6390
    with pytest.raises(FormatError, match=r"covers 6400.*; 5050 to 5350 Å is needed"):
        read(path, window_aa=(5050.0, 5350.0))


@pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_bad_input_is_one_line_with_file_and_reason(make, reason, tmp_path):
    path = make(tmp_path)
    with pytest.raises(FormatError, match=reason) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < 500


def test_nan_orders_are_left_out_and_named(tmp_path):
    wave = observatory.orders()
    flux, sigma = observatory.observe(wave)
    flux[2] = np.nan
    flux[4] = 0
    hdus = [fits.ImageHDU(a, name=n) for n, a in {"SPEC": flux, "SIG": sigma, "WAVE": wave}.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    assert [order.provenance["order"] for order in seen.orders] == ["1", "2", "4", "6"]
    assert "order 3: all flux NaN: left out" in seen.provenance["warnings"]
    assert "order 5: all flux zero: left out" in seen.provenance["warnings"]


def test_zero_errors_mask_their_pixels(tmp_path):
    flux, sigma = observatory.observe(WAVE)
    sigma[100:120] = 0
    sigma[200] = np.nan
    fits.BinTableHDU(Table({"wavelength": WAVE, "flux": flux, "error": sigma})).writeto(tmp_path / "a.fits")
    order = read(tmp_path / "a.fits").single()
    np.testing.assert_array_equal(np.flatnonzero(order.mask), [*range(100, 120), 200])


def test_a_zero_error_column_is_no_error_column(tmp_path):
    flux, _ = observatory.observe(WAVE)
    np.savetxt(tmp_path / "a.txt", np.stack([WAVE / 10, flux, 0 * flux], 1), header="waveobs flux err", comments="")
    seen = read(tmp_path / "a.txt")
    assert seen.single().sigma is None
    assert not seen.single().mask.any()
    assert seen.provenance["sigma"] == "none (err is empty)"


def test_a_few_duplicates_are_dropped_and_told(tmp_path):
    wave = WAVE.copy()
    wave[[70, 900]] = wave[[69, 899]]
    table = Table({"wave": wave, "flux": np.arange(1.0, wave.size + 1)}, units={"wave": "Angstrom"})
    fits.BinTableHDU(table).writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    assert seen.single().flux.size == wave.size - 2
    assert 71.0 not in seen.single().flux
    assert any(text.startswith("2 pixels with the wavelength") for text in seen.provenance["warnings"])


@pytest.mark.parametrize(
    "hints", [{"resolution": -5.0}, {"resolution": 3e7}, {"wavelength_unit": "km/s"}, {"medium": "water"}]
)
def test_hints_out_of_range(hints, tmp_path):
    with pytest.raises(ConfigError):
        read(observatory.linear_fits(tmp_path).path, **hints)


def test_wavelength_file_of_another_shape_or_of_no_wavelengths(tmp_path):
    path = observatory.apf_raw(tmp_path).path
    image(tmp_path / "short.fits", observatory.orders(4))
    with pytest.raises(FormatError, match=r"shape of the flux \(6, 2000\); it has \(4, 2000\)"):
        read(path, wavelength_file=tmp_path / "short.fits")
    image(tmp_path / "noise.fits", np.random.default_rng(1).normal(5000, 100, (6, 2000)))
    with pytest.raises(FormatError, match="do not run through optical wavelengths"):
        read(path, wavelength_file=tmp_path / "noise.fits")
    with pytest.raises(FormatError, match="is not a file"):
        read(path, wavelength_file=tmp_path / "nothing.fits")


def read_or_refuse(path):
    """Read a damaged file: either increasing wavelengths, or one line that names the file."""
    try:
        seen = read(path, window_aa=None)
    except FormatError as error:
        return str(error).startswith(str(path)) and "\n" not in str(error)
    return all((np.diff(order.wavelength_aa) > 0).all() for order in seen.orders)


KEYS = ["CRVAL1", "CDELT1", "CD1_1", "CRPIX1", "CTYPE1", "CUNIT1", "DC-FLAG", "LTV1", "LTM1_1", "WAT0_001", "WAT2_001"]
KEYS += ["SPECSYS", "SPEC_RES", "COEFF0", "COEFF1", "BUNIT", "VACUUM", "AIRORVAC", "WV_0_01", "BANDID1", "INSTRUME"]
KEYS += ["ESO DRS CAL TH COEFF LL0", "ESO DRS CAL TH DEG LL", "TELESCOP", "CONTNORM"]
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.sampled_from(["MULTISPE", "system=multispec", "system=equispec", "WAVE-LOG", "nm", "1.", "km/s", ""]),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cards=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
    shape=st.sampled_from([(900,), (5, 900), (3, 5, 300), (900, 5)]),
)
def test_fuzzed_headers_are_read_or_refused_in_one_line(cards, shape, tmp_path):
    header = fits.Header()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, value in cards.items():
            header[f"HIERARCH {key}" if " " in key else key] = value
        path = tmp_path / "fuzz.fits"
        data = 1 + np.random.default_rng(0).normal(0, 0.01, shape)
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True, output_verify="ignore")
    assert read_or_refuse(path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 8639), st.integers(0, 255)), min_size=1, max_size=40))
def test_flipped_bytes_are_read_or_refused_in_one_line(changes, tmp_path):
    path = tmp_path / "flipped.fits"
    source = tmp_path / "source"
    if not source.exists():
        source.mkdir()
        observatory.eso_phase3(source)
    content = bytearray((source / "a.fits").read_bytes())
    for position, value in changes:
        content[position] = value
    path.write_bytes(content)
    assert read_or_refuse(path)
