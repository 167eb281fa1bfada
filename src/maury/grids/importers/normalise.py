"""Synthetic spectra to continuum-normalised ones in air: how, and whether their lines stand where they should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maury.errors import FormatError
from maury.grids.importers.families import Medium, Synthetic
from maury.wavelengths import Floats, air_to_vacuum, vacuum_to_air

DEGREE = 3
"""Degree of the polynomial that stands for a continuum."""

PSEUDO = (
    f"pseudo-continuum: polynomial of degree {DEGREE} in wavelength over the window and its margins, fitted to the "
    "upper envelope (pixels more than 1, 0.3, 0.1, 0.03 % below it left out in turn, at least 1 % of them kept); where "
    "lines and bands overlap it lies below the true continuum"
)
DIVIDED = "continuum of the files divided out"
GIVEN = "normalised by their makers"

_BELOW, _FEWEST = (0.01, 0.003, 0.001, 0.0003), 0.01
_ENVELOPE_PIECE_AA = 25.0

_STRONG_AA = (
    *(3933.66, 3968.47, 4045.81, 4226.73, 4340.47, 4383.55, 4861.34, 5167.32, 5172.68, 5183.60, 5269.54, 5328.04),
    *(5889.95, 5895.92, 6122.22, 6162.17, 6439.08, 6562.80, 8498.02, 8542.09, 8662.14, 8688.62, 8806.76),
)
"""Air wavelengths of strong lines of Ca, Fe, Mg, Na and H."""

_WRONG_BY = 0.1
"""Of the continuum: so much deeper have lines to be where the other medium would put them."""


def pseudo_continuum(wavelength_aa: Floats, flux: Floats) -> Floats:
    """Upper envelope (p,) of a spectrum, as `PSEUDO` describes it.

    Raises:
        FormatError: the flux is not positive anywhere.
    """
    x = np.interp(wavelength_aa, [wavelength_aa[0], wavelength_aa[-1]], [-1, 1])
    basis = np.polynomial.legendre.legvander(x, DEGREE)
    keep = np.ones(flux.size, bool)
    fit = basis @ np.linalg.lstsq(basis, flux, rcond=None)[0]
    for below in _BELOW:
        while True:
            new = keep & (flux >= fit * (1 - below))
            if new.sum() < max(_FEWEST * flux.size, 4 * (DEGREE + 1)) or (new == keep).all():
                break
            keep = new
            fit = basis @ np.linalg.lstsq(basis[keep], flux[keep], rcond=None)[0]
    if not (fit > 0).all():
        raise FormatError("no positive upper envelope: the flux cannot be normalised")
    return np.asarray(fit, np.float64)


def looks_normalised(wavelength_aa: Floats, flux: Floats) -> bool:
    """Whether the upper envelope is flat at one: the highest flux in pieces of 25 Å lies within 0.9 to 1.05 in all."""
    edges = np.arange(wavelength_aa[0], wavelength_aa[-1], _ENVELOPE_PIECE_AA)
    pieces = np.split(flux, np.searchsorted(wavelength_aa, edges[1:]))
    tops = [float(np.percentile(piece, 98)) for piece in pieces if piece.size >= 10]
    return bool(tops) and all(0.9 < top < 1.05 for top in tops)


@dataclass(frozen=True)
class Normalised:
    """A continuum-normalised spectrum in air."""

    wavelength_aa: Floats  # Å air, increasing (p,)
    flux: Floats  # in units of the continuum (p,)
    how: str  # how it was normalised: `DIVIDED`, `GIVEN` or `PSEUDO`


def normalise(spectrum: Synthetic, medium: Medium) -> Normalised:
    """Divide by the continuum of the file, or by a pseudo-continuum unless it is normalised already; vacuum to air.

    Raises:
        FormatError: a continuum that is not positive and finite, or a flux that cannot be normalised.
    """
    flux, how = spectrum.flux, GIVEN
    if spectrum.continuum is not None:
        if not (np.isfinite(spectrum.continuum) & (spectrum.continuum > 0)).all():
            raise FormatError("its continuum is not positive and finite everywhere")
        flux, how = flux / spectrum.continuum, DIVIDED
    elif spectrum.normalised is False or (
        spectrum.normalised is None and not looks_normalised(spectrum.wavelength_aa, flux)
    ):
        flux, how = flux / pseudo_continuum(spectrum.wavelength_aa, flux), PSEUDO
    wavelength = vacuum_to_air(spectrum.wavelength_aa) if medium == "vacuum" else spectrum.wavelength_aa
    return Normalised(np.asarray(wavelength, np.float64), np.asarray(flux, np.float64), how)


def displaced_lines(spectrum: Normalised, medium: Medium) -> tuple[int, float]:
    """Number of strong lines of a normalised spectrum, and how much deeper they are in the other medium's places.

    Its wavelengths are taken to be in ``medium`` and converted to air; the difference of depths is a median.
    """
    first, last = spectrum.wavelength_aa[[0, -1]]
    lines = np.array([line for line in _STRONG_AA if first + 3 < line < last - 3])
    if not lines.size:
        return 0, 0.0
    others = air_to_vacuum(lines) if medium == "air" else vacuum_to_air(lines)
    here, there = (np.array([_depth(spectrum, line) for line in places]) for places in (lines, others))
    return len(lines), float(np.median(there - here))


def _depth(spectrum: Normalised, line_aa: float) -> float:
    near = np.abs(spectrum.wavelength_aa - line_aa) < max(0.06, 2 * float(np.diff(spectrum.wavelength_aa[:2])[0]))
    return 1 - float(spectrum.flux[near].min()) if near.any() else 0.0


class MediumCheck:
    """Gathers over the spectra whether their strong lines stand where the stated medium puts them.

    One broad or weak-lined spectrum tells nothing; most of many do.
    """

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.lines = 0
        self.differences: list[float] = []

    def see(self, spectrum: Normalised) -> None:
        """Look at one more spectrum."""
        self.lines, difference = displaced_lines(spectrum, self.medium)
        if self.lines:
            self.differences.append(difference)

    @property
    def wrong(self) -> bool:
        """Whether the medium is the other one."""
        if self.lines < 2:
            return False
        low, high = np.percentile(self.differences, [25, 75])
        return bool(high > _WRONG_BY and low > -_WRONG_BY / 2)

    def describe(self) -> str:
        """What was found, for the record."""
        if self.lines < 2:
            return f"{self.medium}; fewer than two strong lines in the window: not checked"
        return f"{self.medium}; checked by {self.lines} strong lines of {len(self.differences)} spectra"
