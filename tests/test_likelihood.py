"""The likelihood against closed forms and brute force; the mode and the samples against simulated stars."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury.broadening import transfer
from maury.emulator import load_cached
from maury.errors import DomainError
from maury.evaluation.bound import fisher
from maury.labels import FURTHER_ELEMENTS
from maury.likelihood import Coordinates, ErrorModel, find_mode, highest_mode, refine, relation, usable
from maury.likelihood.errors import taken_by_fit
from maury.likelihood.importance import Copula, StudentT, fit_pareto, sample, smoothed
from maury.likelihood.laplace import _prior_slopes, jacobian
from maury.likelihood.resolution import log_odds_of_sharper
from maury.likelihood.target import MarginalTarget, Target
from maury.pixelspectra import PixelSpectra
from maury.simulation import SimulationSettings, Simulator
from test_simulation import NOTHING

SUN = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vmic": 1.0, "vsini": 4.0, "vmac": 3.0}


def labels_of(simulator, **changes):
    values = {**dict.fromkeys(simulator.labels, 0.0), **SUN, **changes}
    return torch.tensor([values[name] for name in simulator.labels], dtype=torch.float64)


def observed(simulator, labels, snr=100.0, resolution=45_000.0, seed=1):
    """A spectrum with white noise and no other error."""
    flux = simulator.spectra(labels[None].float(), torch.tensor([resolution]))[0].double()
    noise = torch.randn(flux.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / snr
    return usable(PixelSpectra(flux=flux + noise, sigma=1 / snr, resolution=resolution))


def test_chi_square_and_determinant_are_those_of_the_dense_covariance(simulator):
    """Woodbury's identity against the inverse of D + B B^T on a part of the pixels."""
    errors = ErrorModel(simulator)
    labels = labels_of(simulator)
    star = observed(simulator, labels)
    good = torch.zeros_like(star.good)
    good[1000:1400] = True
    star = star.with_(mask=~good)
    noise = errors.whiten(star, labels, fit=False)
    models = errors.models(star, labels)
    model, columns = models[0], errors.columns(star, labels, models)[:, good]
    physics, _ = simulator.model_error(labels, float(star.resolution), 8)
    variance = (star.sigma.square() + physics.double().square())[good]
    covariance = torch.diag(variance) + columns.mT @ columns
    r = (star.flux - model)[good]
    expected = r @ torch.linalg.solve(covariance, r)
    assert float(noise.chi2(model[None])[0]) == pytest.approx(float(expected), rel=1e-8)
    assert noise.log_determinant == pytest.approx(float(torch.logdet(covariance)), rel=1e-8)


def test_drawn_stars_have_the_covariance(simulator):
    """Chi-square about the truth, with the sizes of both kinds of errors measured, is that of its pixels."""
    errors, labels = ErrorModel(simulator, spread=False), labels_of(simulator)
    generator = torch.Generator().manual_seed(7)
    plain = observed(simulator, labels)
    good = torch.rand(len(plain.flux), generator=generator) > 0.1
    star = plain.with_(mask=~good)
    drawn = [errors.draw(star, labels, generator) for _ in range(40)]
    assert all(torch.equal(each.flux[~good], star.flux[~good]) for each in drawn)
    ratios = []
    for each in drawn:
        noise = errors.whiten(each, labels)
        chi2 = float(noise.chi2(simulator.spectra(labels[None].float(), torch.tensor([star.resolution]))))
        ratios.append(chi2 / int(good.sum()))
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    narrow = [float((each.flux - plain.flux)[good].std()) for each in drawn]
    assert np.std(np.log(narrow)) > 0.02  # the sizes vary from star to star


