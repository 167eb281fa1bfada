"""Which pixels determine a label: weights of the best linear estimator, compared with a network's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from torch import Tensor

from maury.errors import DomainError
from maury.evaluation.bound import STEP_KMS, Floats, combination, fisher, pixel_sigma
from maury.evaluation.limits import Bound
from maury.evaluation.metrics import error_unit
from maury.labels import ALPHA, LABELS
from maury.lines.strong import named_lines
from maury.networks import PosteriorNetwork
from maury.pixelspectra import PixelSpectra
from maury.progress import Advance, silent
from maury.wavelengths import C_KMS

_DRAWS = 255
_MIDDLE = slice(115, 140)
"""Range of the sorted samples whose mean stands for the median: same gradient, less scatter than the middle sample."""
_BATCH = 16
_NARROWEST_KMS = 6.0


@dataclass(frozen=True)
class LinearEstimator:
    """A linear estimator of a label: it changes by the sum over pixels of ``weight`` x change of the flux.

    Attributes:
        weight: label's unit per unit of the continuum (p,).
        share: fraction of the estimate's variance that comes from each pixel (p,), through its noise (and error of the
            physics, if included).
        noise: standard deviation of the estimate from these, label's unit.
        response: change of the estimate for a change of 1 in each free label, in the label's unit. An unbiased
            estimator has 1 for its own label and 0 for the others.
    """

    weight: Floats = field(repr=False)
    share: Floats = field(repr=False)
    noise: float
    response: Mapping[str, float]

    @classmethod
    def of(cls, weight: Floats, slopes: Floats, sigma: Floats, names: tuple[str, ...]) -> LinearEstimator:
        """From weights (p,), derivatives of the flux (k, p) by the free labels and errors of pixels (p,)."""
        variance = (weight * sigma) ** 2
        response = dict(zip(names, (slopes @ weight).tolist(), strict=True))
        return cls(weight, variance / variance.sum(), float(np.sqrt(variance.sum())), response)


@dataclass(frozen=True)
class Explanation:
    """Two estimators of a label of one star: the best linear one, and a network linearised.

    Attributes:
        label: its name.
        star: the star's labels.
        resolution: R = lambda / FWHM.
        snr: S/N of the continuum per 2.3 km/s.
        wavelength_aa: pixels (p,), Å.
        flux: of the star without noise (p,).
        error: smallest standard deviation of the label.
        physics: the best linear estimator.
        network: the network's median; None if it has no such label.
        agreement: cosine between the two, each pixel in units of its error.
    """

    label: str
    star: Mapping[str, float]
    resolution: float
    snr: float
    wavelength_aa: Floats = field(repr=False)
    flux: Floats = field(repr=False)
    error: float
    physics: LinearEstimator
    network: LinearEstimator | None
    agreement: float | None

    @property
    def unit(self) -> str:
        """Of the label's errors."""
        return error_unit(self.label)

    def record(self) -> dict[str, Any]:
        """Plain JSON values without the arrays of pixels."""
        readings = {"physics": self.physics, "network": self.network}
        return {
            "label": self.label,
            "unit": self.unit,
            "star": dict(self.star),
            "resolution": self.resolution,
            "snr": self.snr,
            "step_kms": STEP_KMS,
            "error": self.error,
            "agreement": self.agreement,
            **{k: None if r is None else {"noise": r.noise, "response": dict(r.response)} for k, r in readings.items()},
        }


def explain(
    bound: Bound,
    labels: Tensor,
    name: str,
    snr: float,
    network: PosteriorNetwork | None = None,
    realisations: int = 64,
    seed: int = 1,
    advance: Advance = silent,
) -> Explanation:
    """Weights of the pixels in the estimate of a label of a star (1, all).

    The best linear estimator is (F + P)^-1 J C^-1 (flux - model), with the symbols of `maury.evaluation.bound`: its
    weights are the derivative by the label, orthogonal to changes by other labels, continuum and other nuisances.

    Args:
        bound: physics, free labels and errors.
        labels: the star.
        name: a free label, or alpha.
        snr: S/N of the continuum per 2.3 km/s.
        network: on the CPU, on the pixels of the bound's simulator.
        realisations: of the noise over which the network's slopes are averaged.
        seed: of the noise and the network's samples.
        advance: called with the number of realisations done.

    Raises:
        DomainError: the label is fixed or unknown, or the S/N is not positive and finite.
    """
    require_label(bound, name)
    combined = combination(name, bound.free)
    sigma, slopes, noise = pixel_sigma(bound.simulator, snr), bound.slopes(labels)[0], bound.whiten(labels, snr)
    weight, projector = noise.weight.numpy(), noise.projector.numpy()
    weighted = slopes * weight
    inverse = np.linalg.inv(fisher(slopes, weight, projector) + bound.precision)
    estimator = (np.array(combined) @ inverse @ (weighted - weighted @ projector @ projector.T)) * weight
    physics = LinearEstimator.of(estimator, slopes, 1 / weight, bound.free)
    flux = bound.simulator.spectra(labels, torch.tensor([bound.resolution]))[0]
    reading, agreement = None, None
    if network is not None and has_label(network, name):
        found = saliency(network, flux, sigma, bound.resolution, name, realisations, seed, advance)
        reading = LinearEstimator.of(found, slopes, 1 / weight, bound.free)
        both = np.sqrt(physics.share * reading.share) * np.sign(estimator * found)
        agreement = float(both.sum())
    star = dict(zip(bound.names, labels[0].double().round(decimals=4).tolist(), strict=True))
    return Explanation(
        name, star, bound.resolution, snr, bound.simulator.pixels.wavelength_aa, flux.double().numpy(),
        float(bound.errors(labels, snr, (name,), slopes)[0]), physics, reading, agreement,
    )  # fmt: skip


