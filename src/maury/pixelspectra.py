"""`PixelSpectra`: spectra on a network's pixels, from preparation or simulation to network and likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from maury.errors import DomainError


@dataclass(frozen=True, eq=False, init=False)
class PixelSpectra:
    """Continuum-normalised spectra at rest on p pixels: one (p,) or a batch (n, p); immutable.

    ``spectra[3]`` is one spectrum, ``spectra[2:5]`` a batch, ``spectra[None]`` a batch of one spectrum.

    Attributes:
        flux: in units of the continuum (..., p); any value where masked.
        sigma: standard deviation of the noise (..., p), as if the pixels were independent: where neighbours are
            correlated, sums over several pixels have the right error. Any value where masked.
        mask: True where a pixel must not be used (..., p), as in `maury.spectra.Spectrum`.
        resolution: nominal resolving power R = lambda / FWHM of ``flux`` (...,).
        labels: true labels of simulated spectra (..., k); k = 0 for observed ones.
    """

    flux: Tensor
    sigma: Tensor
    mask: Tensor
    resolution: Tensor
    labels: Tensor

    def __init__(
        self,
        *,
        flux: ArrayLike | Tensor,
        sigma: ArrayLike | Tensor,
        resolution: ArrayLike | Tensor,
        mask: ArrayLike | Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        """Convert arrays to tensors; a single number for ``sigma`` or ``resolution`` applies to all pixels or spectra.

        Args:
            flux: (..., p).
            sigma: (..., p) or a number; NaN when unknown.
            resolution: (...,) or a number.
            mask: (..., p), boolean; by default no pixel is masked.
            labels: (..., k); by default none.

        Raises:
            DomainError: shapes differ, or the mask is not boolean.
        """
        flux = _tensor(flux)
        each = flux.shape[:-1]
        sigma, resolution = _tensor(sigma, flux, flux.shape), _tensor(resolution, flux, each)
        mask = torch.zeros_like(flux, dtype=torch.bool) if mask is None else _tensor(mask)
        labels = flux.new_empty((*each, 0)) if labels is None else labels
        for name, value, shape in (
            ("sigma", sigma, flux.shape), ("mask", mask, flux.shape), ("resolution", resolution, each),
            ("labels", labels, (*each, labels.shape[-1])),
        ):  # fmt: skip
            if tuple(value.shape) != tuple(shape):
                raise DomainError(f"{name}: shape must be {tuple(shape)}, as flux has it; got {tuple(value.shape)}")
        if mask.dtype != torch.bool:
            raise DomainError(f"mask: must be boolean, True where a pixel must not be used; got {mask.dtype}")
        for name, value in zip(NAMES, (flux, sigma, mask, resolution, labels), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def cat(cls, parts: Sequence[PixelSpectra]) -> PixelSpectra:
        """Batches joined one after the other."""
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in NAMES})

    @property
    def good(self) -> Tensor:
        """Pixels that may be used (..., p): the complement of ``mask``."""
        return ~self.mask

    def __len__(self) -> int:
        """Number of spectra of a batch."""
        return len(self.resolution)

    def __getitem__(self, index: Any) -> PixelSpectra:
        """Spectra by number, slice, list or boolean array; None adds an axis."""
        return PixelSpectra(**{name: getattr(self, name)[index] for name in NAMES})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PixelSpectra:
        """The same spectra on a device, in a floating-point type."""
        return PixelSpectra(
            **{name: getattr(self, name).to(device, None if name == "mask" else dtype) for name in NAMES}
        )

    def with_(self, **changes: Any) -> PixelSpectra:
        """A copy with some attributes replaced."""
        return PixelSpectra(**{name: getattr(self, name) for name in NAMES} | changes)


NAMES = tuple(entry.name for entry in fields(PixelSpectra))


def _tensor(values: ArrayLike | Tensor, like: Tensor | None = None, shape: Sequence[int] | None = None) -> Tensor:
    """Values as a tensor; one number becomes a tensor of a shape, in the type and on the device of another."""
    if isinstance(values, Tensor):
        return values
    if like is not None and shape is not None and isinstance(values, int | float):
        return torch.full(tuple(shape), float(values), dtype=like.dtype, device=like.device)
    return torch.as_tensor(values)
