"""The table of pipelines: every line read from a file that is written here, or by the simulated observatory."""

import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import observatory
from maury.errors import FormatError
from maury.readers import read
from maury.readers.pipelines import PIPELINES
from maury.wavelengths import air_to_vacuum

DOCS = Path(__file__).parents[1] / "docs"
WAVE = observatory.orders(count=6, size=1500)
VACUUM = air_to_vacuum(WAVE)
STAR = 100 * observatory.truth(WAVE)
LAMP = np.full_like(STAR, 7.0)


def write(path, parts, **cards):
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    fits.HDUList([primary, *(fits.ImageHDU(values, name=name) for name, values in parts.items())]).writeto(path)


def trace(flux, *names):
    return dict(zip(names, (flux, VACUUM, np.maximum(flux, 1)), strict=True))


def eprv(path, lights=("CAL", "SCI", "SCI", "SKY"), **cards):
    parts = {}
    for number, light in enumerate(lights, start=1):
        flux = STAR if light in ("SCI", "Target", "HD 1") else LAMP
        parts |= trace(flux, *(f"TRACE{number}_{kind}" for kind in ("FLUX", "WAVE", "VAR")))
        cards[f"TRACE{number}"] = light
    write(path, parts, INSTRUME="KPF", **cards)


def eprv_level_3(path):
    parts = trace(STAR.ravel()[::-1] * 0 + 7.0, *(f"STITCHED_CORR_TRACE1_{kind}" for kind in ("FLUX", "WAVE", "VAR")))
    wave = np.linspace(5040.0, 5360.0, VACUUM.size)
    flux = 100 * observatory.truth(wave)
    parts = {name: np.zeros(VACUUM.size) + wave for name in parts}
    for kind, values in (("FLUX", flux), ("WAVE", air_to_vacuum(wave)), ("VAR", flux)):
        parts[f"COADD_STITCHED_CORR_{kind}"] = values
    write(path, parts, TRACE1="SCI")


def kpf(path):
    parts = {}
    for name, flux in (("SCI_{}1", STAR), ("SCI_{}2", STAR), ("SCI_{}3", STAR), ("SKY_{}", LAMP), ("CAL_{}", LAMP)):
        parts |= trace(flux, *("GREEN_" + name.format(kind) for kind in ("FLUX", "WAVE", "VAR")))
    write(path, parts, INSTRUME="KPF")


def maroon_x(path):
    parts = {}
    for number in range(1, 6):
        names = (f"OPTIMAL_REDUCED_FIBER_{number}", f"WLS_STATIC_FIBER_{number}", f"OPTIMAL_REDUCED_VAR_{number}")
        parts |= trace(STAR if number in (2, 3, 4) else LAMP, *names)
        parts[names[1]] = VACUUM / 10  # nm, which the extensions do not say
    write(path, parts, INSTRUME="MAROON-X")


def neid(path):
    parts = trace(LAMP, "SKYFLUX", "SKYWAVE", "SKYVAR") | trace(STAR, "SCIFLUX", "SCIWAVE", "SCIVAR")
    write(path, parts, INSTRUME="NEID")


def nres(path, objects="none&thar&HD 1"):
    fibres = np.repeat([0, 1, 2], 6)
    flux = np.concatenate([LAMP, LAMP, STAR] if objects.endswith("HD 1") else [STAR, LAMP, LAMP])
    bad = np.zeros(flux.shape, np.uint8)
    bad[:, 100:110] = 1
    columns = [
        fits.Column("id", "K", array=np.arange(18)),
        fits.Column("order", "K", array=np.tile(np.arange(60, 66), 3)),
        fits.Column("fiber", "K", array=fibres),
        fits.Column("wavelength", "1500D", array=np.tile(VACUUM, (3, 1))),
        fits.Column("flux", "1500D", array=flux),
        fits.Column("uncertainty", "1500D", array=np.sqrt(flux)),
        fits.Column("mask", "1500B", array=bad),
    ]
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "nres02", "OBJECTS": objects})
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="SPECTRUM")]).writeto(path)


def pypeit(path, objects=("OBJ0500",), velocity="heliocentric"):
    tables = []
    for star in objects:
        for number, (wave, flux) in enumerate(zip(VACUUM, STAR, strict=True)):
            good = np.ones(wave.size, bool)
            good[100:110] = False
            columns = [
                fits.Column("BOX_WAVE", "D", array=wave),
                fits.Column("BOX_COUNTS", "D", array=np.full(wave.size, 7.0)),
                fits.Column("OPT_WAVE", "D", array=wave),
                fits.Column("OPT_COUNTS", "D", array=flux),
                fits.Column("OPT_COUNTS_IVAR", "D", array=1 / flux),
                fits.Column("OPT_MASK", "L", array=good),
            ]
            tables.append(fits.BinTableHDU.from_columns(columns, name=f"{star}-MSC01-ORDER{90 - number:04d}"))
            tables[-1].header["VEL_TYPE"] = velocity
    primary = fits.PrimaryHDU()
    primary.header["PYP_SPEC"] = "keck_hires"
    fits.HDUList([primary, *tables]).writeto(path)