def written_out(simulator, labels, resolution):
    """Spectra (n, p) of labels by all modes of the period and exact transfer functions, in double precision."""
    emulator, size = simulator._emulator, simulator.pixels.grid.size
    modes = emulator.modes(labels[:, : len(emulator.space)].float()).cdouble()[:, : size // 2]
    rows = dict(zip(simulator.labels, labels.double().unbind(1), strict=True))
    kernel = transfer(
        emulator.frequency[: size // 2].double(), vsini_kms=rows["vsini"], vmac_kms=rows["vmac"], resolution=resolution
    )
    flux = torch.fft.irfft(modes * kernel, n=size)[:, simulator.pixels.window] * size / emulator.grid.size
    haze = simulator.haze.usual(labels.float())[:, None].double()
    return flux + haze * (1 - flux)


@pytest.mark.parametrize("resolution", [11_000.0, 30_000.0, 50_000.0])
def test_log_densities_are_those_of_spectra_written_out(simulator, coordinates, resolution):
    """Modes that the instrument does not pass are left out, and products are in single precision."""
    labels = labels_of(simulator)
    star = observed(simulator, labels, resolution=resolution)
    target = Target(coordinates, star, ErrorModel(simulator).whiten(star, labels))
    centre = coordinates.transform.unconstrained(labels[coordinates.columns][None])
    random = torch.randn(200, centre.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theta = centre + 0.03 * random
    full = coordinates.full(coordinates.labels(theta))
    chi2 = target.noise.chi2(written_out(simulator, full, torch.full((len(full),), resolution).double()))
    expected = coordinates.log_prior(theta) - 0.5 * chi2 + target.noise.constant
    torch.testing.assert_close(target.log_density(theta), expected, rtol=0, atol=0.02)


def test_a_nuisance_is_marginalised_as_by_brute_force(simulator):
    """The likelihood with one column is the integral over its amplitude."""
    from maury.likelihood.errors import NoiseModel, _woodbury

    generator = torch.Generator().manual_seed(3)
    n = 40
    flux, model = 1 + 0.1 * torch.randn(2, n, generator=generator, dtype=torch.float64)
    weight = 1 / (0.05 + 0.05 * torch.rand(n, generator=generator, dtype=torch.float64))
    column = 0.2 * torch.randn(1, n, generator=generator, dtype=torch.float64)
    projector, determinant = _woodbury(column * weight)
    determinant -= float(2 * weight.log().sum())
    noise = NoiseModel(flux, weight, projector, 1.0, 1.0, determinant, 1.0, 0.0)
    mine = float(-0.5 * noise.chi2(model[None])[0]) + noise.constant
    amplitude = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    r = (flux - model - amplitude[:, None] * column) * weight
    log = -0.5 * r.square().sum(1) + weight.log().sum() - n / 2 * math.log(2 * math.pi)
    log = log - 0.5 * amplitude.square() - 0.5 * math.log(2 * math.pi)
    brute = float(log.logsumexp(0)) + math.log(float(amplitude[1] - amplitude[0]))
    assert mine == pytest.approx(brute, rel=1e-9)


def test_projected_columns_have_the_fisher_information(simulator, coordinates):
    labels = labels_of(simulator)
    star = observed(simulator, labels)
    noise = ErrorModel(simulator).whiten(star, labels, fit=False)
    real = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    _, slopes = jacobian(coordinates, real, star.resolution)
    weighted = slopes * noise.weight
    q = weighted @ noise.projector
    expected = weighted @ weighted.mT - q @ q.mT
    found = torch.from_numpy(fisher(slopes.numpy(), noise.weight.numpy(), noise.projector.numpy()))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7 * float(expected.abs().max()))


def test_the_prior_is_normalised_and_is_the_one_that_is_drawn():
    """Importance sampling from the box: the density integrates to 1; and draws have its expected log density."""
    simulator = Simulator(tiny_emulator())
    space = simulator.space
    columns = [i for i, name in enumerate(space.names) if name != "alpha"]
    generator = torch.Generator().manual_seed(1)
    low, high = torch.tensor(space.lower).double(), torch.tensor(space.upper).double()
    box = low + (high - low) * torch.rand(60_000, len(space), generator=generator).double()
    ratio = simulator.log_prior(box).exp() * (high - low)[columns].prod()
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / 60_000**0.5)
    parts = ratio * torch.where(ratio > 0, simulator.log_prior(box), 0.0)
    drawn = simulator.log_prior(simulator.draw_labels(5_000, generator))
    assert bool(torch.isfinite(drawn).all())
    assert float(drawn.mean()) == pytest.approx(float(parts.mean()), abs=0.3)


def test_importance_sampling_of_a_known_density():
    """Mean, width and evidence of a shifted normal, from a proposal that is off and too narrow."""
    k = 4
    mean, width = torch.full((k,), 2.0, dtype=torch.float64), 0.5

    def log_density(x):
        return -0.5 * ((x - mean) / width).square().sum(1) + 7.0

    first = StudentT(torch.zeros(k, dtype=torch.float64), 0.5 * torch.eye(k, dtype=torch.float64))
    done = sample(log_density, [(first, 500)], torch.Generator().manual_seed(5), 1500, 8, 1000)
    assert done.dependable
    assert done.effective > 1500
    evidence = 7 + k / 2 * math.log(2 * math.pi * width**2)
    assert done.log_evidence == pytest.approx(evidence, abs=0.1)
    drawn = done.points[done.resampled(20_000, torch.Generator().manual_seed(6))]
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.full_like(mean, width), atol=0.05, rtol=0)


