"""Radial velocity by cross-correlation with emulator templates that are moved by up to 500 km/s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.preparation.segments import REACH_KMS, OrderSegment
from maury.preparation.templates import MARGIN_KMS, Bank, without_slow_part
from maury.wavelengths import C_KMS, Floats

NEAR_KMS = 30.0
"""How far a velocity that is known may be refined."""

LINE_SHIFT_KMS = 0.2
"""Velocity of the lines of a star that is at rest: gravitational redshift less convective blueshift of the Sun, as
measured on its flux atlas (0.205 km/s). Catalogues, whose zero point is the Sun or asteroids, have it taken out."""

_CHANCE = 40.0
"""Chi-square that noise alone does not reach at the best of all velocities and templates (6 standard deviations)."""


@dataclass(frozen=True)
class Correlation:
    """The best template's cross-correlation."""

    velocity_kms: Floats  # (v,) velocities
    # part of the variance of the line spectrum that the template explains at each velocity, with the sign of its
    # amplitude (v,): 1 is perfect
    value: Floats
    peak_kms: float  # where it is highest
    height: float  # its highest value
    second: float  # the highest value away from the peak, beyond the width of the lines
    scatter: float  # standard deviation of the values there
    labels: Floats  # labels of the template (k,)
    vsini_kms: float  # rotation of the template
    chance: float  # what noise alone reaches somewhere, with some template

    @property
    def believable(self) -> bool:
        """Whether the peak stands out: six times the scatter elsewhere, 1.5 times any other peak, and no chance."""
        return self.height > max(6 * self.scatter, 1.5 * self.second, self.chance)


def rough_depths(segments: list[OrderSegment]) -> list[Floats]:
    """1 - flux / envelope of each segment (n,), what no line can be cut off."""
    return [np.clip(1 - s.flux / np.where(s.envelope > 0, s.envelope, np.inf), -0.3, 1.2) for s in segments]


def on_grid(segments: list[OrderSegment], depths: list[Floats], templates: Bank) -> tuple[Tensor, Tensor]:
    """Depths without their slow part, and where there are any, both on the bank's grid (n,).

    Where orders overlap they are averaged, weighted by their flux.
    """
    grid = templates.grid
    wavelength = grid.wavelength_aa
    total, weight = np.zeros(grid.size), np.zeros(grid.size)
    for segment, depth in zip(segments, depths, strict=True):
        wave = segment.wavelength_aa[segment.good]
        if wave.size < 2:
            continue
        inside = (wavelength >= wave[0]) & (wavelength <= wave[-1])
        x = wavelength[inside]
        gap = np.interp(x, wave[1:], np.diff(wave))
        near = gap < 4 * float(np.median(np.diff(segment.wavelength_aa)))
        share = np.where(near, np.interp(x, segment.wavelength_aa, segment.envelope) * segment.scale, 0.0)
        total[inside] += np.interp(x, wave, depth[segment.good]) * share
        weight[inside] += share
    seen = weight > 0
    depth = np.where(seen, total / np.where(seen, weight, 1), 0.0)
    if seen.any():
        depth = np.where(seen, depth - depth[seen].mean(), 0.0)
    smooth = without_slow_part(torch.from_numpy(depth).float(), grid.step_kms)
    return torch.where(torch.from_numpy(seen), smooth, torch.zeros(())), torch.from_numpy(seen).float()


