"""Wavelengths: air and vacuum, Doppler shifts, grids uniform in ln(wavelength), pixels, resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.errors import DomainError

if TYPE_CHECKING:
    from scipy import sparse  # imported where it is used: readers, which need none, load in half of the time

C_KMS = 299_792.458
"""Speed of light, km/s."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Sampling = Literal["linear", "log"]

_REGULAR = 0.02
"""Largest deviation of pixel centres from equidistant positions, as a fraction of a pixel."""


def refractive_index(vacuum_aa: ArrayLike) -> Floats:
    """Refractive index of standard air at a vacuum wavelength in Å (Ciddor 1996, eq. 1; 15 C, 450 ppm CO2)."""
    s2 = (1e4 / np.asarray(vacuum_aa, float)) ** 2
    return 1 + 1e-8 * (5792105.0 / (238.0185 - s2) + 167917.0 / (57.362 - s2))


def vacuum_to_air(vacuum_aa: ArrayLike) -> Floats:
    """Air wavelength (Å) of a vacuum wavelength (Å); Ciddor (1996)."""
    return np.asarray(vacuum_aa, float) / refractive_index(vacuum_aa)


def air_to_vacuum(air_aa: ArrayLike) -> Floats:
    """Vacuum wavelength (Å) of an air wavelength (Å): the inverse of `vacuum_to_air`, by iteration to 1e-9 Å."""
    air = np.asarray(air_aa, float)
    vacuum = air * refractive_index(air)
    for _ in range(3):
        vacuum = air * refractive_index(vacuum)
    return vacuum


def doppler(wavelength_aa: ArrayLike, velocity_kms: float) -> Floats:
    """Shift rest wavelengths (Å) to those seen at ``velocity_kms`` (positive: receding), lambda (1 + v/c)."""
    return np.asarray(wavelength_aa, float) * (1 + velocity_kms / C_KMS)


@dataclass(frozen=True)
class LogGrid:
    """A periodic grid, uniform in ln(wavelength): ``wavelength[j] = start_aa * exp(j * step_kms / c)``.

    Convolution with rotation, macroturbulence and an instrument profile of constant R is a product in its Fourier
    transform. Frequencies are in cycles per km/s.

    Attributes:
        start_aa: first wavelength, Å (air).
        step_kms: step, c times the difference of ln(wavelength), km/s.
        size: number of pixels; the period is ``size * step_kms``.
    """

    start_aa: float
    step_kms: float
    size: int

    @property
    def wavelength_aa(self) -> Floats:
        """Wavelengths (size,) in Å."""
        return self.start_aa * np.exp(np.arange(self.size) * self.step_kms / C_KMS)

    @property
    def frequency(self) -> Floats:
        """Frequencies of `numpy.fft.rfft` (size // 2 + 1,), cycles per km/s."""
        return np.asarray(np.fft.rfftfreq(self.size, self.step_kms), np.float64)

    def position(self, wavelength_aa: ArrayLike) -> Floats:
        """Fractional pixel index of wavelengths (Å)."""
        return np.log(np.asarray(wavelength_aa, float) / self.start_aa) * C_KMS / self.step_kms

    def with_size(self, size: int) -> LogGrid:
        """The same start and period with another number of pixels (for truncated or padded Fourier transforms)."""
        return LogGrid(self.start_aa, self.step_kms * self.size / size, size)


def add_velocities(velocity_kms: Any, frame_kms: float) -> Any:
    """Velocity (km/s) of a source with ``velocity_kms`` in a frame that has ``frame_kms``; Doppler factors multiply."""
    return C_KMS * ((1 + velocity_kms / C_KMS) * (1 + frame_kms / C_KMS) - 1)


def subtract_velocities(velocity_kms: Any, frame_kms: float) -> Any:
    """Velocity (km/s) relative to a frame that moves with ``frame_kms``: the inverse of `add_velocities`."""
    return C_KMS * ((1 + velocity_kms / C_KMS) / (1 + frame_kms / C_KMS) - 1)


_I0 = [1 / math.factorial(k) ** 2 for k in range(28)]
"""Series of the Bessel function I0(x) in (x / 2)^2: exact to 1e-15 up to x = 12, and faster than np.i0."""


def sinc_weights(position: ArrayLike, size: int, taps: int = 16, beta: float = 10.0) -> sparse.csr_array:
    """Weights (len(position), size) that interpolate a periodic, band-limited signal at fractional pixels.

    A Kaiser-windowed sinc, rows normalised to one. A wave below 0.6 of the Nyquist frequency is reproduced to 3e-5
    of its amplitude with the defaults (12 taps and a shape of 8 reach 1e-3, 20 and 12 reach 1e-6).

    Args:
        position: fractional pixel indices (n,).
        size: number of pixels of the periodic signal.
        taps: samples used for each point, even.
        beta: shape of the Kaiser window.
    """
    from scipy import sparse

    x = np.asarray(position, float)
    first = np.floor(x).astype(int) - taps // 2 + 1
    columns = first[:, None] + np.arange(taps)
    distance = x[:, None] - columns
    window = np.polynomial.polynomial.polyval((beta / 2) ** 2 * (1 - (2 * distance / taps) ** 2), _I0)
    weights = np.sinc(distance) * window
    weights /= weights.sum(1, keepdims=True)
    rows = np.arange(0, columns.size + 1, taps)
    matrix = sparse.csr_array((weights.ravel(), columns.ravel() % size, rows), shape=(len(x), size))
    matrix.sum_duplicates()
    return matrix