def require_label(bound: Bound, name: str) -> None:
    """Check that a label can be explained: a free one, or alpha where Mg, Ca or Ti are free.

    Raises:
        DomainError: it cannot.
    """
    known = [other for other in bound.names if any(combination(other, bound.free))]
    if name not in known:
        raise DomainError(f"label {name} is not among those that are free: {', '.join(known)}")


def has_label(network: PosteriorNetwork, name: str) -> bool:
    """Whether a network has a label, or all of those of which alpha is the mean."""
    names = network.config.labels
    return name in names or (name == "alpha" and set(ALPHA) <= set(names))


def saliency(
    network: PosteriorNetwork,
    flux: Tensor,
    sigma: float,
    resolution: float,
    name: str,
    realisations: int,
    seed: int,
    advance: Advance = silent,
) -> Floats:
    """Gradient (p,) of the posterior's median of a label by the flux (p,), averaged over realisations of white noise.

    The gradient of the median is the mean gradient of the samples near it.

    Args:
        network: gives a posterior with that label.
        flux: without noise.
        sigma: of the noise.
        resolution: resolving power; the network is given at most that of its pixels.
        name: the label.
        realisations: of the noise.
        seed: of noise and samples.
        advance: called with the number of realisations done.
    """
    generator = torch.Generator().manual_seed(seed)
    names = network.config.labels
    columns = [names.index(name)] if name in names else [names.index(other) for other in ALPHA]
    total = torch.zeros(len(flux), dtype=torch.float64)
    for first in range(0, realisations, _BATCH):
        count = min(_BATCH, realisations - first)
        noisy = flux + sigma * torch.randn(count, len(flux), generator=generator)
        noisy.requires_grad_(True)
        spectra = PixelSpectra(flux=noisy, sigma=float(sigma), resolution=float(resolution))
        drawn = network.sample(network(spectra), _DRAWS, generator)[..., columns].mean(-1)
        middle = drawn.sort(1).values[:, _MIDDLE].mean(1).sum()
        total += torch.autograd.grad(middle, noisy)[0].double().sum(0)
        advance(count)
    return np.asarray((total / realisations).numpy())


def strongest(found: Explanation, count: int = 15) -> Table:
    """The ranges of pixels that contribute most to the best linear estimate of a label, by their share.

    A range is as wide as a broadened line, and none overlaps another.

    Returns:
        Columns ``wavelength`` (Å, centre of the share), ``lines`` (names of strong lines in it), ``physics`` and
        ``network`` (share of the range, %), ``brighter`` (what the label does if the strongest pixel is brighter).
    """
    star, wave = found.star, found.wavelength_aa
    step = float(np.log(wave[1] / wave[0]) * C_KMS)
    fwhm = np.sqrt((C_KMS / found.resolution) ** 2 + star.get("vsini", 0.0) ** 2 + star.get("vmac", 0.0) ** 2)
    half = max(1, round(max(_NARROWEST_KMS, fwhm) / step))
    box = np.ones(2 * half + 1)
    sums, taken, rows = np.convolve(found.physics.share, box, mode="same"), np.zeros(len(wave)), []
    for _ in range(count):
        centre = int(np.where(np.convolve(taken, box, mode="same") > 0.5, -1.0, sums).argmax())
        inside = slice(max(0, centre - half), centre + half + 1)
        if taken[inside].any() or not sums[centre] > 0:
            break
        taken[inside] = 1.0
        rows.append(_range(found, inside))
    table = Table(rows=rows, names=("wavelength", "lines", "physics", "network", "brighter"))
    table["wavelength"].unit, table["physics"].unit, table["network"].unit = "Angstrom", "%", "%"
    table.meta.update(found.record())
    return table


def _range(found: Explanation, inside: slice) -> tuple[float, str, float, float, str]:
    """A row of `strongest`."""
    share, wave = found.physics.share[inside], found.wavelength_aa[inside]
    lines = ", ".join(f"{species} {aa:.2f}" for species, aa in named_lines(wave[0], wave[-1]))
    network = float("nan") if found.network is None else 100 * float(found.network.share[inside].sum())
    rising = found.physics.weight[inside][share.argmax()] > 0
    return float(share @ wave / share.sum()), lines, 100 * float(share.sum()), network, "rises" if rising else "falls"


def marked_lines(found: Explanation, count: int) -> list[tuple[str, float]]:
    """Name and wavelength (Å) of the line nearest to the centre of each of the strongest ranges."""
    marked: dict[tuple[str, float], None] = {}
    for row in strongest(found, count):
        names = [entry.rsplit(" ", 1) for entry in row["lines"].split(", ") if entry]
        near = min(names, key=lambda entry: abs(float(entry[1]) - row["wavelength"]), default=None)
        if near is not None:
            marked[near[0].removeprefix("wing of "), float(near[1])] = None
    return list(marked)


def title_of(found: Explanation) -> str:
    """The star and the agreement, for a figure."""
    star = found.star
    named = (("teff", "{:g} K"), ("logg", "{:g}"), ("mh", "{:g}"), ("vsini", "{:g} km/s"))
    text = ", ".join(f"{LABELS[name].symbol} {form.format(star[name])}" for name, form in named if name in star)
    agreement = "" if found.agreement is None else f"\nnetwork and physics: cosine {found.agreement:.2f}"
    return f"{text}; R = {found.resolution:,.0f}, S/N {found.snr:g} per {STEP_KMS:g} km/s{agreement}"
