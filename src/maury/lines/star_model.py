"""Compute spectra of a star with PySME for any log gf of the lines, in worker processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maury.labels import SYNTHESISED
from maury.synthesis import Atmosphere
from maury.synthesis.engine import PysmeSynthesizer, single_abundances
from maury.wavelengths import Floats


@dataclass(frozen=True)
class Job:
    """A spectrum to compute."""

    atmosphere: Atmosphere  # model atmosphere of the star
    vmic: float  # microturbulence, km/s
    log_gf: Floats  # log gf of all lines (n,)
    abundances: dict[str, float] = field(default_factory=dict)  # [X/M] by element
    strengths: bool = False  # also return the strengths of the lines


class StarSynthesizer(PysmeSynthesizer):
    """Computes continuum-normalised intrinsic spectra with given abundances of single elements and given log gf."""

    def __call__(self, job: Job) -> tuple[Floats, Floats | None]:  # type: ignore[override]
        """Continuum-normalised flux (p,), and each line's largest opacity relative to the continuum (n,) or None."""
        self.log_gf, self._job = job.log_gf, job
        labels = np.zeros(len(SYNTHESISED))
        labels[SYNTHESISED.index("vmic")] = job.vmic
        flux = super().__call__(job.atmosphere, labels)
        return flux, self.strengths() if job.strengths else None

    def _ratios(self, labels: Floats) -> dict[str, float]:
        return self._job.abundances

    def _structure(self, atmosphere: Atmosphere, labels: Floats) -> Any:
        star = super()._structure(atmosphere, labels)
        star.abund = single_abundances(atmosphere.mh, self._job.abundances)
        return star
