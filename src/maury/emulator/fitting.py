"""Fit labels to noise-free spectra with the emulator by least squares, to test how its errors bias labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maury.broadening import instrument, remaining_resolution
from maury.emulator.accuracy import window
from maury.emulator.model import Emulator

CONTINUUM_DEGREE = 8
"""Degree of the Legendre series that multiplies the model."""

_OFFSETS = {"teff": 150.0, "logg": 0.2, "mh": 0.1, "vmic": 0.2}
"""Offsets of the starting labels from the truth: K, dex, dex, km/s."""
_OFFSET = 0.05
"""The same for all other labels, dex."""


class LeastSquares:
    """Levenberg-Marquardt fits of noise-free intrinsic spectra: all labels free, the continuum projected out.

    The continuum is a Legendre series of degree `CONTINUUM_DEGREE` over the window that multiplies the model.
    """

    def __init__(self, emulator: Emulator, resolution: float) -> None:
        """Prepare wavelengths, profile and continuum series for spectra at one resolution."""
        grid = emulator.grid.with_size(emulator.grid.size // 2)
        wavelength = grid.wavelength_aa[window(grid, emulator.window_aa)]
        self.emulator = emulator
        self.sampler = emulator.sampler(wavelength, resolution)
        remaining = remaining_resolution(torch.tensor(resolution), emulator.native_resolution)
        self.profile = instrument(emulator.frequency[: self.sampler.modes], remaining)
        x = np.linspace(-1, 1, len(wavelength))
        self.series = torch.from_numpy(np.polynomial.legendre.legvander(x, CONTINUUM_DEGREE))
        self.lower = torch.tensor(emulator.space.lower)
        self.width = torch.tensor(emulator.space.upper) - self.lower

    def observe(self, modes: Tensor) -> Tensor:
        """Flux (n, p) at resolving power R of intrinsic modes (n, m)."""
        return self.sampler(modes[:, : self.sampler.modes] * self.profile).double()

    def model(self, unit: Tensor) -> Tensor:
        """Flux (p,) for labels (k,) scaled to 0 to 1 over their ranges."""
        return self.observe(self.emulator.modes(self._labels(unit), self.sampler.modes))[0]

    def derivatives(self, unit: Tensor) -> Tensor:
        """Derivatives (p, k) of the flux by scaled labels (k,): Jacobian of the coefficients times the basis."""
        slopes = torch.func.jacfwd(lambda u: self.emulator.coefficients(self._labels(u))[0])(unit)
        no_mean = self.emulator.expand(slopes.T, self.sampler.modes) - self.emulator.expand(
            torch.zeros_like(slopes.T[:1]), self.sampler.modes
        )
        return self.observe(no_mean).T

    def fit(self, observed: Tensor, start: Tensor, iterations: int = 25) -> Tensor:
        """Fit labels (k,) to the flux ``observed`` (p,), starting at labels ``start`` (k,), within their ranges."""
        unit, damping = (start - self.lower) / self.width, 1e-3
        flux = self.model(unit)
        best = self._project(flux, observed).square().sum()
        for _ in range(iterations):
            slope = self._project(flux, self.derivatives(unit))
            normal, gradient = slope.T @ slope, slope.T @ self._project(flux, observed)
            previous = best
            while damping < 1e6:
                step = torch.linalg.solve(normal + damping * torch.diag(normal.diagonal() + 1e-12), gradient)
                trial = (unit + step.float()).clamp(0, 1)
                trial_flux = self.model(trial)
                cost = self._project(trial_flux, observed).square().sum()
                if cost < best:
                    unit, flux, best, damping = trial, trial_flux, cost, max(damping / 10, 1e-9)
                    break
                damping *= 10
            if previous - best < 1e-4 * previous:
                break
        return self.lower + self.width * unit

    def _labels(self, unit: Tensor) -> Tensor:
        return (self.lower + self.width * unit)[None]

    def _project(self, flux: Tensor, columns: Tensor) -> Tensor:
        """Remove from ``columns`` what changes of the continuum of ``flux`` can fit: their component in its span."""
        basis, _ = torch.linalg.qr(self.series * flux[:, None])
        return columns - basis @ (basis.T @ columns)


def recover_labels(
    emulator: Emulator, modes: Tensor, truth: Tensor, resolution: float, advance: Callable[[int], None] | None = None
) -> Tensor:
    """Fit noise-free spectra, starting 150 K, 0.2 dex (log g), 0.1 dex ([M/H]), 0.2 km/s, else 0.05 dex off the truth.

    Args:
        emulator: the model to fit with.
        modes: Fourier modes (n, m) of intrinsic spectra.
        truth: true labels (n, k).
        resolution: R at which spectra and model are compared.
        advance: called with 1 after each fit.

    Returns:
        Labels (n, k).
    """
    problem = LeastSquares(emulator, resolution)
    upper = torch.tensor(emulator.space.upper)
    offset = torch.tensor([_OFFSETS.get(name, _OFFSET) for name in emulator.space.names])
    starts = torch.where(truth + offset < upper, truth + offset, truth - offset)
    fitted = []
    for observed, start in zip(problem.observe(modes), starts, strict=True):
        fitted.append(problem.fit(observed, start))
        if advance is not None:
            advance(1)
    return torch.stack(fitted)