def expres(path):
    columns = [
        fits.Column("wavelength", "1500D", array=VACUUM * (1 + 1e-4)),
        fits.Column("bary_wavelength", "1500D", array=VACUUM),
        fits.Column("spectrum", "1500D", array=STAR),
        fits.Column("uncertainty", "1500D", array=np.sqrt(STAR)),
        fits.Column("pixel_mask", "1500L", array=np.arange(1500) + np.zeros(STAR.shape) >= 20),
    ]
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "EXPRES"
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path)


def x_shooter(path):
    wave = observatory.linear()
    columns = [fits.Column("WAVE", "D", "nm", array=wave / 10), fits.Column("FLUX", "D", array=observatory.truth(wave))]
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "XSHOOTER"
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path)


def espresso(folder):
    expected = observatory.espresso_s1d(folder)
    with fits.open(expected.path, mode="update") as file:
        file[0].header["HIERARCH ESO PRO CATG"] = "S1D_A"
    return expected


def song(path, optimal=True):
    image = fits.PrimaryHDU(np.stack([STAR * optimal, STAR, np.full_like(STAR, 1e4), WAVE]))
    image.header["TELESCOP"], image.header["INSTRUM"] = "Node 1", "Spectrograph"
    image.writeto(path)


HERE = {
    "SONG": song,
    "EPRV standard, level 2": eprv,
    "EPRV standard, level 3": eprv_level_3,
    "KPF DRP, level 1": kpf,
    "MAROON-X (DRAGONS)": maroon_x,
    "NRES (banzai-nres)": nres,
    "PypeIt spec1d": pypeit,
    "NEID DRP, level 2": neid,
    "EXPRES": expres,
    "ESO pipeline": x_shooter,
}
ELSEWHERE = {
    "Geneva DRS, orders (e2ds)": observatory.harps_e2ds,
    "Geneva DRS, s1d": observatory.harps_s1d,
    "ESPRESSO DRS, S1D": espresso,
    "ESPRESSO DRS, S2D": observatory.espresso_s2d,
    "ESO Phase 3": observatory.eso_phase3,
    "MAKEE": observatory.makee,
    "California Planet Search": observatory.hires,
    "LAMOST": observatory.lamost_table,
    "SDSS": observatory.sdss_table,
    "CARMENES (caracal)": observatory.carmenes,
    "Libre-ESpRIT": observatory.espadons_fits,
    "FIEStool": observatory.multispec_linear_cube,
    "HERMES (GALAH)": observatory.galah,
    "TRES (Starfish)": observatory.tres_hdf5,
    "CERES": observatory.ceres,
    "UVES_popler": observatory.uves_popler,
    "PEPSI (SDS)": observatory.pepsi,
}


def test_every_line_has_its_file():
    assert {p.name for p in PIPELINES} == {*HERE, *ELSEWHERE}


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_each_line_holds_for_its_file(pipeline, tmp_path):
    path, hints = tmp_path / "star.fits", {}
    if pipeline.name in HERE:
        HERE[pipeline.name](path)
    else:
        expected = ELSEWHERE[pipeline.name](tmp_path)
        path, hints = expected.path, expected.hints or {}
    seen = read(path, **hints)
    if pipeline.medium is not None:
        assert seen.provenance["medium"] == pipeline.medium
        assert bool(seen.provenance["medium_assumed"]) == pipeline.assumed
    if pipeline.frame != "unknown":
        assert seen.frame == pipeline.frame
    if pipeline.name in HERE:
        for order in seen.orders:
            good = ~order.mask
            level = np.median(order.flux[good])
            np.testing.assert_allclose(order.flux[good] / level, observatory.truth(order.wavelength_aa[good]) /
                                       np.median(observatory.truth(order.wavelength_aa[good])), atol=0.02)  # fmt: skip


def test_the_documentation_has_the_table_of_today():
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        from pipelines import PAGE, with_table
    finally:
        sys.path.pop(0)
    text = PAGE.read_text(encoding="utf-8")
    assert with_table(text) == text, "run: python docs/_ext/pipelines.py"
    assert all(f"| {p.name} |" in text for p in PIPELINES)


@pytest.mark.parametrize("light", ["SCI", "Target", "HD 1"])
def test_the_traces_of_the_star_are_found_by_their_names(light, tmp_path):
    eprv(tmp_path / "star.fits", ("Etalon", light, light, "Sky", "None"), OBJECT="HD 1")
    seen = read(tmp_path / "star.fits")
    assert len(seen.orders) == 2 * len(WAVE)
    assert all(order.flux.max() > 50 for order in seen.orders)


