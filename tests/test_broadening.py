"""Transfer functions against direct integration in velocity space."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import jn_zeros

from maury import broadening
from maury.emulator.sampling import Sampler
from maury.errors import DomainError
from maury.wavelengths import C_KMS, LogGrid, doppler

GRID = LogGrid(5150.0, 1.0, 2000)
"""The step of the emulator, and 34 Å."""

LINES_KMS = np.random.default_rng(7).uniform(450, 1550, 60)
"""Line centres in c ln(lambda / 5150 Å), away from both ends, so that the period joins continuum to continuum."""


def _intrinsic(x):
    """A crowded spectrum of saturated and weak lines, as narrow as those of a cool star, at x = c ln(lambda), km/s."""
    rng = np.random.default_rng(11)
    width, depth = rng.uniform(1.2, 4, 60), 10 ** rng.uniform(-1.5, 1, 60)
    tau = sum(d * np.exp(-0.5 * ((x - c) / w) ** 2) for c, w, d in zip(LINES_KMS, width, depth, strict=True))
    return np.exp(-tau - 0.8 * np.exp(-0.5 * ((x - 1000) / 60) ** 2))


intrinsic = CubicSpline(np.arange(-400, 2400, 0.05), _intrinsic(np.arange(-400, 2400, 0.05)))


def modes_of(function, grid=GRID, finer=8):
    """Fourier modes of a function of c ln(lambda), cut at the grid's Nyquist frequency."""
    fine = grid.with_size(grid.size * finer)
    return np.fft.rfft(function(np.arange(fine.size) * fine.step_kms))[: grid.size // 2 + 1] / finer


def smear(function, velocity, weight):
    """The naive broadening: the sum of copies of a spectrum, each shifted by a velocity."""
    x = np.arange(-50, 2050, 0.2)
    total = sum(w * function(x - v) for v, w in zip(velocity, weight, strict=True))
    return CubicSpline(x, total)


def rotation_nodes(vsini, limb_darkening):
    """Strips of a limb-darkened disc: velocities and weights of Gray (2005), eq. 18.14, with v = vsini sin(t)."""
    count = int(100 + 6 * vsini)
    t = (np.arange(count) + 0.5) / count * np.pi - np.pi / 2
    x2 = np.cos(t) ** 2
    profile = 2 * (1 - limb_darkening) * np.sqrt(x2) + np.pi / 2 * limb_darkening * x2
    weight = profile / (np.pi * (1 - limb_darkening / 3)) * np.cos(t) * np.pi / count
    return vsini * np.sin(t), weight


def gaussian_nodes(sigma, count=401):
    """Velocities and weights of a Gaussian, to six standard deviations."""
    t = np.linspace(-6, 6, count)
    weight = np.exp(-0.5 * t**2)
    return sigma * t, weight / weight.sum()


def disc_nodes(vmac, count=60):
    """Velocities and weights of macroturbulence: radial and tangential Gaussians over rings of equal area of a disc."""
    cos2, area = np.polynomial.legendre.leggauss(count)
    cos2, area = (cos2 + 1) / 2, area / 2
    nodes = [
        (v, 0.5 * a * w)
        for c, a in zip(cos2, area, strict=True)
        for v, w in (gaussian_nodes(vmac * np.sqrt(part / 2), 81) for part in (c, 1 - c))
    ]
    return np.concatenate([v for v, _ in nodes]), np.concatenate([w for _, w in nodes])


@functools.cache
def through_instrument(resolution):
    """The intrinsic spectrum, directly convolved with a Gaussian profile."""
    return smear(intrinsic, *gaussian_nodes(C_KMS / resolution / broadening.FWHM_PER_SIGMA))


def transform(nodes, frequency):
    """Fourier transform of a symmetric set of velocities and weights."""
    velocity, weight = nodes
    return (weight * np.cos(2 * np.pi * np.multiply.outer(frequency, velocity))).sum(-1)


FREQUENCY = torch.from_numpy(GRID.frequency)


@given(vsini=st.floats(0, 500), vmac=st.floats(0, 50), resolution=st.floats(500, 200_000), e=st.floats(0, 1))
def test_every_transfer_function_keeps_the_area_of_a_line(vsini, vmac, resolution, e):
    v, z, r = (torch.tensor([float(value)], dtype=torch.float64) for value in (vsini, vmac, resolution))
    total = broadening.transfer(FREQUENCY, vsini_kms=v, vmac_kms=z, resolution=r, limb_darkening=e)
    assert total[0, 0].item() == pytest.approx(1, abs=1e-12)
    assert (total.abs() <= 1 + 1e-12).all()


@pytest.mark.parametrize("limb_darkening", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("vsini", [0.05, 1.0, 7.3, 55.0, 200.0])
def test_rotation_is_the_transform_of_grays_profile(vsini, limb_darkening):
    expected = transform(rotation_nodes(vsini, limb_darkening), GRID.frequency)
    got = broadening.rotation(FREQUENCY, torch.tensor([vsini], dtype=torch.float64), limb_darkening)[0]
    assert np.abs(expected - 1).max() > 1e-3
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-7)
    single = broadening.rotation(FREQUENCY.float(), torch.tensor([vsini]), limb_darkening)[0]
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-6)


