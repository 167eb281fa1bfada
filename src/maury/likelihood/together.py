"""Several exposures of one star: errors of each exposure apart, errors of the physics and the haze in common.

The flux of exposure i in a pixel is ``m(labels; R_i) + own columns + common columns + s phi_i xi + n_i``: the errors of
the physics xi are one realisation for all exposures, so that they do not average down as the noise n_i does. All of it
is Gaussian, and the exposures of one resolving power see one model spectrum, so that their joint likelihood is that of
one equivalent spectrum for each resolving power (`NoiseModel`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maury.likelihood.errors import (
    BIN,
    CLIP,
    HUBER,
    LEAST_LEFT,
    MEDIAN_SQUARE,
    Bins,
    ErrorModel,
    NoiseModel,
    amplitudes,
    binned_sums,
    huber_weight,
    taken_by_fit,
)
from maury.pixelspectra import PixelSpectra

_PASSES = 3
_STEP_R = 0.01
_LEAST = 1e-5
"""Directions that lose less than this fraction of their information to nuisances are left out of the projector."""


def exposures_of(stars: list[PixelSpectra]) -> PixelSpectra:
    """Exposures (n, p) from single spectra (p,); resolving powers within 1 % become one, their mean."""
    batch = PixelSpectra.cat([star[None] for star in stars])
    steps = (batch.resolution.log() / _STEP_R).round()
    means = [batch.resolution[steps == step].mean() for step in steps]
    return batch.with_(resolution=torch.stack(means))


def mean_of(batch: PixelSpectra) -> PixelSpectra:
    """Noise-weighted mean (p,) of exposures (n, p), with the noise-weighted mean of their resolving powers."""
    weight = torch.where(batch.good, batch.sigma.square().reciprocal(), 0.0)
    total = weight.sum(0)
    seen = total > 0
    flux = torch.where(seen, (weight * batch.flux).sum(0) / total.clamp_min(1e-30), 1.0)
    sigma = torch.where(seen, total.clamp_min(1e-30).rsqrt(), 1.0)
    light = weight.sum(1)
    resolution = (light * batch.resolution).sum() / light.sum()
    return PixelSpectra(flux=flux, sigma=sigma, mask=~seen, resolution=resolution)


@dataclass(frozen=True)
class _Linear:
    """Model spectra and nuisances about labels.

    Attributes:
        which: number of each exposure's resolving power (n,).
        models: by resolving power (g, p).
        physics: errors of the physics by exposure (n, p).
        share: part of their variance that bins show.
        own: columns of each exposure (n, k, p).
        common: columns of all exposures, by resolving power (m, g, p).
    """

    which: Tensor
    models: Tensor
    physics: Tensor
    share: float
    own: Tensor
    common: Tensor

    @property
    def columns(self) -> Tensor:
        """All columns of each exposure (n, k + m, p)."""
        return torch.cat([self.own, self.common[:, self.which].transpose(0, 1)], 1)


@dataclass(frozen=True)
class _Sizes:
    """Sizes of the errors, measured on residuals.

    Attributes:
        variance: of the scaled noise (n, p), larger for outliers of single exposures.
        noise_scales: of each exposure (n,).
        scale: of the errors of the physics.
        extra: of the noise of the mean.
        huber: Huber's weight of the mean of exposures in each pixel (p,), below 1 for outliers.
        size: as in `NoiseModel`.
        outliers: as in `NoiseModel`.
        apart: rms of each exposure's difference from the mean (n,), in units of noise and usual errors.
    """

    variance: Tensor
    noise_scales: Tensor
    scale: float
    extra: float
    huber: Tensor
    size: float
    outliers: float
    apart: Tensor


@dataclass(frozen=True)
class Details:
    """Noise and residuals of each exposure in a joint fit.

    Attributes:
        noise_scales: fitted noise of each exposure as a multiple of the given one (n,).
        apart: rms of each exposure's difference from the mean of all (n,), in units of noise and usual errors of the
            physics.
        model: mean model (p,) of the exposures with the most probable nuisances.
        sigma: standard deviation (p,) of mean data less mean model, NaN where nothing is used.
        shift: the largest change of ln R of any resolving power, in standard deviations of its prior.
    """

    noise_scales: Tensor
    apart: Tensor
    model: Tensor = field(repr=False)
    sigma: Tensor = field(repr=False)
    shift: float


class Together:
    """Error model of exposures (n, p) of one star, in place of the `ErrorModel` of a single spectrum."""

    def __init__(self, errors: ErrorModel) -> None:
        """Store the error model of single spectra."""
        self.errors = errors

    def whiten(self, stars: PixelSpectra, labels: Tensor, fit: bool = True, fitted: Tensor | None = None) -> NoiseModel:
        """Covariance about the spectra of labels (k,); see `ErrorModel.whiten` for a single spectrum.

        Args:
            stars: exposures (n, p), as `exposures_of` makes them.
            labels: where the model is evaluated.
            fit: measure sizes of errors from the residuals and weigh outliers down.
            fitted: changes (m, g p) of the equivalent spectra by labels, each with a standard normal amplitude.
        """
        linear = self._linear(stars, labels)
        sizes = self._sizes(stars, linear, fit, fitted)
        return _equivalent(stars, linear, sizes)

    def details(self, stars: PixelSpectra, labels: Tensor) -> Details:
        """Noise and residuals of each exposure about the model of labels (k,)."""
        linear = self._linear(stars, labels)
        sizes = self._sizes(stars, linear, True, None)
        system = _System.of(stars, linear, sizes)
        found = torch.linalg.solve(system.normal, system.right)
        count, k = linear.own.shape[:2]
        common = found[count * k :]
        nuisances = (found[: count * k].reshape(count, 1, k) @ linear.own)[:, 0]
        nuisances = nuisances + (common @ linear.common.flatten(1)).reshape(linear.models.shape)[linear.which]
        weight = torch.where(stars.good, sizes.variance.reciprocal(), 0.0)
        total = weight.sum(0).clamp_min(1e-30)
        model = (weight * (linear.models[linear.which] + nuisances)).sum(0) / total
        physics = (weight * linear.physics).sum(0) / total
        sigma = ((1 / total + (sizes.scale * physics).square()) / sizes.huber).sqrt()
        seen = stars.good.any(0)
        shift = float(common[-len(linear.models) :].abs().max())
        model = torch.where(seen, model, linear.models.mean(0))
        return Details(sizes.noise_scales, sizes.apart, model, torch.where(seen, sigma, math.nan), shift)

    def draw(self, stars: PixelSpectra, labels: Tensor, generator: torch.Generator) -> PixelSpectra:
        """Simulated exposures of a star of labels (k,), errors drawn from this covariance, on the pixels of ``stars``.

        Like `ErrorModel.draw`; all exposures share the errors of the physics and their size.
        """
        linear = self._linear(stars, labels)
        settings = self.errors.simulator.settings
        count, pixels = stars.flux.shape

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        t = normal(4)
        scale = math.exp(settings.model_error.scatter * float(t[0] / (t[1:].square().mean()).sqrt()))
        reported = 2 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 1
        noise = (1 - settings.noise.reported_error) ** reported * stars.sigma
        flux = linear.models[linear.which] + (normal(count, 1, linear.own.shape[1]) @ linear.own)[:, 0]
        common = normal(len(linear.common)) @ linear.common.flatten(1)
        flux = flux + common.reshape(linear.models.shape)[linear.which]
        flux = flux + scale * linear.physics * normal(pixels) + noise * normal(count, pixels)
        return stars.with_(flux=torch.where(stars.good, flux, stars.flux))

    def _linear(self, stars: PixelSpectra, labels: Tensor) -> _Linear:
        values, which = stars.resolution.unique(return_inverse=True)
        first = [int((which == g).nonzero()[0]) for g in range(len(values))]
        triples = [self.errors.models(stars[i], labels) for i in first]
        physics = [self.errors.physics(stars[i], labels, triple[0]) for i, triple in zip(first, triples, strict=True)]
        own = [self.errors.columns(stars[i], labels, triples[g], common=0.0)[:-1] for i, g in enumerate(which)]
        shared = [
            self.errors.columns(stars[i], labels, triple, own=0.0) for i, triple in zip(first, triples, strict=True)
        ]
        common = torch.stack(shared, 1)
        common = common[common.abs().amax((1, 2)) > 0]
        sharper = torch.stack([triple[2] for triple in triples])
        resolution = self.errors.simulator.settings.resolution_error * torch.diag_embed(sharper.mT).permute(1, 2, 0)
        return _Linear(
            which,
            torch.stack([triple[0] for triple in triples]),
            torch.stack([error for error, _ in physics])[which],
            sum(share for _, share in physics) / len(physics),
            torch.stack(own),
            torch.cat([common, resolution]),
        )

    def _sizes(self, stars: PixelSpectra, linear: _Linear, fit: bool, fitted: Tensor | None) -> _Sizes:
        """Sizes of noise and errors of the physics, and weights of outliers, from the residuals."""
        good, columns = stars.good, linear.columns
        noise = torch.where(good, stars.sigma, 1.0)
        residual = torch.where(good, stars.flux - linear.models[linear.which], 0.0)
        first = torch.where(good, (noise.square() + linear.physics.square()).rsqrt(), 0.0)
        residual = torch.stack(
            [r - amplitudes(r * w, c * w) @ c for r, c, w in zip(residual, columns, first, strict=True)]
        )
        huber_each, scales = torch.ones_like(noise), noise.new_ones(len(noise))
        if fit and len(noise) > 1:
            taken = torch.stack(
                [taken_by_fit(c, torch.where(g, 1 / n, 0.0), g) for c, n, g in zip(columns, noise, good, strict=True)]
            )
            for _ in range(_PASSES):
                scaled = noise * scales[:, None]
                huber_each = _huber(residual, scaled, good)
                mean, part = _mean(residual, huber_each / scaled.square(), good)
                scales = scales * _rms(residual - mean, scaled.square() * (1 - part), taken, good).sqrt()
                scales = scales.clamp_min(1 - self.errors.simulator.settings.noise.reported_error)
        variance = (noise * scales[:, None]).square() / huber_each
        mean, part = _mean(residual, variance.reciprocal(), good)
        any_good = good.any(0)
        usual = (part * linear.physics).sum(0)
        total = torch.where(good, variance.reciprocal(), 0.0).sum(0)
        mean_noise = torch.where(any_good, total.clamp_min(1e-30).rsqrt(), 1.0)
        mean_columns = (part[:, None] * columns).sum(0)
        if fitted is not None:
            by_group = torch.zeros_like(linear.models).index_add(0, linear.which, part)
            mean_fitted = (fitted.reshape(len(fitted), *by_group.shape) * by_group).sum(1)
            mean_columns = torch.cat([mean_columns, mean_fitted])
        weight = torch.where(any_good, (mean_noise.square() + usual.square()).rsqrt(), 0.0)
        bins = Bins.of(mean, mean_noise, usual, any_good, taken_by_fit(mean_columns, weight, any_good), linear.share)
        scale, extra = self.errors.scales(bins, linear.share) if fit else (1.0, 1.0)
        # Differences between exposures measure the noise of those that do not make up most of the mean.
        factor = extra ** (part.sum(1) / part.sum())
        scales, variance = scales * factor, variance * factor[:, None].square()
        total = torch.where(good, variance.reciprocal(), 0.0).sum(0)
        mean_noise = torch.where(any_good, total.clamp_min(1e-30).rsqrt(), 1.0)
        standard = (mean / (mean_noise.square() + (scale * usual).square()).sqrt()).abs()
        huber = huber_weight(standard) if fit else torch.ones_like(mean)
        expected = (noise.square() + linear.physics.square()) * (1 - part)
        apart = _rms(residual - mean, expected, torch.zeros_like(binned_sums(expected)), good).sqrt()
        outliers = float((standard[any_good] > HUBER).double().mean())
        return _Sizes(variance, scales, scale, extra, huber, bins.size(), outliers, apart)


def _mean(values: Tensor, weight: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (p,) of good values (n, p), and the part of the weight (n, p) that each has."""
    weight = torch.where(good, weight, 0.0)
    part = weight / weight.sum(0).clamp_min(1e-30)
    return (part * values).sum(0), part


