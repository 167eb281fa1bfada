"""Ranges of wavelength that a user leaves out: what is in them has no say."""

from __future__ import annotations

import numpy as np
import pytest

from maury.errors import ConfigError, DomainError
from maury.inference import predict, write_table
from maury.preparation import parse_range, prepare
from maury.preparation.masks import inside, ordered, require_rest, texts
from maury.readers import read, write
from maury.spectra import Observation
from maury.wavelengths import C_KMS
from nights import SUN, Instrument, observe

MASK = ((5166.0, 5175.0), (5182.5, 5184.5))
WINDOW = (5050.0, 5350.0)
VELOCITY = 83.0
STAR = {**SUN, "vmic": 2.0}


def spoiled(night):
    """The night with nonsense in two of the three Mg b lines."""
    rng, orders = np.random.default_rng(2), []
    for order in night.orders:
        bad = inside(order.wavelength_aa / (1 + VELOCITY / C_KMS), MASK)
        orders.append(order.with_(flux=np.where(bad, order.flux * rng.uniform(0.3, 1.0, bad.size), order.flux)))
    return Observation(tuple(orders), None, night.provenance)


@pytest.fixture(scope="module")
def nights():
    """An echelle night, and the same one spoiled."""
    night = observe(STAR, Instrument(60_000.0, 0.04, 6, True, 0.02), velocity_kms=VELOCITY, snr=150)
    return night, spoiled(night)


@pytest.fixture(scope="module")
def prepared(nights):
    return [prepare(night, resolution=60_000.0, mask=MASK) for night in nights]


def test_what_is_masked_has_no_say(prepared, nights):
    """Velocity, template and flux are the same whatever stands in the ranges; without the mask they are not."""
    clean, bad = prepared
    assert bad.velocity_kms == pytest.approx(clean.velocity_kms, abs=1e-4)
    assert bad.template == pytest.approx(clean.template, abs=0.01, rel=1e-4)
    np.testing.assert_allclose(bad.spectrum.flux, clean.spectrum.flux, atol=1e-4)
    whole = prepare(nights[1], resolution=60_000.0)
    assert abs(whole.template["teff"] - clean.template["teff"]) > 20


def test_the_ranges_are_at_rest(prepared):
    """At +83 km/s they lie 1.4 Å further red in the file, and where they are asked for in the result."""
    spectrum = prepared[0].spectrum
    wave, step = spectrum.wavelength_aa, 0.05
    hidden = inside(wave, ((5166 + step, 5175 - step), (5182.5 + step, 5184.5 - step)))
    assert spectrum.mask[hidden].all()
    assert np.isnan(spectrum.flux[hidden]).all()
    near = inside(wave, ((5160, 5166 - step), (5175 + step, 5182.5 - step), (5184.5 + step, 5190)))
    assert not spectrum.mask[near].any()


def test_it_is_told_what_was_left_out(prepared, tmp_path):
    done = prepared[0]
    assert "275 pixels masked: in the ranges that were asked for" in done.notes
    assert done.mask_aa == MASK
    assert done.record()["mask_aa"] == [[5166.0, 5175.0], [5182.5, 5184.5]]
    assert done.coverage_aa == pytest.approx(289, abs=0.1)
    for ending in (".ecsv", ".fits"):
        write(done.spectrum, tmp_path / f"star{ending}")
        assert read(tmp_path / f"star{ending}").provenance["mask"] == ("5166-5175", "5182.5-5184.5")


def test_predictions_are_saved_by_a_mask(nights, prepared, tmp_path):
    """Nonsense in a line moves the temperature; masked it does not, be it from the orders or from what was prepared."""
    wrong = predict(nights[1], resolution=60_000.0, samples=500)
    assert wrong.values["teff"] > STAR["teff"] + 80
    right = predict(nights[1], resolution=60_000.0, mask=MASK, samples=500)
    assert right.values["teff"] == pytest.approx(STAR["teff"], abs=30)
    assert right.record()["mask_aa"] == [[5166.0, 5175.0], [5182.5, 5184.5]]
    hidden = inside(right.wavelength_aa, ((5166.1, 5174.9), (5182.6, 5184.4)))
    assert right.spectrum.mask[hidden].all()
    write_table([right, wrong], tmp_path / "t.ecsv")
    assert "5166-5175,5182.5-5184.5" in (tmp_path / "t.ecsv").read_text()
    whole = prepare(nights[1], resolution=60_000.0, mask=MASK[:1])
    write(whole.spectrum, tmp_path / "star.fits")
    again = predict(read(tmp_path / "star.fits"), mask=MASK[1:], samples=500)
    assert again.mask_aa == MASK
    assert again.values["teff"] == pytest.approx(right.values["teff"], abs=20)


def test_ranges_are_ordered_and_joined():
    assert ordered([(5200, 5210), (5100, 5110.5), (5205, 5220), (5110.5, 5111)]) == ((5100, 5111), (5200, 5220))
    wave = np.array([5099.9, 5100.0, 5111.0, 5111.1, 5215.0])
    assert inside(wave, ordered([(5100, 5111), (5200, 5220)])).tolist() == [False, True, True, False, True]
    assert not inside(wave, ()).any()
    assert texts(ordered([parse_range("5183-5184.25")])) == ("5183-5184.25",)


@pytest.mark.parametrize("text", ["5183", "5183-", "a-b", "5183:5184", "", "5184-5183", "5183-5183", "nan-5184"])
def test_ranges_that_cannot_be(text):
    with pytest.raises(ConfigError, match=r"^mask .*(such as 5183-5184.2|the lower first)$"):
        parse_range(text)


def test_masks_that_do_not_suit_the_window():
    with pytest.raises(ConfigError, match=r"^mask 6000-6010: outside of the window 5050 to 5350 Å \(air, at rest\)$"):
        require_rest(((6000.0, 6010.0),), WINDOW)
    with pytest.raises(DomainError, match=r"^mask: leaves 50.0 Å of the window 5050 to 5350 Å; at least 60 Å"):
        require_rest(((5000.0, 5200.0), (5250.0, 5400.0)), WINDOW)
    require_rest(((5000.0, 5280.0),), WINDOW)


def test_less_than_60_aa_of_what_was_observed_is_left(nights):
    with pytest.raises(DomainError, match=r"covers \d+\.\d Å of the window 5050 to 5350 Å; at least 60 Å"):
        prepare(Observation(nights[0].orders[2:3], None, {}), resolution=60_000.0, mask=((5170.0, 5190.0),))
