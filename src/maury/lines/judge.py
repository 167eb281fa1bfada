"""Compare the old and the new line list on every star, with labels fixed and fitted, and leave-one-out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from maury.lines.calibrate import Calibration, calibrate
from maury.lines.calibration_settings import StandardStar
from maury.lines.fitback import fit_back
from maury.lines.response import Response
from maury.lines.standards import FREE_WIDTHS, Standard
from maury.wavelengths import Floats


@dataclass(frozen=True)
class Fit:
    """Residuals and label offsets of a star with one line list."""

    rms_fixed: float  # rms of observed minus model with literature labels; continuum and broadening are fitted
    robust_fixed: float  # robust rms (`robust_rms`) of the same residuals
    rms: float  # rms with labels fitted as well
    robust: float  # robust rms with labels fitted as well
    offsets: dict[str, float]  # fitted minus literature labels


@dataclass(frozen=True)
class Verdict:
    """A star fitted with the old and the new line list."""

    star: str  # name of the star
    role: str  # "calibrate" or "test"
    before: Fit  # fit with the old list
    after: Fit  # fit with the new list
    # fit with a list calibrated without this star (leave-one-out); None if that was not computed, and for the anchor
    # and test stars
    left_out: Fit | None
    wavelength_aa: Floats  # pixels (p,)
    observed: Floats  # continuum-normalised flux (p,)
    old: Floats  # model with the old list at literature labels (p,)
    new: Floats  # model with the new list (p,)
    residual: Floats  # observed minus model with labels fitted, new list (p,)

    def summary(self) -> dict[str, Any]:
        """The comparison as a dictionary for JSON, without the arrays."""
        fits = {"before": self.before, "after": self.after, "left_out": self.left_out}
        return {"star": self.star, "role": self.role} | {k: asdict(v) if v else None for k, v in fits.items()}


def judge(
    run: Calibration, change: Floats, responses: dict[str, Response], left_out: Mapping[str, Floats] | None = None
) -> list[Verdict]:
    """Compare the old and the new list on every star.

    ``change`` (n,) leads from the old to the new list; ``left_out`` has changes calibrated without a star, by its name.
    """
    stars = [*run.config.calibrating, *run.config.testing]
    fluxes = run.fluxes([(star, 0.0) for star in stars], change)
    verdicts = []
    for star, flux in zip(stars, fluxes, strict=True):
        response = responses[star.name]
        before, _, old = _fit(run, star, response, response.flux)
        after, residual, new = _fit(run, star, response, flux)
        without = None
        if left_out and star.name in left_out:
            (flux,) = run.fluxes([(star, 0.0)], left_out[star.name])
            without = _fit(run, star, response, flux)[0]
        arrays = (new.wavelength_aa, new.observed, old.model, new.model, residual)
        verdicts.append(Verdict(star.name, star.role, before, after, without, *arrays))
    return verdicts


def cross_validate(run: Calibration, responses: dict[str, Response]) -> dict[str, Floats]:
    """Calibrate without each star in turn (never without the anchor): changes of log gf (n,) by star left out."""
    others = [star.name for star in run.config.calibrating if star.name != run.config.anchor]
    return {name: calibrate(run, responses, without=name).change for name in others}


def _fit(run: Calibration, star: StandardStar, response: Response, flux: Floats) -> tuple[Fit, Floats, Standard]:
    """Fit a star with the flux of one list and derivatives of the old one."""
    mine = copy.copy(response)
    mine.flux = flux
    standard = run.standard(star, mine)
    fixed = fit_back(run.lines, standard, labels_free=False).residual
    free = fit_back(run.lines, standard, abundances=run.config.free)
    offsets = {name: value for name, value in free.labels.items() if name not in FREE_WIDTHS}
    fit = Fit(float(fixed.std()), robust_rms(fixed), float(free.residual.std()), robust_rms(free.residual), offsets)
    return fit, free.residual, standard


def robust_rms(residual: Floats) -> float:
    """1.4826 times the median absolute deviation from the median: an rms that is insensitive to outliers."""
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))