def test_a_copula_is_a_density_with_the_marginals_of_its_points():
    """It integrates to 1, its samples are where it says, and it is near a skewed density that Student's t is not."""
    generator = torch.Generator().manual_seed(3)
    skewed = torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    skewed[:, 0] = (0.8 * skewed[:, 0]).exp()
    skewed[:, 1] += skewed[:, 0].log()
    equal = torch.full((4000,), 1 / 4000, dtype=torch.float64)
    copula = Copula(skewed, equal)
    x = torch.linspace(-60, 60, 4001, dtype=torch.float64)
    one = Copula(skewed[:, :1], equal).log_prob(x[:, None]).exp()
    assert float(torch.trapezoid(one, x)) == pytest.approx(1, abs=0.02)

    def log_density(points):
        first = points[:, 0].clamp_min(1e-300).log()
        normal = -0.5 * ((first / 0.8).square() + (points[:, 1] - first).square())
        return torch.where(points[:, 0] > 0, normal - math.log(2 * math.pi * 0.8) - first, -torch.inf)

    drawn = copula.sample(20_000, generator)
    ratio = (log_density(drawn) - copula.log_prob(drawn)).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)
    moments = StudentT(skewed.mean(0), torch.cov(skewed.mT))
    drawn = moments.sample(20_000, generator)
    plain = (log_density(drawn) - moments.log_prob(drawn)).exp()
    efficiency, without = (float(w.sum().square() / w.square().sum() / len(w)) for w in (ratio, plain))
    assert efficiency > 0.7
    assert efficiency > 1.5 * without


def test_further_elements_are_integrated_out(simulator, coordinates):
    """The density without them is the integral of the whole one, and their samples are drawn from its integrand."""
    labels = labels_of(simulator, y=0.4, co=-0.2)
    star, main = observed(simulator, labels), coordinates.main
    assert set(coordinates.names[main:]) == set(FURTHER_ELEMENTS)
    noise = ErrorModel(simulator).whiten(star, labels, fit=False)
    start = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    mode = find_mode(coordinates, noise, star, start)
    whole = Target(coordinates, star, noise)
    marginal = MarginalTarget(whole, mode.theta, mode.slopes[main:])
    point = mode.theta[:main] + 0.3 * mode.covariance.diagonal()[:main].sqrt()
    expected = float(marginal.log_density(point[None])[0])
    drawn = marginal.further(torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(1))
    density = torch.distributions.MultivariateNormal(drawn.mean(0), torch.cov(drawn.mT))
    some = drawn[:300]
    ratio = whole.log_density(torch.cat([point.expand(300, -1), some], 1)) - density.log_prob(some)
    assert float(ratio.std()) < 0.5
    assert float(ratio.logsumexp(0)) - math.log(300) == pytest.approx(expected, abs=0.2)


