"""Observed spectra on the default network's pixels are what the simulator makes of the same star."""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import nights
from maury.emulator import NetworkPixels
from maury.errors import DomainError
from maury.preparation import prepare
from maury.preparation.network_input import to_network
from maury.simulation import Simulator
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS, pixel_points

PIXELS = NetworkPixels.of(nights.emulator())


@lru_cache(maxsize=1)
def simulator() -> Simulator:
    return Simulator(nights.emulator())


def on_network(star):
    """The arrays of `to_network` for numpy."""
    seen = to_network(star, PIXELS)
    arrays = {name: getattr(seen, name).numpy() for name in ("flux", "sigma", "good")}
    return SimpleNamespace(**arrays, resolution=float(seen.resolution))


def truth(labels, resolution):
    row = torch.cat([nights.intrinsic(labels), torch.tensor([[labels["vsini"], 0.0, 0.0]])], 1)
    return simulator().spectra(row, torch.tensor([float(resolution)]))[0].double().numpy()


def spectrum(resolution, step_kms=0.8, labels=nights.SUN, sigma=0.01, **changes):
    """A star without noise on pixels uniform in ln(wavelength), each a mean over its width."""
    wave = 5048.0 * np.exp(np.arange(int(18_000 / step_kms)) * step_kms / C_KMS)
    wave = wave[wave < 5352]
    flux = nights.star_flux(labels, pixel_points(wave), resolution).reshape(-1, 4).mean(1)
    values = {"wavelength_aa": wave, "flux": flux, "sigma": np.full(wave.shape, sigma), "frame": "rest"}
    return Spectrum(**{**values, "normalised": True, "resolution": resolution, **changes})


@pytest.mark.parametrize(("resolution", "step"), [(110_000, 0.5), (80_000, 0.8), (52_000, 1.3), (30_000, 2.6)])
def test_it_is_the_simulators_spectrum(resolution, step):
    seen = on_network(spectrum(resolution, step))
    assert seen.good.all()
    assert seen.flux.dtype == seen.sigma.dtype == np.float32
    expected = truth(nights.SUN, seen.resolution)
    assert np.abs(seen.flux - expected).max() < 1e-3
    assert np.sqrt(((seen.flux - expected) ** 2).mean()) < 1.5e-4
    wanted = min(resolution, 50_000)
    assert 0.96 * wanted < seen.resolution < wanted * 1.001
    if resolution > 60_000:
        assert np.abs(truth(nights.SUN, resolution) - expected).max() < 1e-4  # it knows no sharper ones
        assert np.abs(truth(nights.SUN, 40_000) - seen.flux).max() > 2e-2


