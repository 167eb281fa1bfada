"""Refinement of a network's posterior by the likelihood of the emulator's spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maury.emulator import file_of
from maury.emulator import load_cached as load_emulator
from maury.files import sha256
from maury.labels import FURTHER_ELEMENTS
from maury.likelihood import (
    Coordinates,
    ErrorModel,
    LabelPrior,
    Refined,
    free_labels,
    refine,
    simulator_for,
)
from maury.likelihood.foreign import Stretch, foreign_light
from maury.likelihood.importance import DEPENDABLE_K
from maury.likelihood.luminosity import Luminosity
from maury.likelihood.priors import value_of
from maury.likelihood.profile import PACKAGED as FACTORS
from maury.likelihood.profile import error_profile
from maury.likelihood.resolution import log_odds_of_sharper
from maury.likelihood.systematics import PACKAGED as SIZES
from maury.likelihood.systematics import systematic, with_systematics
from maury.likelihood.together import Details, Together
from maury.networks import PosteriorNetwork, find, load_cached
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import Floats

DISTORTION_KMS = 0.5
"""Scatter (km/s) of wavelength solutions within a spectrum, between and within orders, as some pipelines have it."""

_POOR, _FEWEST, _CONFLICT, _DOUBTFUL = 2.0, 100.0, 3.0, 1.25


@dataclass(frozen=True)
class Refinement:
    """Results of the likelihood for one star beside its posterior.

    Attributes:
        effective: effective number of samples.
        efficiency: of the importance sampling, effective samples per model spectrum.
        pareto_k: shape of the tail of the weights; below 0.7 they can be trusted.
        log_evidence: log of the prior-averaged likelihood of the pixels.
        prior_efficiency: effective fraction of the samples after weighting by priors, 1 without priors.
        chi2: reduced chi-square of data binned by 8 pixels, with noise and the usual errors of the physics.
        model_error_scale: fitted size of the errors of the physics relative to the usual one.
        noise_scale: fitted noise relative to the sigma of the spectrum.
        outliers: fraction of pixels beyond 3 standard deviations.
        resolution_shift: ln(R / nominal R), in units of its prior's standard deviation.
        sharper_odds: log of the evidence of 1.2 R over that of R (`maury.likelihood.resolution`).
        labels: most probable labels of the fit, by name.
        systematic: standard deviation of the systematic error by label (`maury.likelihood.systematics`); empty where
            none is counted in.
        derived: samples (n,) of luminosity, radius and mass in solar units, where parallax and magnitude are given.
        model: spectrum of the most probable labels (p,), nuisances (continuum, velocity, zero level, R) fitted.
        sigma: standard deviation of data minus model in the likelihood (p,), NaN in pixels that are not used.
        details: noise and residuals of exposures fitted together; model and sigma are then those of their mean.
        foreign: where lines are too shallow or too deep, as foreign light makes them, or None.
    """

    effective: float
    efficiency: float
    pareto_k: float
    log_evidence: float
    prior_efficiency: float
    chi2: float
    model_error_scale: float
    noise_scale: float
    outliers: float
    resolution_shift: float
    sharper_odds: float
    labels: dict[str, float]
    systematic: dict[str, float]
    derived: dict[str, Floats] = field(repr=False)
    model: Floats = field(repr=False)
    sigma: Floats = field(repr=False)
    details: Details | None = None
    foreign: Stretch | None = None


class FlowProposal:
    """A network's posterior of one star in unconstrained coordinates."""

    def __init__(self, network: PosteriorNetwork, features: Tensor) -> None:
        """Store the network and the features (1, f) of the star."""
        self.network, self.features = network, features

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Points (count, k)."""
        return self.network.flow.sample(self.features, count, generator)[0].double()

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density (n,) of points (n, k)."""
        with torch.inference_mode():
            return self.network.flow.log_prob(self.features.expand(len(x), -1), x.float()).double()


class Samples(NamedTuple):
    """Samples of a posterior.

    Attributes:
        fit: labels (n, k) of model spectra that fit, within the ranges of the model.
        true: labels (n, k) of the star, with systematic errors added and priors applied.
    """

    fit: Tensor
    true: Tensor


