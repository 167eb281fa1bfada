"""The template that fits a spectrum, together with its velocity and its continuum: one robust least-squares problem.

The data are the observed pixels themselves, never resampled: flux = continuum(order) x model(labels, v sin i, v).
Labels, rotation and velocity enter through the emulator, the continua are splines, linear in their coefficients. Each
iteration solves for all of them together (Gauss-Newton with damping), so that the model, not an envelope, separates
line blanketing from the continuum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.linalg import block_diag, cho_factor, cho_solve

from maury.broadening import remaining_resolution, shift, transfer
from maury.emulator import MAX_RESOLUTION, Emulator
from maury.haze import haze_of, with_haze
from maury.labels import FURTHER_ELEMENTS, is_packaged, lowest_logg
from maury.preparation.continuum import curvature_penalty, knot_distance, spline_basis
from maury.preparation.segments import OrderSegment, fwhm_pixels
from maury.preparation.templates import usable_aa, usual_labels
from maury.preparation.velocity import NEAR_KMS
from maury.wavelengths import C_KMS, Bools, Floats, add_velocities

_STEPS = {"teff": 20.0, "logg": 0.05, "mh": 0.05, "vmic": 0.1}
"""Differences by which derivatives are taken; 0.05 dex for abundances, 0.5 and 0.2 km/s for rotation and velocity."""
_PRIOR = {"teff": 3000.0, "logg": 2.0, "mh": 1.5, "vmic": 0.4, "cr": 0.1, "ni": 0.1}
"""Standard deviations of the prior on the template; 0.2 dex for other abundances, none for rotation and velocity."""
_SOFT_KMS = 3.0
"""Rotation enters as sqrt(v^2 + 3^2): the flux is quadratic in a small v, which would leave no slope to follow."""
_HUBER = 3.0
_GROWTH = 10.0
_SMALL = 0.02
"""A step this part of the differences by which derivatives are taken is the last."""
_SETTLED = 0.1
"""After a step this part of them, the fit ends where the next one does not lower the cost."""


@dataclass(frozen=True)
class Fit:
    """The best template on the observed pixels of all segments, one after the other."""

    labels: Floats  # the emulator's labels of the template (k,)
    vsini_kms: float  # its rotation, which also takes up macroturbulence
    velocity_kms: float  # radial velocity in the frame of the wavelengths
    velocity_error_kms: float  # its standard deviation; residuals larger than the noise are counted in
    model: Floats = field(repr=False)  # normalised model flux (n,)
    continuum: Floats = field(repr=False)  # in the unit of each segment (n,)
    # standard deviation of the continuum over the continuum (n,), labels marginalised
    continuum_error: Floats = field(repr=False)
    inside: Bools = field(repr=False)  # pixels that the emulator covers at that velocity (n,)
    model_error: float  # rms of the residuals beyond the noise, per unit of the continuum


class Problem:
    """Observed pixels, noise and bases of one spectrum about a first guess of its velocity."""

    def __init__(
        self,
        emulator: Emulator,
        segments: list[OrderSegment],
        sigma: list[Floats],
        resolution: float,
        guess_kms: float,
        start: Floats,
    ):
        """Prepare sampler, bases and prior.

        ``sigma`` is the noise of each segment in its unit; ``start`` (k + 2,) has labels, v sin i and velocity (km/s)
        beyond ``guess_kms``, from which the fitted velocity may differ by 30 km/s.
        """
        self.emulator = emulator
        limit = min(resolution, MAX_RESOLUTION, emulator.native_resolution)
        self.resolution = remaining_resolution(torch.tensor([limit]), emulator.native_resolution)
        self.guess_kms = guess_kms
        rest = np.concatenate([s.wavelength_aa for s in segments]) / (1 + self.guess_kms / C_KMS)
        low, high = usable_aa(emulator)
        self.inside = (rest > low + 0.3) & (rest < high - 0.3)
        self.sampler = emulator.sampler(np.clip(rest, low, high), limit)
        self.flux = np.concatenate([s.flux for s in segments])
        self.sigma = np.concatenate(sigma)
        self.good = (
            np.concatenate([s.good for s in segments]) & self.inside & np.isfinite(self.sigma) & (self.sigma > 0)
        )
        self.basis, self.penalty = _bases(segments, self.inside, knot_distance(float(start[-2])))
        self.spacing = float(np.median([fwhm_pixels(s, limit) for s in segments]))
        space = emulator.space
        self.free = np.array([*(name not in FURTHER_ELEMENTS for name in space.names), True, True])
        self.steps = np.array([*(_STEPS.get(name, 0.05) for name in space.names), 0.5, 0.2])
        self.prior = np.array([*(_PRIOR.get(name, 0.2) for name in space.names), 1e3, 1e3])
        self.lower = np.r_[space.lower, _SOFT_KMS, -NEAR_KMS]
        self.upper = np.r_[space.upper, np.hypot(200.0, _SOFT_KMS), NEAR_KMS]
        self.start = self.bounded(np.r_[start[:-2], np.hypot(start[-2], _SOFT_KMS), start[-1]])
        main = {n: x for n, x in zip(space.names, self.start, strict=False) if n in ("teff", "logg", "mh")}
        self.centre = np.r_[usual_labels(space, main), self.start[-2:]]

    def bounded(self, x: Floats) -> Floats:
        """Parameters (k + 2,) moved into the emulator's ranges; log g above the lowest of the packaged atmospheres."""
        x = np.clip(x, self.lower, self.upper)
        if is_packaged(self.emulator.space.names):
            x[1] = max(x[1], float(lowest_logg(x[0])))
        return x

    def model(self, rows: Floats) -> Floats:
        """Normalised flux (b, n) of parameters (b, k + 2): labels, softened rotation, velocity beyond the guess."""
        x = torch.from_numpy(rows).float()
        count = self.sampler.modes
        frequency = self.emulator.frequency[:count]
        vsini = (x[:, -2].square() - _SOFT_KMS**2).clamp_min(0).sqrt()
        kernel = transfer(frequency, vsini_kms=vsini, resolution=self.resolution.expand(len(x)))
        modes = self.emulator.modes(x[:, :-2], count) * kernel * shift(frequency, x[:, -1])
        return with_haze(self.sampler(modes), haze_of(x, self.emulator.space.names)).double().numpy()

    def with_slopes(self, x: Floats) -> tuple[Floats, Floats]:
        """Model (n,) and its derivatives (n, k + 2), 0 by elements that the template leaves at the solar ratio."""
        step = np.where(x + self.steps > self.upper, -self.steps, self.steps)
        flux = self.model(np.vstack([x, x + np.diag(step)[self.free]]))
        slopes = np.zeros((flux.shape[1], len(x)))
        slopes[:, self.free] = (flux[1:] - flux[0]).T / step[self.free]
        return flux[0], slopes


