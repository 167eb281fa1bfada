"""Covariance of a spectrum about its model: noise, model errors, continuum, velocity, zero level, resolving power.

All of it is Gaussian given a model spectrum. Noise and errors of the physics are treated as independent between pixels;
their variance is chosen such that sums over several pixels have the right variance. Errors that vary slowly are columns
of B with normal amplitudes, which are integrated out: the covariance is D + B B^T, inverted by Woodbury's identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from maury.likelihood.profile import at_metallicity
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator

_DISTORTION_AA = 15.0
"""Distance between knots of the splines that describe distortions of the wavelength solution, Å."""

BIN = 8
"""Pixels in a bin, on which the size of residuals is measured: independent of their correlation."""
HUBER = 3.0
"""Residuals beyond so many standard deviations count linearly (Huber 1964)."""
CLIP = 5.0
_LOG_STEP = 0.05
"""Step between the logarithms of the error sizes that are tried."""
LEAST_LEFT = 0.2
"""Least fraction of the variance of a sum of residuals that a fit leaves: squares are scaled up at most five times."""
MEDIAN_SQUARE = 0.4549
"""Median of the square of a standard normal."""


@dataclass(frozen=True)
class NoiseModel:
    """Covariance of a star's residuals, nuisance amplitudes integrated out, factored to evaluate chi-square quickly.

    Attributes:
        flux: observed (p,).
        weight: 1 / standard deviation (p,), 0 where not good, Huber's weight included.
        projector: Q (p, k): chi-square is |r|^2 - |Q^T r|^2 for r = weight x (flux - model).
        scale: fitted size of the errors of the physics, relative to the typical size for such stars.
        noise_scale: fitted standard deviation of the noise, relative to the nominal one.
        log_determinant: of the covariance in good pixels.
        size: standard deviation of binned residuals, relative to the one expected for typical errors (1: a usual star).
        outliers: share of the good pixels beyond 3 standard deviations.
        mixing: of g equivalent spectra (`maury.likelihood.together`): matrices (g, g, p) in place of the weight.
        extra: term of the log likelihood that does not depend on the model, such as differences between exposures.
    """

    flux: Tensor = field(repr=False)
    weight: Tensor = field(repr=False)
    projector: Tensor = field(repr=False)
    scale: float
    noise_scale: float
    log_determinant: float
    size: float
    outliers: float
    mixing: Tensor | None = field(default=None, repr=False)
    extra: float = 0.0

    def weighted(self, values: Tensor) -> Tensor:
        """Values (..., p) in units in which errors are independent and of unit variance."""
        if self.mixing is None:
            return values * self.weight
        groups, _, pixels = self.mixing.shape
        parts = values.reshape(*values.shape[:-1], groups, pixels)
        return torch.einsum("hgp,...gp->...hp", self.mixing, parts).flatten(-2)

    def residual(self, model: Tensor) -> Tensor:
        """Weighted residuals (..., p) of model spectra (..., p)."""
        return self.weighted(self.flux - model)

    def chi2(self, model: Tensor) -> Tensor:
        """Chi-square (n,) of model spectra (n, p), nuisances integrated out."""
        r = self.residual(model)
        return r.square().sum(-1) - (r @ self.projector).square().sum(-1)

    @property
    def constant(self) -> float:
        """Term of the log likelihood that is added to -chi2 / 2."""
        count = int((self.weight > 0).sum())
        return self.extra - 0.5 * (self.log_determinant + count * math.log(2 * math.pi))


class ErrorModel:
    """Covariance of the errors that a simulator adds to model spectra at random.

    Attributes:
        simulator: its settings give the sizes of all errors.
        model_error: include errors of the physics and of the emulator; False: noise and errors of the reduction only.
        distortion_kms: scatter of the wavelength solution about the star's velocity; simulated stars have none.
        profile: error of the physics in each pixel (p,) relative to the one if all lines were equally wrong, measured
            on real stars (`maury.likelihood.profile`); None for simulated stars.
        spread: rotation and instrument correlate errors of the physics over several pixels; their size, measured on
            short sums of pixels, is corrected for that. False for stars from `draw`, whose errors are independent.
    """

    def __init__(
        self,
        simulator: Simulator,
        model_error: bool = True,
        distortion_kms: float = 0.0,
        profile: Tensor | None = None,
        spread: bool = True,
    ) -> None:
        """Make the columns that do not depend on the star."""
        self.simulator, self.model_error, self.distortion_kms = simulator, model_error, distortion_kms
        self.profile, self.spread = profile, spread
        self._spline, self._parabola = _continuum_columns(simulator)
        self._distortion = _splines(simulator, _DISTORTION_AA)

    def whiten(self, star: PixelSpectra, labels: Tensor, fit: bool = True, fitted: Tensor | None = None) -> NoiseModel:
        """Covariance about the spectrum of labels (k,).

        Args:
            star: the data.
            labels: where the model is evaluated, in the order of the simulator.
            fit: measure the size of the errors of the physics from the residuals and weigh outliers down; without it
                both are as usual.
            fitted: derivatives of the spectrum by labels that were fitted (m, p), scaled to standard normal amplitudes;
                the fit has made the residuals smaller by them, which is corrected for.
        """
        models = self.models(star, labels)
        model = models[0]
        physics, share = self.physics(star, labels, model)
        noise = torch.where(star.good, star.sigma, 1.0)
        columns = self.columns(star, labels, models)
        residual = torch.where(star.good, star.flux - model, 0.0)
        first = torch.where(star.good, (noise.square() + physics.square()).rsqrt(), 0.0)
        residual = residual - amplitudes(residual * first, columns * first) @ columns
        taken = taken_by_fit(columns if fitted is None else torch.cat([columns, fitted]), first, star.good)
        bins = Bins.of(residual, noise, physics, star.good, taken, share)
        size = bins.size()
        scale, noise_scale = (1.0, 1.0) if not fit else self.scales(bins, share)
        total = ((noise_scale * noise).square() + (scale * physics).square()).sqrt()
        standard = (residual / total).abs()
        huber = huber_weight(standard) if fit else 1.0
        weight = torch.where(star.good, torch.as_tensor(huber, dtype=total.dtype).sqrt() / total, 0.0)
        outliers = float((standard[star.good] > HUBER).double().mean())
        projector, determinant = _woodbury(columns * weight)
        determinant += float(-2 * weight[star.good].log().sum())
        return NoiseModel(star.flux, weight, projector, scale, noise_scale, determinant, size, outliers)

    def draw(self, star: PixelSpectra, labels: Tensor, generator: torch.Generator) -> PixelSpectra:
        """Simulated star of labels (k,): model flux plus errors drawn from this covariance, on the pixels of ``star``.

        The sizes of noise and of errors of the physics are drawn from the prior that `whiten` assumes.
        """
        models = self.models(star, labels)
        model = models[0]
        physics, _ = self.physics(star, labels, model)
        columns = self.columns(star, labels, models)
        settings = self.simulator.settings
        t = torch.randn(4, generator=generator, dtype=model.dtype)
        scale = math.exp(settings.model_error.scatter * float(t[0] / (t[1:].square().mean()).sqrt()))
        noise = (1 - settings.noise.reported_error) ** float(2 * torch.rand(1, generator=generator) - 1)
        total = ((noise * star.sigma).square() + (scale * physics).square()).sqrt()
        drawn = torch.randn(len(columns), generator=generator, dtype=model.dtype)
        white = torch.randn(len(model), generator=generator, dtype=model.dtype)
        flux = torch.where(star.good, model + drawn @ columns + total * white, star.flux)
        return star.with_(flux=flux)

    def adjusted(self, star: PixelSpectra, labels: Tensor, noise: NoiseModel) -> tuple[Tensor, float]:
        """Model (p,) with the most probable nuisances, and the change of ln R in standard deviations of its prior."""
        models = self.models(star, labels)
        columns = self.columns(star, labels, models)
        found = amplitudes(noise.residual(models[0]), columns * noise.weight)
        return models[0] + found @ columns, float(found[-1])

    def scales(self, bins: Bins, share: float) -> tuple[float, float]:
        """Most probable sizes of the errors of the physics and of the noise.

        Prior of the size of errors of the physics: Student's t with 3 degrees of freedom in ln(size), with the scatter
        of the settings. Prior of the size of the noise: uniform over the range by which pipelines misreport it.
        """
        settings = self.simulator.settings
        most = int(-math.log(1 - settings.noise.reported_error) / _LOG_STEP)
        noise = _LOG_STEP * torch.arange(-most, most + 1, dtype=torch.float64)
        logs = _LOG_STEP * torch.arange(-40, 51, dtype=torch.float64)
        if not bool((bins.physics > 0).any()):
            logs = logs.new_zeros(1)
        # Both sizes have one step, so that their ratio takes few values: of 91 x 15 pairs 105.
        ratio = logs[0] + _LOG_STEP * torch.arange(-most, len(logs) + most, dtype=torch.float64)
        variance = (2 * ratio).exp()[:, None] * bins.physics + bins.noise
        squares, sizes = (bins.total / variance).sum(1), variance.log().sum(1)
        at = torch.arange(len(logs))[:, None] + torch.arange(2 * most, -1, -1)
        likelihood = -0.5 * share * (squares[at] * (-2 * noise).exp() + sizes[at] + 2 * len(bins.total) * noise)
        width = max(settings.model_error.scatter, 1e-3)
        likelihood -= 2 * torch.log1p((logs / width).square() / 3)[:, None]
        row, column = divmod(int(likelihood.argmax()), len(noise))
        return math.exp(logs[row]), math.exp(noise[column])

    def models(self, star: PixelSpectra, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Model (p,), and its derivatives by radial velocity (per km/s) and ln R."""
        r = min(float(star.resolution), self.simulator.pixels.resolution)
        both = self.flux(labels.expand(2, -1), torch.tensor([r, 0.97 * r])).double()
        step = self.simulator.pixels.grid.step_kms
        moved = -torch.gradient(both[0], spacing=step)[0]
        return both[0], moved, (both[0] - both[1]) / 0.03

    def flux(self, labels: Tensor, resolution: Tensor) -> Tensor:
        """Model spectra (n, p) of labels (n, k) at R (n,)."""
        return self.simulator.spectra(labels, resolution)

    def physics(self, star: PixelSpectra, labels: Tensor, model: Tensor) -> tuple[Tensor, float]:
        """Errors of the physics (p,) for independent pixels, and the fraction of their variance that bins show."""
        if not self.model_error:
            return torch.zeros_like(model), 1.0
        error, share = self.simulator.model_error(labels, float(star.resolution), BIN)
        error = error.to(model)
        if self.profile is not None:
            error = error * at_metallicity(self.profile, float(labels[self.simulator.labels.index("mh")]))
        return error, share if self.spread else 1.0

    def columns(
        self,
        star: PixelSpectra,
        labels: Tensor,
        models: tuple[Tensor, Tensor, Tensor],
        own: float = 1.0,
        common: float = 1.0,
    ) -> Tensor:
        """Nuisance columns (k, p), each with a standard normal amplitude.

        Args:
            star: the data.
            labels: of the model (k,).
            models: its spectrum (p,), and derivatives of it by radial velocity (per km/s) and ln R (`models`).
            own: factor on the variance of errors that differ between exposures of one star.
            common: factor on the variance of errors that all exposures of one star share.
        """
        s, (model, moved, sharper) = self.simulator.settings, models
        snr = 1 / float(star.sigma[star.good].median())
        level = self.simulator.usual_level(labels) if self.model_error else 0.0
        c = s.continuum
        size2 = own * (c.floor**2 + (c.share_of_noise / snr) ** 2) + common * (c.share_of_model_error * level) ** 2
        bumps = 2 / 3 * size2 + own * (c.ripple_share * c.ripple**2 / 6 + c.join_share * c.join**2)
        vsini = float(labels[self.simulator.labels.index("vsini")])
        velocity2 = (
            s.velocity_kms**2 + (s.velocity_per_vsini * vsini) ** 2 + (s.velocity_per_noise * (5 + vsini) / snr) ** 2
        )
        distortions = [math.sqrt(own) * self.distortion_kms * self._distortion * moved] if self.distortion_kms else []
        low, high = c.scattered
        haze = float(self.simulator.haze.usual(labels[None].to(self.simulator.device))[0])
        haze2 = (s.haze.scatter * haze / (1 - haze)) ** 2  # the model's lines are shallower by 1 - h
        zero2 = own * c.scattered_share * (low**2 + low * high + high**2) / 3 + common * haze2
        return torch.cat(
            [
                math.sqrt(bumps) * self._spline * model,
                math.sqrt(size2 / 3) * self._parabola * model,
                *distortions,
                torch.stack([math.sqrt(own * velocity2) * moved, math.sqrt(zero2) * (1 - model)]),
                math.sqrt(own) * s.resolution_error * sharper[None],
            ]
        )