def _huber(values: Tensor, sigma: Tensor, good: Tensor) -> Tensor:
    """Huber's weights (n, p) of values about their mean over exposures, reweighted a few times."""
    weight = torch.ones_like(values)
    for _ in range(_PASSES):
        mean, _ = _mean(values, weight / sigma.square(), good)
        standard = (values - mean).abs() / sigma
        weight = huber_weight(standard)
    return weight


def _rms(values: Tensor, variance: Tensor, taken: Tensor, good: Tensor) -> Tensor:
    """Mean square (n,) of sums of values (n, p) over bins, relative to their variance, without outliers.

    Args:
        values: differences from a mean.
        variance: of each (n, p).
        taken: variance (n, b) by which a fit has reduced the sums.
        good: which pixels count (n, p).
    """
    squares = binned_sums(torch.where(good, values, 0.0)).square()
    whole = binned_sums(torch.where(good, variance, 0.0))
    expected = whole * (1 - taken / whole.clamp_min(1e-30)).clamp_min(LEAST_LEFT)
    several = (expected > 1e-3 * binned_sums(torch.where(good, variance, 0.0)).amax(1, keepdim=True)) & (
        binned_sums(good.double()) > BIN // 2
    )
    result = []
    for square, usual, keep in zip(squares, expected, several, strict=True):
        ratio = (square / usual.clamp_min(1e-30))[keep]
        if not len(ratio):
            result.append(square.new_ones(()))
            continue
        ratio = ratio[ratio <= CLIP**2 * ratio.median() / MEDIAN_SQUARE]
        result.append(ratio.mean())
    return torch.stack(result)