def test_rotation_vanishes_at_the_published_frequencies():
    """At f v sin i = 0.660 for a coefficient of 0.6 (Gray 2005, sect. 18); at j(1, n) / 2 pi for a uniform disc."""
    one = torch.ones(1, dtype=torch.float64)
    near = broadening.rotation(torch.tensor([0.6595, 0.6605], dtype=torch.float64), one, 0.6)[0]
    assert near[0] > 0 > near[1]
    zeros = torch.from_numpy(jn_zeros(1, 5) / (2 * np.pi))
    assert broadening.rotation(zeros, one, 0.0).abs().max() < 1e-7


@pytest.mark.parametrize("vmac", [0.03, 1.0, 3.5, 12.0])
def test_macroturbulence_is_the_transform_over_the_disc(vmac):
    expected = transform(disc_nodes(vmac), GRID.frequency)
    got = broadening.macroturbulence(FREQUENCY, torch.tensor([vmac], dtype=torch.float64))[0]
    assert np.abs(expected - 1).max() > 1e-3
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("resolution", [10_000.0, 44_000.0, 100_000.0])
def test_an_instrument_profile_has_the_width_that_its_resolution_says(resolution):
    transfer = broadening.instrument(FREQUENCY, torch.tensor([resolution], dtype=torch.float64))[0]
    fine = GRID.with_size(GRID.size * 10)
    profile = np.fft.fftshift(np.fft.irfft(transfer.numpy(), fine.size))
    above = CubicSpline(np.arange(-fine.size // 2, fine.size // 2) * fine.step_kms, profile - profile.max() / 2)
    width = 2 * brentq(above, 0, C_KMS / resolution)
    assert width == pytest.approx(C_KMS / resolution, rel=2e-3 if resolution > 9e4 else 1e-6)


def test_a_doppler_shift_moves_a_line_to_where_the_doppler_formula_puts_it():
    sigma, centre = 3.0, 900.0
    rest = modes_of(lambda x: np.exp(-0.5 * ((x - centre) / sigma) ** 2))
    for velocity in (-220.0, -0.37, 12.3456, 310.0):
        moved = np.fft.irfft(
            rest * broadening.shift(FREQUENCY, torch.tensor([velocity], dtype=torch.float64))[0].numpy()
        )
        line = GRID.start_aa * np.exp(centre / C_KMS)
        expected = GRID.position(doppler(line, velocity)) * GRID.step_kms
        x = np.arange(GRID.size) * GRID.step_kms
        assert (moved * x).sum() / moved.sum() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("vsini", [0.0, 2.0, 20.0, 200.0])
@pytest.mark.parametrize("resolution", [10_000.0, 44_000.0, 100_000.0])
def test_a_broadened_spectrum_agrees_with_direct_broadening(vsini, resolution):
    """Within 1e-4 in float32 at any wavelength, as the emulator makes it: modes, product, sampling."""
    wavelength = GRID.start_aa * np.exp(np.sort(np.random.default_rng(3).uniform(200, 1800, 700)) / C_KMS)
    x = GRID.position(wavelength) * GRID.step_kms
    at_rest = through_instrument(resolution)
    direct = smear(at_rest, *rotation_nodes(vsini, 0.6))(x) if vsini else at_rest(x)

    sampler = Sampler(GRID, wavelength, broadening.cutoff(resolution))
    kernel = broadening.transfer(
        FREQUENCY[: sampler.modes].float(),
        vsini_kms=torch.tensor([vsini]),
        resolution=torch.tensor([resolution]),
    )
    modes = torch.from_numpy(modes_of(intrinsic)).to(torch.complex64)[: sampler.modes]
    fast = sampler(modes * kernel)[0].numpy()
    assert np.abs(direct - intrinsic(x)).max() > 0.02
    assert np.abs(fast - direct).max() < 1e-4


def test_macroturbulence_agrees_with_direct_broadening():
    at_rest = through_instrument(44_000.0)
    direct = smear(at_rest, *disc_nodes(6.0, 12))(np.arange(GRID.size))
    kernel = broadening.transfer(
        FREQUENCY,
        vsini_kms=torch.zeros(1, dtype=torch.float64),
        resolution=torch.tensor([44_000.0], dtype=torch.float64),
        vmac_kms=torch.tensor([6.0], dtype=torch.float64),
    )[0]
    fast = np.fft.irfft(modes_of(intrinsic) * kernel.numpy())
    inside = slice(200, 1800)
    assert np.abs(direct - at_rest(np.arange(GRID.size)))[inside].max() > 0.02
    assert np.abs(fast - direct)[inside].max() < 1e-6


@pytest.mark.parametrize("vsini", [10.0, 80.0])
def test_rotation_agrees_with_pyastronomy(vsini):
    pyasl = pytest.importorskip("PyAstronomy.pyasl", exc_type=ImportError)
    wavelength = np.linspace(5162, 5170, 1601)
    smooth = through_instrument(44_000.0)
    x = GRID.position(wavelength) * GRID.step_kms
    oracle = pyasl.rotBroad(wavelength, smooth(x), 0.6, vsini)
    kernel = broadening.rotation(FREQUENCY, torch.tensor([vsini], dtype=torch.float64))[0].numpy()
    ours = Sampler(GRID, wavelength, 0.5)(torch.from_numpy(modes_of(smooth) * kernel).to(torch.complex64))
    inside = slice(300, -300)
    assert np.abs(oracle - smooth(x))[inside].max() > 0.05
    assert np.abs(ours.numpy() - oracle)[inside].max() < 5e-4


def test_gradients_are_those_of_finite_differences():
    """Across the series at small arguments; torch's double-precision J1 jumps by 1e-11 at z = 5, which is left out."""
    frequency = torch.tensor([0.0, 1e-5, 3e-4, 2e-3, 0.011, 0.06, 0.31], dtype=torch.float64)
    z = 2 * math.pi * np.multiply.outer([0.4, 3.0, 17.0, 180.0], frequency.numpy())
    assert np.abs(z - 5).min() > 0.1
    v = torch.tensor([0.4, 3.0, 17.0, 180.0], dtype=torch.float64, requires_grad=True)
    for function in (broadening.rotation, broadening.macroturbulence):
        assert torch.autograd.gradcheck(lambda value, f=function: f(frequency, value), (v,))


def test_gradients_at_no_rotation_are_finite_and_zero():
    v = torch.zeros(3, requires_grad=True)
    broadening.rotation(FREQUENCY.float(), v).sum().backward()
    assert torch.equal(v.grad, torch.zeros(3))


@settings(max_examples=50)
@given(z=st.floats(0, 700))
def test_single_precision_loses_nothing_that_matters(z):
    frequency, v = torch.tensor([1.0]), torch.tensor([z / (2 * math.pi)])
    single = broadening.rotation(frequency, v).item()
    double = broadening.rotation(frequency.double(), v.double()).item()
    assert single == pytest.approx(double, abs=2e-6)


@given(resolution=st.floats(1_000, 200_000))
def test_beyond_the_cutoff_a_profile_passes_less_than_its_level(resolution):
    f = torch.tensor([broadening.cutoff(resolution)], dtype=torch.float64)
    passed = broadening.instrument(f, torch.tensor([resolution], dtype=torch.float64)).item()
    assert passed == pytest.approx(1e-6, rel=1e-4)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_an_impossible_value_is_named(value):
    v = torch.tensor([3.0, value])
    with pytest.raises(DomainError, match=f"vsini .* got {value:g}"):
        broadening.rotation(FREQUENCY, v)
    with pytest.raises(DomainError, match=f"resolution .* got {value:g}"):
        broadening.instrument(FREQUENCY, v)
    with pytest.raises(DomainError, match=f"limb_darkening .* got {value:g}"):
        broadening.rotation(FREQUENCY, torch.ones(1), value)


def test_tables_of_transfer_functions_are_the_functions():
    """Within what linear interpolation allows, at 0, in between and at the largest velocities."""
    frequency = torch.linspace(0, 0.25, 4500)
    table = broadening.TransferTable(frequency, 200.0, 10.0)
    vsini = torch.tensor([0.0, 0.3, 2.0, 47.0, 200.0])
    vmac = torch.tensor([0.0, 10.0, 3.3, 0.1, 5.0])
    resolution = torch.tensor([1e12, 5e4, 1e4, 1e12, 1e12])
    direct = broadening.transfer(
        frequency.double(), vsini_kms=vsini.double(), vmac_kms=vmac.double(), resolution=resolution.double()
    )
    found = table(vsini_kms=vsini, vmac_kms=vmac, resolution=resolution)
    assert torch.allclose(found.double(), direct, rtol=0, atol=3e-6)
    one = [
        table(vsini_kms=vsini, vmac_kms=vmac, resolution=r)
        for r in (torch.full((5,), 5e4), torch.tensor([5e4] * 4 + [1e4]))
    ]
    assert torch.equal(one[0][:4], one[1][:4])  # of one resolving power, the instrument is computed once
    beyond = table(vsini_kms=torch.tensor([300.0]), vmac_kms=vmac[:1], resolution=resolution[:1])
    assert bool(torch.isfinite(beyond).all())