def test_further_elements_of_weak_lines_are_drawn_from_their_own_posterior(simulator, coordinates):
    """Quantiles as by importance sampling with the whole density, which no Gaussian about the mode has."""
    labels = labels_of(simulator, teff=6400.0, mh=-1.0, y=-0.5, na=0.3)
    star, main = observed(simulator, labels, seed=4), coordinates.main
    noise = ErrorModel(simulator).whiten(star, labels, fit=False)
    start = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    mode = find_mode(coordinates, noise, star, start)
    whole, generator = Target(coordinates, star, noise), torch.Generator().manual_seed(1)
    marginal = MarginalTarget(whole, mode.theta, mode.slopes[main:])
    marginal.log_density(mode.theta[None, :main])
    drawn = marginal.further(torch.zeros(6000, dtype=torch.int64), generator)
    proposal = StudentT(drawn.mean(0), torch.cov(drawn.mT))
    points = proposal.sample(6000, generator)
    full = torch.cat([mode.theta[:main].expand(len(points), -1), points], 1)
    weights = (whole.log_density(full) - proposal.log_prob(points)).softmax(0)
    assert float(1 / weights.square().sum()) > 1000
    gaussian = torch.randn(6000, len(drawn.mT), generator=generator, dtype=drawn.dtype)
    gaussian = mode.theta[main:] + gaussian * mode.covariance.diagonal()[main:].sqrt()
    levels, farthest = torch.tensor([0.05, 0.16, 0.5, 0.84, 0.95], dtype=drawn.dtype), {}
    for name, samples in (("drawn", drawn), ("gaussian", gaussian)):
        off = []
        for x, y in zip(samples.mT, points.mT, strict=True):
            order = y.argsort()
            exact = y[order][torch.searchsorted(weights[order].cumsum(0), levels)]
            off.append(((x.quantile(levels) - exact) / (exact[3] - exact[1]) * 2).abs().max())
        farthest[name] = float(torch.stack(off).max())
    assert farthest["drawn"] < 0.2
    assert farthest["gaussian"] > 2 * farthest["drawn"]


def test_a_proposal_that_misses_is_told(simulator):
    """All weight on one point: few effective samples and a long tail."""
    far = StudentT(torch.full((3,), 60.0, dtype=torch.float64), 0.01 * torch.eye(3, dtype=torch.float64))
    done = sample(lambda x: -0.5 * (x / 0.1).square().sum(1), [(far, 500)], torch.Generator().manual_seed(1), 400, 0, 1)
    assert done.effective < 50
    assert bool(torch.isfinite(done.weights).all())
    nothing = sample(lambda x: torch.full((len(x),), -torch.inf), [(far, 100)], torch.Generator(), 10, 1, 100)
    assert nothing.effective == 0
    assert not nothing.dependable


def test_smoothing_keeps_the_mean_of_heavy_weights():
    """Pareto weights of shape 0.5: the smoothed mean scatters less than the raw one, and the shape is found."""
    generator = np.random.default_rng(2)
    raw, smooth, shapes = [], [], []
    for _ in range(100):
        log = torch.from_numpy(0.5 * generator.exponential(size=2000))
        result, shape = smoothed(log)
        raw.append(float(log.exp().mean()))
        smooth.append(float(result.exp().mean()))
        shapes.append(shape)
    assert np.median(shapes) == pytest.approx(0.5, abs=0.1)
    assert np.std(smooth) < np.std(raw)
    assert np.mean(smooth) == pytest.approx(2, abs=0.1)
    excess = np.sort(generator.pareto(1 / 0.3, 5000) * 1.0)
    assert fit_pareto(excess)[0] == pytest.approx(0.3, abs=0.06)


def test_the_mode_of_a_noise_free_star_is_its_truth(simulator, coordinates):
    labels = labels_of(simulator)
    star = observed(simulator, labels, snr=1e4)
    errors = ErrorModel(simulator, model_error=False)
    start = coordinates.transform.unconstrained(
        labels_of(simulator, teff=5500.0, logg=4.1, mh=-0.2)[coordinates.columns][None]
    )[0]
    mode = find_mode(coordinates, errors, star, start)
    found = dict(zip(simulator.labels, mode.labels.tolist(), strict=True))
    assert found["teff"] == pytest.approx(5772, abs=3)
    assert found["logg"] == pytest.approx(4.44, abs=0.01)
    assert found["mh"] == pytest.approx(0, abs=0.005)


def test_errors_at_the_mode_are_those_about_its_spectrum(simulator, coordinates):
    labels, errors = labels_of(simulator), ErrorModel(simulator)
    star = observed(simulator, labels)
    start = coordinates.transform.unconstrained(labels_of(simulator, teff=5600.0)[coordinates.columns][None])[0]
    mode = find_mode(coordinates, errors, star, start)
    noise = errors.whiten(star, mode.labels, fitted=coordinates.spread @ mode.slopes)
    assert torch.equal(mode.noise.weight, noise.weight)
    assert torch.equal(mode.noise.projector, noise.projector)
    assert mode.log_density == float(Target(coordinates, star, noise).log_density(mode.theta[None]))


