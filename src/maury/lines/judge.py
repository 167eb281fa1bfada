"""Before and after: every star against the old and the new list, labels fixed and free, used or left out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.lines.calibrate import Calibration, calibrate
from maury.lines.calibration_settings import StandardStar
from maury.lines.fitback import fit_back
from maury.lines.response import Response
from maury.lines.standards import FREE_WIDTHS, Standard

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """How well a star is reproduced.

    Attributes:
        rms_fixed: rms of observed minus model, labels of the literature, continuum and broadening fitted.
        robust_fixed: 1.4826 times the median absolute deviation of the same.
        rms: rms with the labels fitted too.
        robust: robust rms with the labels fitted.
        offsets: labels fitted minus literature.
    """

    rms_fixed: float
    robust_fixed: float
    rms: float
    robust: float
    offsets: dict[str, float]


@dataclass(frozen=True)
class Verdict:
    """A star before and after; ``left_out`` is with a list for which the star was not used.

    Attributes:
        star: name.
        role: calibrate or test.
        before: with the old list.
        after: with the new list.
        left_out: with the list calibrated without it; None when not asked for, for the anchor and for tests.
        wavelength_aa: pixels (p,).
        observed: continuum-normalised flux (p,).
        old: model with the old list at literature labels (p,).
        new: model with the new list (p,).
        residual: observed minus model with labels fitted, new list (p,).
    """

    star: str
    role: str
    before: Fit
    after: Fit
    left_out: Fit | None
    wavelength_aa: Floats
    observed: Floats
    old: Floats
    new: Floats
    residual: Floats

    def summary(self) -> dict[str, Any]:
        """Without the arrays."""
        fits = {"before": self.before, "after": self.after, "left_out": self.left_out}
        return {"star": self.star, "role": self.role} | {k: asdict(v) if v else None for k, v in fits.items()}


def judge(
    run: Calibration, change: Floats, responses: dict[str, Response], left_out: Mapping[str, Floats] | None = None
) -> list[Verdict]:
    """Compare the old and the new list on every star.

    Args:
        run: inputs.
        change: of log gf of each line from the old to the new list (n,).
        responses: derivatives of all stars with the old list.
        left_out: changes by the star that was left out when they were found, of `cross_validate`.
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
    """Changes of log gf (n,) found without each star in turn; the anchor always stays."""
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
    """1.4826 times the median absolute deviation from the median: the rms where outliers do not count."""
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))
