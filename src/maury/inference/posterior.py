"""A posterior as samples: medians, intervals, upper limits, and the flags that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from maury.networks.posterior import Inputs, PosteriorNetwork
from maury.networks.prior import Prior
from maury.wavelengths import C_KMS

Floats = NDArray[np.float64]

FLAGS = {
    "edge_<label>": "more than a tenth of the posterior lies within 1 % of an end of the label's range",
    "vsini_upper_limit": "v sin i is below a resolution element and compatible with 0: vsini_upper is its 95 % limit",
}
"""What limits the trust in a posterior, by name."""

INTERVAL = (0.1587, 0.8413)
"""Quantiles between which the central 68 % lie."""

UPPER = 0.95
"""Quantile of an upper limit."""

_EDGE, _AT_EDGE = 0.01, 0.1
_CONSISTENT_WITH_0 = 0.55  # 16 % quantile over median: 0.32 for a flat posterior from 0 on, 0.55 at 2.3 sigma from 0


@dataclass(frozen=True)
class Posterior:
    """Samples of one star's labels.

    Attributes:
        names: the k labels.
        samples: (n, k), in the labels' units.
        resolution: R of the spectrum.
        flags: names from `FLAGS`.
    """

    names: tuple[str, ...]
    samples: Floats = field(repr=False)
    resolution: float
    flags: tuple[str, ...]

    @property
    def median(self) -> Floats:
        """Median of each label (k,)."""
        return np.asarray(np.median(self.samples, axis=0))

    @property
    def interval(self) -> Floats:
        """Lower and upper ends (2, k) of the central 68 % of each label."""
        return np.asarray(np.quantile(self.samples, INTERVAL, axis=0))

    @property
    def covariance(self) -> Floats:
        """Covariance matrix (k, k)."""
        return np.cov(self.samples, rowvar=False)

    @property
    def upper_limits(self) -> dict[str, float]:
        """95 % upper limits, by label, of labels that are not measured."""
        if "vsini_upper_limit" not in self.flags:
            return {}
        return {"vsini": float(np.quantile(self.samples[:, self.names.index("vsini")], UPPER))}


def sample(network: PosteriorNetwork, inputs: Inputs, count: int, seed: int) -> list[Posterior]:
    """Posteriors of spectra; a star's samples depend on the seed, and not on which others come with it.

    Args:
        network: the network.
        inputs: spectra (b, p).
        count: samples of each.
        seed: of the samples.
    """
    device = next(network.parameters()).device
    names = network.prior.space.names
    with torch.inference_mode():
        features = network(Inputs(*(part.to(device) for part in inputs)))
        draws = [network.sample(row[None], count, torch.Generator(device).manual_seed(seed)) for row in features]
    posteriors = []
    for drawn, resolution in zip(draws, inputs.resolution.tolist(), strict=True):
        flags = edges(network.prior, drawn[0]) + limit_flags(names, drawn[0].double().cpu().numpy(), resolution)
        posteriors.append(Posterior(names, drawn[0].double().cpu().numpy(), resolution, flags))
    return posteriors


def edges(prior: Prior, samples: torch.Tensor) -> tuple[str, ...]:
    """Flags of labels whose samples (n, k) crowd at an end of the prior; slow rotation is none, but an upper limit."""
    unit = prior.unit(samples)
    low, high = ((x < _EDGE).float().mean(0) > _AT_EDGE for x in (unit, 1 - unit))
    names = prior.space.names
    low &= torch.tensor([name != "vsini" for name in names], device=low.device)
    return tuple(f"edge_{name}" for name, edge in zip(names, (low | high).tolist(), strict=True) if edge)


def limit_flags(names: tuple[str, ...], samples: Floats, resolution: float) -> tuple[str, ...]:
    """``vsini_upper_limit`` where v sin i (n, k) is no measurement."""
    if "vsini" not in names:
        return ()
    low, median = np.quantile(samples[:, names.index("vsini")], (INTERVAL[0], 0.5))
    return ("vsini_upper_limit",) if is_limit(low, median, resolution) else ()


def is_limit(low: Floats | float, median: Floats | float, resolution: Floats | float) -> NDArray[np.bool_]:
    """Whether v sin i of a 16 % quantile and a median (km/s) is only an upper limit at R = lambda / FWHM."""
    median = np.asarray(median)
    return (median < C_KMS / np.asarray(resolution)) & (np.asarray(low) < _CONSISTENT_WITH_0 * median)