def test_a_climb_ends_at_a_maximum_that_is_known(simulator, coordinates):
    """It is near where the squared distance is that of usual samples; else the same maximum is found once more."""
    labels, errors = labels_of(simulator), ErrorModel(simulator)
    star = observed(simulator, labels)

    def start(**changes):
        return coordinates.transform.unconstrained(labels_of(simulator, **changes)[coordinates.columns][None])[0]

    mode = find_mode(coordinates, errors, star, start(teff=5600.0))
    assert float(mode.squared_distance(mode.theta)) == 0
    near = mode.theta + torch.linalg.cholesky(mode.covariance) @ torch.full_like(mode.theta, 0.9)
    far = start(teff=6300.0, mh=0.3)
    assert float(mode.squared_distance(near)) < len(near) < float(mode.squared_distance(far))
    for other in (near, far):
        assert find_mode(coordinates, errors, star, other, known=[mode]) is mode
    alone = find_mode(coordinates, errors, star, far)
    assert alone is not mode
    assert torch.allclose(alone.theta, mode.theta, atol=0.3 * float(mode.covariance.diagonal().sqrt().max()))
    found = highest_mode(coordinates, errors, star, torch.stack([start(teff=5600.0), far]))
    assert torch.equal(found.theta, mode.theta)


def test_the_curvature_of_a_relation_is_that_of_its_density(simulator, coordinates):
    """Beyond the stars behind a relation its scatter is larger; the search is then as short as elsewhere."""
    labels, doyle = labels_of(simulator, teff=8000.0, vmac=7.0, vsini=30.0), relation("doyle2014")
    star, column = observed(simulator, labels), coordinates.names.index("vmac")
    theta = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    errors = ErrorModel(simulator)
    target = Target(coordinates, star, errors.whiten(star, labels), [doyle])
    _, curvature = _prior_slopes(target, theta)
    hessian = torch.autograd.functional.hessian(lambda x: target.log_label_priors(x[None])[0], theta)
    assert float(curvature[column, column]) == pytest.approx(-float(hessian[column, column]), rel=1e-6)
    mode = find_mode(coordinates, errors, star, theta, [doyle])
    assert mode.steps <= 6
    model, slopes = jacobian(coordinates, mode.theta, star.resolution)
    assert torch.equal(mode.model, model)
    assert torch.equal(mode.slopes, slopes)


def test_errors_are_measured_from_the_residuals(simulator):
    """Twice the usual model error is found to be so, and a reported noise that is 20 % too large too."""
    labels = labels_of(simulator)
    usual = labels[None].float().repeat(24, 1)

    def scales(**changes):
        settings = SimulationSettings.model_validate({**NOTHING, **changes})
        batch = Simulator(load_cached(), settings).observe(usual, torch.Generator().manual_seed(4))
        return [ErrorModel(simulator).whiten(usable(star), labels) for star in batch]

    double = {"teff_k": (3000.0, 10_000.0), "level": (0.0064, 0.0064), "floor": 0.016, "line": 0.086, "scatter": 0.0}
    strong = [w.scale for w in scales(model_error={**double, "emulator": 2.0}, noise={"snr": (300.0, 300.0)})]
    assert np.median(strong) == pytest.approx(2, abs=0.35)


def test_r_that_is_told_too_low_is_less_probable_than_a_larger_one(simulator, coordinates):
    """A slow rotator with R told 1/1.2 of the truth, told right, too fast to say, and as sharp as the pixels."""
    errors = ErrorModel(simulator)
    slow = labels_of(simulator, vsini=1.5)

    def odds(labels, told, true=36_000.0):
        star = replace(observed(simulator, labels, resolution=true), resolution=told)
        start = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
        relations = [relation("doyle2014"), relation("random-axes")]
        return log_odds_of_sharper(coordinates, star, find_mode(coordinates, errors, star, start, relations), relations)

    assert odds(slow, 30_000.0) > 3
    assert odds(slow, 36_000.0) < 0
    assert odds(labels_of(simulator, vsini=30.0), 30_000.0) == -np.inf
    assert odds(slow, 45_000.0, 45_000.0) == -np.inf