def _splines(simulator: Simulator, knot_aa: float) -> Tensor:
    """Cubic splines (k, p) over the window, scaled such that their sum with normal amplitudes has unit rms."""
    wavelength = simulator.pixels.wavelength_aa
    span = wavelength[-1] - wavelength[0]
    pieces = max(1, round(span / knot_aa))
    knots = np.r_[[0.0] * 3, np.linspace(0, span, pieces + 1), [span] * 3]
    basis = BSpline.design_matrix(np.clip(wavelength - wavelength[0], 0, span), knots, 3).toarray()
    basis /= np.sqrt((basis**2).sum(1).mean())
    return torch.from_numpy(basis.T.copy())


def _continuum_columns(simulator: Simulator) -> tuple[Tensor, Tensor]:
    """Splines (k, p), and slope and parabola (2, p); each set with normal amplitudes has unit rms."""
    wavelength = torch.from_numpy(simulator.pixels.wavelength_aa)
    centred = 2 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1
    parabola = torch.stack([centred * math.sqrt(1.5), (centred.square() - 1 / 3) * math.sqrt(45 / 8)])
    return _splines(simulator, simulator.settings.continuum.knot_aa), parabola


def amplitudes(residual: Tensor, weighted: Tensor) -> Tensor:
    """Most probable amplitudes (k,) of weighted columns (k, p) for weighted residuals (p,)."""
    return torch.linalg.solve(_normal(weighted), weighted @ residual)


