"""A normalised spectrum at rest comes to a network's pixels with the right resolution, or says why it cannot."""

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury.errors import DomainError
from maury.preparation import to_pixels
from maury.spectra import Spectrum
from maury.wavelengths import founding_wavelengths

PIXELS, FINE, _ = founding_wavelengths(7447)
SUN = torch.tensor([[5772.0, 4.44, 0.0, 1.0, 0, 0, 0, 0, 0, 0]])


def observe(resolution, wavelength=FINE, average=1):
    emulator = tiny_emulator()
    sampler = emulator.sampler(wavelength, resolution, average)
    flux = emulator.flux(SUN, torch.tensor([5.0]), torch.tensor([resolution]), sampler)
    return flux[0].double().numpy()


def spectrum(observed=78_000.0, **changes):
    values = {"wavelength_aa": FINE, "flux": observe(observed), "frame": "rest", "normalised": True}
    return Spectrum(**{**values, "resolution": observed, **changes})


def test_a_sharper_spectrum_is_brought_to_the_networks_resolution():
    expected = observe(44_000.0, FINE, 4)
    prepared, flags = to_pixels(spectrum(), PIXELS, 44_000.0)
    inside = (PIXELS > 5052) & (PIXELS < 5348)
    assert np.abs(prepared.flux.numpy() - expected)[inside].max() < 2e-3
    unmatched = observe(78_000.0, FINE, 4)
    assert np.abs(unmatched - expected)[inside].max() > 2e-2
    assert flags == ()
    assert not prepared.mask.any()


def test_what_is_missing_is_counted_and_filled_with_continuum():
    mask = (FINE > 5304) & (FINE < 5337)
    prepared, flags = to_pixels(spectrum(mask=mask), PIXELS, 44_000.0)
    gap = (PIXELS > 5305) & (PIXELS < 5336)
    assert prepared.mask[gap].all()
    assert (prepared.flux.numpy()[gap] == 1).all()
    assert "short_coverage" in flags


def test_lower_resolution_than_the_networks_is_flagged():
    assert to_pixels(spectrum(20_000.0), PIXELS, 44_000.0)[1] == ("resolution_below_model",)
    assert to_pixels(spectrum(43_500.0), PIXELS, 44_000.0)[1] == ()


def test_a_gap_of_a_few_pixels_is_bridged():
    """Cosmic rays leave holes of three pixels: interpolated through, counted as observed."""
    mask = np.zeros(FINE.size, bool)
    mask[10_000:20_000:500] = mask[10_001:20_000:500] = mask[10_002:20_000:500] = True
    flux = np.where(mask, np.nan, observe(78_000.0))
    prepared, flags = to_pixels(spectrum(flux=flux, mask=mask), PIXELS, 44_000.0)
    assert not prepared.mask.any()
    assert flags == ()
    whole, _ = to_pixels(spectrum(), PIXELS, 44_000.0)
    assert np.abs(prepared.flux.numpy() - whole.flux.numpy()).max() < 2e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": None}, "resolution is not in the file; give the nominal R = lambda / FWHM"),
        ({"normalised": False}, "not normalised, at rest; it has to be prepared"),
        ({"frame": "barycentric"}, "normalised, in the barycentric frame; it has to be prepared"),
        ({"frame": "unknown", "normalised": False}, "not normalised, in the unknown frame; it has to be prepared"),
        ({"wavelength_aa": FINE + 260}, "covers 40.1 Å of the window 5050 to 5350 Å; at least 60 Å are needed"),
        ({"wavelength_aa": FINE + 1000}, "covers 0.0 Å of the window"),
    ],
)
def test_unsuitable_spectra_say_why(changes, message):
    with pytest.raises(DomainError, match=message):
        to_pixels(spectrum(**changes), PIXELS, 44_000.0)
