"""Arrays without names: orders in text, cubes with wavelengths in any plane, apertures of several kinds."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.errors import FormatError
from maury.readers import read

WAVE = observatory.orders(count=16, size=900, start=5040.0, width=25.0)
FLUX, SIGMA = observatory.observe(WAVE, 4e4)


def check(seen, sigma=False):
    assert len(seen.orders) == len(WAVE)
    for order, wave, flux in zip(seen.orders, WAVE, FLUX, strict=True):
        np.testing.assert_allclose(order.wavelength_aa, wave, atol=1e-4)
        np.testing.assert_allclose(order.flux, flux, rtol=1e-5)
        assert (order.sigma is not None) == sigma


@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
@pytest.mark.parametrize("turn_wave", [np.asarray, np.transpose])
def test_orders_in_text_take_wavelengths_and_noise_from_files(turn, turn_wave, tmp_path):
    np.savetxt(tmp_path / "flux.txt", turn(FLUX))
    np.savetxt(tmp_path / "wave.txt", turn_wave(WAVE), delimiter=",")
    np.savetxt(tmp_path / "sigma.txt", turn_wave(SIGMA))
    check(read(tmp_path / "flux.txt", wavelength_file=tmp_path / "wave.txt"))
    seen = read(tmp_path / "flux.txt", wavelength_file=tmp_path / "wave.txt", sigma_file=tmp_path / "sigma.txt")
    check(seen, sigma=True)
    np.testing.assert_allclose(seen.orders[3].sigma, SIGMA[3], rtol=1e-5)
    with pytest.raises(FormatError, match="give the wavelength file") as caught:
        read(tmp_path / "flux.txt")
    assert caught.value.parameter == "wavelength_file"
    np.savetxt(tmp_path / "short.txt", WAVE[:, :500])
    with pytest.raises(FormatError, match=r"no array of the shape of the flux \(16, 900\)"):
        read(tmp_path / "flux.txt", wavelength_file=tmp_path / "short.txt")


def test_numpy_arrays_and_one_number_a_line(tmp_path):
    np.save(tmp_path / "flux.npy", FLUX)
    np.save(tmp_path / "wave.npy", WAVE)
    check(read(tmp_path / "flux.npy", wavelength_file=tmp_path / "wave.npy"))
    np.savetxt(tmp_path / "flux.txt", FLUX[0])
    np.savetxt(tmp_path / "wave.txt", WAVE[0])
    seen = read(tmp_path / "flux.txt", wavelength_file=tmp_path / "wave.txt").single()
    np.testing.assert_allclose(seen.flux, FLUX[0], rtol=1e-6)


@pytest.mark.parametrize(
    "planes",
    [
        (WAVE, FLUX),
        (FLUX, WAVE),
        (FLUX, SIGMA, WAVE),
        (FLUX, np.full_like(FLUX, 1e4), WAVE),
        (0 * FLUX, FLUX, np.full_like(FLUX, 1e4), WAVE),
        (FLUX, 0.9 * FLUX, np.full_like(FLUX, 1e4), WAVE, SIGMA),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_the_plane_that_runs_through_wavelengths_is_found(planes, last, tmp_path):
    cube = np.stack(planes, axis=2 if last else 0)
    fits.PrimaryHDU(cube).writeto(tmp_path / "a.fits")
    check(read(tmp_path / "a.fits"), sigma=planes[1] is SIGMA)


def test_rows_with_wavelengths_last(tmp_path):
    wave = observatory.linear()
    flux, _ = observatory.observe(wave)
    fits.PrimaryHDU(np.stack([flux, wave])).writeto(tmp_path / "a.fits")
    np.testing.assert_allclose(read(tmp_path / "a.fits").single().flux, flux)


def test_a_cube_without_wavelengths_lists_its_planes(tmp_path):
    fits.PrimaryHDU(np.stack([FLUX, SIGMA, FLUX])).writeto(tmp_path / "a.fits")
    with pytest.raises(FormatError, match=r"3 planes, none of which .* \(1: .* to .*; 2: .*; 3: .*\)"):
        read(tmp_path / "a.fits")


def test_apertures_of_several_kinds_each_by_its_own(tmp_path):
    size, starts = 1000, 5040.0 + 45 * np.arange(6)
    wave, specs = np.empty((6, size)), []
    for n, start in enumerate(starts):
        if n % 2:
            step = 5e-6
            wave[n] = 10 ** (np.log10(start) + step * np.arange(size))
            specs.append(f"{n + 1} {90 - n} 1 {float(np.log10(start))!r} {step} {size} 0. 1. 2.")
        else:
            wave[n] = start + 0.06 * np.arange(size)
            specs.append(f"{n + 1} {90 - n} 0 {float(start)!r} 0.06 {size} 0. 1. 2.")
    path = observatory._multispec(tmp_path, specs, observatory.truth(wave))
    seen = read(path)
    assert len(seen.orders) == 6
    for order, expected in zip(seen.orders, wave, strict=True):
        np.testing.assert_allclose(order.wavelength_aa, expected, atol=1e-4)
    assert any("3 of 6 apertures" in rule for rule in seen.provenance["rules"])


def test_noise_under_a_wrong_name_is_hinted_and_can_be_ignored(tmp_path):
    wave = observatory.linear()
    flux, sigma = observatory.observe(wave)
    np.savetxt(tmp_path / "a.txt", np.stack([wave, flux, sigma**-2], axis=1), header="wavelength flux uncertainty")
    seen = read(tmp_path / "a.txt")
    assert any("would agree as inverse variance; ignore_sigma" in text for text in seen.provenance["warnings"])
    ignored = read(tmp_path / "a.txt", ignore_sigma=True)
    assert ignored.single().sigma is None
    assert not ignored.single().mask.any()
    assert ignored.provenance["sigma"] == "none (ignored)"


def test_the_axis_of_a_primary_header_without_data_is_that_of_the_only_image(tmp_path):
    """As some programs split header and data; two images would be ambiguous."""
    wave = observatory.linear()
    flux = observatory.truth(wave).astype("f4")
    primary = fits.PrimaryHDU()
    primary.header.update({"CRVAL1": wave[0], "CDELT1": 0.02, "CRPIX1": 1.0, "CTYPE1": "AWAV"})
    fits.HDUList([primary, fits.ImageHDU(flux)]).writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    np.testing.assert_allclose(seen.single().wavelength_aa, wave, atol=1e-6)
    assert any("primary header" in rule for rule in seen.provenance["rules"])
    fits.HDUList([primary, fits.ImageHDU(flux), fits.ImageHDU(flux)]).writeto(tmp_path / "b.fits")
    with pytest.raises(FormatError, match="no wavelengths"):
        read(tmp_path / "b.fits")


def test_cells_of_different_lengths_are_orders(tmp_path):
    waves = [wave[: 1500 - 100 * n] for n, wave in enumerate(observatory.orders(count=3, size=1500))]
    cells = {"wave": waves, "flux": [observatory.observe(wave)[0] for wave in waves]}
    columns = [fits.Column(name, "PD()", array=np.array(rows, dtype=object)) for name, rows in cells.items()]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    assert [order.flux.size for order in seen.orders] == [1500, 1400, 1300]
    np.testing.assert_allclose(seen.orders[1].wavelength_aa, waves[1])


def test_a_table_in_hdf5(tmp_path):
    wave = observatory.linear()
    flux, sigma = observatory.observe(wave)
    table = np.rec.fromarrays([wave, flux, sigma], names=["wavelength", "flux", "flux_err"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["__astropy_table__"] = table
    order = read(tmp_path / "a.h5").single()
    np.testing.assert_allclose(order.wavelength_aa, wave)
    np.testing.assert_allclose(order.sigma, sigma)


@pytest.mark.parametrize("cards", [{"WAVETYPE": "Vacuum"}, {"CUNIT1": "Angstrom (vacuum)"}])
def test_vacuum_in_words_of_the_header(cards, tmp_path):
    image = fits.PrimaryHDU(observatory.observe(observatory.linear())[0])
    image.header.update({"CRVAL1": 5040.0, "CDELT1": 0.02, **cards})
    image.writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    assert (seen.provenance["medium"], seen.provenance["medium_assumed"]) == ("vacuum", False)


def test_a_signal_to_noise_named_error_is_hinted(tmp_path):
    wave = observatory.linear()
    flux, sigma = observatory.observe(wave, 100.0)
    fits.BinTableHDU(Table({"wave": wave, "flux": flux, "err": flux / sigma})).writeto(tmp_path / "a.fits")
    assert any("signal-to-noise" in text for text in read(tmp_path / "a.fits").provenance["warnings"])