def test_what_a_fit_takes_from_sums_of_residuals_is_that_of_dense_matrices():
    """Variance of sums of residuals: S D S^T before, S D (D + B B^T)^-1 D S^T after the fit."""
    generator = torch.Generator().manual_seed(1)
    columns = torch.randn(5, 64, generator=generator, dtype=torch.float64)
    variance = 0.5 + torch.rand(64, generator=generator, dtype=torch.float64)
    good = torch.rand(64, generator=generator) > 0.1
    taken = taken_by_fit(columns, torch.where(good, variance.rsqrt(), 0.0), good)
    d, b = torch.diag(variance[good]), columns[:, good]
    left = d @ torch.linalg.inv(d + b.mT @ b) @ d
    sums = torch.eye(8, dtype=torch.float64).repeat_interleave(8, 1)[:, good]
    assert torch.allclose(taken, (sums @ (d - left) @ sums.mT).diagonal(), rtol=1e-9)


def test_a_gap_says_nothing(simulator, coordinates):
    """Nonsense in pixels that are not good changes nothing."""
    labels = labels_of(simulator)
    star = observed(simulator, labels)
    good = star.good.clone()
    good[3000:4000] = False
    flux, sigma = star.flux.clone(), star.sigma.clone()
    clean = ErrorModel(simulator).whiten(star.with_(mask=~good), labels)
    flux[3000:4000], sigma[3000:4000] = 77.0, 1e-9
    dirty = ErrorModel(simulator).whiten(star.with_(flux=flux, sigma=sigma, mask=~good), labels)
    model = coordinates.spectra(
        coordinates.transform.unconstrained(labels[coordinates.columns][None]), 45_000.0
    ).double()
    assert float(dirty.chi2(model)[0]) == pytest.approx(float(clean.chi2(model)[0]), rel=1e-9)


def test_posteriors_cover_simulated_stars(simulator, coordinates):
    """Standardised errors of 20 stars with all errors: neither too small nor too large."""
    errors = ErrorModel(simulator)
    batch = simulator.batch(20, torch.Generator().manual_seed(8))
    z, effective = [], []
    for i in range(20):
        star = usable(batch[i])
        truth = batch.labels[i, coordinates.columns].double()
        done = refine(
            coordinates,
            errors,
            star,
            coordinates.transform.unconstrained(truth[None]),
            count=1000,
            seed=i,
            target_ess=200,
        )
        z.append(((done.samples.mean(0) - truth) / done.samples.std(0)).numpy())
        effective.append(done.weighted.effective)
    size = np.sqrt(np.mean(np.square(z)))
    assert 0.85 < size < 1.15
    assert np.median(effective) > 200


def test_the_same_seed_gives_the_same_samples(simulator, coordinates):
    labels = labels_of(simulator)
    star = observed(simulator, labels)
    start = coordinates.transform.unconstrained(labels[coordinates.columns][None])
    first, second = (
        refine(coordinates, ErrorModel(simulator), star, start, count=100, target_ess=50) for _ in range(2)
    )
    torch.testing.assert_close(first.samples, second.samples, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, s, g: (f, s, g & (torch.arange(len(g)) < 3)), "3 good pixels; at least 200"),
        (lambda f, s, g: (f * torch.nan, s, g), "flux that is not finite"),
        (lambda f, s, g: (f, s * 0, g), "noise must be finite and above 0"),
        (lambda f, s, g: (f, s * torch.inf, g), "noise must be finite and above 0"),
        (
            lambda f, s, g: (f[None], s[None], g[None]),
            r"must be one spectrum \(pixels,\); got flux of shape \(1, 500\)",
        ),
    ],
)
def test_bad_stars(spoil, message):
    flux, sigma, good = torch.ones(500), torch.ones(500), torch.ones(500, dtype=torch.bool)
    flux, sigma, good = spoil(flux, sigma, good)
    spectrum = PixelSpectra(flux=flux, sigma=sigma, mask=~good, resolution=45_000.0)
    with pytest.raises(DomainError, match=f"^bad.fits: .*{message}"):
        usable(spectrum, "bad.fits")


def test_coordinates_of_other_labels(simulator):
    assert Coordinates(simulator, ("mh", "teff")).names[:3] == ("mh", "teff", "logg")
    with pytest.raises(DomainError, match="labels teff, zr; only these are free: teff, logg"):
        Coordinates(simulator, ("teff", "zr"))
