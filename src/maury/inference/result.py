"""`Result`: inferred parameters of one star."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from maury.flags import limits_trust
from maury.inference.columns import DERIVED, LINES, column_of
from maury.inference.components import TwoStars
from maury.inference.exposures import Exposure, date_of, velocity_of
from maury.inference.posterior import INTERVAL, Posterior
from maury.inference.refinement import Refinement
from maury.inference.spectraltype import spectral_type
from maury.inference.words import number, why_no_value
from maury.labels import LABELS
from maury.pixelspectra import PixelSpectra
from maury.preparation import Mask, Preparation
from maury.readers.barycentric import zero_point_kms

if TYPE_CHECKING:
    from astropy.table import QTable

_OF_PREPARATION = {
    "rv_kms": "velocity_kms",
    "rv_err": "velocity_error_kms",
    "rv_frame": "frame",
    "rv_barycentric_kms": "barycentric_velocity_kms",
    "snr": "snr",
    "coverage_aa": "coverage_aa",
}
"""Keys of a record, and of the preparation's."""


class Measurement:
    """A quantity with its central 68 % interval; results of arithmetic with it have no interval.

    Attributes:
        interval: ends of the interval, plain numbers in the quantity's unit; None where the network gives no errors.
    """

    interval: tuple[float, float] | None = None

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)  # type: ignore[misc]
        self.interval = None

    @property
    def error(self) -> u.Quantity | None:
        """Half of the interval's width; in dex for a logarithm."""
        if self.interval is None:
            return None
        unit = self.unit  # type: ignore[attr-defined]
        return (self.interval[1] - self.interval[0]) / 2 * (u.dex if isinstance(unit, u.DexUnit) else unit)

    def __str__(self) -> str:
        if self.error is None:
            return super().__str__()
        digits = max(0, 1 - int(np.floor(np.log10(max(self.error.value, 1e-9)))))
        return f"{self.value:.{digits}f} ± {self.error.value:.{digits}f} {self.unit}"  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self!s}>"

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else str(self)


class MeasuredQuantity(Measurement, u.Quantity):
    """A measured quantity with an ordinary unit."""


class MeasuredDex(Measurement, u.Dex):
    """A measured logarithm of a quantity, such as log g."""


def measured(value: float, unit: u.UnitBase, interval: tuple[float, float] | None = None) -> Any:
    """A quantity with the ends of its interval, all in ``unit``."""
    quantity = (MeasuredDex if isinstance(unit, u.DexUnit) else MeasuredQuantity)(value, unit)
    quantity.interval = interval
    return quantity