def huber_weight(standard: Tensor) -> Tensor:
    """Weights of absolute residuals in standard deviations: beyond `HUBER` they count linearly."""
    return torch.where(standard > HUBER, HUBER / standard.clamp_min(HUBER), 1.0)


def binned_sums(values: Tensor) -> Tensor:
    """Sums (..., b) of pixels (..., p) over bins."""
    stop = values.shape[-1] // BIN * BIN
    return values[..., :stop].reshape(*values.shape[:-1], -1, BIN).sum(-1)


def taken_by_fit(columns: Tensor, weight: Tensor, good: Tensor) -> Tensor:
    """Variance (b,) by which sums over bins of the residuals of a fit are smaller than those of the errors.

    With errors D and columns B of standard normal amplitudes, residuals of the most probable amplitudes have the
    covariance D - B (1 + B^T D^-1 B)^-1 B^T, as restricted maximum likelihood allows for (Patterson & Thompson 1971).

    Args:
        columns: B^T (k, p).
        weight: D^-1/2 (p,).
        good: which pixels count (p,).
    """
    factor = torch.linalg.cholesky(_normal(columns * weight))
    sums = binned_sums(torch.where(good, columns, 0.0))
    return torch.linalg.solve_triangular(factor, sums, upper=False).square().sum(0)


