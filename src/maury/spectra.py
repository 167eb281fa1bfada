"""`Spectrum`, one contiguous range of wavelengths, and `Observation`, all orders of one file."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError

Frame = Literal["rest", "barycentric", "topocentric", "unknown"]


@dataclass(frozen=True)
class Spectrum:
    """A spectrum with increasing air wavelengths; all but wavelengths and flux are given by keyword.

    Attributes:
        wavelength_aa: wavelengths in Å, air, strictly increasing (n,).
        flux: flux, in units of the continuum if ``normalised`` (n,); may hold NaN where ``mask`` is True.
        sigma: standard deviation of the noise in the unit of ``flux`` (n,), or None when the file has none.
        mask: True where a pixel must not be used (n,); the convention of `astropy.nddata`.
        frame: rest frame of the wavelengths.
        normalised: whether the continuum has been divided out.
        resolution: nominal resolving power R = lambda / FWHM of the instrument, or None when unknown.
        provenance: where each number came from: file, reader, rules applied.
    """

    wavelength_aa: NDArray[np.float64]
    flux: NDArray[np.float64]
    _: KW_ONLY
    sigma: NDArray[np.float64] | None = None
    mask: NDArray[np.bool_] | None = None
    frame: Frame = "unknown"
    normalised: bool = False
    resolution: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = self.name
        if self.frame not in get_args(Frame):
            raise FormatError(f"{where}: frame must be one of {', '.join(get_args(Frame))}; got {self.frame!r}")
        if not isinstance(self.normalised, bool | np.bool_):
            raise FormatError(f"{where}: normalised must be True or False; got {self.normalised!r}")
        _require_resolving_power(where, self.resolution)
        wavelength = np.asarray(self.wavelength_aa, float)
        flux = np.asarray(self.flux, float)
        if wavelength.ndim != 1 or wavelength.shape != flux.shape:
            raise FormatError(
                f"{where}: wavelength {wavelength.shape} and flux {flux.shape} must be 1-D and of one length"
            )
        if wavelength.size < 2:
            raise FormatError(f"{where}: a spectrum needs at least 2 pixels, got {wavelength.size}")
        if not np.isfinite(wavelength).all() or not (np.diff(wavelength) > 0).all():
            raise FormatError(f"{where}: wavelengths must be finite and strictly increasing")
        bad = ~np.isfinite(flux)
        if self.mask is not None:
            if np.shape(self.mask) != flux.shape:
                raise FormatError(f"{where}: mask {np.shape(self.mask)} and flux {flux.shape} differ in shape")
            bad |= np.asarray(self.mask, bool)
        if bad.all():
            raise FormatError(f"{where}: no pixel has a finite, unmasked flux")
        if self.sigma is not None:
            sigma = np.asarray(self.sigma, float)
            if sigma.shape != flux.shape:
                raise FormatError(f"{where}: sigma {sigma.shape} and flux {flux.shape} differ in shape")
            bad |= ~(np.isfinite(sigma) & (sigma > 0))
            object.__setattr__(self, "sigma", sigma)
        for name, value in (("wavelength_aa", wavelength), ("flux", flux), ("mask", bad)):
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        """Its file, for messages."""
        return str(self.provenance.get("file", "spectrum"))

    def with_(self, **changes: Any) -> Spectrum:
        """A copy with some attributes replaced."""
        return replace(self, **changes)


def _require_resolving_power(where: Any, resolution: Any) -> None:
    """Check that a resolving power is None or a finite number above 0 (and not True)."""
    number = isinstance(resolution, Real) and not isinstance(resolution, bool)
    if resolution is not None and not (number and 0 < resolution < np.inf):
        raise FormatError(f"{where}: resolution must be None or a finite number above 0; got {resolution!r}")


@dataclass(frozen=True)
class Observation:
    """The contents of one file: one spectrum or the overlapping orders of an echelle spectrum, in one frame.

    Attributes:
        orders: the spectra, by increasing first wavelength; orders may overlap.
        barycentric_kms: velocity to add to one measured in these wavelengths to refer it to the barycentre, when the
            wavelengths are topocentric and the header gives it; else None.
        provenance: ``file``, ``reader``, ``medium`` (of the file; the orders are always in air), ``sigma`` (where it
            came from), ``rules`` applied, ``warnings``, and ``object``, ``instrument``, ``date`` where known.
    """

    orders: tuple[Spectrum, ...]
    barycentric_kms: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = self.provenance.get("file", "observation")
        if not self.orders:
            raise FormatError(f"{where}: an observation needs at least one order")
        if len({(order.frame, order.normalised, order.resolution) for order in self.orders}) > 1:
            raise FormatError(f"{where}: orders differ in frame, normalisation or resolution")

    @property
    def name(self) -> str:
        """Its file, for messages."""
        return str(self.provenance.get("file", "spectrum"))

    @property
    def frame(self) -> Frame:
        """Rest frame of the wavelengths."""
        return self.orders[0].frame

    @property
    def normalised(self) -> bool:
        """Whether the continuum has been divided out."""
        return self.orders[0].normalised

    @property
    def resolution(self) -> float | None:
        """R = lambda / FWHM, or None when unknown."""
        return self.orders[0].resolution

    @property
    def span_aa(self) -> tuple[float, float]:
        """First and last wavelength of all orders, Å air."""
        return (
            min(float(order.wavelength_aa[0]) for order in self.orders),
            max(float(order.wavelength_aa[-1]) for order in self.orders),
        )

    def overlapping(self, low_aa: float, high_aa: float) -> tuple[Spectrum, ...]:
        """The orders with at least one pixel between ``low_aa`` and ``high_aa`` (Å air)."""
        return tuple(
            order for order in self.orders if ((order.wavelength_aa >= low_aa) & (order.wavelength_aa <= high_aa)).any()
        )

    def missed(self, low_aa: float, high_aa: float) -> str | None:
        """Message if no pixel lies between two wavelengths (Å air): covered and needed range; None otherwise."""
        if self.overlapping(low_aa, high_aa):
            return None
        first, last = self.span_aa
        return f"covers {first:.1f} to {last:.1f} Å; {low_aa:g} to {high_aa:g} Å is needed"

    def single(self) -> Spectrum:
        """The only order.

        Raises:
            FormatError: there are several orders, which have to be merged first.
        """
        if len(self.orders) > 1:
            where = self.provenance.get("file", "observation")
            raise FormatError(f"{where}: holds {len(self.orders)} orders, which have to be merged first")
        return self.orders[0]
