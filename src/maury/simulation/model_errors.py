"""Errors of synthetic spectra, drawn at random in the intrinsic spectrum and broadened like its lines."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from maury.broadening import gaussian, instrument
from maury.emulator import Emulator, ErrorMap, NetworkPixels
from maury.emulator.errormap import regions
from maury.simulation.conditions import ModelErrorSettings
from maury.simulation.draws import Draws
from maury.wavelengths import LogGrid


class ModelError:
    """Draws errors of the intrinsic flux.

    White noise n |n| / sqrt(3), n standard normal, has heavy tails like missing and wrong lines. It is multiplied by
    the error of each pixel and convolved with a Gaussian of the width of lines. The error of a pixel is that of the
    emulator (its error map) and that of the physics, level + line x (1 - flux), added in quadrature; both were measured
    on spectra with an instrument profile and are scaled to the intrinsic spectrum.
    """

    def __init__(
        self, emulator: Emulator, settings: ModelErrorSettings, pixels: NetworkPixels, frequency: Tensor
    ) -> None:
        self.settings, self.names, self.pixels = settings, emulator.space.names, pixels.grid.size
        device = frequency.device
        self.kernel = gaussian(frequency, torch.tensor(settings.width_kms, device=device))
        self._physics = 1 / _passed(self.kernel, frequency, pixels.resolution)
        self._nodes = torch.tensor(settings.teff_k, device=device)
        self._logs = torch.tensor(settings.level, device=device).clamp_min(1e-9).log()
        self._emulator: Tensor | None = None
        if emulator.errors is not None and settings.emulator:
            factor = settings.emulator / _passed(self.kernel, frequency, emulator.errors.resolution)
            self._emulator = (factor * _on_grid(emulator.errors, pixels.grid)).square().to(device)
        self.active = max(*settings.level, settings.floor, settings.line) > 0 or self._emulator is not None

    def level(self, labels: Tensor, draws: Draws) -> Tensor:
        """Draw the error of the physics between lines (n,), per unit of the continuum, for labels (n, k)."""
        return self.usual_level(labels) * (self.settings.scatter * draws.normal()).exp()

    def usual_level(self, labels: Tensor) -> Tensor:
        """Median of `level` (n,), without scatter from star to star, for labels (n, k)."""
        columns = dict(zip(self.names, labels.unbind(1), strict=False))
        teff = columns.get("teff", labels.new_full((len(labels),), 5750.0))
        right = torch.bucketize(teff.contiguous(), self._nodes).clamp(1, len(self._nodes) - 1)
        left = right - 1
        part = (teff - self._nodes[left]) / (self._nodes[right] - self._nodes[left])
        log = torch.lerp(self._logs[left], self._logs[right], part.clamp(0, 1))
        mh = columns.get("mh", torch.zeros_like(teff))
        metals = (log + math.log(10) * self.settings.mh_slope * mh).exp()
        return (metals**2 + self.settings.floor**2).sqrt()

    def size(self, labels: Tensor, flux: Tensor, level: Tensor) -> Tensor:
        """Standard deviation (n, size) of the white noise before its convolution with the width of lines."""
        error = self._physics * (level[:, None] + self.settings.line * (1 - flux).abs_())
        if self._emulator is not None:
            teff, mh = (index.to(flux.device) for index in regions(labels[:, : len(self.names)], self.names))
            error = error.square_().add_(self._emulator[teff, mh]).sqrt_()
        return error

    def modes(self, labels: Tensor, flux: Tensor, level: Tensor, draws: Draws) -> Tensor:
        """Draw the error of the intrinsic flux (n, size), as Fourier modes (n, size // 2)."""
        error = self.size(labels, flux, level)
        white = draws.normal(self.pixels)
        error.mul_(white).mul_(white.abs_()).mul_(1 / math.sqrt(3))
        return torch.fft.rfft(error)[:, : self.pixels // 2] * self.kernel


def _passed(kernel: Tensor, frequency: Tensor, resolution: float) -> float:
    """Rms of white noise of unit rms after convolution with a kernel (m,) and an instrument profile."""
    profile = instrument(frequency, torch.tensor(resolution, device=frequency.device))
    return float((kernel * profile).square().mean().sqrt())


def _on_grid(errors: ErrorMap, grid: LogGrid) -> Tensor:
    """The emulator's error map (teff regions, mh regions, size) on a grid of the same start and period."""
    x = np.arange(grid.size) * grid.step_kms
    own = np.arange(errors.grid.size) * errors.grid.step_kms
    flat = errors.rms.double().numpy().reshape(-1, errors.grid.size)
    period = grid.size * grid.step_kms
    rows = np.stack([np.interp(x, own, row, period=period) for row in flat])
    return torch.from_numpy(rows).float().reshape(*errors.rms.shape[:2], grid.size)