@dataclass(frozen=True)
class RefinementModel:
    """Coordinates, error model and systematic errors with which a network's posterior is refined.

    Attributes:
        coordinates: labels and their prior.
        errors: error model of spectra.
        sizes: file of the systematic errors of labels (`maury.likelihood.systematics`).
    """

    coordinates: Coordinates
    errors: ErrorModel
    sizes: Path = SIZES


@lru_cache(maxsize=2)
def physics_of(model: str, emulator: str, real: bool, differential: bool = False) -> RefinementModel | None:
    """Coordinates and errors for a network; None if it was trained with another emulator or lacks labels of it.

    The network may lack `maury.labels.FURTHER_ELEMENTS`, which are then fitted without a proposal from it.

    Args:
        model: a packaged network, a run's folder or a network file.
        emulator: "packaged" or an emulator's file.
        real: include distorted wavelengths and errors of single lines, which simulated stars do not have.
        differential: a reference star corrects single lines, so that all have the same error.
    """
    network, header = load_cached(model)
    if not isinstance(network, PosteriorNetwork) or header.get("emulator") != digest_of(emulator):
        return None
    simulator = simulator_for(header, load_emulator(emulator))
    names = network.transform.space.names
    free = set(free_labels(simulator))
    if not set(names) <= free or not free - set(names) <= set(FURTHER_ELEMENTS):
        return None
    if not real:
        return RefinementModel(Coordinates(simulator, names), ErrorModel(simulator))
    factors = measured_on_standards(model, FACTORS)
    profile = None if differential else error_profile(simulator.pixels.wavelength_aa, factors)
    errors = ErrorModel(simulator, distortion_kms=DISTORTION_KMS, profile=profile)
    return RefinementModel(Coordinates(simulator, names), errors, measured_on_standards(model, SIZES))


def measured_on_standards(model: str, packaged: Path) -> Path:
    """File of errors measured on standard stars: the one beside the network, or else the packaged one."""
    own = find(model).parent / packaged.name
    return own if own.is_file() else packaged


def further_labels(emulator: str) -> tuple[str, ...]:
    """Elements of an emulator that refinement gives beside the labels of a network."""
    return tuple(name for name in load_emulator(emulator).space.names if name in FURTHER_ELEMENTS)


@lru_cache(maxsize=4)
def digest_of(emulator: str) -> str:
    """Checksum of an emulator's file."""
    return sha256(file_of(emulator))


def refined(
    physics: RefinementModel,
    star: PixelSpectra,
    network: PosteriorNetwork,
    features: Tensor,
    *,
    template: dict[str, float] | None = None,
    priors: Sequence[LabelPrior] = (),
    relations: Sequence[LabelPrior] = (),
    systematics: bool = True,
    count: int,
    seed: int,
) -> tuple[Samples, Refinement, tuple[str, ...]]:
    """Refine one star.

    Args:
        physics: of the network.
        star: the spectrum, or exposures (n, p) of one star (`maury.likelihood.together`).
        network: its posterior is the first proposal, and its median a start of the search for the mode.
        features: of the star, or of the mean of its exposures (1, f).
        template: labels of the preparation's best template, a second start.
        priors: priors on the true labels.
        relations: relations from the literature, priors on the fitted labels.
        systematics: add the systematic errors of real stars.
        count: number of samples.
        seed: of the samples.

    Returns:
        Samples, quality and details of the fit, and flags.
    """
    coordinates = physics.coordinates
    errors = physics.errors if star.flux.ndim == 1 else Together(physics.errors)
    proposal = FlowProposal(network, features)
    with torch.inference_mode():
        first = proposal.sample(256, torch.Generator().manual_seed(seed)).median(0).values.clone()
    first = coordinates.start(first)
    starts = [first]
    if template is not None:
        known = [template.get(name, np.nan) for name in coordinates.names]
        theta = coordinates.transform.unconstrained(torch.tensor([known]).double())[0]
        starts.append(torch.where(torch.isfinite(theta), theta, first))
    result = refine(
        coordinates,
        errors,
        star,
        torch.stack(starts),
        network=proposal,
        label_priors=relations,
        count=count,
        seed=seed,
    )
    generator = torch.Generator().manual_seed(seed + 1)
    medians = dict(zip(coordinates.names, result.samples.median(0).values.tolist(), strict=True))
    sizes = systematic(medians, physics.sizes) if systematics else {}
    true, share = with_systematics(result.samples, coordinates.names, generator, priors, systematics, physics.sizes)
    odds = log_odds_of_sharper(coordinates, star, result.mode, relations)
    columns = dict(zip(coordinates.names, true.unbind(1), strict=True))
    derived, far = {}, False
    for light in (prior for prior in priors if isinstance(prior, Luminosity)):
        derived = {name: x.numpy() for name, x in light.derived(columns, generator).items()}
        alone, _ = with_systematics(result.samples, coordinates.names, generator, (), systematics)
        far |= light.conflict(dict(zip(coordinates.names, alone.unbind(1), strict=True))) > _CONFLICT
    fit = _describe(coordinates, errors, star, result, share, odds, sizes, derived)
    flags = _flags(coordinates, true, fit, [prior for prior in priors if not isinstance(prior, Luminosity)])
    return Samples(result.samples, true), fit, (*flags, *(("parallax_conflict",) if far else ()))