@dataclass(frozen=True, repr=False)
class Result:
    """Inferred parameters of one star.

    Attributes:
        file: where the spectrum came from.
        model: name or path of the network.
        values: labels in their units; of a posterior the medians.
        typical_errors: 68 % quantiles of |error| of the network's validation spectra; not the uncertainty of this star.
        flags: what limits the trust in the values, by name; empty when nothing does.
        resolution: R of the spectrum as the network saw it.
        wavelength_aa: the network's pixels (p,), Å in air, at rest.
        spectrum: the spectrum on these pixels, as the network used it.
        preparation: how it was prepared, or None when it was normalised and at rest already.
        posterior: posterior of the labels, or None from a network that gives point estimates.
        refinement: quality of the refined fit, or None where the posterior is the network's own.
        mask_aa: ranges that the user left out, Å in air, at rest.
        exposures: the exposures, where several were fitted together.
        lines: number of lines that measure each element shown (`maury.inference.element_lines`), where refined.
        two: labels of two stars, where they were asked for or are clearly more probable than one.
    """

    file: str
    model: str
    values: dict[str, float]
    typical_errors: dict[str, float]
    flags: tuple[str, ...]
    resolution: float
    wavelength_aa: NDArray[np.float64] = field(repr=False)
    spectrum: PixelSpectra = field(repr=False)
    preparation: Preparation | None = field(default=None, repr=False)
    posterior: Posterior | None = field(default=None, repr=False)
    refinement: Refinement | None = field(default=None, repr=False)
    mask_aa: Mask = ()
    exposures: tuple[Exposure, ...] = ()
    lines: dict[str, int] = field(default_factory=dict, repr=False)
    two: TwoStars | None = None

    def __repr__(self) -> str:
        """File, labels with uncertainties and units, flags: a line each."""
        limits, nothing = (
            ({}, ()) if self.posterior is None else (self.posterior.upper_limits, self.posterior.uninformed)
        )
        lines = [f"{self.file} (model {self.model})"]
        for name, value in self.summary.items():
            text = f"{value}" if value.error is not None else f"{number(name, value.value)} {value.unit}"
            text = f"< {number(name, limits[name])} {value.unit} (95 %)" if name in limits else text
            text = why_no_value(self, name) if name in nothing else text
            lines.append(f"  {column_of(name):<6} {text}")
        return "\n".join([*lines, f"  flags  {', '.join(self.flags) or 'none'}"])

    @property
    def status(self) -> str:
        """``ok``, or ``flagged`` where a flag limits the trust in values that are given."""
        return "flagged" if any(map(limits_trust, self.flags)) else "ok"

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Ends of the central 68 % by label, in its unit; empty without a posterior."""
        if self.posterior is None:
            return {}
        return {name: (float(a), float(b)) for name, (a, b) in zip(self.values, self.posterior.interval.T, strict=True)}

    @property
    def samples(self) -> QTable | None:
        """Samples of the posterior: a table with a column for each label, with units; None from other networks.

        With a parallax and a magnitude also of luminosity, radius and mass.
        """
        from astropy.table import QTable

        if self.posterior is None:
            return None
        columns = zip(self.values, self.posterior.samples.T, strict=True)
        table = QTable({column_of(name): column * unit_of(name) for name, column in columns})
        for name in self.values:
            table[column_of(name)].info.description = LABELS[name].description
        for name, drawn in ({} if self.refinement is None else self.refinement.derived).items():
            unit, meaning = DERIVED[name]
            table[name] = drawn * u.Unit(unit)
            table[name].info.description = meaning
        return table

    @property
    def table(self) -> QTable:
        """One row with all values, units and descriptions, as `maury predict` writes it."""
        from maury.inference.write import to_table

        return to_table([self])

    def plot(self) -> Any:
        """Draw the spectrum with the model that fits it (a matplotlib figure).

        Raises:
            DomainError: no model spectrum: the labels or the window are not those of the packaged emulator.
        """
        plots = import_module("maury.plots")  # a layer above: drawn only where somebody asks for it
        return plots.plot_result(self)

    @property
    def spectral_type(self) -> str | None:
        """Approximate MK type, where Teff and log g are known."""
        if not {"teff", "logg"} <= set(self.values):
            return None
        return spectral_type(self.values["teff"], self.values["logg"])

    @property
    def summary(self) -> dict[str, Any]:
        """Labels as astropy quantities (`Measurement`); ``.error`` and ``.interval`` from networks that give them."""
        ends = self.intervals
        return {name: measured(value, unit_of(name), ends.get(name)) for name, value in self.values.items()}

    def numbers(self) -> dict[str, float]:
        """Labels by column, and of a posterior those of `maury.inference.columns.label_columns`.

        Values of abundances on which the spectrum says nothing are NaN.
        """
        nothing = () if self.posterior is None else self.posterior.uninformed
        numbers = {column_of(name): np.nan if name in nothing else value for name, value in self.values.items()}
        if self.posterior is not None:
            parts = zip(self.intervals.items(), self.posterior.statistical, self.posterior.systematic, strict=True)
            for (name, (low, high)), stat, sys in parts:
                values = {"_err": (high - low) / 2, "_stat": float(stat), "_sys": float(sys), "_lo": low, "_hi": high}
                column = column_of(name)
                numbers |= {column + end: np.nan if name in nothing else value for end, value in values.items()}
            for name, drawn in ({} if self.refinement is None else self.refinement.derived).items():
                low, middle, high = map(float, np.quantile(drawn, (INTERVAL[0], 0.5, INTERVAL[1])))
                numbers |= {name: middle, f"{name}_err": (high - low) / 2, f"{name}_lo": low, f"{name}_hi": high}
            numbers |= {column_of(name) + LINES: count for name, count in self.lines.items()}
            numbers |= {f"{column_of(name)}_upper": limit for name, limit in self.posterior.upper_limits.items()}
        return numbers | ({} if self.two is None else self.two.numbers())

    def record(self) -> dict[str, Any]:
        """Plain values for JSON: file, status, labels, errors, velocity, quality of the fit, flags, model."""
        values = {name: _plain(value) for name, value in self.numbers().items()}
        if self.posterior is not None:
            values = {"vsini_upper": None, **values} if "vsini" in self.values else values
        done = self.preparation
        prepared = {}
        if done is not None:
            known = done.record()
            prepared = {key: known[name] for key, name in _OF_PREPARATION.items()} | self._dated
        if self.exposures:
            prepared = velocity_of(self.exposures) | {"exposures": [one.record() for one in self.exposures]}
        return {
            "file": self.file,
            "status": self.status,
            **values,
            **({} if self.spectral_type is None else {"spectral_type": self.spectral_type}),
            **({} if self.two is None else {"components": self.two.status}),
            **prepared,
            **({} if self.posterior is None else self._quality()),
            "mask_aa": [list(ends) for ends in self.mask_aa],
            "flags": list(self.flags),
            "model": self.model,
        }

    @cached_property
    def _dated(self) -> dict[str, Any]:
        """Date of the exposure and uncertainty of the velocity's zero point, where it was prepared."""
        known = {} if self.preparation is None else self.preparation.spectrum.provenance
        return {"rv_zero_err": zero_point_kms(str(known.get("instrument", ""))), "bjd_tdb": date_of(known)}

    def _quality(self) -> dict[str, Any]:
        fit = self.refinement
        if fit is None:
            return {"refined": False, "chi2": None}
        return {
            "refined": True,
            "chi2": round(fit.chi2, 3),
            "efficiency": round(fit.efficiency, 4),
            "pareto_k": round(fit.pareto_k, 2),
            "prior_efficiency": round(fit.prior_efficiency, 4),
            "log_evidence": round(fit.log_evidence, 2),
            "model_error_scale": round(fit.model_error_scale, 2),
        }


def _plain(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None


def unit_of(name: str) -> u.UnitBase:
    """Astropy's unit of a label."""
    return u.Unit(LABELS[name].unit)
