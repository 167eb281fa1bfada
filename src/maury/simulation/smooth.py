"""Factors that vary slowly with wavelength: errors of the continuum, steps between orders, level of the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from maury.emulator import NetworkPixels
from maury.simulation.conditions import ContinuumSettings, NoiseSettings
from maury.simulation.draws import Draws

_NODE_PIXELS = 20
"""Pixels between nodes: linear interpolation between them follows a ripple of 12 Å to 2 % of its amplitude."""


@dataclass(frozen=True)
class Orders:
    """Positions of the orders of each spectrum."""

    length_aa: Tensor  # length of an order (n,), Å
    offset_aa: Tensor  # length of the part of the first order that lies before the window (n,), Å

    def number(self, wavelength_aa: Tensor) -> Tensor:
        """Number of the order plus the fraction of it passed (n, p), at wavelengths (p,) from the window's start, Å.

        The first order is 0: 2.25 is a quarter into the third order.
        """
        return (wavelength_aa + self.offset_aa[:, None]) / self.length_aa[:, None]


class Smooth:
    """Draws slowly varying factors at nodes over the window and interpolates them linearly to pixels."""

    def __init__(
        self, pixels: NetworkPixels, continuum: ContinuumSettings, noise: NoiseSettings, device: torch.device
    ) -> None:
        self.continuum, self.noise, self.count = continuum, noise, pixels.count
        nodes = max(2, pixels.count // _NODE_PIXELS + 1)
        wavelength = pixels.wavelength_aa
        self.span_aa = float(wavelength[-1] - wavelength[0])
        x = np.interp(np.linspace(0, pixels.count - 1, nodes), np.arange(pixels.count), wavelength) - wavelength[0]
        pieces = max(1, round(self.span_aa / continuum.knot_aa))
        knots = np.r_[[0.0] * 3, np.linspace(0, self.span_aa, pieces + 1), [self.span_aa] * 3]
        basis = BSpline.design_matrix(np.clip(x, 0, self.span_aa), knots, 3).toarray()
        basis /= np.sqrt((basis**2).sum(1).mean())
        self.nodes_aa = torch.from_numpy(x).float().to(device)
        self.centred = self.nodes_aa / self.span_aa * 2 - 1
        self._basis = torch.from_numpy(basis.T).float().to(device)

    def at_pixels(self, values: Tensor) -> Tensor:
        """Interpolate values (n, nodes) to all pixels (n, p)."""
        return torch.nn.functional.interpolate(values[:, None], size=self.count, mode="linear", align_corners=True)[
            :, 0
        ]

    def orders(self, draws: Draws) -> Orders:
        """Draw length and offset of the orders."""
        length = draws.log_uniform(self.continuum.order_aa)
        return Orders(length, draws.uniform() * length)

    def continuum_factor(self, snr: Tensor, level: Tensor, orders: Orders, draws: Draws) -> Tensor:
        """Draw the fitted over the true continuum (n, nodes).

        ``snr`` (n,) is per pixel, ``level`` (n,) the model error between lines; steps occur between ``orders``.
        """
        s = self.continuum
        size = (s.floor**2 + (s.share_of_noise / snr) ** 2 + (s.share_of_model_error * level) ** 2).sqrt()
        spline = draws.normal(len(self._basis)) @ self._basis
        slope, bend = (draws.normal()[:, None] for _ in range(2))
        parabola = slope * self.centred * math.sqrt(1.5) + bend * (self.centred**2 - 1 / 3) * math.sqrt(45 / 8)
        error = size[:, None] * (math.sqrt(2 / 3) * spline + math.sqrt(1 / 3) * parabola)
        period = draws.log_uniform(s.ripple_aa)[:, None]
        phase = draws.uniform(0, 2 * math.pi)[:, None]
        ripple = draws.uniform(0, s.ripple) * draws.chance(s.ripple_share)
        error = error + ripple[:, None] * torch.sin(2 * math.pi * self.nodes_aa / period + phase)
        number = orders.number(self.nodes_aa).long()
        levels = s.join * draws.normal(int(self.span_aa / s.order_aa[0]) + 3)
        levels = levels * draws.chance(s.join_share)[:, None]
        return 1 + error + levels.gather(1, number.clamp_max(levels.shape[1] - 1))

    def noise_size(self, orders: Orders, draws: Draws) -> Tensor:
        """Draw the level of the noise (n, nodes) relative to its median over the window: blaze, slope and curvature."""
        s = self.noise
        slope, bend, blaze = draws.uniform(-1, 1), draws.uniform(-1, 1), draws.uniform(0, s.blaze)
        inside = orders.number(self.nodes_aa)
        inside = 2 * (inside - inside.floor()) - 1
        log = s.tilt / 2 * (slope[:, None] * self.centred + bend[:, None] * self.centred**2)
        size = log.exp() * (1 + blaze[:, None] * inside**4)
        return size / size.median(1, keepdim=True).values