def _bases(segments: list[OrderSegment], inside: Bools, knot_aa: float) -> tuple[Floats, Floats]:
    """Block-diagonal spline basis (n, k) over all segments, and its curvature penalty (k, k)."""
    blocks, penalties, at = [], [], 0
    for segment in segments:
        wave = segment.wavelength_aa
        used = wave[inside[at : at + wave.size] & segment.good]
        at += wave.size
        if used.size < 2:
            blocks.append(np.ones((wave.size, 1)))
            penalties.append(np.eye(1))
            continue
        block = spline_basis(wave, float(used[0]), float(used[-1]), knot_aa)
        blocks.append(block)
        penalties.append(curvature_penalty(block.shape[1]))
    return block_diag(*blocks), block_diag(*penalties)


def _scatter(residual: Floats, good: Bools) -> float:
    return float(1.4826 * np.median(np.abs(residual[good])))


def solve(problem: Problem, iterations: int = 12) -> Fit:
    """Fit template, velocity and continua.

    Residuals beyond three standard deviations count linearly (Huber 1964); the standard deviation is the noise and a
    model error in quadrature, the latter found from the residuals of the iteration before.

    Raises:
        ValueError: the normal matrix is not finite or not positive, or the continuum nowhere positive.
    """
    x = problem.start.copy()
    flux, slopes = problem.with_slopes(x)
    coefficients = _first_continuum(problem, flux)
    error = _model_error(problem, flux, problem.basis @ coefficients)
    system = _normal(problem, x, coefficients, flux, slopes, error)
    damping, moved = 1e-2, np.inf
    for _ in range(iterations):
        step = _step(problem, x, coefficients, system, error, damping)
        if step is None:
            damping *= _GROWTH
            if damping > 1e4 or moved < _SETTLED:
                break
            continue
        damping = max(damping / _GROWTH, 1e-6)
        moved = float((np.abs(step[0] - x) / problem.steps).max())
        x, coefficients = step
        flux, slopes = problem.with_slopes(x)
        error = _model_error(problem, flux, problem.basis @ coefficients)
        system = _normal(problem, x, coefficients, flux, slopes, error)
        if moved < _SMALL:
            break
    return _finish(problem, x, coefficients, flux, system[0], error)


def _weights(problem: Problem, flux: Floats, continuum: Floats, error: float) -> tuple[Floats, Floats]:
    """Residual in standard deviations (n,), and one over the standard deviation, Huber's weight included (n,)."""
    total = np.sqrt(problem.sigma**2 + (error * continuum) ** 2)
    residual = (problem.flux - continuum * flux) / np.where(problem.good, total, 1.0)
    size = np.abs(residual)
    huber = np.sqrt(np.where(size > _HUBER, _HUBER / np.maximum(size, _HUBER), 1.0))
    return residual, np.where(problem.good, huber / np.where(problem.good, total, 1.0), 0.0)


