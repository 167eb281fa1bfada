"""`Simulator`: batches of simulated observations on a network's pixels, on CPU or GPU."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from maury.broadening import TransferTable, gaussian, instrument_sigma, remaining_resolution, shift
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
"""Of the largest velocities, up to which broadening is tabulated: derivatives at the ends of the ranges reach over."""


class Simulator:
    """The emulator's spectra as a spectrograph, a night and a pipeline give them.

    A batch is one matrix product (coefficients times a basis cut at the pixels' Nyquist frequency), one product with a
    transfer function and one inverse FFT, without interpolation; errors of the physics are added to the intrinsic
    spectrum before, those of instrument and reduction after.

    Attributes:
        pixels: of the network.
        space: names and ranges of the labels.
        labels: names of the columns of `PixelSpectra.labels`.
        haze: opacity that the line list lacks, in all spectra.
        settings: as given.
        device: where batches are made.
    """

    def __init__(
        self,
        emulator: Emulator,
        settings: SimulationSettings | None = None,
        device: torch.device | str = "cpu",
        pixels: NetworkPixels | None = None,
    ) -> None:
        """Prepare tables on the device; the emulator itself is left where it is.

        Args:
            emulator: the physics.
            settings: by default those of the default network.
            device: where batches are made.
            pixels: by default those of the default network.

        Raises:
            DomainError: settings that the emulator or the pixels cannot serve.
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
        """Rows (Teff, lowest log g, highest log g) between which the prior of log g is linear; empty if it is a box."""
        return self._prior.logg_edges

    def draw_labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Labels (n, k) of the prior."""
        return self._prior.draw(Draws(count, generator))

    def log_prior(self, labels: Tensor) -> Tensor:
        """Log density (n,) of the labels (n, k) that `batch` draws, in the order of ``labels``."""
        return self._prior.log_density(labels)

    def usual_level(self, labels: Tensor) -> float:
        """Error of the physics between lines, at the reference resolution, of a usual star of labels (k,)."""
        return float(self._physics.usual_level(labels[None].float().to(self.device))[0])

    @torch.no_grad()
    def model_error(self, labels: Tensor, resolution: float, pixels: int) -> tuple[Tensor, float]:
        """How large errors of the physics of a usual star are.

        Errors of the intrinsic spectrum are spread by rotation and instrument over many pixels; sums over these have
        the variance of independent pixels whose variance is that of the intrinsic error, spread in the same way.

        Args:
            labels: of the star (k,).
            resolution: R.
            pixels: length of a short sum.

        Returns:
            Standard deviation (p,) as if the pixels were independent, and the variance of sums over ``pixels``
            neighbours in units of what it would be if they were: below 1 where they are shorter than the spreading.
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
        """Simulate ``count`` stars of the prior; the same generator state gives the same batch.

        ``sigma`` is the noise that a pipeline would report, without model error; flux and sigma are 1 where masked.
        ``resolution`` is the nominal one, at most that of the pixels; ``labels`` the truth in the order of ``labels``.

        Raises:
            DomainError: no spectrum asked for, or a generator of another device.
        """
        return self._run(count, None, generator)

    def observe(self, labels: Tensor, generator: torch.Generator) -> PixelSpectra:
        """Simulate stars of given labels (n, k) in the order of ``labels``; [alpha/M] as a mean is not looked at.

        Rotation and macroturbulence may be anything that labels in general may be, also outside the prior.

        Raises:
            DomainError: labels outside the domain, or a generator of another device.
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
    def spectra(self, labels: Tensor, resolution: Tensor) -> Tensor:
        """Flux (n, p) without any error for labels (n, k), at R (n,) or that of the pixels if R is above it.

        Computed on the simulator's device, returned on that of the labels.
        """
        asked = labels.device
        labels, resolution = labels.to(self.device, torch.float32), resolution.to(self.device, torch.float32)
        kernel = self._transfer(labels, resolution.clamp_max(self.pixels.resolution))
        flux = torch.fft.irfft(self._intrinsic(labels) * kernel, n=self.pixels.grid.size)
        return flux[:, self.pixels.window].to(asked)

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
        true, nominal = self._resolutions(draws)
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

    def _resolutions(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """True and nominal resolving power (n,)."""
        true = draws.log_uniform(self.settings.resolution)
        return true, true * (self.settings.resolution_error * draws.normal()).exp()

    def _flux(self, labels: Tensor, true: Tensor, nominal: Tensor, snr: Tensor, level: Tensor, draws: Draws) -> Tensor:
        """Flux (n, p) at the network's resolution, with errors of the physics, velocity and zero level."""
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

    def _intrinsic(self, labels: Tensor, haze: Tensor | None = None) -> Tensor:
        """Modes (n, m) of the intrinsic flux with a haze (n,), by default the usual one."""
        coefficients = self._emulator.coefficients(labels[:, : len(self._emulator.space)])
        flat = torch.addmm(self._mean, coefficients, self._basis)
        modes = torch.view_as_complex(flat.reshape(len(flat), -1, 2))
        return hazy(modes, self.haze.usual(labels) if haze is None else haze, self.pixels.grid.size)

    def _transfer(self, labels: Tensor, resolution: Tensor) -> Tensor:
        """Rotation, macroturbulence and instrument (n, m)."""
        first = len(self._emulator.space)
        return self._broadening(
            vsini_kms=labels[:, first],
            resolution=remaining_resolution(resolution, self._native),
            vmac_kms=labels[:, first + 1],
        )

    def _degraded(self, nominal: Tensor) -> Tensor:
        """Variance (n,), (km/s)^2, of the Gaussian with which a spectrum of nominal R is degraded."""
        return (
            instrument_sigma(self.pixels.resolution).to(nominal.device) ** 2 - instrument_sigma(nominal) ** 2
        ).clamp_min(0)

    def _velocity(self, labels: Tensor, snr: Tensor, draws: Draws) -> Tensor:
        """Radial velocity (n,) left after preparation, km/s."""
        s, vsini = self.settings, labels[:, len(self._emulator.space)]
        noise = s.velocity_per_noise * (5 + vsini) / snr
        return draws.normal() * (s.velocity_kms**2 + (s.velocity_per_vsini * vsini) ** 2 + noise**2).sqrt()

    def _noise(self, nominal: Tensor, draws: Draws) -> Tensor:
        """Noise (n, p) whose sums over many pixels are those of white noise of unit variance."""
        noise, step = self.settings.noise, self.pixels.grid.step_kms
        resampled = draws.uniform(0, noise.correlated_pixels * step) * draws.chance(noise.correlated_share)
        width = (self._degraded(nominal) + resampled**2).sqrt()
        modes = torch.view_as_complex(draws.normal(self._count, 2))
        modes *= gaussian(self._frequency, width) * math.sqrt(self.pixels.grid.size / 2)
        return torch.fft.irfft(modes, n=self.pixels.grid.size)[:, self.pixels.window]