def _normal(weighted: Tensor) -> Tensor:
    """1 + B^T B (k, k) for weighted columns B^T (k, p)."""
    return weighted @ weighted.mT + torch.eye(len(weighted), dtype=weighted.dtype)


def _woodbury(weighted: Tensor) -> tuple[Tensor, float]:
    """Q (p, k) with (1 + B B^T)^-1 = 1 - Q Q^T for weighted columns B^T (k, p), and log det(1 + B B^T)."""
    factor = torch.linalg.cholesky(_normal(weighted))
    projector = torch.linalg.solve_triangular(factor, weighted, upper=False).mT.contiguous()
    return projector, float(2 * factor.diagonal().log().sum())


@dataclass(frozen=True)
class Bins:
    """Sums over neighbouring pixels.

    Attributes:
        total: squared sums of residuals (b,), without outliers.
        noise: variance of the sums from noise (b,).
        physics: variance of the sums from errors of the physics (b,).
    """

    total: Tensor
    noise: Tensor
    physics: Tensor

    @classmethod
    def of(cls, residual: Tensor, noise: Tensor, physics: Tensor, good: Tensor, taken: Tensor, share: float) -> Bins:
        """Sum residuals, noise and errors (p,) over bins; those less than half full are left out.

        Args:
            residual: data less the fit.
            noise: its standard deviation.
            physics: that of errors of the physics, as if the pixels were independent.
            good: which pixels count.
            taken: variance (b,) by which the fit has reduced the sums; their squares are scaled up to correct for it.
            share: fraction of the variance of the errors of the physics that sums show.
        """
        count = binned_sums(good.double())
        parts = [binned_sums(torch.where(good, x, 0.0)) for x in (residual, noise.square(), physics.square())]
        parts[2] = share * parts[2]
        left = (1 - taken / (parts[1] + parts[2]).clamp_min(1e-30)).clamp_min(LEAST_LEFT)
        parts[0] = parts[0].square() / left
        ratio = parts[0] / (parts[1] + parts[2]).clamp_min(1e-30)
        usual = ratio[count > BIN // 2].median() / MEDIAN_SQUARE
        keep = (count > BIN // 2) & (ratio <= CLIP**2 * usual)
        return cls(*(part[keep] for part in parts))

    def size(self) -> float:
        """Standard deviation of the sums in units of the expected one."""
        return float((self.total / (self.noise + self.physics)).mean().sqrt())
