"""Rotation, macroturbulence, instrument profile and Doppler shift as transfer functions in Fourier space.

On a grid uniform in ln(wavelength) each of them multiplies the spectrum's Fourier transform. All functions are
batched, differentiable torch; frequencies are in cycles per km/s, velocities in km/s. Shapes: the last axis is
frequency, the axes before it broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from maury.errors import DomainError
from maury.wavelengths import C_KMS

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def instrument_sigma(resolution: Tensor | float) -> Tensor:
    """Standard deviation (km/s) of a Gaussian profile of R = lambda / FWHM."""
    return C_KMS / (torch.as_tensor(resolution) * FWHM_PER_SIGMA)


def gaussian(frequency: Tensor, sigma_kms: Tensor) -> Tensor:
    """Transfer function of a Gaussian, exp(-2 pi^2 sigma^2 f^2), for ``sigma_kms`` (...)."""
    return torch.exp(-2 * (math.pi * sigma_kms[..., None] * frequency) ** 2)


def instrument(frequency: Tensor, resolution: Tensor) -> Tensor:
    """Transfer function of a Gaussian instrument profile of constant R = lambda / FWHM.

    Raises:
        DomainError: a resolution is not positive and finite.
    """
    bad = ~((resolution > 0) & torch.isfinite(resolution))
    if bool(bad.any()):
        raise DomainError(f"resolution must be positive and finite, got {resolution[bad][0].item():g}")
    return gaussian(frequency, instrument_sigma(resolution))


def remaining_resolution(target: Tensor, native: float) -> Tensor:
    """R of the Gaussian that takes spectra from R = ``native`` to ``target``: 1/R^2 = 1/target^2 - 1/native^2.

    Where ``target`` is ``native`` or above, it is 10^12, which has no effect.
    """
    if math.isinf(native):
        return target
    return (target.double() ** -2 - native**-2).clamp_min(1e-24).rsqrt().to(target.dtype)


def rotation(frequency: Tensor, vsini_kms: Tensor, limb_darkening: float = 0.6) -> Tensor:
    """Transfer function of rigid rotation with linear limb darkening (Gray 2005, eq. 18.14, transformed).

    With z = 2 pi f v sin i:
    [2 (1 - e) J1(z) / z + 2 e (sin z - z cos z) / z^3] / (1 - e / 3); it is 1 at z = 0.

    Args:
        frequency: cycles per km/s (m,).
        vsini_kms: projected rotational velocity, not negative (...).
        limb_darkening: linear coefficient e between 0 and 1.

    Raises:
        DomainError: a negative or non-finite velocity, or a coefficient outside 0..1.
    """
    if not 0 <= limb_darkening <= 1:
        raise DomainError(f"limb_darkening must be within 0 to 1, got {limb_darkening:g}")
    bad = ~((vsini_kms >= 0) & torch.isfinite(vsini_kms))
    if bool(bad.any()):
        raise DomainError(f"vsini must be finite and not negative, got {vsini_kms[bad][0].item():g} km/s")
    z = 2 * math.pi * vsini_kms[..., None] * frequency
    edge, disc = _edge_term(z), _disc_term(z)
    return ((1 - limb_darkening) * edge + limb_darkening * disc) / (1 - limb_darkening / 3)


def macroturbulence(frequency: Tensor, vmac_kms: Tensor) -> Tensor:
    """Transfer function of isotropic radial-tangential macroturbulence (Gray 2005, sect. 17).

    Radial and tangential flows of equal area and equal dispersion ``vmac``, integrated over a disc without
    limb darkening: (1 - exp(-a)) / a with a = (pi f vmac)^2.
    """
    a = (math.pi * vmac_kms[..., None] * frequency) ** 2
    small = a < 1e-3
    safe = torch.where(small, torch.ones_like(a), a)
    return torch.where(small, 1 - a / 2 + a**2 / 6, -torch.expm1(-safe) / safe)


def shift(frequency: Tensor, velocity_kms: Tensor) -> Tensor:
    """Transfer function (complex) of a Doppler shift; positive velocities move lines to the red.

    The shift in c ln(wavelength) is c ln(1 + v/c), which is exact.
    """
    phase = -2 * math.pi * (C_KMS * torch.log1p(velocity_kms / C_KMS))[..., None] * frequency
    return torch.polar(torch.ones_like(phase), phase)


def transfer(
    frequency: Tensor,
    *,
    vsini_kms: Tensor,
    resolution: Tensor | None = None,
    vmac_kms: Tensor | None = None,
    limb_darkening: float = 0.6,
) -> Tensor:
    """Product of rotation, macroturbulence and instrument (real), shape (..., m)."""
    total = rotation(frequency, vsini_kms, limb_darkening)
    if vmac_kms is not None:
        total = total * macroturbulence(frequency, vmac_kms)
    if resolution is not None:
        total = total * instrument(frequency, resolution)
    return total


class TransferTable:
    """Tabulated `transfer`: several times faster, without gradients, errors up to 2e-6.

    Rotation depends on f v sin i alone, macroturbulence on f vmac alone. Both are tabulated densely enough for linear
    interpolation. Velocities above the largest are replaced by the largest.
    """

    _STEP = 1e-3
    """Step of the table in f v sin i: with second derivatives up to 9, interpolation errors are 1e-6."""

    def __init__(self, frequency: Tensor, vsini_kms: float, vmac_kms: float) -> None:
        """Tabulate.

        Args:
            frequency: cycles per km/s (m,), ascending from 0.
            vsini_kms: largest projected rotational velocity.
            vmac_kms: largest macroturbulence.
        """
        self._frequency = frequency
        one = torch.ones(1, dtype=torch.float64)
        highest = float(frequency[-1])
        rows: list[tuple[Callable[[Tensor, Tensor], Tensor], float, float]] = [
            (rotation, vsini_kms, self._STEP),
            (macroturbulence, vmac_kms, self._STEP / 2),
        ]
        self._tables = []
        for function, largest, step in rows:
            count = math.ceil(largest * highest / step) + 2
            values = function(step * torch.arange(count, dtype=torch.float64), one)[0].to(frequency)
            self._tables.append((values, values.diff(append=values[-1:]), frequency / step))

    def __call__(self, *, vsini_kms: Tensor, vmac_kms: Tensor, resolution: Tensor, count: int | None = None) -> Tensor:
        """Product of rotation, macroturbulence and instrument (n, m) for velocities and R = lambda / FWHM (n,).

        For all m frequencies, or the first ``count`` of them.
        """
        same = bool((resolution == resolution[:1]).all())  # as in the likelihood of one star
        total = instrument(self._frequency[:count], resolution[:1] if same else resolution)
        for velocity, (values, steps, frequency) in zip((vsini_kms, vmac_kms), self._tables, strict=True):
            place = (velocity[:, None] * frequency[:count]).clamp_(max=len(values) - 1).flatten()
            row = place.to(torch.int32)
            slope = steps.index_select(0, row)
            total = slope.mul_(place.sub_(row)).add_(values.index_select(0, row)).view(len(velocity), -1).mul_(total)
        return total


def cutoff(resolution: float, level: float = 1e-6) -> float:
    """Frequency (cycles per km/s) above which a profile of that R passes less than ``level``."""
    return math.sqrt(-math.log(level) / 2) / (math.pi * float(instrument_sigma(resolution)))


class _BesselRatio(torch.autograd.Function):
    """2 J1(z) / z with its derivative -2 J2(z) / z; torch gives no gradient for Bessel functions."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        small = z.abs() < 1e-2
        safe = torch.where(small, torch.ones_like(z), z)
        square = z * z
        series = 1 + square * (square / 192 - 1 / 8)
        return torch.where(small, series, 2 * torch.special.bessel_j1(safe) / safe)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        small = z.abs() < 1e-1
        safe = torch.where(small, torch.ones_like(z), z)
        j2 = 2 * torch.special.bessel_j1(safe) / safe - torch.special.bessel_j0(safe)
        return gradients[0] * torch.where(small, -z / 4 + z**3 / 48, -2 * j2 / safe)


def _edge_term(z: Tensor) -> Tensor:
    """2 J1(z) / z: the disc without limb darkening."""
    return _BesselRatio.apply(z)


def _disc_term(z: Tensor) -> Tensor:
    """2 (sin z - z cos z) / z^3: the fully darkened disc."""
    small = z.abs() < 0.7
    safe = torch.where(small, torch.ones_like(z), z)
    square = z * z
    series = 2 / 3 + square * (-1 / 15 + square * (1 / 420 + square * (-1 / 22680 + square / 1995840)))
    return torch.where(small, series, 2 * (torch.sin(safe) - safe * torch.cos(safe)) / (safe * safe * safe))
