"""`PixelSpectra`: what it accepts, how it is indexed, and one flagged pixel followed from a file to the likelihood."""

import numpy as np
import pytest
import torch
from astropy.table import Table

import maury
import nights
from maury.emulator import NetworkPixels
from maury.errors import DomainError
from maury.likelihood import ErrorModel, usable
from maury.networks import load_posterior
from maury.pixelspectra import NAMES, PixelSpectra
from maury.preparation.network_input import to_network
from maury.simulation import Simulator


def batch(count=5, pixels=7):
    flux = torch.arange(count * pixels, dtype=torch.float32).reshape(count, pixels)
    labels = torch.arange(2.0 * count).reshape(count, 2)
    return PixelSpectra(flux=flux, sigma=0.1 * flux, mask=flux % 3 == 0, resolution=1000 + flux[:, 0], labels=labels)


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in NAMES)


def test_indexing_takes_spectra_as_arrays_are_taken():
    whole = batch()
    assert len(whole) == 5
    one = whole[3]
    assert (one.flux.tolist(), float(one.resolution), one.labels.tolist()) == (list(range(21, 28)), 1021.0, [6.0, 7.0])
    assert one.mask.tolist() == [x % 3 == 0 for x in range(21, 28)]
    assert same(one[None], whole[3:4])
    assert same(PixelSpectra.cat([whole[:2], whole[2:]]), whole)
    assert same(whole[[4, 0]], PixelSpectra.cat([whole[4:], whole[:1]]))
    assert [float(star.resolution) for star in whole] == [1000.0, 1007.0, 1014.0, 1021.0, 1028.0]
    assert torch.equal(whole.good, ~whole.mask)


def test_the_type_of_numbers_changes_but_not_that_of_the_mask():
    double = batch().to(dtype=torch.float64)
    assert [getattr(double, name).dtype for name in NAMES] == [
        torch.float64, torch.float64, torch.bool, torch.float64, torch.float64,
    ]  # fmt: skip
    assert same(double.to("cpu", torch.float32), batch())


def test_numbers_hold_for_all_pixels_and_spectra():
    made = PixelSpectra(flux=np.ones((3, 4)), sigma=0.02, resolution=45_000.0)
    assert made.sigma.tolist() == [[0.02] * 4] * 3
    assert made.resolution.tolist() == [45_000.0] * 3
    assert not made.mask.any()
    assert made.labels.shape == (3, 0)


def test_it_cannot_be_changed_nor_given_without_names():
    made = batch()
    with pytest.raises(AttributeError):
        made.flux = made.sigma
    with pytest.raises(TypeError, match="positional argument"):
        PixelSpectra(made.flux, made.sigma, made.mask, made.resolution)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": torch.ones(5, 6)}, r"^sigma: shape must be \(5, 7\), as flux has it; got \(5, 6\)"),
        ({"mask": torch.ones(7, dtype=torch.bool)}, r"^mask: shape must be \(5, 7\).*got \(7,\)"),
        ({"resolution": torch.ones(4)}, r"^resolution: shape must be \(5,\).*got \(4,\)"),
        ({"labels": torch.ones(4, 2)}, r"^labels: shape must be \(5, 2\).*got \(4, 2\)"),
        ({"mask": torch.ones(5, 7)}, "^mask: must be boolean, True where a pixel must not be used; got torch.float32"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DomainError, match=message):
        batch().with_(**changes)


def test_a_flagged_pixel_is_ignored_from_the_file_to_the_likelihood(tmp_path):
    """Only the flagged pixels of the file are masked in each step, and nonsense in them changes no number."""
    night = nights.observe(nights.SUN, nights.Instrument(), velocity_kms=0.0, snr=100.0).single()
    flagged = np.abs(night.wavelength_aa - 5200.0) < 0.2
    pixels = NetworkPixels.of(nights.emulator())
    simulator, (network, _) = Simulator(nights.emulator()), load_posterior("default")
    labels = torch.tensor([{**nights.SUN, "vmac": 0.0}.get(name, 0.0) for name in simulator.labels]).double()
    found = []
    for name, nonsense in (("plain", 1.0), ("spoilt", 50.0)):
        path = tmp_path / f"{name}.fits"
        columns = {
            "WAVE": night.wavelength_aa, "FLUX": np.where(flagged, nonsense, 1.0) * night.flux,
            "ERR": night.sigma, "QUAL": 4 * flagged.astype("i2"),
        }  # fmt: skip
        Table(columns).write(path)
        read = maury.read(path, medium="air")
        order = read.single()
        np.testing.assert_array_equal(order.mask, flagged)
        prepared = maury.prepare(read, resolution=60_000.0)
        observed_aa = prepared.spectrum.wavelength_aa * (1 + prepared.velocity_kms / 299_792.458)
        assert prepared.spectrum.mask[np.abs(observed_aa - 5200.0) < 0.15].all()
        assert not prepared.spectrum.mask[
            (np.abs(observed_aa - 5200.0) > 0.3) & (np.abs(observed_aa - 5200.0) < 3)
        ].any()
        star = to_network(prepared, pixels)
        near = np.abs(pixels.wavelength_aa - 5200.0)
        assert star.mask[torch.from_numpy(near < 0.12)].all()
        assert not star.mask[torch.from_numpy((near > 0.4) & (near < 3))].any()
        with torch.inference_mode():
            features = network(star[None])
        data = usable(star, name)
        whitened = ErrorModel(simulator).whiten(data, labels)
        assert torch.equal(whitened.weight == 0, data.mask)
        found.append((features, whitened.weight, float(whitened.chi2(data.flux[None] + 0.01)[0])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
