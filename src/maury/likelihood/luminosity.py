"""Prior on log g from parallax and magnitude: luminosity, and with a mass and Teff the gravity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from maury.errors import DomainError
from maury.labels import LABELS
from maury.likelihood.priors import LabelPrior

LEAST_SIGNIFICANT = 5.0
"""Least parallax over its error: below it a distance needs a prior on where stars are."""

SUN_BOLOMETRIC = 4.74
"""Absolute bolometric magnitude of the Sun (IAU 2015, resolution B2)."""

_SUN_TEFF_K, _SUN_LOGG = 5772.0, 4.438

_WARM = (6.000e-2, 6.731e-5, -6.647e-8, 2.859e-11, -7.197e-15)
_COOL = (1.749, 1.977e-3, 3.737e-7, -8.966e-11, -4.183e-14)
_CORRECTION_K = (3300.0, 8000.0)
"""Coefficients of the bolometric correction of G as a polynomial in Teff - 5772 K, above and below 4000 K, and the
range of Teff of both (Andrae et al. 2018, A&A 616, A8, table 4)."""

_CORRECTION_MAG, _COOL_MAG = 0.05, 0.15
"""Its standard deviation at given Teff: log g, [M/H], the passband of Gaia DR2 against that of DR3; and in cool stars,
where dwarfs and giants differ and 61 Cyg B comes out 0.19 mag too bright."""

_ZERO_POINT_G = (6.0, 10.8, 11.2, 11.8, 12.2, 12.9, 13.1, 15.9, 16.1, 17.5, 19.0, 20.0, 21.0)
_ZERO_POINT_UAS = (
    -26.98,
    -27.23,
    -30.33,
    -33.54,
    -13.65,
    -19.53,
    -37.99,
    -38.33,
    -31.05,
    -29.18,
    -18.40,
    -12.65,
    -18.22,
)
_ZERO_POINT_ERROR_MAS = 0.013
"""Zero point of parallaxes by G (Lindegren et al. 2021, A&A 649, A4, coefficients q00 of five-parameter solutions), and
what its dependence on colour and latitude adds to the error."""

_EXTINCTION, _EXTINCTION_SHARE = 2.74, 0.1
"""A_G / E(B-V) (Casagrande & VandenBerg 2018, MNRAS 479, L102), and its relative error."""

_GMAG_ERROR = 0.01

_MASS = (1.5689, 1.3787, 0.4243, 1.139, -0.1425, 0.01969, 0.1010)
"""log M / Msun by 1, X, X^2, X^3, (log g)^2, (log g)^3, [Fe/H] with X = log Teff - 4.1 (Torres et al. 2010, A&ARv 18,
67)."""

_MASS_DEX, _GIANT_DEX, _GIANT_LOG_MASS = 0.027, 0.20, 0.10
"""Its scatter, and mean and scatter of log M of giants: 0.8 to 2 Msun."""

_GIANT_LOGG = (3.0, 3.5)
"""The mass relation of dwarfs and subgiants is used above the second log g, the broad range of giants below the first;
between them, both are interpolated."""

_COOL_K, _COOL_DEX = (4000.0, 4700.0), 0.06
"""Below the second Teff scatter grows, to that of cool stars at the first; the stars of the relation of masses end at
0.6 Msun."""


def zero_point(gmag: float) -> float:
    """Zero point (mas) of Gaia's parallaxes at magnitude G, to be subtracted; negative: parallaxes are too small."""
    return float(np.interp(gmag, _ZERO_POINT_G, _ZERO_POINT_UAS)) / 1000


def bolometric_correction(teff: Tensor) -> Tensor:
    """BC_G (n,), mag, at Teff (n,), K; constant beyond the range of the relation."""
    x = teff.clamp(*_CORRECTION_K)
    powers = torch.stack([(x - _SUN_TEFF_K) ** k for k in range(len(_WARM))], -1)
    warm, cool = (powers @ powers.new_tensor(terms) for terms in (_WARM, _COOL))
    return torch.where(x >= 4000, warm, cool)


def _coolness(teff: Tensor) -> Tensor:
    """0 above the second Teff of `_COOL_K`, 1 below the first (n,)."""
    return ((_COOL_K[1] - teff) / (_COOL_K[1] - _COOL_K[0])).clamp(0, 1)


