"""`Simulator`: batches of simulated observations on a network's pixels, on CPU or GPU."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from maury.broadening import TransferTable, cutoff, gaussian, instrument_sigma, remaining_resolution, shift
from maury.emulator import Emulator, NetworkPixels
from maury.emulator.domain import require_known
from maury.errors import DomainError
from maury.labels import LABELS, LabelSpace
from maury.pixelspectra import PixelSpectra
from maury.simulation.conditions import SimulationSettings
from maury.simulation.draws import Draws
from maury.simulation.gaps import Gaps
from maury.simulation.haze import Haze, hazy
from maury.simulation.model_errors import ModelError
from maury.simulation.population import Prior
from maury.simulation.smooth import Smooth

_CHUNK = 128
"""Spectra at a time on a CPU: arrays of some megabytes stay in its caches."""
_GPU_CHUNK = 4096
_BEYOND = 1.05
"""Broadening is tabulated up to this factor times the largest velocities, for derivatives at the ends of the ranges."""


class Simulator:
    """Simulates observed spectra: spectra of the emulator with errors of the physics, instrument, night and reduction.

    A batch is one matrix product (coefficients times a basis cut at the pixels' Nyquist frequency), one product with a
    transfer function and one inverse FFT, without interpolation. Errors of the physics are added to the intrinsic
    spectrum before these steps, errors of instrument and reduction after them.

    Attributes:
        pixels: pixels of the network.
        space: names and ranges of the labels.
        labels: names of the columns of `PixelSpectra.labels`.
        haze: opacity that the line list lacks, present in all spectra.
        settings: settings of the simulation.
        device: device on which batches are computed.
    """

    def __init__(
        self,
        emulator: Emulator,
        settings: SimulationSettings | None = None,
        device: torch.device | str = "cpu",
        pixels: NetworkPixels | None = None,
    ) -> None:
        """Prepare tables on the device; the emulator given stays on its own.

        Args:
            emulator: gives spectra for labels.
            settings: settings of the simulation; by default those of the default network.
            device: device on which batches are computed.
            pixels: pixels of the network; by default those of the default network.

        Raises:
            DomainError: the largest R exceeds the emulator's, or ``short_aa`` its window.
        """
        self.settings = settings or SimulationSettings()
        self.device = torch.device(device)
        self.pixels = pixels or NetworkPixels.of(emulator)
        if self.settings.resolution[1] > emulator.native_resolution:
            raise DomainError(
                f"resolution up to {self.settings.resolution[1]:g} is above that of the emulator's library, "
                f"{emulator.native_resolution:g}"
            )
        if self.settings.gaps.short_aa > emulator.window_aa[1] - emulator.window_aa[0]:
            raise DomainError(f"short_aa = {self.settings.gaps.short_aa:g} Å is longer than the emulator's window")
        self._prior = Prior(emulator, self.settings.prior)
        self.space, self.labels = self._prior.space, self._prior.space.names
        self._emulator = copy.deepcopy(emulator).to(self.device).eval().requires_grad_(False)
        self._count = self.pixels.grid.size // 2
        scale = self.pixels.grid.size / emulator.grid.size
        self._mean = self._emulator.mean[: 2 * self._count] * scale
        self._basis = self._emulator.basis[:, : 2 * self._count] * scale
        self._frequency = self._emulator.frequency[: self._count]
        self._native = emulator.native_resolution
        largest = (_BEYOND * LABELS[name].upper for name in ("vsini", "vmac"))
        self._broadening = TransferTable(self._frequency, *largest)
        self._physics = ModelError(emulator, self.settings.model_error, self.pixels, self._frequency)
        self.haze = Haze(self.settings.haze, self.labels)
        self._smooth = Smooth(self.pixels, self.settings.continuum, self.settings.noise, self.device)
        self._gaps = Gaps(self.pixels, self.settings.gaps, self.device)

    @property
    def logg_edges(self) -> tuple[tuple[float, float, float], ...]:
        """Rows (Teff, lowest log g, highest log g) of the prior, linear in between; empty if the range is constant."""
        return self._prior.logg_edges

    def draw_labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw labels (n, k) from the prior."""
        return self._prior.draw(Draws(count, generator))

    def log_prior(self, labels: Tensor) -> Tensor:
        """Log prior density (n,) of labels (n, k) in the order of the attribute ``labels``."""
        return self._prior.log_density(labels)

    def usual_level(self, labels: Tensor) -> float:
        """Median error of the physics between lines, per unit of the continuum, for labels (k,), at R = 50,000."""
        return float(self._physics.usual_level(labels[None].float().to(self.device))[0])

    @torch.no_grad()
    def model_error(self, labels: Tensor, resolution: float, pixels: int) -> tuple[Tensor, float]:
        """Standard deviation of errors of the physics in each pixel of a typical star.

        Rotation and instrument correlate errors of the intrinsic spectrum over several pixels. The standard deviation
        returned is that of independent pixels whose sums over many pixels have the same variance.

        Args:
            labels: labels of the star (k,).
            resolution: resolving power R.
            pixels: number of neighbouring pixels in a short sum.

        Returns:
            Standard deviation (p,) of equivalent independent pixels, and the variance of sums over ``pixels``
            neighbours relative to independent pixels: below 1 if the sum is shorter than the correlation.
        """
        row = labels[None].to(self.device, torch.float32)
        modes, size = self._intrinsic(row), self.pixels.grid.size
        error = self._physics.size(row, torch.fft.irfft(modes, n=size), self._physics.usual_level(row))
        spread = self._transfer(row, torch.tensor([min(resolution, self.pixels.resolution)], device=self.device))
        spread = spread * self._physics.kernel
        variance = torch.fft.irfft(torch.fft.rfft(error.square())[:, : size // 2] * spread, n=size)
        box = torch.sinc(self._frequency * self.pixels.grid.step_kms * pixels).square()
        share = float((spread[0].square() * box).sum() / box.sum())
        return variance[0, self.pixels.window].clamp_min(0).sqrt().to(labels.device), share

    def batch(self, count: int, generator: torch.Generator) -> PixelSpectra:
        """Simulate ``count`` stars drawn from the prior; the same generator state gives the same batch.

        In the result, ``sigma`` is the noise that a pipeline would report, without model errors; flux and sigma are 1
        in masked pixels; ``resolution`` is the nominal R, at most that of the pixels; ``labels`` are the true labels.

        Raises:
            DomainError: ``count`` is below 1, or the generator is on another device.
        """
        return self._run(count, None, generator)

    def observe(self, labels: Tensor, generator: torch.Generator) -> PixelSpectra:
        """Simulate stars with given labels (n, k), columns as in the attribute ``labels``; a mean [alpha/M] is ignored.

        v sin i and macroturbulence may lie outside the prior, within the general bounds of `maury.labels`.

        Raises:
            DomainError: labels are outside the domain, or the generator is on another device.
        """
        self._check(labels.detach().cpu())
        return self._run(len(labels), labels.to(self.device, torch.float32), generator)

    def _check(self, labels: Tensor) -> None:
        """Refuse labels (n, k) outside the domain."""
        if labels.shape[1] != len(self.labels):
            raise DomainError(f"labels: {labels.shape[1]} columns, but the labels are {', '.join(self.labels)}")
        own = len(self._emulator.space)
        require_known(self._emulator, labels[:, :own], "labels")
        LabelSpace.of(["vsini", "vmac"]).require_inside(labels[:, own : own + 2], "labels")

    @torch.no_grad()
    def spectra(self, labels: Tensor, resolution: Tensor, velocity_kms: Tensor | None = None) -> Tensor:
        """Flux (n, p) without errors for labels (n, k), at R (n,) or at the R of the pixels if that is lower.

        Radial velocities (n,) shift it, up to the 300 km/s by which the grid extends beyond the window. It is computed
        on the simulator's device and returned on the device of the labels.
        """
        device = labels.device
        labels, resolution = labels.to(self.device, torch.float32), resolution.to(self.device, torch.float32)
        resolution = resolution.clamp_max(self.pixels.resolution)
        passed = self._frequency[: int((self._frequency <= cutoff(float(resolution.max()))).sum())]
        modes = self._intrinsic(labels, count=len(passed)).mul_(self._transfer(labels, resolution, len(passed)))
        if velocity_kms is not None:
            modes *= shift(passed, velocity_kms.to(self.device, torch.float32))
        return torch.fft.irfft(modes, n=self.pixels.grid.size)[:, self.pixels.window].to(device)

    @torch.no_grad()
    def _run(self, count: int, labels: Tensor | None, generator: torch.Generator) -> PixelSpectra:
        if count < 1:
            raise DomainError(f"at least 1 spectrum must be asked for, got {count}")
        if generator.device.type != self.device.type:
            raise DomainError(f"the generator is on {generator.device}, the simulator on {self.device}")
        chunk = _CHUNK if self.device.type == "cpu" else _GPU_CHUNK
        parts = []
        with torch.autocast(self.device.type, enabled=False):  # a network may train in bfloat16, spectra are float32
            for first in range(0, count, chunk):
                draws = Draws(min(chunk, count - first), generator)
                rows = self._prior.draw(draws) if labels is None else labels[first : first + chunk]
                parts.append(self._chunk(rows, draws))
        return parts[0] if len(parts) == 1 else PixelSpectra.cat(parts)

    def _chunk(self, labels: Tensor, draws: Draws) -> PixelSpectra:
        noise = self.settings.noise
        true = draws.log_uniform(self.settings.resolution)
        nominal = true * (self.settings.resolution_error * draws.normal()).exp()
        snr = draws.log_uniform(noise.snr)
        level = self._physics.level(labels, draws)
        orders = self._smooth.orders(draws)
        flux = self._flux(labels, true, nominal, snr, level, draws)
        flux.mul_(self._smooth.at_pixels(self._smooth.continuum_factor(snr, level, orders, draws)))
        size = self._smooth.at_pixels(self._smooth.noise_size(orders, draws) / snr[:, None])
        detector = draws.uniform(*noise.detector)[:, None]
        sigma = size.mul_((flux.clamp_min(0) * (1 - detector)).add_(detector).sqrt_())
        flux.addcmul_(sigma, self._noise(nominal, draws))
        where, height = self._gaps.spikes(draws)
        flux.scatter_add_(1, where, sigma.gather(1, where) * height)
        mask = ~self._gaps.good(orders, draws)
        sigma.mul_(1 + draws.uniform(-noise.reported_error, noise.reported_error)[:, None])
        known = nominal.clamp_max(self.pixels.resolution)
        return PixelSpectra(
            flux=flux.masked_fill_(mask, 1.0), sigma=sigma.masked_fill_(mask, 1.0), mask=mask, resolution=known,
            labels=labels,
        )  # fmt: skip

    def _flux(self, labels: Tensor, true: Tensor, nominal: Tensor, snr: Tensor, level: Tensor, draws: Draws) -> Tensor:
        """Flux (n, p) at the resolving power of the network, with errors of the physics, velocity and zero level."""
        modes = self._intrinsic(labels, self.haze.draw(labels, draws))
        size = self.pixels.grid.size
        if self._physics.active:
            modes += self._physics.modes(labels, torch.fft.irfft(modes, n=size), level, draws)
        variance = instrument_sigma(true) ** 2 + self._degraded(nominal)
        modes *= self._transfer(labels, instrument_sigma(1.0) / variance.sqrt())
        modes *= shift(self._frequency, self._velocity(labels, snr, draws))
        flux = torch.fft.irfft(modes, n=size)[:, self.pixels.window].contiguous()
        s = self.settings.continuum
        light = (draws.uniform(*s.scattered) * draws.chance(s.scattered_share))[:, None]
        return flux.add_(light).div_(1 + light)

    def _intrinsic(self, labels: Tensor, haze: Tensor | None = None, count: int | None = None) -> Tensor:
        """Fourier modes (n, m), all or the first ``count``, of the intrinsic flux with haze h (n,) or its mean."""
        coefficients = self._emulator.coefficients(labels[:, : len(self._emulator.space)])
        stop = None if count is None else 2 * count
        flat = torch.addmm(self._mean[:stop], coefficients, self._basis[:, :stop])
        modes = torch.view_as_complex(flat.reshape(len(flat), -1, 2))
        return hazy(modes, self.haze.usual(labels) if haze is None else haze, self.pixels.grid.size)

    def _transfer(self, labels: Tensor, resolution: Tensor, count: int | None = None) -> Tensor:
        """Transfer function (n, m) of rotation, macroturbulence and instrument, of all modes or the first ``count``."""
        first = len(self._emulator.space)
        return self._broadening(
            vsini_kms=labels[:, first],
            resolution=remaining_resolution(resolution, self._native),
            vmac_kms=labels[:, first + 1],
            count=count,
        )

    def _degraded(self, nominal: Tensor) -> Tensor:
        """Variance (n,), (km/s)^2, of the Gaussian that degrades a spectrum of nominal R to the R of the pixels."""
        return (
            instrument_sigma(self.pixels.resolution).to(nominal.device) ** 2 - instrument_sigma(nominal) ** 2
        ).clamp_min(0)

    def _velocity(self, labels: Tensor, snr: Tensor, draws: Draws) -> Tensor:
        """Draw the error (n,) of the radial velocity found by the preparation, km/s."""
        s, vsini = self.settings, labels[:, len(self._emulator.space)]
        noise = s.velocity_per_noise * (5 + vsini) / snr
        return draws.normal() * (s.velocity_kms**2 + (s.velocity_per_vsini * vsini) ** 2 + noise**2).sqrt()

    def _noise(self, nominal: Tensor, draws: Draws) -> Tensor:
        """Draw correlated noise (n, p); its sums over many pixels have the variance of white noise of unit variance."""
        noise, step = self.settings.noise, self.pixels.grid.step_kms
        resampled = draws.uniform(0, noise.correlated_pixels * step) * draws.chance(noise.correlated_share)
        width = (self._degraded(nominal) + resampled**2).sqrt()
        modes = torch.view_as_complex(draws.normal(self._count, 2))
        modes *= gaussian(self._frequency, width) * math.sqrt(self.pixels.grid.size / 2)
        return torch.fft.irfft(modes, n=self.pixels.grid.size)[:, self.pixels.window]