@dataclass(frozen=True)
class _System:
    """Normal equations of all nuisances, own ones first, then common ones; K of them.

    Attributes:
        residual: data less model (n, p), 0 where not good.
        diagonal: of the inverse covariance of the pixels (n, p).
        outer: vector over exposures in each pixel (n, p); its outer product, from the errors of the physics that
            exposures share, is subtracted from that diagonal.
        determinant: log determinant of the covariance of the pixels.
        normal: 1 + B^T C^-1 B (K, K).
        right: B^T C^-1 residual (K,).
        across: the sum over the exposures of one resolving power of C^-1 B (K, g, p).
    """

    residual: Tensor
    diagonal: Tensor
    outer: Tensor
    determinant: float
    normal: Tensor
    right: Tensor
    across: Tensor

    @classmethod
    def of(cls, stars: PixelSpectra, linear: _Linear, sizes: _Sizes) -> _System:
        """C = (D + s^2 phi phi^T) / huber in each pixel, by Sherman and Morrison; D of the noise."""
        good, which, own, common = stars.good, linear.which, linear.own, linear.common
        inverse = torch.where(good, sizes.variance.reciprocal(), 0.0)
        phi = sizes.scale * linear.physics
        growth = 1 + (inverse * phi.square()).sum(0)
        diagonal, outer = inverse * sizes.huber, inverse * phi * (sizes.huber / growth).sqrt()
        determinant = float((sizes.variance / sizes.huber).log()[good].sum() + growth.log().sum())
        residual = torch.where(good, stars.flux - linear.models[which], 0.0)
        solved = diagonal * residual - outer * (outer * residual).sum(0)
        groups, count, k = torch.zeros_like(linear.models), *own.shape[:2]
        group_diagonal, group_outer, group_solved = (groups.index_add(0, which, x) for x in (diagonal, outer, solved))
        weighted = own * diagonal[:, None]
        mixed = torch.cat([(own * outer[:, None]).flatten(0, 1), (common * group_outer).sum(1)])
        normal = torch.eye(len(mixed), dtype=mixed.dtype) - mixed @ mixed.mT
        first, blocks = count * k, weighted @ own.mT
        normal[first:, first:] += (common * group_diagonal).flatten(1) @ common.flatten(1).mT
        across = -mixed[:, None] * group_outer
        across[first:] += common * group_diagonal
        for i, g in enumerate(which.tolist()):
            rows = slice(i * k, (i + 1) * k)
            normal[rows, rows] += blocks[i]
            cross = common[:, g] @ weighted[i].mT
            normal[first:, rows] += cross
            normal[rows, first:] += cross.mT
            across[rows, g] += weighted[i]
        own_right = (own * solved[:, None]).sum(-1).flatten()
        right = torch.cat([own_right, common.flatten(1) @ group_solved.flatten()])
        return cls(residual, diagonal, outer, determinant, normal, right, across)


