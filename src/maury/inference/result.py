"""`Result`: what a network says of one star."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from maury.inference.posterior import Posterior
from maury.labels import LABELS
from maury.preparation import Preparation, Prepared

_OF_PREPARATION = ("velocity_kms", "velocity_error_kms", "barycentric_velocity_kms", "snr", "coverage_aa")


class Measurement:
    """A quantity that knows the central 68 % interval it was measured with; what is computed from it does not.

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


@dataclass(frozen=True)
class Result:
    """What a network says of one star.

    Attributes:
        file: where the spectrum came from.
        model: name or path of the network.
        values: labels in their units; of a posterior the medians.
        typical_errors: within which 68 % of the network's own validation spectra fall: no error of this star.
        flags: what limits the trust in the values, by name; empty when nothing does.
        resolution: R of the spectrum as the network saw it.
        prepared: the spectrum as the network saw it.
        preparation: how it was prepared, or None when it was normalised and at rest already.
        posterior: of the labels, or None from a network that gives points alone.
    """

    file: str
    model: str
    values: dict[str, float]
    typical_errors: dict[str, float]
    flags: tuple[str, ...]
    resolution: float
    prepared: Prepared = field(repr=False)
    preparation: Preparation | None = field(default=None, repr=False)
    posterior: Posterior | None = field(default=None, repr=False)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Ends of the central 68 % by label, in its unit; empty without a posterior."""
        if self.posterior is None:
            return {}
        return {name: (float(a), float(b)) for name, (a, b) in zip(self.values, self.posterior.interval.T, strict=True)}

    @property
    def samples(self) -> NDArray[np.float64] | None:
        """Samples (n, labels) of the posterior, columns in the order of ``values``; None from other networks."""
        return None if self.posterior is None else self.posterior.samples

    @property
    def summary(self) -> dict[str, Any]:
        """Labels as astropy quantities (`Measurement`); ``.error`` and ``.interval`` from networks that give them."""
        ends = self.intervals
        return {name: measured(value, unit_of(name), ends.get(name)) for name, value in self.values.items()}

    def numbers(self) -> dict[str, float]:
        """Labels, and of a posterior ``<label>_err`` (half the 68 % interval), ``_lo``, ``_hi`` and ``vsini_upper``."""
        numbers = dict(self.values)
        for name, (low, high) in self.intervals.items():
            numbers |= {f"{name}_err": (high - low) / 2, f"{name}_lo": low, f"{name}_hi": high}
        if self.posterior is not None:
            numbers |= {f"{name}_upper": limit for name, limit in self.posterior.upper_limits.items()}
        return numbers

    def record(self) -> dict[str, Any]:
        """Plain values for JSON: file, status, labels, errors, flags, model."""
        values = {name: round(value, 5) for name, value in self.numbers().items()}
        done = self.preparation
        velocity = {} if done is None else {key: done.record()[key] for key in _OF_PREPARATION}
        return {
            "file": self.file,
            "status": "flagged" if self.flags else "ok",
            **values,
            **velocity,
            "flags": list(self.flags),
            "model": self.model,
        }


def unit_of(name: str) -> u.UnitBase:
    """Astropy's unit of a label."""
    return u.Unit(LABELS[name].unit)