def log_mass(teff: Tensor, logg: Tensor, mh: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n,) of log M / Msun at Teff (K), log g and [M/H]; 0.2 dex for giants."""
    x = teff.log10() - 4.1
    a = _MASS
    dwarf = a[0] + a[1] * x + a[2] * x**2 + a[3] * x**3 + a[4] * logg**2 + a[5] * logg**3 + a[6] * mh
    share = ((logg - _GIANT_LOGG[0]) / (_GIANT_LOGG[1] - _GIANT_LOGG[0])).clamp(0, 1)
    scatter = _MASS_DEX + (_COOL_DEX - _MASS_DEX) * _coolness(teff)
    return share * dwarf + (1 - share) * _GIANT_LOG_MASS, share * scatter + (1 - share) * _GIANT_DEX


@dataclass(frozen=True)
class Luminosity(LabelPrior):
    """log g = log M + 4 log(Teff / 5772 K) - log L + 4.438, as a normal distribution of log g at the other labels.

    Attributes:
        parallax_mas: corrected for the zero point of Gaia's parallaxes.
        parallax_error_mas: its standard deviation, that of the zero point included.
        gmag: G, mag.
        ebv: E(B-V), mag.
        ebv_error: its standard deviation.
    """

    parallax_mas: float = 0.0
    parallax_error_mas: float = 0.0
    gmag: float = 0.0
    ebv: float = 0.0
    ebv_error: float = 0.0

    def log_luminosity(self, teff: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (n,) of log L / Lsun at Teff (n,), K."""
        absolute = self.gmag + 5 * math.log10(self.parallax_mas / 100) - _EXTINCTION * self.ebv
        distance = 5 / math.log(10) * self.parallax_error_mas / self.parallax_mas
        extinction = _EXTINCTION * math.hypot(self.ebv_error, _EXTINCTION_SHARE * self.ebv)
        correction = _CORRECTION_MAG + (_COOL_MAG - _CORRECTION_MAG) * _coolness(teff)
        error = (distance**2 + _GMAG_ERROR**2 + extinction**2 + correction.square()).sqrt()
        return (SUN_BOLOMETRIC - absolute - bolometric_correction(teff)) / 2.5, error / 2.5

    def expected(self, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (n,) of log g for labels by name."""
        teff, logg = labels["teff"], labels["logg"]
        light, light_error = self.log_luminosity(teff)
        mass, mass_error = log_mass(teff, logg, labels.get("mh", torch.zeros_like(teff)))
        mean = mass + 4 * (teff / _SUN_TEFF_K).log10() - light + _SUN_LOGG
        return mean, (mass_error.square() + light_error.square()).sqrt()

    def log_density(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Log density (n,) of log g given the other labels."""
        mean, error = self.expected(labels)
        return -0.5 * ((labels["logg"] - mean) / error) ** 2 - (error * math.sqrt(2 * math.pi)).log()

    def conflict(self, labels: Mapping[str, Tensor]) -> float:
        """Difference between log g of samples (n,) of the spectrum alone and the expected one, standard deviations."""
        mean, error = self.expected(labels)
        off = labels["logg"] - mean
        return abs(float(off.mean())) / math.sqrt(float(off.var()) + float(error.mean()) ** 2)

    def derived(self, labels: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Samples (n,) of luminosity, radius and mass in solar units, by name, for samples of labels by name."""
        teff, logg = labels["teff"], labels["logg"]
        light, error = self.log_luminosity(teff)
        light = light + error * torch.randn(len(teff), generator=generator, dtype=teff.dtype)
        radius = light / 2 - 2 * (teff / _SUN_TEFF_K).log10()
        mass, scatter = log_mass(teff, logg, labels.get("mh", torch.zeros_like(teff)))
        mass = mass + scatter * torch.randn(len(teff), generator=generator, dtype=teff.dtype)
        return {"luminosity": 10**light, "radius": 10**radius, "mass": 10**mass}


def luminosity(
    parallax: tuple[float, float], gmag: float, ebv: tuple[float, float] = (0.0, 0.0), *, correct: bool = True
) -> Luminosity:
    """Prior on log g from parallax and magnitude.

    Args:
        parallax: as in Gaia's catalogue and its error, mas.
        gmag: G, mag.
        ebv: E(B-V) and its error, mag.
        correct: take out the zero point of Gaia's parallaxes; False for parallaxes from elsewhere.

    Raises:
        DomainError: a parallax below five times its error, numbers that are not finite, a negative reddening.
    """
    for name, value in (("parallax", parallax[0]), ("parallax error", parallax[1]), ("gmag", gmag), ("ebv", ebv[0])):
        if not math.isfinite(value):
            raise DomainError(f"{name} = {value}: not a finite number", parameter=name.split()[0], value=value)
    if not -5 < gmag < 22:
        raise DomainError(f"gmag = {gmag:g} is outside the allowed range -5 to 22 mag", parameter="gmag", value=gmag)
    if not (parallax[1] > 0 and parallax[0] >= LEAST_SIGNIFICANT * parallax[1]):
        raise DomainError(
            f"parallax = {parallax[0]:g} +- {parallax[1]:g} mas: at least {LEAST_SIGNIFICANT:g} times its error is "
            "needed, else the distance depends on a prior",
            parameter="parallax",
            value=parallax[0],
        )
    if not (ebv[0] >= 0 and ebv[1] >= 0):
        raise DomainError(f"ebv = {ebv[0]:g} +- {ebv[1]:g} mag: must not be negative", parameter="ebv", value=ebv[0])
    moved = parallax[0] - (zero_point(gmag) if correct else 0.0)
    error = math.hypot(parallax[1], _ZERO_POINT_ERROR_MAS if correct else 0.0)
    low, high = LABELS["logg"].lower, LABELS["logg"].upper
    middle, half = (low + high) / 2, (high - low) / 2
    text = f"parallax={parallax[0]:g}+-{parallax[1]:g} gmag={gmag:g}"
    return Luminosity("logg", middle, half, half, False, text, moved, error, gmag, *ebv)


def luminosity_prior(
    parallax: tuple[float, float] | None, gmag: float | None, ebv: tuple[float, float] = (0.0, 0.0)
) -> tuple[LabelPrior, ...]:
    """Prior on log g from parallax and magnitude; empty where neither is given.

    Raises:
        DomainError: one without the other, or as `luminosity`.
    """
    if parallax is None and gmag is None:
        return ()
    if parallax is None or gmag is None:
        missing, there = ("parallax", "gmag") if parallax is None else ("gmag", "parallax")
        raise DomainError(f"{there} is given without {missing}: a luminosity needs both", parameter=missing)
    return (luminosity(parallax, gmag, ebv),)