def _describe(
    coordinates: Coordinates,
    errors: ErrorModel | Together,
    star: PixelSpectra,
    result: Refined,
    prior_efficiency: float,
    odds: float,
    systematics: dict[str, float],
    derived: dict[str, Floats],
) -> Refinement:
    mode, weighted = result.mode, result.weighted
    details = None
    if isinstance(errors, Together):
        details = errors.details(star, mode.labels)
        model, shift, sigma = details.model, details.shift, details.sigma
    else:
        model, shift = errors.adjusted(star, mode.labels, mode.noise)
        weight = mode.noise.weight
        sigma = torch.where(weight > 0, 1 / torch.where(weight > 0, weight, 1.0), torch.nan)
    names = coordinates.simulator.labels
    return Refinement(
        weighted.effective,
        weighted.efficiency,
        weighted.pareto_k,
        weighted.log_evidence,
        prior_efficiency,
        mode.noise.size**2,
        mode.noise.scale,
        mode.noise.noise_scale,
        mode.noise.outliers,
        shift,
        odds,
        dict(zip(names, mode.labels.tolist(), strict=True)),
        systematics,
        derived,
        model.numpy(),
        sigma.numpy(),
        details,
        foreign_light(coordinates, mode),
    )


def _flags(coordinates: Coordinates, samples: Tensor, fit: Refinement, priors: Sequence[LabelPrior]) -> tuple[str, ...]:
    labels = dict(zip(coordinates.names, samples.unbind(1), strict=True))
    tests = {
        "damaged_pixels": fit.foreign is not None,
        "poor_fit": fit.chi2 > _POOR**2,
        "low_efficiency": fit.effective < _FEWEST or not fit.pareto_k < DEPENDABLE_K,
        "resolution_doubtful": abs(fit.resolution_shift) > _DOUBTFUL or fit.sharper_odds > 0,
        "prior_conflict": fit.prior_efficiency * len(samples) < _FEWEST
        or any(_conflict(label_prior, value_of(label_prior.label, labels)) for label_prior in priors),
    }
    return tuple(name for name, yes in tests.items() if yes)


def _conflict(label_prior: LabelPrior, samples: Tensor) -> bool:
    """Whether prior and spectrum disagree; the posterior without the prior follows by dividing its Gaussian out."""
    mean, variance = float(samples.mean()), float(samples.var())
    if label_prior.uniform:
        low, high = label_prior.value - label_prior.below, label_prior.value + label_prior.above
        crowd = 0.02 * (high - low)
        at_end = ((samples < low + crowd) | (samples > high - crowd)).double().mean()
        return float(at_end) > 0.5
    own = (label_prior.below + label_prior.above) ** 2 / 4
    if variance >= 0.98 * own:
        return abs(mean - label_prior.value) > _CONFLICT * own**0.5
    data = 1 / (1 / variance - 1 / own)
    centre = (mean / variance - label_prior.value / own) * data
    return bool(abs(centre - label_prior.value) > _CONFLICT * (data + own) ** 0.5)