def explained(depth: Tensor, seen: Tensor, templates: Bank) -> tuple[Floats, Tensor, Tensor]:
    """Part of the variance that each template explains at each velocity, and with which amplitude.

    With template t, data d and weights w (1 where observed), sums running over the pixels of a template moved by v:
    amplitude a = sum w d t / sum w t^2, part a |a| sum w t^2 / sum w d^2.

    Returns:
        Velocities (v,), parts (templates, v), amplitudes (templates, v).
    """
    size, step = templates.grid.size, templates.grid.step_kms
    reach, margin = round(REACH_KMS / step), round(MARGIN_KMS / step)
    lags = slice(margin - reach, margin + reach + 1)

    def correlate(conjugate: Tensor, values: Tensor) -> Tensor:
        return torch.fft.irfft(conjugate * torch.fft.rfft(values), n=size)[..., lags]

    product = correlate(templates.lines, depth * seen)
    norm = correlate(templates.squares, seen).clamp_min(1e-6)
    variance = correlate(templates.support, depth.square() * seen).clamp_min(1e-6)
    shift = np.arange(-reach, reach + 1) * step  # c ln(lambda / lambda_0)
    return C_KMS * np.expm1(shift / C_KMS), product * product.abs() / (norm * variance), product / norm


def correlate(
    segments: list[OrderSegment], templates: Bank, within_kms: tuple[float, float] = (-np.inf, np.inf)
) -> Correlation:
    """The template and the velocity, within a range, that explain most of the line spectrum."""
    depth, seen = on_grid(segments, rough_depths(segments), templates)
    velocity, value, _ = explained(depth, seen, templates)
    allowed = (velocity >= within_kms[0]) & (velocity <= within_kms[1])
    best = int(value[:, torch.from_numpy(allowed)].amax(1).argmax())
    curve = value[best].double().numpy()
    peak = int(np.clip(np.where(allowed, curve, -np.inf).argmax(), 1, curve.size - 2))
    a, b, c = curve[peak - 1 : peak + 2]
    bend = a - 2 * b + c
    offset = 0.5 * (a - c) / bend if bend < 0 else 0.0
    vsini = float(templates.vsini_kms[best])
    away = apart(velocity, float(velocity[peak]), vsini)
    return Correlation(
        velocity,
        curve,
        float(velocity[peak] + offset * templates.grid.step_kms),
        float(curve[peak]),
        float(curve[away].max()),
        float(curve[away].std()),
        templates.labels[best],
        vsini,
        _CHANCE / _elements(segments, seen),
    )


def _elements(segments: list[OrderSegment], seen: Tensor) -> float:
    """Independent pixels: those of the data, or those of the grid where these are fewer."""
    return max(1.0, min(float(seen.sum()), sum(int(segment.good.sum()) for segment in segments)))


def apart(velocity_kms: Floats, peak_kms: float, vsini_kms: float) -> NDArray[np.bool_]:
    """Velocities (v,) at which a peak is not that of the star's own lines."""
    return np.asarray(np.abs(velocity_kms - peak_kms) > 20 + 2.5 * vsini_kms)


def second_star(
    segments: list[OrderSegment],
    residuals: list[Floats],
    models: list[Floats],
    templates: Bank,
    first: tuple[float, float],
) -> tuple[float, float]:
    """Velocity (km/s) and strength of a line spectrum that is left in the residuals away from the star's velocity.

    ``residuals`` (n,) are model minus normalised flux of each segment; ``first`` are velocity and rotation of the star
    itself, km/s.

    Returns:
        Velocity, and the rms of the lines found over the rms of the star's own, about the ratio of their light; 0 when
        they explain less than five times the scatter at other velocities, or what noise explains by chance.
    """
    depth, seen = on_grid(segments, [np.clip(r, -0.5, 0.5) for r in residuals], templates)
    own, _ = on_grid(segments, [1 - m for m in models], templates)
    velocity, value, _ = explained(depth, seen, templates)
    away = apart(velocity, *first)
    value = torch.where(torch.from_numpy(away), value, torch.zeros(()))
    best = int(value.amax(1).argmax())
    curve = value[best].double().numpy()
    peak = int(curve.argmax())
    if curve[peak] < max(5 * curve[away].std(), _CHANCE / _elements(segments, seen)):
        return float(velocity[peak]), 0.0
    ratio = float(depth.square().sum() / own.square().sum().clamp_min(1e-12))
    return float(velocity[peak]), float(np.sqrt(curve[peak] * ratio))