@pytest.mark.parametrize(("resolution", "step"), [(100_000, 0.5), (30_000, 0.6), (30_000, 2.6)])
def test_noise_keeps_its_information(resolution, step):
    rng = np.random.default_rng(1)
    flat = spectrum(resolution, step)
    sigma = np.where(flat.wavelength_aa < 5200, 0.01, 0.03)
    noisy = flat.with_(flux=1 + sigma * rng.standard_normal(sigma.size), sigma=sigma)
    seen = on_network(noisy)
    expected = np.where(PIXELS.wavelength_aa < 5200, 0.01, 0.03) * np.sqrt(step / 2)
    away = np.abs(PIXELS.wavelength_aa - 5200) > 1
    assert np.abs(seen.sigma / expected - 1)[away].max() < 0.01
    z = ((seen.flux - 1) / seen.sigma)[: PIXELS.count // 25 * 25].reshape(-1, 25).sum(1) / 5
    assert abs((z**2).mean() - 1) < 0.2


def test_masked_pixels_are_bridged_or_not_good():
    star = spectrum(80_000, 0.8)
    mask = np.zeros(star.flux.shape, bool)
    mask[::97] = True
    mask[(star.wavelength_aa > 5304) & (star.wavelength_aa < 5337)] = True
    spoiled = np.where(mask, 50.0, star.flux)
    seen = on_network(star.with_(flux=spoiled, mask=mask))
    wave = PIXELS.wavelength_aa
    gap = (wave > 5304.1) & (wave < 5336.9)
    assert not seen.good[gap].any()
    assert (seen.flux[~seen.good] == 1).all()
    assert (seen.sigma[~seen.good] == 1).all()
    assert seen.good[(wave < 5303.9) | (wave > 5337.1)].all()
    difference = np.abs(seen.flux - truth(nights.SUN, seen.resolution))[seen.good]
    assert np.quantile(difference, 0.99) < 0.005
    assert difference.max() < 0.05
    whole = on_network(star)
    assert (seen.sigma[seen.good] >= whole.sigma[seen.good] * 0.999).all()


@pytest.mark.parametrize(("labels", "resolution", "orders"), [(nights.SUN, 90_000.0, 1), (nights.K_DWARF, 60_000.0, 4)])
def test_a_prepared_night_is_the_simulators_spectrum_within_its_noise(labels, resolution, orders):
    instrument = nights.Instrument(resolution=resolution, step_aa=0.015, orders=orders, blaze=orders > 1, wave=0.03)
    observed = nights.observe(labels, instrument, velocity_kms=-31.7, snr=120.0)
    seen = on_network(prepare(observed, resolution=resolution))
    assert seen.good.mean() > 0.98
    assert 100 < 1 / np.median(seen.sigma) < 250
    difference = np.where(seen.good, seen.flux - truth(labels, seen.resolution), 0.0) / seen.sigma
    sums = difference[: PIXELS.count // 12 * 12].reshape(-1, 12).sum(1) / np.sqrt(12)
    assert 0.7 < 1.4826 * np.median(np.abs(sums)) < 1.3
    wrong = np.where(seen.good, seen.flux - truth({**labels, "teff": labels["teff"] + 150}, seen.resolution), 0.0)
    worse = (wrong / seen.sigma)[: PIXELS.count // 12 * 12].reshape(-1, 12).sum(1) / np.sqrt(12)
    assert (worse**2).mean() > 1.2 * (sums**2).mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": None}, "star.fits: its resolution is not in the file; give the nominal R = lambda / FWHM"),
        ({"sigma": None}, "star.fits: normalised, at rest, without noise; it has to be prepared"),
        ({"frame": "barycentric"}, "normalised, in the barycentric frame, with noise; it has to be prepared"),
        ({"normalised": False}, "not normalised, at rest, with noise; it has to be prepared"),
    ],
)
def test_what_is_not_prepared_says_so(changes, message):
    with pytest.raises(DomainError, match=message):
        to_network(spectrum(60_000, provenance={"file": "star.fits"}).with_(**changes), PIXELS)


def test_too_little_coverage_is_refused():
    star = spectrum(60_000)
    with pytest.raises(DomainError, match=r"covers 40\.\d Å of the window 5050 to 5350 Å; at least 60 Å are needed"):
        to_network(star.with_(mask=star.wavelength_aa > 5090), PIXELS)
    with pytest.raises(DomainError, match=r"covers 0\.0 Å"):
        to_network(star.with_(wavelength_aa=star.wavelength_aa + 1000), PIXELS)


@pytest.mark.parametrize("step", [12.0, 8.5, 7.0])
def test_pixels_wider_than_a_resolution_element_are_refused_with_the_r_that_they_leave(step):
    star = spectrum(44_000, step)  # a resolution element is 6.8 km/s wide
    with pytest.raises(
        DomainError, match=r"pixels of 0\.\d+ Å are wider than a resolution element at R = 44,000, 0\.118 Å"
    ) as e:
        to_network(star, PIXELS)
    assert e.value.parameter == "resolution"
    left = float(str(e.value).split()[-1].replace(",", ""))
    assert 0.5 < left * step / C_KMS <= 1.001
    to_network(star.with_(resolution=left), PIXELS)
    to_network(spectrum(44_000, 6.8), PIXELS)
