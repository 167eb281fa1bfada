"""An approximate MK type from temperature and gravity, for a first look at a table."""

from __future__ import annotations

_TYPES = (
    ("B9", 10700), ("A0", 9700), ("A2", 8840), ("A5", 8080), ("A7", 7800), ("F0", 7220), ("F2", 6810), ("F5", 6550),
    ("F8", 6180), ("G0", 5930), ("G2", 5770), ("G5", 5660), ("G8", 5480), ("K0", 5270), ("K2", 5040), ("K4", 4600),
    ("K5", 4440), ("K7", 4050), ("M0", 3850), ("M1", 3660), ("M2", 3560), ("M3", 3430), ("M4", 3210),
)  # fmt: skip
"""Effective temperatures of dwarfs, K (Pecaut & Mamajek 2013, ApJS 208, 9, table 5)."""

_CLASSES = (("V", 4.0), ("IV", 3.5), ("III", 1.5), ("II", 0.8))
"""Lowest log g of luminosity classes; below the last it is I."""

_GIANTS = (
    ("G0", 5600), ("G5", 5050), ("G8", 4930), ("K0", 4800), ("K2", 4400), ("K5", 3950), ("M0", 3800), ("M2", 3650),
    ("M4", 3500),
)  # fmt: skip
"""Effective temperatures of giants, K (Gray & Corbally 2009, Stellar Spectral Classification, appendix B)."""


def spectral_type(teff: float, logg: float) -> str:
    """Nearest type and luminosity class, such as ``G2 V``, whatever the metallicity.

    Args:
        teff: K.
        logg: dex, cgs.
    """
    luminosity = next((name for name, least in _CLASSES if logg >= least), "I")
    giant = luminosity in ("III", "II", "I") and teff < _GIANTS[0][1]
    return f"{min(_GIANTS if giant else _TYPES, key=lambda row: abs(row[1] - teff))[0]} {luminosity}"
