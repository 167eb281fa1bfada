"""Gaps, masked pixels and unmasked cosmic rays of simulated observations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maury.emulator import NetworkPixels
from maury.simulation.conditions import GapSettings
from maury.simulation.draws import Draws
from maury.simulation.smooth import Orders
from maury.wavelengths import C_KMS

_LONGEST = 5
"""Largest length of a run of masked pixels."""
_SPIKES = 3
"""Largest number of unmasked cosmic rays of a spectrum."""


class Gaps:
    """Draws good pixels, and spikes of cosmic rays that were not masked."""

    def __init__(self, pixels: NetworkPixels, settings: GapSettings, device: torch.device) -> None:
        self.settings, self.count = settings, pixels.count
        wavelength = pixels.wavelength_aa
        self.start_aa = float(wavelength[0])
        self.x = torch.from_numpy(wavelength - wavelength[0]).float().to(device)

    def good(self, orders: Orders, draws: Draws) -> Tensor:
        """Pixels (n, p) that were observed and not masked."""
        s = self.settings
        kind = draws.uniform()
        fixed, between = s.fixed_share, s.fixed_share + s.orders_share
        good = self._one_piece(kind < fixed, (kind >= between) & (kind < between + s.short_share), draws)
        half = draws.uniform(*s.orders_aa) / 2 / orders.length_aa
        half = torch.where((kind >= fixed) & (kind < between), half, -1.0)[:, None]
        number = orders.number(self.x)
        good &= (number - number.round()).abs_() >= half
        return good & ~self._runs(draws)

    def _one_piece(self, fixed: Tensor, short: Tensor, draws: Draws) -> Tensor:
        """Pixels (n, p) that neither the fixed gap nor a short observation leaves out.

        ``fixed`` and ``short`` (n,) are spectra with the fixed gap, and those observed in a part of the window only.
        """
        s, span = self.settings, float(self.x[-1])
        shift = 1 + draws.uniform(-1, 1) * s.fixed_kms / C_KMS
        low, high = (end * shift - self.start_aa for end in s.fixed_aa)
        length = draws.uniform(min(s.short_aa, span), span)
        start = draws.uniform() * (span - length)
        centre = torch.where(fixed, (low + high) / 2, start + length / 2)
        nearest = torch.where(fixed, (high - low) / 2, -1.0)
        farthest = torch.where(short, length / 2, 2 * self.x[-1] + 1e4)
        distance = (self.x - centre[:, None]).abs_()
        return (distance >= nearest[:, None]) & (distance <= farthest[:, None])

    def _runs(self, draws: Draws) -> Tensor:
        """Masked pixels (n, p) in short runs."""
        target = draws.uniform(0, self.settings.bad_pixels)[:, None] * self.count
        runs = math.ceil(2 * self.settings.bad_pixels * self.count / (_LONGEST + 1))
        length = draws.uniform(1, _LONGEST + 1, runs).long()
        length = length * (length.cumsum(1) <= target)
        first = (draws.uniform(0, 1, runs) * self.count).long()
        bad = torch.zeros(draws.count, self.count + _LONGEST, dtype=torch.bool, device=draws.device)
        for step in range(_LONGEST):
            index = torch.where(length > step, first + step, self.count + _LONGEST - 1)
            bad.scatter_(1, index, torch.ones((), dtype=torch.bool, device=draws.device).expand_as(index))
        return bad[:, : self.count]

    def spikes(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3) hit by cosmic rays that were not masked, and their heights in standard deviations (n, 3)."""
        height = draws.uniform(*self.settings.spike_sigma, _SPIKES)
        hit = draws.chance(self.settings.spike_share)[:, None] & (draws.uniform(0, 1, _SPIKES) < 0.7)
        return (draws.uniform(0, 1, _SPIKES) * self.count).long().clamp_max(self.count - 1), height * hit
