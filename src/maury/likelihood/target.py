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
_NODES, _GRID = 5, 48
_REACH, _PRIOR_REACH = 6.0, 4.0
"""Range of a further element, in standard deviations given all other labels and of the prior."""


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
        return self._single.weighted((self._single.flux - shift) - models)

    def _chi2(self, theta: Tensor) -> Tensor:
        r = self.residual(theta)
        slow = r @ self.projector
        return r.square_().sum(-1).double() - slow.square().sum(-1).double()


class MarginalTarget:
    """A target of which the further elements are integrated out, linearly about a mode.

    Their lines are weak, so that a model spectrum is nearly linear in them: each is a column of the covariance, as
    nuisances are, with a Gaussian prior, and given all other labels its posterior is nearly Gaussian. Samples of the
    further elements are then drawn without either approximation: given the other labels, a spectrum is the sum of
    what each element changes, along a polynomial through five spectra, and the prior is the true one.
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
        self._shift = ((self._centre - self._mode) @ slopes).float()
        weighted, self._across, gram = self._products(slopes * self._size[:, None])
        self._factor = torch.linalg.cholesky(gram + torch.eye(len(gram), dtype=gram.dtype))
        self._constant = noise.constant - float(self._factor.diagonal().log().sum())
        z = (self._mode - self._centre) / self._size
        self._own = -0.5 * float(z.square().sum()) - float(self._size.log().sum()) - len(z) / 2 * math.log(2 * math.pi)
        self._nodes = self._range(mode)
        changes = self._changes(mode)
        curves, self._across_curves, self._gram = self._products(changes)
        shift = noise.weighted(self._shift.double())
        self._offset = curves @ shift - self._across_curves @ (shift @ noise.projector)
        self._grids, log_priors = self._priors(mode)
        self._bases = [_lagrange(*pair) for pair in zip(self._nodes, self._grids, strict=True)]
        self._own_terms = [
            log_priors[j] - 0.5 * ((basis @ self._gram[part, part]) * basis).sum(1)
            for j, (basis, part) in enumerate(zip(self._bases, self._parts(), strict=True))
        ]
        self._columns = torch.cat([noise.projector, weighted.mT, curves.mT], 1).float()
        self._seen: list[tuple[Tensor, Tensor]] = []

    def log_density(self, theta: Tensor) -> Tensor:
        """Log density (n,) per unit of the first coordinates (n, k - m), not normalised: its integral is the evidence.

        What `further` needs of these points is kept.
        """
        full = torch.cat([theta, self._mode.expand(len(theta), -1)], 1)
        total = self.target.coordinates.log_prior(full) - self._own + self.target.log_label_priors(full)
        chi2 = torch.cat([self._chi2(part) for part in full.split(_CHUNK)])
        return total - 0.5 * chi2 + self._constant

    def further(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Coordinates (n, m) of the further elements for some of the points asked for so far, in their order.

        The start is a draw from the Gaussian posterior; each element is then drawn in turn, given all others.
        """
        linear, curved = (torch.cat(parts)[rows] for parts in zip(*self._seen, strict=True))
        z = torch.randn(linear.shape, generator=generator, dtype=linear.dtype)
        amplitude = torch.cholesky_solve(linear.mT, self._factor).mT
        amplitude = amplitude + torch.linalg.solve_triangular(self._factor.mT, z.mT, upper=True).mT
        x = (self._centre + self._size * amplitude).clamp(self._nodes[:, 0], self._nodes[:, -1])
        parts = self._parts()
        terms = torch.cat([_lagrange(self._nodes[j], x[:, j]) for j in range(len(parts))], 1)
        for j in 2 * [*range(len(parts))]:
            part = parts[j]
            terms[:, part] = 0
            log_density = (curved[:, part] - terms @ self._gram[:, part]) @ self._bases[j].mT + self._own_terms[j]
            x[:, j] = _from_grid(self._grids[j], log_density, generator)
            terms[:, part] = _lagrange(self._nodes[j], x[:, j])
        return x

    def _parts(self) -> list[slice]:
        """Columns of each further element among those of all nodes."""
        count, nodes = self._nodes.shape
        return [slice(j * nodes, (j + 1) * nodes) for j in range(count)]

    def _products(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted columns (c, p), their products with the projector, and with each other, nuisances integrated out."""
        noise = self.target.noise
        weighted = noise.weighted(columns)
        across = weighted @ noise.projector
        return weighted, across, weighted @ weighted.mT - across @ across.mT

    def _range(self, mode: Tensor) -> Tensor:
        """Coordinates (m, nodes) along each further element: six standard deviations about the mode, in the prior."""
        spread = self._size * torch.cholesky_inverse(self._factor).diagonal().sqrt()
        low = torch.maximum(self._mode - _REACH * spread, self._centre - _PRIOR_REACH * self._size)
        high = torch.minimum(self._mode + _REACH * spread, self._centre + _PRIOR_REACH * self._size)
        low, high = torch.minimum(low, self._mode - spread), torch.maximum(high, self._mode + spread)
        return low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, _NODES, dtype=mode.dtype)

    def _changes(self, mode: Tensor) -> Tensor:
        """Changes (m nodes, p) of the spectrum at the mode when one element goes to a node."""
        models = self.target.coordinates.spectra(
            torch.cat([mode[None], self._along(mode, self._nodes)]), self.target.star.resolution
        ).double()
        return models[1:] - models[0]

    def _along(self, mode: Tensor, values: Tensor) -> Tensor:
        """Coordinates (m n, k) of the mode with one further element in turn at its values (m, n)."""
        count, each = values.shape
        rows = mode.repeat(count, each, 1)
        for j in range(count):
            rows[j, :, self.main + j] = values[j]
        return rows.flatten(0, 1)

    def _priors(self, mode: Tensor) -> tuple[Tensor, Tensor]:
        """Values (m, n) of each element from its first to its last node, and the log prior there."""
        between = (torch.arange(_GRID, dtype=mode.dtype) + 0.5) / _GRID
        grids = self._nodes[:, :1] + (self._nodes[:, -1:] - self._nodes[:, :1]) * between
        rows = self._along(mode, grids)
        total = self.target.coordinates.log_prior(rows) + self.target.log_label_priors(rows)
        return grids, total.reshape(grids.shape)

    def _chi2(self, full: Tensor) -> Tensor:
        target = self.target
        r = target.residual(full, self._shift)
        sizes = (len(self._across.mT), len(self._across), len(self._across_curves))
        slow, projected, curved = (r @ self._columns).double().split(sizes, 1)
        projected = projected - slow @ self._across.mT
        curved = curved - slow @ self._across_curves.mT + self._offset
        self._seen.append((projected, curved))
        gained = torch.linalg.solve_triangular(self._factor, projected.mT, upper=False)
        return r.square_().sum(-1).double() - slow.square().sum(-1) - gained.square().sum(0)


def _lagrange(nodes: Tensor, x: Tensor) -> Tensor:
    """Weights (n, nodes) of the values at nodes in the polynomial through them, at x (n,)."""
    count = len(nodes)
    factors = (x[:, None, None] - nodes) / (nodes[:, None] - nodes + torch.eye(count, dtype=nodes.dtype))
    return factors.masked_fill(torch.eye(count, dtype=torch.bool), 1.0).prod(-1)


def _from_grid(grid: Tensor, log_density: Tensor, generator: torch.Generator) -> Tensor:
    """A draw (n,) for each row of log densities (n, g) in cells about the points of a grid (g,)."""
    step = grid[1] - grid[0]
    cumulated = (log_density - log_density.max(1, keepdim=True).values).exp().cumsum(1)
    uniform = torch.rand(2, len(log_density), 1, generator=generator, dtype=grid.dtype)
    cell = torch.searchsorted(cumulated, uniform[0] * cumulated[:, -1:]).clamp_max(len(grid) - 1)[:, 0]
    return grid[cell] + (uniform[1, :, 0] - 0.5) * step
