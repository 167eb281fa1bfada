"""Barycentric velocities: by the keywords of pipelines, in extensions, or computed where a header has what it needs."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils import iers

from maury.readers import read
from maury.readers.barycentric import bjd_tdb, zero_point_kms

HD189733 = {
    "RA": 300.18186, "DEC": 22.70883, "DATE-OBS": "2006-09-08T02:12:38.604", "EXPTIME": 600.0015,
}  # fmt: skip
"""An exposure of HARPS, whose pipeline computed the velocity below."""
HARPS_KMS = -13.35609
LA_SILLA = {
    "HIERARCH ESO TEL GEOLAT": -29.2584,
    "HIERARCH ESO TEL GEOLON": -70.7345,
    "HIERARCH ESO TEL GEOELEV": 2400.0,
}

HARPS_MJD = 53986.09211347
"""Start of that exposure."""
HARPS_BJD_UTC = 2453986.59901847
"""ESO DRS BJD of that exposure, which is in UTC: TDB was 65.184 s ahead (33 leap seconds)."""


@pytest.fixture
def seen(tmp_path):
    """Read a spectrum whose header has some cards, and whose file has some more extensions."""

    def make(cards, *extensions, frame="TOPOCENT"):
        wave = np.arange(5100.0, 5140.0, 0.02)
        flux = 1000 * (1 - 0.5 * np.exp(-0.5 * ((wave - 5110) / 0.1) ** 2))
        header = fits.Header({"CRVAL1": wave[0], "CDELT1": 0.02, "CRPIX1": 1.0, "CTYPE1": "AWAV", "SPECSYS": frame})
        header.update(cards)
        fits.HDUList([fits.PrimaryHDU(flux, header), *extensions]).writeto(tmp_path / "a.fits", overwrite=True)
        return read(tmp_path / "a.fits")

    return make


@pytest.mark.parametrize("key", ["HIERARCH CARACAL BERV", "BVCOR", "BVC", "HIERARCH ESO DRS BERV"])
def test_keywords_of_pipelines(seen, key):
    observation = seen({key: -11.25})
    assert observation.barycentric_kms == -11.25
    assert (
        f"barycentric velocity -11.250 km/s: {key.removeprefix('HIERARCH ')} in the header"
        in observation.provenance["rules"]
    )


def test_redshifts_of_the_orders_of_neid(seen):
    observation = seen({"SSBZ100": -3.75e-5, "SSBZ101": -3.75e-5, "SSBZ102": 0.0})
    assert observation.barycentric_kms == pytest.approx(-3.75e-5 * 299_792.458)


def test_extensions(seen):
    image = fits.ImageHDU(np.array([7.25, 7.25, np.nan, 0.0]), name="BARYCORR_KMS")
    assert seen({}, image).barycentric_kms == 7.25
    column = fits.Column("BARYVEL", "D", array=np.array([7250.0, 7250.0]))
    table = fits.BinTableHDU.from_columns([column], name="BARY_CORR")
    assert seen({}, table).barycentric_kms == 7.25


def test_metres_a_second_of_maroon_x_in_an_extension(seen):
    image = fits.ImageHDU(np.zeros(3))
    image.header["HIERARCH BERV_MIDPOINT"] = -7100.0
    image.header["HIERARCH BERV_FLUXWEIGHTED_FRD"] = -7250.0
    assert seen({}, image).barycentric_kms == -7.25


def test_the_extension_of_expres_is_not_believed(seen):
    """RVData wrote it with the other sign for years: the velocity is computed."""
    image = fits.ImageHDU(np.array([-HARPS_KMS]), name="BARYCORR_KMS")
    assert seen({"INSTRUME": "EXPRES"}, image).barycentric_kms is None
    observation = seen(HD189733 | LA_SILLA | {"INSTRUME": "EXPRES"}, image)
    assert observation.barycentric_kms == pytest.approx(HARPS_KMS, abs=0.01)


def test_without_one_it_is_computed_and_said(seen, monkeypatch):
    """The network is not asked: astropy's tables of the Earth's rotation are those that come with it."""
    monkeypatch.setattr(socket.socket, "connect", lambda *given: pytest.fail("asks the network"))
    observation = seen(HD189733 | LA_SILLA)
    assert observation.barycentric_kms == pytest.approx(HARPS_KMS, abs=0.01)
    (rule,) = [rule for rule in observation.provenance["rules"] if "barycentric velocity" in rule]
    assert (
        "computed by astropy from RA, DEC, 2006-09-08T02:17:38 (middle of the exposure) and site (ESO TEL GEOLAT"
        in rule
    )
    assert iers.conf.auto_download


@pytest.mark.parametrize(
    "cards",
    [
        {"TELESCOP": "ESO-3P6"},
        {"SITELAT": -29.2584, "SITELONG": -70.7345, "RA": "20:00:43.65", "DEC": "+22:42:31.8"},
        {"OBSGEO-X": 1838195.4, "OBSGEO-Y": -5258864.6, "OBSGEO-Z": -3099934.5},
        {"TELESCOP": "ESO-3P6", "DATE-OBS": "2006-09-08", "UT": "02:12:38.6"},
        {"TELESCOP": "ESO-3P6", "DATE-OBS": "", "MJD-OBS": 53986.09211},
        {"TELESCOP": "ESO-3P6", "DATE-AVG": "2006-09-08T02:17:38", "DATE-OBS": "2001-01-01T00:00:00"},
    ],
    ids=["name of the telescope", "sexagesimal", "geocentric", "date and time apart", "MJD", "middle given"],
)
def test_coordinates_dates_and_sites_in_their_spellings(seen, cards):
    assert seen(HD189733 | cards).barycentric_kms == pytest.approx(HARPS_KMS, abs=0.02)


@pytest.mark.parametrize("missing", ["RA", "DATE-OBS", "EXPTIME", "site"])
def test_what_it_needs_must_be_there(seen, missing):
    cards = {key: value for key, value in (HD189733 | LA_SILLA).items() if key != missing}
    observation = seen(HD189733 if missing == "site" else cards)
    assert observation.barycentric_kms is None


def test_nonsense_in_the_header_is_a_warning(seen):
    observation = seen(HD189733 | LA_SILLA | {"DEC": "north"})
    assert observation.barycentric_kms is None
    assert any("barycentric velocity not computed" in text for text in observation.provenance["warnings"])


def test_other_frames_get_none(seen):
    assert seen(HD189733 | LA_SILLA, frame="BARYCENT").barycentric_kms is None


def test_the_barycentric_date_is_that_of_the_pipeline_of_harps(seen):
    """To 5 s, as HARPS weights the exposure's middle by light; without a site or a date there is none."""
    cards = seen({**HD189733, **LA_SILLA}).provenance["when_and_where"]
    assert bjd_tdb(cards) == pytest.approx(HARPS_BJD_UTC + 65.184 / 86_400, abs=5 / 86_400)
    opposite = {**cards, "RA": cards["RA"] - 180, "DEC": -cards["DEC"]}
    middle = (bjd_tdb(cards) + bjd_tdb(opposite)) / 2
    assert middle == pytest.approx(HARPS_MJD + 2_400_000.5 + (300 + 65.184) / 86_400, abs=1e-5)
    assert bjd_tdb({**cards, "DATE-OBS": "yesterday"}) is None
    assert bjd_tdb({key: value for key, value in cards.items() if "GEO" not in key}) is None
    assert bjd_tdb({}) is None
    assert "when_and_where" not in seen({}).provenance


@pytest.mark.parametrize(("name", "error"), [("HARPS", 0.001), ("NARVAL", 0.03), ("HARPN", 0.001), ("UVES", 0.3)])
def test_zero_points_by_instrument(name, error):
    assert zero_point_kms(name) == error
