"""Several stars, fibres or exposures in one file: refused with a list, or the one that is asked for."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.errors import ConfigError, FormatError
from maury.readers import read

WAVE = np.linspace(5040.0, 5360.0, 4000)
LEVELS = (100.0, 200.0, 300.0, 400.0)
FLUX = np.stack([level * observatory.truth(WAVE) for level in LEVELS])
NAMES = ["HD 1", "HD 22", "HD 333", "sky"]


def table_with_names(path):
    columns = [
        fits.Column("OBJECT", "8A", array=NAMES),
        fits.Column("WAVE", f"{WAVE.size}D", array=np.tile(WAVE, (4, 1)) + np.arange(4)[:, None]),
        fits.Column("FLUX", f"{WAVE.size}D", array=FLUX),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return {"fibre": "hd 333"}, {"row": 3}


def long_table(path):
    columns = {"fiber": np.repeat(np.arange(7, 11), WAVE.size), "wavelength": np.tile(WAVE, 4), "flux": FLUX.ravel()}
    text = "\n".join(f"{a} {b:.4f} {c:.5f}" for a, b, c in zip(*columns.values(), strict=True))
    path.write_text("# fiber wavelength flux\n" + text + "\n")
    return {"fibre": 9}, {"fibre": "09"}


def steps_back(path):
    np.savetxt(path, np.stack([np.tile(WAVE, 4), FLUX.ravel()], axis=1))
    return ({"order": 3},)


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["wavelength"], file["flux"], file["names"] = WAVE, FLUX, NAMES
    return {"row": 3}, {"fibre": "HD 333"}


def groups(path):
    with h5py.File(path, "w") as file:
        for name, flux in zip(NAMES, FLUX, strict=True):
            file[f"{name}/wavelength"], file[f"{name}/flux"] = WAVE, flux
    return ({"extension": "HD 333"},)


def multispec(path):
    image = fits.PrimaryHDU(FLUX.astype(np.float32))
    header = image.header
    header["CTYPE1"] = header["CTYPE2"] = "MULTISPE"
    header["WAT0_001"], header["WAT1_001"] = "system=multispec", "wtype=multispec label=Wavelength units=angstroms"
    step = WAVE[1] - WAVE[0]
    entries = " ".join(f'spec{n} = "{n} {n} 0 5040. {step:.9f} {WAVE.size} 0. 1. 2."' for n in (1, 2, 3, 4))
    text = "wtype=multispec " + entries
    for number, start in enumerate(range(0, len(text), 68), start=1):
        header[f"WAT2_{number:03d}"] = text[start : start + 68]
    for number, name in enumerate(NAMES, start=1):
        header[f"APID{number}"] = name
    image.writeto(path)
    return {"fibre": "HD 333"}, {"row": 3}


def columns(path):
    np.savetxt(path, np.column_stack([WAVE, FLUX.T]), header="wavelength HD_1 HD_22 HD_333 HD_4")
    return {"fibre": "HD_333"}, {"row": 3}


def named_columns(path):
    names = ["wavelength", "flux_HD1", "flux_HD22", "flux_HD333", "flux_HD4"]
    np.savetxt(path, np.column_stack([WAVE, FLUX.T]), header=",".join(names), delimiter=",", comments="")
    return ({"fibre": "hd333"},)


def many_fibres(path):
    levels = np.repeat(LEVELS, 5) + np.tile([0.0, 1, 2, 3, 4], 4)
    image = fits.PrimaryHDU(levels[:, None] * observatory.truth(WAVE))
    image.header["CRVAL1"], image.header["CDELT1"], image.header["CRPIX1"] = 5040.0, WAVE[1] - WAVE[0], 1.0
    fits.HDUList([image, fits.ImageHDU(image.data, name="VARIANCE")]).writeto(path)
    return ({"row": 11},)


def rows_on_one_axis(path):
    image = fits.PrimaryHDU(FLUX)
    image.header["CRVAL1"], image.header["CDELT1"], image.header["CRPIX1"] = 5040.0, WAVE[1] - WAVE[0], 1.0
    image.writeto(path)
    return ({"row": 3},)


def tables(path):
    parts = [
        fits.BinTableHDU.from_columns(
            [fits.Column("WAVE", "D", array=WAVE), fits.Column("FLUX", "D", array=flux)], name=f"STAR{n}"
        )
        for n, flux in enumerate(FLUX, start=1)
    ]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    return {"extension": "star3"}, {"extension": 3}, {"extension": "3"}


def images(path):
    parts = [fits.ImageHDU(flux, name=f"FIBRE_{n}") for n, flux in enumerate(FLUX, start=1)]
    for part in parts:
        part.header["CRVAL1"], part.header["CDELT1"] = 5040.0, WAVE[1] - WAVE[0]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    return {"extension": "FIBRE_3"}, {"extension": 3}


@pytest.mark.parametrize(
    "write",
    [
        table_with_names,
        long_table,
        steps_back,
        hdf5,
        groups,
        multispec,
        rows_on_one_axis,
        tables,
        images,
        columns,
        named_columns,
        many_fibres,
    ],
)
def test_several_stars_are_refused_and_each_can_be_chosen(write, tmp_path):
    path = tmp_path / "stars"
    choices = write(path)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert caught.value.parameter in ("row", "fibre", "extension", "order")
    for choice in choices:
        assert next(iter(choice)) in str(caught.value)
        seen = read(path, **choice)
        order = seen.single()
        assert np.median(order.flux) == pytest.approx(300, rel=0.02)
        assert any("chosen by the user" in rule for rule in seen.provenance["rules"])


def test_two_stars_are_no_orders_either(tmp_path):
    with h5py.File(tmp_path / "two", "w") as file:
        file["wavelength"], file["flux"] = WAVE, FLUX[:2]
    with pytest.raises(FormatError, match=r"2 spectra .* by row \(1, 2\)"):
        read(tmp_path / "two")


def test_slices_and_overlapping_orders_stay_one_star(tmp_path):
    seen = read(observatory.espresso_s2d(tmp_path).path)
    assert len(seen.orders) > 3
    wave = np.stack([np.linspace(start, start + 100, 1500) for start in np.arange(5000, 5300, 30)])
    with h5py.File(tmp_path / "orders", "w") as file:
        file["wave"], file["flux"] = wave, observatory.truth(wave)
    assert len(read(tmp_path / "orders").orders) == len(wave)
    assert len(read(tmp_path / "orders", order=4).orders) == 1


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"row": 5}, r"row 5: the file has rows 1, 2, 3, 4"),
        ({"fibre": "HD 4"}, r"fibre HD 4: the file has HD 1, HD 22"),
        ({"extension": 4}, r"extension 4: not one with data; the file has 1"),
        ({"row": 1, "order": 7}, r"order 7: the file has"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(choice, reason, tmp_path):
    table_with_names(tmp_path / "stars")
    with pytest.raises(FormatError, match=reason):
        read(tmp_path / "stars", **choice)


@pytest.mark.parametrize(("option", "value"), [("medium", "water"), ("wavelength_unit", "mile"), ("row", 0)])
def test_options_out_of_range_are_refused_before_the_file_is_opened(option, value):
    with pytest.raises(ConfigError) as caught:
        read("no such file", **{option: value})
    assert caught.value.parameter == option


def sky_beside(path, apnum):
    """Apertures of object and sky in turn, as of the HRS at the HET; slices if all have one beam."""
    size, specs, rows, cards = 1600, [], [], {}
    for order in range(6):
        start = 5040.0 + 50 * order
        wave = start + 0.035 * np.arange(size)
        for beam in (1, 0):
            number = len(specs) + 1
            specs.append(f"{number} {90 - order} 0 {start!r} 0.035 {size} 0. 1. 2.")
            cards[f"APNUM{number}"] = f"{number} {beam if apnum else 1} 10.0 20.0"
            sky = np.random.default_rng(number).normal(5, 2, size)
            rows.append(observatory.observe(wave, 500.0)[0] if beam else sky)
    return observatory._multispec(path, specs, np.stack(rows), **cards)


@pytest.mark.parametrize("apnum", [True, False])
def test_star_and_sky_in_turn_are_not_two_slices(apnum, tmp_path):
    path = sky_beside(tmp_path, apnum)
    with pytest.raises(FormatError, match="2 spectra cover nearly the same wavelengths"):
        read(path)
    if apnum:
        star = read(path, fibre="1")
        assert len(star.orders) == 6
        assert all(np.median(order.flux) > 300 for order in star.orders)


def test_groups_of_pyreduce_are_fibres(tmp_path):
    wave = np.tile(observatory.orders(count=3, size=1500), (2, 1))
    flux, sigma = observatory.observe(wave, 100.0)
    table = Table({"SPEC": flux, "SIG": sigma, "GROUP": ["A"] * 3 + ["B"] * 3, "FIBER_IDX": [1] * 6, "WAVE": wave})
    fits.BinTableHDU(table, name="SPECTRA").writeto(tmp_path / "a.fits")
    with pytest.raises(FormatError, match=r"fibre \(A, B\)"):
        read(tmp_path / "a.fits")


def test_extensions_named_by_stars(tmp_path):
    axis = fits.Header({"CRVAL1": 5040.0, "CDELT1": 0.02, "CUNIT1": "Angstrom"})
    fluxes = [observatory.observe(observatory.linear(), 100.0, seed)[0] for seed in range(2)]
    hdus = [fits.ImageHDU(flux, axis, name=star) for flux, star in zip(fluxes, ("Vega", "Sirius"), strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    with pytest.raises(FormatError, match=r"extension \(VEGA, SIRIUS\)"):
        read(tmp_path / "a.fits")
    np.testing.assert_allclose(read(tmp_path / "a.fits", extension="Sirius").single().flux, fluxes[1])


def test_rows_of_stars_below_their_wavelengths(tmp_path):
    wave = observatory.linear()
    fluxes = [observatory.observe(wave, 100.0, seed)[0] for seed in range(3)]
    fits.PrimaryHDU(np.stack([wave, *fluxes])).writeto(tmp_path / "a.fits")
    with pytest.raises(FormatError, match=r"row \(2, 3, 4\)"):
        read(tmp_path / "a.fits")
    np.testing.assert_allclose(read(tmp_path / "a.fits", row=3).single().flux, fluxes[1])
