"""`Sampler` against the plain sum of the Fourier series."""

import numpy as np
import pytest
import torch

from maury.emulator.sampling import Sampler
from maury.errors import DomainError
from maury.wavelengths import LogGrid

GRID = LogGrid(5100.0, 1.0, 600)


@pytest.fixture
def modes():
    """Three spectra with power at all frequencies below the Nyquist frequency of the grid, about 1 in size."""
    rng = np.random.default_rng(5)
    count = GRID.size // 2 + 1
    values = (rng.normal(size=(3, count)) + 1j * rng.normal(size=(3, count))) * GRID.size**0.5 / 2
    values[:, 0] = GRID.size
    values[:, -1] = 0
    return torch.from_numpy(values).to(torch.complex64)


def fourier_series(modes, wavelength, count):
    """Flux at any wavelength from the first ``count`` modes, term by term."""
    phase = 2 * np.pi * np.multiply.outer(GRID.position(wavelength), np.arange(count)) / GRID.size
    weight = np.where(np.arange(count) > 0, 2, 1) / GRID.size
    return (modes.numpy()[:, None, :count] * weight * np.exp(1j * phase)).real.sum(-1)


@pytest.mark.parametrize("band_limit", [0.1, 0.25, 0.5])
def test_samples_are_the_fourier_series(modes, band_limit):
    wavelength = np.sort(np.random.default_rng(1).uniform(5100.01, 5110, 200))
    sampler = Sampler(GRID, wavelength, band_limit)
    expected = fourier_series(modes, wavelength, sampler.modes)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(sampler(modes).numpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_modes_above_the_band_limit_are_left_out(modes):
    wavelength = np.linspace(5101, 5109, 50)
    sampler = Sampler(GRID, wavelength, 0.2)
    assert GRID.frequency[sampler.modes - 1] >= 0.2 > GRID.frequency[sampler.modes - 2]
    changed = modes.clone()
    changed[:, sampler.modes :] = 1e6
    assert torch.equal(sampler(changed), sampler(modes))


def test_averaged_pixels_are_means_of_their_samples(modes):
    wavelength = np.linspace(5101, 5109, 400)
    fine = Sampler(GRID, wavelength, 0.3)(modes)
    coarse = Sampler(GRID, wavelength, 0.3, average=4)(modes)
    assert fine.std() > 0.5
    torch.testing.assert_close(coarse, fine.reshape(3, 100, 4).mean(-1), atol=1e-5, rtol=0)


def test_a_batch_of_any_shape_gives_the_same_spectra(modes):
    sampler = Sampler(GRID, np.linspace(5101, 5109, 30), 0.3)
    torch.testing.assert_close(sampler(modes[None].expand(2, 3, -1))[1, 2], sampler(modes[2]))


def test_gradients_flow_to_the_modes(modes):
    sampler = Sampler(GRID, np.linspace(5101, 5109, 20), 0.3)
    modes.requires_grad_(True)
    direction = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((sampler(modes) * direction).sum(), modes)
    step = torch.randn(modes.shape, generator=torch.Generator().manual_seed(2)).to(torch.complex64)
    expected = (sampler(modes.detach() + step) - sampler(modes.detach())).mul(direction).sum()
    assert abs(expected) > 1e-4
    torch.testing.assert_close((gradient.conj() * step).real.sum(), expected, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("wavelength", [[5099.0, 5105.0], [5105.0, 5111.0], [5105.0, np.nan]])
def test_wavelengths_outside_the_grid_are_refused(wavelength):
    with pytest.raises(DomainError, match=r"exceed the emulator's range 5100\.00 to 5110\.20 Å"):
        Sampler(GRID, wavelength, 0.3)


def test_making_a_sampler_warns_of_nothing(recwarn):
    Sampler(GRID, [5105.0], 0.3)
    assert not recwarn.list
