"""`usable`: one spectrum on a network's pixels, checked and in double precision, as the likelihood needs it."""

from __future__ import annotations

import torch

from maury.errors import DomainError
from maury.pixelspectra import PixelSpectra

FEWEST_PIXELS = 200
"""Least number of unmasked pixels for a fit: 400 km/s or 7 Å."""


def usable(spectrum: PixelSpectra, name: str = "spectrum") -> PixelSpectra:
    """A single spectrum (p,) in double precision.

    Args:
        spectrum: on the network's pixels.
        name: of the spectrum, for messages.

    Raises:
        DomainError: it is a batch, has too few unmasked pixels, or an unmasked pixel has a flux that is not finite or
            a noise that is not positive.
    """
    if spectrum.flux.ndim != 1:
        raise DomainError(f"{name}: must be one spectrum (pixels,); got flux of shape {tuple(spectrum.flux.shape)}")
    good = spectrum.good
    count = int(good.sum())
    if count < FEWEST_PIXELS:
        raise DomainError(f"{name}: {count} good pixels; at least {FEWEST_PIXELS} are needed for a fit")
    if not bool(torch.isfinite(spectrum.flux[good]).all()):
        raise DomainError(f"{name}: flux that is not finite in good pixels")
    sigma = spectrum.sigma[good]
    if not bool((torch.isfinite(sigma) & (sigma > 0)).all()):
        raise DomainError(f"{name}: noise must be finite and above 0 in good pixels")
    return spectrum.to(dtype=torch.float64)
