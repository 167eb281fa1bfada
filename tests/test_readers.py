"""Every family of formats, read back and compared with the star that the simulated observatory wrote."""

from __future__ import annotations

import numpy as np
import pytest

import observatory
from maury.readers import detect, read
from maury.spectra import Spectrum
from observatory import FILES, Expected, truth


def offset_aa(order: Spectrum, scale: float) -> float:
    """Least-squares wavelength shift (Å) of an order against the truth: sum (f - t) t' / sum t'^2."""
    good = ~order.mask
    wave, flux = order.wavelength_aa[good], order.flux[good] / scale
    slope = (truth(wave + 0.005) - truth(wave - 0.005)) / 0.01
    return float(np.sum((flux - truth(wave)) * slope) / np.sum(slope**2))


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
def test_every_family_comes_back_as_it_was_observed(write, tmp_path):
    expected: Expected = write(tmp_path)
    seen = read(expected.path, **(expected.hints or {}))
    assert len(seen.orders) == expected.orders
    assert seen.frame == expected.frame
    assert seen.resolution == expected.resolution
    assert seen.provenance["medium"] == expected.medium
    for order in seen.orders:
        good = ~order.mask
        model = truth(order.wavelength_aa[good])
        noise = expected.scale * np.sqrt(np.clip(model, 0.05, None)) / observatory.SNR
        pull = (order.flux[good] - expected.scale * model) / noise
        assert abs(offset_aa(order, expected.scale)) < 0.0015
        assert 0.9 < pull.std() < 1.1
        assert (order.sigma is not None) == expected.sigma
        if order.sigma is not None:
            # a relative error times the noisy flux is known to the S/N only
            np.testing.assert_allclose(np.median(order.sigma[good] / noise), 1, atol=0.01)


def test_vacuum_taken_for_air_shows(tmp_path):
    expected = observatory.vacuum_log10(tmp_path)
    seen = read(expected.path, medium="air")
    order = seen.single()
    assert np.std(order.flux - truth(order.wavelength_aa)) > 10 / observatory.SNR
    assert any("given by the user" in rule for rule in seen.provenance["rules"])


def test_pixels_flagged_in_a_quality_column_are_masked(tmp_path):
    expected = observatory.espresso_s1d(tmp_path)
    order = read(expected.path).single()
    assert order.mask[500:510].all()
    assert order.mask.sum() == 10


def test_normalisation_is_measured_and_recorded(tmp_path):
    normalised = read(observatory.no_unit_no_crpix(tmp_path).path)
    assert normalised.normalised
    counts = read(observatory.linear_fits(tmp_path).path)
    assert not counts.normalised
    for seen in (normalised, counts):
        assert any("upper envelope" in rule for rule in seen.provenance["rules"])


def test_barycentric_velocity_is_given_only_for_topocentric_wavelengths(tmp_path):
    assert read(observatory.eso_phase3(tmp_path).path).barycentric_kms == 0.69
    assert read(observatory.harps_e2ds(tmp_path).path).barycentric_kms == -7.25
    assert read(observatory.harps_s1d(tmp_path).path).barycentric_kms is None
    salt = read(observatory.salt(tmp_path).path)
    assert salt.barycentric_kms is None
    assert any("not whether it has been taken out" in text for text in salt.provenance["warnings"])


def test_assumptions_are_recorded_and_flagged(tmp_path):
    seen = read(observatory.no_unit_no_crpix(tmp_path).path)
    rules, flags = " ".join(seen.provenance["rules"]), " ".join(seen.provenance["warnings"])
    assert "no unit stated" in rules
    assert "no CRPIX1" in rules
    assert "air wavelengths assumed" in rules
    assert "air assumed" in flags


def test_iraf_shifted_drs_products_lose_their_frame(tmp_path):
    expected = observatory.harps_s1d(tmp_path)
    from astropy.io import fits

    with fits.open(expected.path, mode="update") as file:
        file[0].header["DOPCOR01"] = "  16.9 all"
    seen = read(expected.path)
    assert seen.frame == "unknown"
    assert any("dopcor" in rule for rule in seen.provenance["rules"])


def test_user_hints_override_the_file(tmp_path):
    expected = observatory.linear_fits(tmp_path)
    assert read(expected.path, resolution=60_000).resolution == 60_000
    nm = read(expected.path, wavelength_unit="nm", window_aa=None)
    np.testing.assert_allclose(nm.orders[0].wavelength_aa[0], 50400.0)


def test_orders_are_sorted_and_found_by_window(tmp_path):
    seen = read(observatory.hires(tmp_path).path)
    starts = [order.wavelength_aa[0] for order in seen.orders]
    assert starts == sorted(starts)
    inside = seen.overlapping(5167.0, 5184.0)
    assert 0 < len(inside) < len(seen.orders)
    for order in inside:
        assert order.wavelength_aa[0] < 5184
        assert order.wavelength_aa[-1] > 5167


def test_what_a_family_that_declines_noted_is_not_in_the_record(tmp_path, monkeypatch):
    def declines(parts, log):
        log.rule("a rule of another family")
        log.warn("a warning of another family")

    path = observatory.espadons_fits(tmp_path).path
    before = read(path).provenance
    monkeypatch.setattr(detect, "FITS_FAMILIES", (declines, *detect.FITS_FAMILIES))
    assert read(path).provenance == before
