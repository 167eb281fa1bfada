"""Labels from a spectrum by least squares with the emulator: the test of what its errors do to labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maury.emulator.accuracy import window
from maury.emulator.model import Emulator
from maury.emulator.sampling import Sampler

_LEGENDRE_DEGREE = 8


def recover_labels(
    emulator: Emulator,
    modes: Tensor,
    start: Tensor,
    resolution: float,
    advance: Callable[[int], None] | None = None,
    iterations: int = 12,
) -> Tensor:
    """Fit noise-free intrinsic spectra, all ten labels and the continuum free, by Levenberg-Marquardt.

    The continuum is a Legendre series of degree 8 that multiplies the model; it is projected out of residuals and
    derivatives at every step. Fits start from a displaced point (150 K, 0.2 and 0.1 dex away), not from the truth.

    Args:
        emulator: the model to fit with.
        modes: Fourier modes (n, m) of the spectra.
        start: true labels (n, 10), used only to make the displaced start.
        resolution: R at which spectra and model are compared.
        advance: called with the number of spectra done.
        iterations: steps at most.

    Returns:
        Labels (n, 10).
    """
    grid = emulator.grid.with_size(6000)
    wavelength = grid.wavelength_aa[window(grid)]
    sampler = emulator.sampler(wavelength, resolution)
    r = torch.full((1,), resolution)
    observed = sampler(modes[:, : sampler.modes] * _profile(emulator, sampler, r))
    x = torch.linspace(-1, 1, len(wavelength))
    series = torch.from_numpy(np.polynomial.legendre.legvander(x.numpy(), _LEGENDRE_DEGREE)).float()
    lower, upper = (torch.tensor(v) for v in (emulator.space.lower, emulator.space.upper))
    width = upper - lower
    offset = torch.tensor([150.0, 0.2, 0.1, 0.2, *[0.05] * 6]) / width
    fitted = []
    for row in range(len(modes)):

        def model(unit: Tensor) -> Tensor:
            labels = (lower + unit * width)[None]
            return sampler(emulator.modes(labels, sampler.modes) * _profile(emulator, sampler, r))[0]

        first = (start[row] - lower) / width
        first = torch.where(first + offset < 1, first + offset, first - offset)
        fitted.append(lower + width * _levenberg_marquardt(model, observed[row], series, first, iterations))
        if advance is not None:
            advance(1)
    return torch.stack(fitted)


def _profile(emulator: Emulator, sampler: Sampler, resolution: Tensor) -> Tensor:
    from maury.broadening import instrument

    return instrument(emulator.frequency[: sampler.modes], resolution)


def _levenberg_marquardt(
    model: Callable[[Tensor], Tensor], observed: Tensor, series: Tensor, unit: Tensor, iterations: int
) -> Tensor:
    """Minimise the squared residual, the continuum projected out; labels in units of their range, kept within it."""
    damping = 1e-4

    def project(flux: Tensor, columns: Tensor) -> Tensor:
        basis, _ = torch.linalg.qr((series * flux[:, None]).double())
        return columns.double() - basis @ (basis.T @ columns.double())

    def cost(flux: Tensor) -> Tensor:
        return project(flux, observed[:, None]).square().sum()

    flux = model(unit)
    best = cost(flux)
    for _ in range(iterations):
        jacobian = torch.func.jacfwd(model)(unit)
        derivative = project(flux, jacobian)
        residual = project(flux, observed[:, None])
        normal = derivative.T @ derivative
        gradient = derivative.T @ residual[:, 0]
        for _ in range(8):
            step = torch.linalg.solve(normal + damping * torch.diag(normal.diagonal() + 1e-12), gradient)
            trial = (unit + step.float()).clamp(0, 1)
            trial_flux = model(trial)
            trial_cost = cost(trial_flux)
            if trial_cost < best:
                damping = max(damping / 10, 1e-9)
                break
            damping *= 10
        else:
            return unit
        improved = (best - trial_cost) / best
        unit, flux, best = trial, trial_flux, trial_cost
        if improved < 1e-5 and float(step.abs().max()) < 1e-4:
            break
    return unit
