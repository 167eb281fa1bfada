"""Posteriors of many spectra together, already on a network's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
import torch
from numpy.typing import NDArray

from maury.errors import DomainError
from maury.inference.posterior import INTERVAL, UPPER, is_limit
from maury.inference.result import unit_of
from maury.networks import load_cached
from maury.networks.posterior_network import PosteriorNetwork
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import Floats

if TYPE_CHECKING:
    from astropy.table import QTable

_BATCH = 256


@dataclass(frozen=True)
class Posteriors:
    """Medians, intervals and upper limits of many stars.

    Attributes:
        names: the k labels.
        median: (n, k), in the labels' units.
        lower: 16 % quantiles (n, k).
        upper: 84 % quantiles (n, k).
        vsini_upper: 95 % upper limits of v sin i (n,), NaN where it is measured.
        samples: (n, samples, k) float32, or None.
    """

    names: tuple[str, ...]
    median: Floats
    lower: Floats
    upper: Floats
    vsini_upper: Floats
    samples: NDArray[np.float32] | None = field(default=None, repr=False)

    def table(self) -> QTable:
        """One row per star, with units: ``<label>``, ``<label>_err``, ``vsini_upper``."""
        from astropy.table import QTable

        table = QTable()
        for k, name in enumerate(self.names):
            table[name] = self.median[:, k] * unit_of(name)
            table[f"{name}_err"] = (self.upper - self.lower)[:, k] / 2 * unit_of(name)
        table["vsini_upper"] = self.vsini_upper * u.km / u.s
        return table


def predict_batch(
    spectra: PixelSpectra,
    model: str,
    *,
    samples: int = 0,
    seed: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Posteriors:
    """Posteriors of spectra on a network's pixels, as `maury.preparation.network_input.to_network` gives them.

    Without samples, the quantiles are those of the network's marginal distribution of each label (thousands of stars a
    second); with samples, they are computed from the samples (hundreds of stars a second).

    Args:
        spectra: on the network's pixels (n, p).
        model: a packaged network, a run's folder or a network file.
        samples: samples per star, 0 for none.
        seed: of the samples.
        advance: called with the number of stars done.

    Raises:
        DomainError: the network has no posterior, the spectra are on other pixels, or the flux of a good pixel is not
            finite or its noise not positive.
        FormatError: the network cannot be read.
    """
    network, _ = load_cached(model)
    if not isinstance(network, PosteriorNetwork):
        raise DomainError(f"{model}: gives point estimates, no posterior")
    _check(spectra, network.config.pixels)
    names, device = network.transform.space.names, next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    levels = torch.tensor([INTERVAL[0], 0.5, INTERVAL[1], UPPER], device=device)
    quantiles, drawn = [], []
    with torch.inference_mode():
        for first in range(0, len(spectra), _BATCH):
            features = network(spectra[first : first + _BATCH].to(device, torch.float32))
            if samples:
                draws = network.sample(features, samples, generator)
                drawn.append(draws.cpu().numpy())
                quantiles.append(draws.quantile(levels, dim=1).transpose(0, 1).cpu())
            else:
                quantiles.append(network.quantiles(features).cpu())
            if advance is not None:
                advance(len(features))
    low, median, high, most = torch.cat(quantiles).double().numpy().transpose(1, 0, 2)
    limit = np.full(len(median), np.nan)
    if "vsini" in names:
        k = names.index("vsini")
        limit = np.where(is_limit(low[:, k], median[:, k], spectra.resolution.double().numpy()), most[:, k], np.nan)
    return Posteriors(names, median, low, high, limit, np.concatenate(drawn) if samples else None)


def _check(spectra: PixelSpectra, pixels: int) -> None:
    shape = tuple(spectra.flux.shape)
    if len(shape) != 2 or shape[1] != pixels or not shape[0]:
        raise DomainError(f"flux {shape}: the network takes (n, {pixels}), n at least 1")
    usable = spectra.flux.isfinite() & spectra.sigma.isfinite() & (spectra.sigma > 0)
    bad = (~spectra.mask & ~usable).any(1)
    bad |= ~(spectra.resolution.isfinite() & (spectra.resolution > 0))
    if bool(bad.any()):
        raise DomainError(
            f"spectrum {int(bad.int().argmax()) + 1}: flux not finite or sigma not positive in a good pixel, or "
            f"resolution not positive ({int(bad.sum())} of {len(spectra)} spectra)"
        )
