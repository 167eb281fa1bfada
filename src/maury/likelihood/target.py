"""Target density of the sampling: prior times likelihood, in unconstrained coordinates (any real number is allowed)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from maury.errors import DomainError
from maury.labels import ALPHA, FURTHER_ELEMENTS
from maury.likelihood.errors import NoiseModel
from maury.likelihood.priors import LabelPrior
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator

_CHUNK = 128
_DRAWS = 8192


def free_labels(simulator: Simulator) -> tuple[str, ...]:
    """Independent labels: all but [alpha/M] where it is the mean of single elements."""
    names = simulator.labels
    return tuple(name for name in names if not (name == "alpha" and set(ALPHA) <= set(names)))


def with_alpha(names: tuple[str, ...], labels: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Labels (..., k) and their names, [alpha/M] added as the mean of Mg, Ca and Ti where these are there."""
    if "alpha" in names or not set(ALPHA) <= set(names):
        return names, labels
    mean = labels[..., [names.index(name) for name in ALPHA]].mean(-1, keepdim=True)
    return (*names, "alpha"), torch.cat([labels, mean], -1)


class Coordinates:
    """Labels of a simulator as unconstrained coordinates (n, k), and the prior's density and Gaussian there.

    Attributes:
        simulator: the physics; its labels, without an [alpha/M] that is a mean of others, are the k coordinates.
        transform: ranges of the labels and their unconstrained coordinates.
        names: the k labels.
        main: number of labels that are not `maury.labels.FURTHER_ELEMENTS`, which come last.
        columns: column of each coordinate among the simulator's labels.
        centre: median of the prior in unconstrained coordinates (k,).
        precision: inverse covariance of the prior in unconstrained coordinates (k, k).
        spread: square root (k, k) of that covariance: the sum of its rows with standard normal amplitudes has it.
        drawn: labels from the prior (n,), by name; also [alpha/M] as the mean of others.
    """

    def __init__(self, simulator: Simulator, names: Sequence[str] | None = None, seed: int = 0) -> None:
        """Draw from the prior for its Gaussian approximation.

        Args:
            simulator: the physics.
            names: labels that come first, such as those of a network; the other free ones follow in their order, those
                of `maury.labels.FURTHER_ELEMENTS` last.
            seed: of the draws.

        Raises:
            DomainError: a label that is not free.
        """
        self.simulator = simulator
        free = free_labels(simulator)
        first = tuple(names or ())
        if not set(first) <= set(free):
            raise DomainError(f"labels {', '.join(first)}; only these are free: {', '.join(free)}")
        others = [name for name in free if name not in first]
        self.names = (*first, *sorted(others, key=lambda name: name in FURTHER_ELEMENTS))
        self.main = sum(name not in FURTHER_ELEMENTS for name in self.names)
        self.columns = [simulator.labels.index(name) for name in self.names]
        self.transform = LabelTransform(simulator.space.subset(self.names), simulator.logg_edges)
        drawn = simulator.draw_labels(_DRAWS, torch.Generator(simulator.device).manual_seed(seed)).cpu()
        self.drawn = dict(zip(simulator.labels, drawn.double().unbind(1), strict=True))
        theta = self.transform.unconstrained(drawn[:, self.columns].double())
        covariance = torch.cov(theta.T)
        self.centre = theta.median(0).values
        self.precision, self.spread = torch.linalg.inv(covariance), torch.linalg.cholesky(covariance).mT

    def start(self, first: Tensor) -> Tensor:
        """Unconstrained coordinates (k,) from the first of them (m,), the others as usual."""
        return torch.cat([first.double(), self.centre[len(first) :]])

    def labels(self, theta: Tensor) -> Tensor:
        """Labels (..., k) of unconstrained coordinates (..., k)."""
        return self.transform.constrained(theta)

    def full(self, labels: Tensor) -> Tensor:
        """The simulator's labels (n, all) from labels (n, k); an [alpha/M] that is a mean of others is computed."""
        full = labels.new_zeros(*labels.shape[:-1], len(self.simulator.labels))
        full[..., self.columns] = labels
        if len(self.columns) < full.shape[-1]:
            rows = [self.names.index(name) for name in ALPHA]
            full[..., self.simulator.labels.index("alpha")] = labels[..., rows].mean(-1)
        return full

    def log_prior(self, theta: Tensor) -> Tensor:
        """Log density of the prior per unit of the unconstrained coordinates (n, k)."""
        labels = self.labels(theta)
        return self.simulator.log_prior(self.full(labels)) - self.transform.log_abs_det_jacobian(labels)

    def spectra(self, theta: Tensor, resolution: Tensor | float) -> Tensor:
        """Model spectra (n, p), float32; for resolving powers (m,) of exposures one for each of them, (n, g p)."""
        full = self.full(self.labels(theta)).float()
        distinct = torch.as_tensor(resolution).unique()
        rows = full.repeat_interleave(len(distinct), 0)
        return self.simulator.spectra(rows, distinct.repeat(len(full))).reshape(len(full), -1)