def _equivalent(stars: PixelSpectra, linear: _Linear, sizes: _Sizes) -> NoiseModel:
    """One equivalent spectrum per resolving power; its chi-square differs by a constant from that of all exposures.

    With S the map from resolving powers to exposures and C the covariance with all nuisances, the chi-square of models
    m0 + d is ``c - 2 d^T g + d^T H d``, g = S^T C^-1 r and H = S^T C^-1 S = R^T (1 - Q Q^T) R.
    """
    system, which = _System.of(stars, linear, sizes), linear.which
    groups, pixels = linear.models.shape
    factor = torch.linalg.cholesky(system.normal)
    across = torch.linalg.solve_triangular(factor, system.across.flatten(1), upper=False)
    right = torch.linalg.solve_triangular(factor, system.right[:, None], upper=False)[:, 0]
    outer = torch.zeros_like(linear.models).index_add(0, which, system.outer)
    diagonal = torch.zeros_like(linear.models).index_add(0, which, system.diagonal)
    solved = system.diagonal * system.residual - system.outer * (system.outer * system.residual).sum(0)
    gradient = torch.zeros_like(linear.models).index_add(0, which, solved).flatten() - across.mT @ right
    whole = float((system.residual * solved).sum() - right.square().sum())
    root = _roots(diagonal, outer)
    inverse = torch.linalg.inv(root)  # (p, g, g)
    seen = (diagonal > 0).mT
    inverse = inverse * (seen[:, :, None] & seen[:, None, :])
    root = root * (seen[:, :, None] & seen[:, None, :])
    projector = torch.einsum("kgp,pgh->hpk", across.reshape(-1, groups, pixels), inverse).flatten(0, 1)
    whitened = torch.einsum("gp,pgh->hp", gradient.reshape(groups, pixels), inverse).flatten()
    values, vectors = torch.linalg.eigh(projector.mT @ projector)
    keep = values > _LEAST
    projector, values = projector @ vectors[:, keep], values[keep].clamp_max(1 - 1e-9)
    shift = whitened + projector @ ((projector.mT @ whitened) / (1 - values))
    flux = linear.models + torch.einsum("pgh,hp->gp", inverse, shift.reshape(groups, pixels))
    constant = whole - float(shift.square().sum() - (projector.mT @ shift).square().sum())
    determinant = system.determinant + 2 * float(factor.diagonal().log().sum())
    count = int(stars.good.sum())
    weight = root.diagonal(dim1=1, dim2=2).mT.flatten()
    own = int((weight > 0).sum())
    extra = -0.5 * (constant + (count - own) * math.log(2 * math.pi))
    mixing = None if groups == 1 else root.permute(1, 2, 0).contiguous()
    return NoiseModel(
        flux.flatten(), weight, projector, sizes.scale, sizes.extra, determinant, sizes.size, sizes.outliers, mixing,
        extra,
    )  # fmt: skip


def _roots(diagonal: Tensor, outer: Tensor) -> Tensor:
    """Upper triangular R (p, g, g) with R^T R = diag(d) - u u^T in each pixel for d and u (g, p), 1 where d is 0."""
    safe = torch.where(diagonal > 0, diagonal, 1.0).mT
    matrix = torch.diag_embed(safe) - outer.mT[:, :, None] * outer.mT[:, None, :]
    return torch.linalg.cholesky(matrix).mT