def average_pixels(count: int, factor: int) -> sparse.csr_array:
    """Weights (count // factor, count) that average ``factor`` neighbouring pixels: flux-conserving downsampling.

    Raises:
        DomainError: ``count`` is not a multiple of ``factor``.
    """
    from scipy import sparse

    if factor < 1 or count % factor:
        raise DomainError(f"{count} pixels cannot be averaged by {factor}: not a multiple")
    rows = np.arange(count) // factor
    return sparse.csr_array((np.full(count, 1 / factor), (rows, np.arange(count))), shape=(count // factor, count))


def pixel_edges(centre: ArrayLike) -> Floats:
    """Edges (n + 1,) of adjoining pixels about their centres (n,): halfway between neighbours."""
    x = np.asarray(centre, float)
    inner = (x[1:] + x[:-1]) / 2
    return np.r_[x[0] - (inner[0] - x[0]), inner, x[-1] + (x[-1] - inner[-1])]


def rebin(edges: ArrayLike, values: ArrayLike, onto: ArrayLike, smooth: bool = True) -> Floats:
    """Mean of a spectrum over new pixels, its integral conserved (m,).

    The integral up to each old edge is interpolated at the new edges: by a cubic spline, so that structure at the
    limit of the sampling is kept and pixels may be made smaller; or linearly: the overlap of old and new pixels.

    Args:
        edges: edges of the old pixels (n + 1,), increasing.
        values: mean of the spectrum in each old pixel (n,), finite.
        onto: edges of the new pixels (m + 1,), increasing; beyond the old ones the spectrum is its last value.
        smooth: cubic instead of linear.
    """
    from scipy.interpolate import make_interp_spline

    old, new, mean = (np.asarray(x, float) for x in (edges, onto, values))
    level = mean.mean()
    total = np.r_[0.0, np.cumsum((mean - level) * np.diff(old))]
    inside = np.clip(new, old[0], old[-1])
    at = make_interp_spline(old, total, k=3)(inside) if smooth else np.interp(inside, old, total)
    at = at + np.where(new < old[0], (new - old[0]) * (mean[0] - level), 0)
    at = at + np.where(new > old[-1], (new - old[-1]) * (mean[-1] - level), 0)
    return np.asarray(np.diff(at) / np.diff(new) + level, np.float64)


def window_pixels(low_aa: float, high_aa: float, step_aa: float) -> Floats:
    """Centres (p,) of linear pixels: ``low_aa``, then every ``step_aa``, up to ``high_aa``.

    Raises:
        DomainError: fewer than two pixels, or a step that is not positive.
    """
    if not step_aa > 0 or not (high_aa - low_aa) / step_aa > 1 - 1e-9:
        raise DomainError(f"a window of {low_aa:g} to {high_aa:g} Å holds no two pixels of {step_aa:g} Å")
    return np.asarray(low_aa + step_aa * np.arange(int((high_aa - low_aa) / step_aa + 1e-6) + 1), np.float64)


def regular_pixels(first_aa: float, last_aa: float, pixels: int, sampling: Sampling = "linear") -> Floats:
    """Centres (pixels,) of equidistant pixels between and with the first and the last."""
    if sampling == "log":
        return np.asarray(np.exp(np.linspace(np.log(first_aa), np.log(last_aa), pixels)), np.float64)
    return np.linspace(first_aa, last_aa, pixels)


def sampling_of(wavelength_aa: ArrayLike, where: str = "wavelengths") -> Sampling:
    """Whether wavelengths (p,) are equidistant themselves or in their logarithm, to 2 % of a pixel.

    Raises:
        DomainError: they are neither.
    """
    values = np.asarray(wavelength_aa, float)
    samplings: tuple[Sampling, ...] = ("linear", "log")
    for sampling in samplings:
        x = np.log(values) if sampling == "log" else values
        if np.abs(x - np.linspace(x[0], x[-1], x.size)).max() <= _REGULAR * (x[-1] - x[0]) / (x.size - 1):
            return sampling
    raise DomainError(f"{where}: pixels are neither equidistant in wavelength nor in its logarithm")


def pixel_points(wavelength_aa: ArrayLike, average: int = 4) -> Floats:
    """Points (p * average,), evenly spread over each pixel, whose mean is the pixel's flux.

    Pixels end halfway between their centres; the outermost are as wide outwards as inwards.
    """
    edges = pixel_edges(wavelength_aa)
    inside = (np.arange(average) + 0.5) / average
    return np.asarray(edges[:-1, None] + np.diff(edges)[:, None] * inside, float).ravel()


def fast_size(minimum: int) -> int:
    """Smallest even FFT length not below ``minimum`` whose prime factors are 2, 3 and 5 only."""
    size = minimum + minimum % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


FOUNDING_START_AA, FOUNDING_END_AA, FOUNDING_PIXELS = 5050.0, 5350.0, 29_788
"""The founding project's window: 29,788 linear pixels of 300/29787 Å, also used as 7,447 means of four."""


def founding_wavelengths(pixels: int = FOUNDING_PIXELS) -> tuple[Floats, Floats, int]:
    """Wavelengths of the founding window at full or reduced sampling.

    Args:
        pixels: 29,788 or a divisor of it (7,447, 14,894 ...).

    Returns:
        Wavelengths (pixels,) in Å air, the 29,788 wavelengths they are averaged from, and how many into one.

    Raises:
        DomainError: 29,788 is not a multiple of ``pixels``.
    """
    fine = np.linspace(FOUNDING_START_AA, FOUNDING_END_AA, FOUNDING_PIXELS)
    if pixels < 1 or FOUNDING_PIXELS % pixels:
        raise DomainError(f"pixels must divide {FOUNDING_PIXELS} (29788, 14894, 7447), got {pixels}")
    average = FOUNDING_PIXELS // pixels
    return fine.reshape(pixels, average).mean(1), fine, average