class Target:
    """Log of prior x likelihood x label priors of one star."""

    def __init__(
        self, coordinates: Coordinates, star: PixelSpectra, noise: NoiseModel, label_priors: Sequence[LabelPrior] = ()
    ) -> None:
        """Store the data and the noise in double precision."""
        self.coordinates, self.star, self.noise, self.label_priors = coordinates, star, noise, tuple(label_priors)
        mixing = None if noise.mixing is None else noise.mixing.float()
        self._single = replace(noise, flux=noise.flux.float(), weight=noise.weight.float(), mixing=mixing)
        self.projector = noise.projector.float()

    def log_density(self, theta: Tensor) -> Tensor:
        """Log density (n,) per unit of the coordinates (n, k), not normalised: its integral is the evidence."""
        total = self.coordinates.log_prior(theta) + self.log_label_priors(theta)
        chi2 = torch.cat([self._chi2(part) for part in theta.split(_CHUNK)])
        return total - 0.5 * chi2 + self.noise.constant

    def log_label_priors(self, theta: Tensor) -> Tensor:
        """Log density (n,) of the label priors."""
        labels = dict(zip(self.coordinates.names, self.coordinates.labels(theta).unbind(-1), strict=True))
        total = torch.zeros(len(theta), dtype=theta.dtype)
        for label_prior in self.label_priors:
            total = total + label_prior.log_density(labels)
        return total

    def residual(self, theta: Tensor, shift: Tensor | float = 0.0) -> Tensor:
        """Weighted residuals (n, p) of model spectra of coordinates (n, k), ``shift`` (p,) added to each."""
        models = self.coordinates.spectra(theta, self.star.resolution)
        return self._single.weighted(self._single.flux - models - shift)

    def _chi2(self, theta: Tensor) -> Tensor:
        r = self.residual(theta)
        return r.square().sum(-1).double() - (r @ self.projector).square().sum(-1).double()


class MarginalTarget:
    """A target of which the further elements are integrated out, linearly about a mode.

    Their lines are weak, so that a model spectrum is linear in them: each is a column of the covariance, as nuisances
    are, with a Gaussian prior, and given all other labels its posterior is Gaussian.
    """

    def __init__(self, target: Target, mode: Tensor, slopes: Tensor) -> None:
        """Integrate out the last coordinates.

        Args:
            target: of all coordinates.
            mode: coordinates (k,) about which the spectrum is linear.
            slopes: derivatives (m, p) of the spectrum by the last m coordinates there.
        """
        self.target, self.main = target, target.coordinates.main
        coordinates, noise = target.coordinates, target.noise
        self._mode, self._centre = mode[self.main :], coordinates.centre[self.main :]
        self._size = coordinates.precision.diagonal()[self.main :].rsqrt()
        columns = slopes * self._size[:, None]
        self._shift = ((self._centre - self._mode) @ slopes).float()
        weighted = noise.weighted(columns)
        self._across = weighted @ noise.projector
        gram = weighted @ weighted.mT - self._across @ self._across.mT
        self._factor = torch.linalg.cholesky(gram + torch.eye(len(gram), dtype=gram.dtype))
        self._weighted = weighted.float()
        self._constant = noise.constant - float(self._factor.diagonal().log().sum())
        z = (self._mode - self._centre) / self._size
        self._own = -0.5 * float(z.square().sum()) - float(self._size.log().sum()) - len(z) / 2 * math.log(2 * math.pi)
        self._seen: list[Tensor] = []

    def log_density(self, theta: Tensor) -> Tensor:
        """Log density (n,) per unit of the first coordinates (n, k - m), not normalised: its integral is the evidence.

        The Gaussian posteriors of the further elements at these points are kept for `further`.
        """
        full = torch.cat([theta, self._mode.expand(len(theta), -1)], 1)
        total = self.target.coordinates.log_prior(full) - self._own + self.target.log_label_priors(full)
        chi2 = torch.cat([self._chi2(part) for part in full.split(_CHUNK)])
        return total - 0.5 * chi2 + self._constant

    def further(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Coordinates (n, m) of the further elements for some of the points asked for so far, in their order."""
        projected = torch.cat(self._seen)[rows]
        z = torch.randn(projected.shape, generator=generator, dtype=projected.dtype)
        amplitude = torch.cholesky_solve(projected.mT, self._factor).mT
        amplitude = amplitude + torch.linalg.solve_triangular(self._factor.mT, z.mT, upper=True).mT
        return self._centre + self._size * amplitude

    def _chi2(self, full: Tensor) -> Tensor:
        target = self.target
        r = target.residual(full, self._shift)
        slow = (r @ target.projector).double()
        projected = (r @ self._weighted.mT).double() - slow @ self._across.mT
        self._seen.append(projected)
        gained = torch.linalg.solve_triangular(self._factor, projected.mT, upper=False)
        return r.square().sum(-1).double() - slow.square().sum(-1) - gained.square().sum(0)
