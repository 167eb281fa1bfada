"""Exposures of one star: joint likelihood against the dense covariance; noise averages down, model errors do not."""

from __future__ import annotations

import math

import pytest
import torch

from maury.likelihood import ErrorModel, find_mode, usable
from maury.likelihood.laplace import jacobian
from maury.likelihood.together import Together, exposures_of, mean_of
from maury.pixelspectra import PixelSpectra

SUN = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vmic": 1.0, "vsini": 5.0, "vmac": 3.2}


@pytest.fixture(scope="module")
def labels(simulator):
    values = {**dict.fromkeys(simulator.labels, 0.0), **SUN}
    return torch.tensor([values[name] for name in simulator.labels], dtype=torch.float64)


def blank(simulator, labels, snr, resolution):
    """An exposure without noise in it."""
    flux = simulator.spectra(labels[None].float(), torch.tensor([resolution]))[0].double()
    return usable(PixelSpectra(flux=flux, sigma=1 / snr, resolution=resolution))


def test_one_exposure_is_a_single_spectrum(simulator, labels):
    """All sizes of errors, weights, the chi-square and the evidence are those of `ErrorModel`."""
    errors = ErrorModel(simulator, distortion_kms=0.5)
    star = errors.draw(blank(simulator, labels, 60.0, 45_000.0), labels, torch.Generator().manual_seed(2))
    star = star.with_(mask=torch.rand(len(star.flux), generator=torch.Generator().manual_seed(3)) < 0.1)
    alone, joint = errors.whiten(star, labels), Together(errors).whiten(exposures_of([star]), labels)
    assert joint.scale == alone.scale
    assert joint.noise_scale == alone.noise_scale
    assert joint.size == pytest.approx(alone.size, rel=1e-9)
    models = simulator.spectra(labels.repeat(2, 1).float(), torch.tensor([45_000.0, 30_000.0])).double()
    for model in models:
        expected = float(-0.5 * alone.chi2(model[None])[0]) + alone.constant
        assert float(-0.5 * joint.chi2(model[None])[0]) + joint.constant == pytest.approx(expected, abs=1e-5)


def test_likelihood_is_that_of_the_dense_covariance(simulator, labels):
    """Three exposures with two resolving powers, each with pixels of its own, on a part of the window."""
    errors = ErrorModel(simulator, distortion_kms=0.5)
    together = Together(errors)
    stars = [blank(simulator, labels, snr, r) for snr, r in ((20.0, 45_000.0), (60.0, 20_000.0), (40.0, 45_000.0))]
    generator = torch.Generator().manual_seed(5)
    drawn = together.draw(exposures_of(stars), labels, generator)
    good = torch.zeros_like(drawn.good)
    good[:, 1000:1250] = torch.rand(3, 250, generator=generator) > 0.2
    drawn = drawn.with_(mask=~good)
    noise = together.whiten(drawn, labels, fit=False)
    linear = together._linear(drawn, labels)
    count, k, _ = linear.own.shape
    columns = torch.zeros(count * k + len(linear.common), *good.shape, dtype=torch.float64)
    for i in range(count):
        columns[i * k : (i + 1) * k, i] = linear.own[i]
    columns[count * k :] = linear.common[:, linear.which]
    columns = columns[:, good]
    pixel = torch.arange(good.shape[1]).expand(good.shape)[good]
    phi = linear.physics[good]
    covariance = columns.mT @ columns + torch.diag(drawn.sigma[good].square())
    covariance += torch.outer(phi, phi) * (pixel[:, None] == pixel)
    for moved in (0.0, 30.0):
        row = labels.clone()
        row[simulator.labels.index("teff")] += moved
        models = simulator.spectra(row.repeat(2, 1).float(), torch.tensor([20_000.0, 45_000.0])).double()
        r = (drawn.flux - models[linear.which])[good]
        expected = -0.5 * float(
            r @ torch.linalg.solve(covariance, r) + torch.logdet(covariance) + len(r) * math.log(2 * math.pi)
        )
        found = float(-0.5 * noise.chi2(models.flatten()[None])[0]) + noise.constant
        assert found == pytest.approx(expected, abs=1e-2)


def test_noise_averages_down_and_errors_of_the_physics_do_not(simulator, coordinates, labels):
    """Ten exposures of S/N 30 have the uncertainty of one of S/N 95, not that of ten independent stars."""
    errors = ErrorModel(simulator)
    real = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]

    def uncertainty(count, snr):
        stars = exposures_of([blank(simulator, labels, snr, 45_000.0)] * count)
        noise = Together(errors).whiten(stars, labels, fit=False)
        slopes = noise.weighted(jacobian(coordinates, real, stars.resolution)[1])
        projected = slopes @ noise.projector
        information = slopes @ slopes.mT - projected @ projected.mT + coordinates.precision
        return torch.linalg.inv(information).diagonal().sqrt()[:3]

    ten, one, weak = uncertainty(10, 30.0), uncertainty(1, 30.0 * math.sqrt(10)), uncertainty(1, 30.0)
    assert bool(((ten / one - 1).abs() < 0.1).all())
    assert bool((ten > 1.15 * weak / math.sqrt(10)).all())


def test_ten_exposures_of_three_spectrographs_are_fitted_within_their_uncertainty(simulator, coordinates, labels):
    """Labels of a star drawn as the covariance has it; the noise that files report wrong is measured."""
    together = Together(ErrorModel(simulator, spread=False))
    stars = [blank(simulator, labels, 20.0 + 4 * i, (25_000.0, 45_000.0, 35_000.0)[i % 3]) for i in range(10)]
    drawn = together.draw(exposures_of(stars), labels, torch.Generator().manual_seed(11))
    true = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    mode = find_mode(coordinates, together, drawn, true + 0.1)
    z = (mode.theta - true) / mode.covariance.diagonal().sqrt()
    assert float(z[: coordinates.main].square().mean().sqrt()) < 2
    scales = together.details(drawn, mode.labels).noise_scales
    residual = drawn.flux - simulator.spectra(labels.repeat(10, 1).float(), drawn.resolution).double()
    steps = (residual[:, 1:] - residual[:, :-1]) - (residual[:, 1:] - residual[:, :-1]).mean(0)
    true_scales = steps.std(1) / (steps.std(1).mean()) / (drawn.sigma[:, 0] / drawn.sigma[:, 0].mean())
    assert float(torch.corrcoef(torch.stack([scales, true_scales]))[0, 1]) > 0.9


def test_the_mean_weighs_by_noise_and_keeps_what_any_exposure_has():
    flux, sigma = torch.tensor([[1.0, 1.0, 0.0], [2.0, 9.0, 9.0]]), torch.tensor([[0.1, 0.1, 1.0], [0.2, 1.0, 1.0]])
    mask = torch.tensor([[False, False, True], [False, True, True]])
    mean = mean_of(PixelSpectra(flux=flux, sigma=sigma, mask=mask, resolution=torch.full((2,), 20_000.0)))
    torch.testing.assert_close(mean.flux[:2], torch.tensor([1.2, 1.0]))
    torch.testing.assert_close(mean.sigma[:2], torch.tensor([0.2 / math.sqrt(5), 0.1]))
    assert mean.mask.tolist() == [False, False, True]
