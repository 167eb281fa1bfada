"""Synthesise spectra for labels: interpolate atmospheres, compute spectra in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maury.errors import SynthesisError
from maury.progress import Advance, silent
from maury.synthesis.atmospheres import Atmosphere, AtmosphereGrid
from maury.synthesis.engine import PysmeSynthesizer
from maury.synthesis.linelists import LineList
from maury.synthesis.pool import Maker, Pool, Workers
from maury.synthesis.settings import PhysicsConfig
from maury.synthesis.targets import check_labels
from maury.wavelengths import Floats

HIGHEST_FLUX = 1.2
"""A spectrum with a continuum-normalised flux above this counts as failed."""


class Synthesizer(Protocol):
    """Computes the spectrum of one star at fixed wavelengths."""

    def __call__(self, atmosphere: Atmosphere, labels: Floats) -> Floats:
        """Continuum-normalised intrinsic flux (p,) for one row of labels (17,)."""


@dataclass(frozen=True)
class Spectra:
    """Synthetic spectra.

    Attributes:
        labels: the labels of `maury.labels.SYNTHESISED` (n, 17).
        flux: continuum-normalised intrinsic flux (n, p); NaN where the synthesis failed.
        extrapolated: log g lies below the lowest model atmosphere (n,).
        failures: reason by row.
    """

    labels: Floats
    flux: Floats
    extrapolated: NDArray[np.bool_]
    failures: dict[int, str]


def synthesize(
    lines: LineList,
    atmospheres: AtmosphereGrid,
    labels: ArrayLike,
    wavelength_aa: ArrayLike,
    config: PhysicsConfig | None = None,
    workers: Workers | int = 1,
    advance: Advance = silent,
    cool: LineList | None = None,
) -> Spectra:
    """Synthesise spectra with PySME.

    Args:
        lines: spectral lines.
        atmospheres: model atmospheres.
        labels: the labels of `maury.labels.INTRINSIC` (n, 10) or `SYNTHESISED` (n, 17).
        wavelength_aa: wavelengths (p,) in Å, air, increasing.
        config: settings of PySME; None for the defaults.
        workers: processes, or the number to start for this call. Processes can be reused, also with other lines.
        advance: called with 1 after each spectrum.
        cool: further lines for stars below ``config.cool_teff``.

    Returns:
        Spectra in the order of the labels, with a list of those that failed.

    Raises:
        DomainError: labels outside the atmospheres, or a window that the lines do not cover.
        SynthesisError: PySME is missing or cannot be started.
    """
    if isinstance(workers, int):
        with Workers(workers) as started:
            return synthesize(lines, atmospheres, labels, wavelength_aa, config, started, advance, cool)
    config = config or PhysicsConfig()
    table, wavelength = check_labels(labels), np.asarray(wavelength_aa, float)
    extrapolated = atmospheres.check(table)
    maker = pysme_maker(lines, wavelength, config, cool)
    flux, failures = np.full((len(table), len(wavelength)), np.nan), {}
    for row, result in each(maker, atmospheres, table, range(len(table)), workers, config.timeout):
        if isinstance(result, SynthesisError):
            failures[row] = str(result)
        else:
            flux[row] = result
        advance(1)
    return Spectra(table, flux, extrapolated, failures)


def pysme_maker(lines: LineList, wavelength_aa: Floats, config: PhysicsConfig, cool: LineList | None = None) -> Maker:
    """Function and arguments that prepare PySME in a worker, with the lines of the window and its margins.

    Raises `DomainError` if the lines do not cover the window.
    """
    low, high = float(wavelength_aa[0]), float(wavelength_aa[-1])
    lines.require(low, high)
    ends = (low - config.line_margin, high + config.line_margin)
    return PysmeSynthesizer, (
        lines.within(*ends),
        wavelength_aa,
        config.absolute(),
        cool.within(*ends) if cool is not None else None,
    )


def each(
    maker: Maker,
    atmospheres: AtmosphereGrid,
    labels: Floats,
    rows: Sequence[int],
    workers: Pool,
    timeout_s: float,
) -> Iterator[tuple[int, Any]]:
    """Yield row and flux (p,) of each spectrum, or the `SynthesisError` of its second failure, as they are completed.

    ``maker`` makes a `Synthesizer` in each worker; ``rows`` are those of ``labels`` (n, 17) to synthesise.
    """
    tasks = ((row, (atmospheres(*labels[row, :3].tolist()), labels[row])) for row in rows)
    for row, result in workers.map(maker, tasks, timeout_s):
        yield row, result if isinstance(result, SynthesisError) else _checked(result)


def _checked(flux: Floats) -> Floats | SynthesisError:
    if not np.isfinite(flux).all():
        return SynthesisError("the flux is not finite")
    low, high = float(flux.min()), float(flux.max())
    if low < 0 or high > HIGHEST_FLUX:
        return SynthesisError(f"the flux runs from {low:g} to {high:g}; allowed: 0 to {HIGHEST_FLUX:g}")
    return flux