def _model_error(problem: Problem, flux: Floats, continuum: Floats) -> float:
    """Standard deviation m, per unit of the continuum, with which residuals over sqrt(noise^2 + m^2) scatter by 1."""
    use = problem.good & (continuum > 0.02)
    if not use.any():
        raise ValueError("the continuum is nowhere positive")
    size = np.abs(problem.flux - continuum * flux)[use] / continuum[use]
    noise = (problem.sigma[use] / continuum[use]) ** 2
    low, high = 0.0, 1.4826 * float(np.median(size))
    if np.median(size / np.sqrt(noise)) < 1.02 * 0.6745:
        return 0.0
    for _ in range(12):
        middle = (low + high) / 2
        wide = np.median(size / np.sqrt(noise + middle**2)) < 0.6745
        low, high = (low, middle) if wide else (middle, high)
    return (low + high) / 2


def _first_continuum(problem: Problem, flux: Floats) -> Floats:
    """Spline coefficients for a given model, pixels far off left out in three rounds."""
    keep = problem.good.copy()
    coefficients = np.zeros(problem.basis.shape[1])
    for _ in range(4):
        weight = np.where(keep, 1 / np.where(problem.good, problem.sigma, 1.0), 0.0)
        columns = problem.basis * (flux * weight)[:, None]
        normal = columns.T @ columns + problem.penalty + 1e-9 * np.eye(len(coefficients))
        coefficients = np.linalg.solve(normal, columns.T @ (problem.flux * weight))
        residual = problem.flux - (problem.basis @ coefficients) * flux
        spread = max(_scatter(residual, keep), 1e-6)
        keep = problem.good & (residual > -3 * spread) & (residual < 4 * spread)
    return coefficients


def _normal(
    problem: Problem, x: Floats, coefficients: Floats, flux: Floats, slopes: Floats, error: float
) -> tuple[Floats, Floats, float]:
    """Normal matrix, its right-hand side and the cost at a point; priors included."""
    continuum = problem.basis @ coefficients
    residual, weight = _weights(problem, flux, continuum, error)
    columns = np.hstack([slopes * (continuum * weight)[:, None], problem.basis * (flux * weight)[:, None]])
    target = (problem.flux - continuum * flux) * weight
    normal = columns.T @ columns
    right = columns.T @ target
    prior = 1 / problem.prior**2
    n = len(x)
    normal[:n, :n] += np.diag(prior)
    right[:n] += prior * (problem.centre - x)
    normal[n:, n:] += problem.penalty + 1e-9 * np.eye(len(coefficients))
    right[n:] -= problem.penalty @ coefficients
    return normal, right, _cost(problem, x, coefficients, residual)


def _cost(problem: Problem, x: Floats, coefficients: Floats, residual: Floats) -> float:
    size = np.abs(residual[problem.good])
    data = np.where(size > _HUBER, 2 * _HUBER * size - _HUBER**2, size**2).sum()
    prior = (((x - problem.centre) / problem.prior) ** 2).sum() + coefficients @ problem.penalty @ coefficients
    return float(data + prior)


def _step(
    problem: Problem,
    x: Floats,
    coefficients: Floats,
    system: tuple[Floats, Floats, float],
    error: float,
    damping: float,
) -> tuple[Floats, Floats] | None:
    """Parameters and coefficients after a damped step in a `_normal` system, or None if it does not lower the cost."""
    normal, right, cost = system
    n = len(x)
    at_edge = ((x <= problem.lower) & (right[:n] < 0)) | ((x >= problem.upper) & (right[:n] > 0))
    damped = normal.copy()
    damped[np.arange(n), np.arange(n)] *= 1 + damping
    damped[np.arange(n)[at_edge], np.arange(n)[at_edge]] += 1e12
    change = cho_solve(cho_factor(damped), right)
    trial = problem.bounded(x + change[:n])
    new = coefficients + change[n:]
    residual, _ = _weights(problem, problem.model(trial[None])[0], problem.basis @ new, error)
    return (trial, new) if _cost(problem, trial, new, residual) < cost else None


def _finish(problem: Problem, x: Floats, coefficients: Floats, flux: Floats, precision: Floats, error: float) -> Fit:
    n = len(x)
    covariance = cho_solve(cho_factor(precision), np.eye(len(precision)))
    continuum = problem.basis @ coefficients
    safe = np.where(continuum > 0.02, continuum, np.inf)
    noise = float(np.median((problem.sigma / safe)[problem.good]))
    growth = np.sqrt((noise**2 + problem.spacing * error**2) / (noise**2 + error**2))
    spread = np.sqrt(((problem.basis @ covariance[n:, n:]) * problem.basis).sum(1))
    velocity = add_velocities(x[-1], problem.guess_kms)
    return Fit(
        x[:-2].copy(),
        float(np.sqrt(max(x[-2] ** 2 - _SOFT_KMS**2, 0.0))),
        float(velocity),
        float(growth * np.sqrt(covariance[n - 1, n - 1])),
        flux,
        continuum,
        growth * spread / safe,
        problem.inside,
        error,
    )