def test_traces_without_a_star_are_listed_and_one_can_be_chosen(tmp_path):
    eprv(tmp_path / "star.fits", ("Etalon", "", "Sky"))
    with pytest.raises(FormatError, match=r"named as the star's; choose one by fibre: TRACE1 \(Etalon\)") as e:
        read(tmp_path / "star.fits")
    assert e.value.parameter == "fibre"
    for fibre in ("TRACE1", 1, "etalon"):
        assert len(read(tmp_path / "star.fits", fibre=fibre).orders) == len(WAVE)


def test_the_fibre_on_the_star_is_read_and_its_mask_is_used(tmp_path):
    nres(tmp_path / "a.fits")
    nres(tmp_path / "b.fits", "HD 1&thar&none")
    for name in ("a.fits", "b.fits"):
        seen = read(tmp_path / name)
        assert len(seen.orders) == len(WAVE)
        assert all(order.mask.sum() == 10 and order.flux.max() > 50 for order in seen.orders)
    assert read(tmp_path / "a.fits", fibre=1).orders[0].flux.max() == 7
    assert len(read(tmp_path / "a.fits", order=62).orders) == 1


def test_expres_masks_what_is_not_good_and_is_barycentric(tmp_path):
    expres(tmp_path / "star.fits")
    seen = read(tmp_path / "star.fits")
    assert seen.frame == "barycentric"
    assert all(order.mask[:20].all() and not order.mask[20:].any() for order in seen.orders)


def test_two_stars_on_two_fibres_are_refused(tmp_path):
    nres(tmp_path / "a.fits", "HD 2&thar&HD 1")
    with pytest.raises(FormatError, match=r"by fibre \(0, 2\)"):
        read(tmp_path / "a.fits")


def test_pypeit_masks_frames_and_objects(tmp_path):
    pypeit(tmp_path / "one.fits")
    seen = read(tmp_path / "one.fits")
    assert all(order.mask.sum() == 10 and order.flux.max() > 50 for order in seen.orders)
    assert seen.frame == "barycentric"
    pypeit(tmp_path / "earth.fits", velocity="topocentric")
    assert read(tmp_path / "earth.fits").frame == "topocentric"
    pypeit(tmp_path / "two.fits", ("OBJ0200", "OBJ0500"))
    with pytest.raises(FormatError, match=r"by fibre \(OBJ0200, OBJ0500\)"):
        read(tmp_path / "two.fits")
    assert len(read(tmp_path / "two.fits", fibre="OBJ0500").orders) == len(WAVE)


def test_expres_as_its_pipeline_writes_it(tmp_path):
    """INSTRMNT in place of INSTRUME, and the exposure meter with a column of wavelengths beside the spectrum."""
    expres(tmp_path / "a.fits")
    meter = Table({"midpoints": [1.0, 2.0], "wavelengths": np.full((2, 5), 500.0), "counts": np.ones((2, 5))})
    with fits.open(tmp_path / "a.fits", mode="append") as file:
        file[0].header.rename_keyword("INSTRUME", "INSTRMNT")
        file.append(fits.BinTableHDU(meter, name="EXPMTR"))
        file.writeto(tmp_path / "b.fits")
    seen = read(tmp_path / "b.fits")
    assert (len(seen.orders), seen.provenance["medium"], seen.frame) == (6, "vacuum", "barycentric")
    assert seen.orders[0].mask[:20].all()
    assert any("EXPMTR" in text for text in seen.provenance["warnings"])


def test_nres_by_its_telescope_and_its_velocity_in_metres_a_second(tmp_path):
    nres(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as file:
        file[0].header["INSTRUME"], file[0].header["TELESCOP"] = "fa09", "nres01"
        file[0].header["BARYCORR"] = (-12345.6, "Barycentric velocity correction (m / s)")
    seen = read(tmp_path / "a.fits")
    assert (len(seen.orders), seen.provenance["medium"], seen.frame) == (6, "vacuum", "topocentric")
    np.testing.assert_allclose(seen.barycentric_kms, -12.3456)


def test_pypeit_coadded_with_its_keyword_in_the_extension(tmp_path):
    wave, good = VACUUM[0], np.arange(1500) >= 30
    columns = {"wave": np.where(good, wave, 0), "wave_grid_mid": wave, "flux": STAR[0], "ivar": 1 / STAR[0]}
    table = fits.BinTableHDU(Table({**columns, "mask": good.astype(int)}), name="SPECTRUM")
    table.header["PYP_SPEC"] = "keck_hires"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    seen = read(tmp_path / "a.fits")
    assert seen.provenance["medium"] == "vacuum"
    np.testing.assert_allclose(seen.single().wavelength_aa, WAVE[0, 30:], atol=1e-4)


def test_the_only_trace_without_a_name_is_the_star(tmp_path):
    write(tmp_path / "a.fits", trace(STAR, "TRACE1_FLUX", "TRACE1_WAVE", "TRACE1_VAR"), INSTRUME="EXPRES")
    assert len(read(tmp_path / "a.fits").orders) == 6
