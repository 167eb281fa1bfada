"""Read the observed spectrum of a standard star; matrix that broadens a model to its pixels; continuum fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.interpolate import BSpline

from maury.broadening import transfer
from maury.errors import FormatError
from maury.lines.calibration_settings import StandardStar
from maury.readers import read
from maury.wavelengths import C_KMS, Floats, LogGrid

_STEP_KMS = 0.5
_HALF_KERNEL = 90
_KERNEL_FLOOR = 1e-6
_KERNEL_SIZE = 4096


def model_grid(window_aa: tuple[float, float], margin_aa: float = 3.0) -> LogGrid:
    """Grid in ln(wavelength), 0.5 km/s, for intrinsic spectra of a window with ``margin_aa`` at both ends."""
    start, end = window_aa[0] - margin_aa, window_aa[1] + margin_aa
    return LogGrid(start, _STEP_KMS, int(np.log(end / start) * C_KMS / _STEP_KMS) + 1)


@dataclass(frozen=True)
class Broadening:
    """Broadening and Doppler shift of a star's spectrum: velocities in km/s, and R = lambda / FWHM."""

    velocity_kms: float
    vsini_kms: float
    vmac_kms: float
    resolution: float


def broadening_matrix(wavelength_aa: Floats, grid: LogGrid, broadening: Broadening) -> sparse.csr_array:
    """Matrix (pixels, grid): convolution with rotation, macroturbulence and instrument, shift, sampling (cubic)."""
    kernel = broadening_kernel(broadening)
    offsets = np.arange(-_HALF_KERNEL, _HALF_KERNEL + 1)
    keep = np.abs(kernel) > _KERNEL_FLOOR * kernel.max()
    convolve = sparse.diags_array(
        [np.full(grid.size, value) for value in kernel[keep]],
        offsets=list(offsets[keep]),
        shape=(grid.size, grid.size),
        format="csr",
    )
    position = grid.position(wavelength_aa * (1 - broadening.velocity_kms / C_KMS))
    left = np.floor(position).astype(int)
    t = position - left
    weights = [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2]
    weights.append((t + 1) * t * (t - 1) / 6)
    rows = np.tile(np.arange(len(position)), 4)
    columns = np.concatenate([left - 1, left, left + 1, left + 2])
    sample = sparse.csr_array((np.concatenate(weights), (rows, columns)), shape=(len(position), grid.size))
    return sparse.csr_array(sample @ convolve)


def broadening_kernel(broadening: Broadening) -> Floats:
    """Kernel (181,) of rotation, macroturbulence and instrument in steps of 0.5 km/s, zero velocity in the middle."""
    frequency = torch.from_numpy(np.fft.rfftfreq(_KERNEL_SIZE, _STEP_KMS))
    values = transfer(
        frequency,
        vsini_kms=torch.tensor([broadening.vsini_kms], dtype=torch.float64),
        resolution=torch.tensor([broadening.resolution], dtype=torch.float64),
        vmac_kms=torch.tensor([broadening.vmac_kms], dtype=torch.float64),
    )
    kernel = np.fft.irfft(values[0].numpy(), _KERNEL_SIZE)
    return np.concatenate([kernel[-_HALF_KERNEL:], kernel[: _HALF_KERNEL + 1]])


def continuum_basis(wavelength_aa: Floats, window_aa: tuple[float, float], spacing_aa: float) -> sparse.csc_array:
    """Cubic B-splines (pixels, functions) with knots about every ``spacing_aa``."""
    low, high = window_aa
    knots = np.linspace(low, high, max(1, round((high - low) / spacing_aa)) + 1)
    knots = np.r_[[low] * 3, knots, [high] * 3]
    inside = np.clip(wavelength_aa, low + 1e-6, high - 1e-6)
    return sparse.csc_array(BSpline.design_matrix(inside, knots, 3))


def continuum(flux: Floats, model: Floats, basis: sparse.csc_array) -> Floats:
    """Fit a smooth continuum such that flux / continuum follows a model, with little effect of lines the model lacks.

    Reweighted least squares of flux / model on the basis, weights model^2 / (1 + (r / 1.5 s)^2)^1.5 with s from the
    median absolute residual; pixels in line cores (model below 0.3) get zero weight.
    """
    usable = model > 0.3
    ratio = flux / np.maximum(model, 0.05)
    weight = np.where(usable, model**2, 0.0)
    curve = np.ones_like(flux)
    for _ in range(12):
        normal = (basis.T @ (sparse.diags_array(weight) @ basis)).toarray()
        normal[np.diag_indices_from(normal)] += 1e-6 * weight.mean()
        curve = basis @ np.linalg.solve(normal, basis.T @ (weight * ratio))
        residual = flux / curve - model
        scale = 1.4826 * np.median(np.abs(residual[usable]))
        weight = np.where(usable, model**2, 0.0) / (1 + (residual / (1.5 * scale)) ** 2) ** 1.5
    return curve


def read_standard(
    star: StandardStar, folder: str, window_aa: tuple[float, float], mask_aa: Sequence[tuple[float, float]] = ()
) -> tuple[Floats, Floats]:
    """Read wavelengths (Å air, shifted by the star's ``velocity_kms``) and flux of a star; orders follow one another.

    Pixels in the ranges ``mask_aa`` are left out.

    Raises:
        FormatError: the file cannot be read or has no usable pixel in the window.
    """
    beside = {k: Path(folder) / str(v) for k, v in star.reading.items() if k in ("wavelength_file", "sigma_file")}
    options = {"resolution": star.resolution, **star.reading, **beside}
    observation = read(Path(folder) / star.file, window_aa=window_aa, **options)
    waves, fluxes = [], []
    for order in observation.overlapping(*window_aa):
        wave = order.wavelength_aa / (1 + star.velocity_kms / C_KMS)
        level = float(np.nanmedian(order.flux))
        good = (wave > window_aa[0]) & (wave < window_aa[1]) & ~np.asarray(order.mask, bool)
        good &= order.flux > 0.005 * level
        for low, high in mask_aa:
            good &= (wave < low) | (wave > high)
        waves.append(wave[good])
        fluxes.append(order.flux[good] / level)
    wavelength, flux = np.concatenate(waves), np.concatenate(fluxes)
    if wavelength.size < 100:
        raise FormatError(f"{star.file}: {wavelength.size} usable pixels in {window_aa[0]:g} to {window_aa[1]:g} Å")
    return wavelength, flux
