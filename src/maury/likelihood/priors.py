"""Priors on labels: values with errors, ranges, relations from the literature."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from astropy import units as u
from torch import Tensor

from maury.errors import ConfigError
from maury.labels import LABELS, named

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SYMMETRIC = re.compile(rf"^({_NUMBER})\s*(?:\+-|\+/-|±)\s*({_NUMBER})$")
_ASYMMETRIC = re.compile(rf"^({_NUMBER})\s*\+\s*({_NUMBER})\s*-\s*({_NUMBER})$")
_RANGE = re.compile(rf"^({_NUMBER})\s*(?:\.\.|to)\s*({_NUMBER})$")
_HOW = "write label=value+-error, label=value+upper-lower or label=low..high, such as logg=4.29+-0.03"


@dataclass(frozen=True)
class LabelPrior:
    """Information on one label.

    Attributes:
        label: its name; ``alpha`` is the mean of [Mg/M], [Ca/M] and [Ti/M].
        value: most probable value; for a range its middle.
        below: standard deviation below it, or half of the range.
        above: standard deviation above it, or half of the range.
        uniform: whether it is a range, outside of which nothing is possible.
        text: as it was written.
    """

    label: str
    value: float
    below: float
    above: float
    uniform: bool = False
    text: str = ""

    def log_density(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Log density (n,) of labels by name, normalised over the label."""
        x = value_of(self.label, labels)
        if self.uniform:
            inside = (x >= self.value - self.below) & (x <= self.value + self.above)
            return torch.where(inside, -math.log(self.below + self.above), -torch.inf).to(x.dtype)
        norm = math.log((self.below + self.above) * math.sqrt(math.pi / 2))
        return -0.5 * self.deviation(labels).square() - norm

    def deviation(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Deviation (n,) of the label from its most probable value, in standard deviations; not for a range."""
        x = value_of(self.label, labels)
        return (x - self.value) / torch.where(x < self.value, self.below, self.above).to(x.dtype)


Priors: TypeAlias = Sequence["LabelPrior | str"] | Mapping[str, Any]
"""Ways of giving priors (`as_priors`)."""


@dataclass(frozen=True)
class Relation(LabelPrior):
    """A relation from the literature that gives a label for Teff and log g, and the scatter about it.

    Attributes:
        coefficients: constant, slope and curvature by (Teff - ``teff_k``), slope by (log g - ``logg``).
        teff_k: zero point.
        logg: zero point.
        ends: lowest and highest value of the relation where it is extrapolated.
        known: lowest and highest Teff and log g of the stars behind the relation. Outside, the scatter grows by its own
            size for each 200 K and each 0.2 dex, up to three times.
    """

    coefficients: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    teff_k: float = 5700.0
    logg: float = 4.0
    ends: tuple[float, float] = (0.0, math.inf)
    known: tuple[float, float, float, float] = (0.0, math.inf, -math.inf, math.inf)

    def mean(self, labels: Mapping[str, Tensor]) -> Tensor:
        """The label (n,) at Teff and log g."""
        constant, slope, bend, gravity = self.coefficients
        t, g = labels["teff"] - self.teff_k, labels["logg"] - self.logg
        return (constant + slope * t + bend * t**2 + gravity * g).clamp(*self.ends)

    def log_density(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Log density (n,) of the label given Teff and log g."""
        return -0.5 * self.deviation(labels).square() - (self._width(labels) * math.sqrt(2 * math.pi)).log()

    def deviation(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Deviation (n,) of the label from the relation, in standard deviations."""
        return (labels[self.label] - self.mean(labels)) / self._width(labels)

    def _width(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Scatter (n,) about the relation."""
        coolest, hottest, lowest, highest = self.known
        beyond = (coolest - labels["teff"]).clamp_min(0) + (labels["teff"] - hottest).clamp_min(0)
        beyond = beyond / 200 + ((lowest - labels["logg"]).clamp_min(0) + (labels["logg"] - highest).clamp_min(0)) / 0.2
        return self.below * (1 + beyond).clamp_max(3)


@dataclass(frozen=True)
class RandomAxes(LabelPrior):
    """Axes of rotation point anywhere: small v sin i are rare, as few stars are seen pole-on.

    For one equatorial velocity the density of v sin i rises linearly from 0; here it rises to half at ``value`` km/s, a
    usual velocity of slow rotators, and is flat far above.
    """

    def log_density(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Log density (n,), not normalised."""
        x = labels[self.label]
        return (x / (x + self.value)).clamp_min(1e-12).log()


RELATIONS: dict[str, LabelPrior] = {
    "random-axes": RandomAxes("vsini", 2.0, 2.0, 2.0, uniform=True, text="random-axes"),
    "bruntt2012": Relation(
        "vmic", 1.0, 0.13, 0.13, text="bruntt2012", coefficients=(1.095, 5.44e-4, 2.56e-7, -0.378), ends=(0.5, 4.0),
        known=(4900.0, 6900.0, -math.inf, math.inf),
    ),
    "doyle2014": Relation(
        "vmac", 3.2, 1.0, 1.0, text="doyle2014", coefficients=(3.21, 2.33e-3, 2.0e-6, -2.0), teff_k=5777.0, logg=4.44,
        ends=(2.0, 7.0), known=(5200.0, 6400.0, 4.0, 4.6),
    ),
}  # fmt: skip
"""Relations by name.

``random-axes``: v sin i of axes that point anywhere.
``bruntt2012``: microturbulence, Bruntt et al. (2012, MNRAS 423, 122), 4900 to 6900 K, scatter 0.13 km/s.
``doyle2014``: radial-tangential macroturbulence, Doyle et al. (2014, MNRAS 444, 3592), 5200 to 6400 K, log g 4.0 to
4.6, scatter 0.73 km/s, here 1 km/s, growing to 3 km/s elsewhere, where it is held between 2 and 7 km/s.
"""


def relation(name: str) -> LabelPrior:
    """A relation by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in RELATIONS:
        raise ConfigError(f"no relation {name!r}; there are {', '.join(RELATIONS)}")
    return RELATIONS[name]


def value_of(label: str, labels: Mapping[str, Tensor]) -> Tensor:
    """Values (n,) of one of the labels by name; [alpha/M], where it is not among them, is the mean of Mg, Ca and Ti."""
    if label == "alpha" and "alpha" not in labels:
        return (labels["mg"] + labels["ca"] + labels["ti"]) / 3
    return labels[label]


def parse_value(text: str, what: str) -> tuple[float, float]:
    """A value and its standard deviation as they are written: ``27.3+-0.1``, or ``5.12`` without one (0).

    Raises:
        ConfigError: anything else.
    """
    text = text.strip()
    if match := _SYMMETRIC.match(text):
        value, error = map(float, match.groups())
        return value, error
    if re.fullmatch(_NUMBER, text):
        return float(text), 0.0
    raise ConfigError(f"{what} {text!r} is not understood; write value+-error, such as 27.3+-0.1", parameter=what)


def parse_prior(text: str) -> LabelPrior:
    """Prior from a text such as ``logg=4.29+-0.03``, ``teff=5800+50-80`` or ``mh=-0.2..0.1``.

    Raises:
        ConfigError: the text has another form, the label is unknown, or the error is not finite and positive.
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigError(f"prior {text!r}: {_HOW}")
    name = named(name)
    if name not in LABELS:
        raise ConfigError(f"prior {text!r}: no label {name!r}; the labels are {', '.join(LABELS)}")
    if match := _SYMMETRIC.match(rest):
        value, below = map(float, match.groups())
        return _checked(LabelPrior(name, value, below, below, text=text))
    if match := _RANGE.match(rest):
        low, high = map(float, match.groups())
        if not low < high:
            raise ConfigError(f"prior {text!r}: the range is empty, {low:g} is not below {high:g}")
        return _checked(LabelPrior(name, (low + high) / 2, (high - low) / 2, (high - low) / 2, True, text))
    if match := _ASYMMETRIC.match(rest):
        value, above, below = map(float, match.groups())
        return _checked(LabelPrior(name, value, below, above, text=text))
    raise ConfigError(f"prior {text!r}: {rest!r} is not understood; {_HOW}")


def as_priors(priors: Priors) -> tuple[LabelPrior, ...]:
    """Priors from any way of giving them.

    Args:
        priors: `LabelPrior` or texts such as "logg=4.29+-0.03" in a sequence; or by label a text, a value with its
            standard deviation (4.29, 0.03) or with those below and above it (5800, 80, 50), in the label's unit or as
            astropy quantities.

    Raises:
        ConfigError: an unknown label, a number that is not finite, a unit that does not fit.
    """
    if not isinstance(priors, Mapping):
        return tuple(p if isinstance(p, LabelPrior) else parse_prior(p) for p in priors)
    return tuple(_prior_of(label, given) for label, given in priors.items())


def _prior_of(label: str, given: str | Sequence[Any]) -> LabelPrior:
    if isinstance(given, str):
        return parse_prior(f"{label}={given}")
    name = named(label)
    if name not in LABELS or len(given) not in (2, 3):
        allowed = "must be a value and its standard deviation (or those below and above it) for one of the labels"
        raise ConfigError(f"prior {label}={given!r}: {allowed} {', '.join(LABELS)}")
    unit = u.Unit(LABELS[name].unit)
    try:
        value = _plain(given[0], unit)
        widths = [_plain(width, u.dex if isinstance(unit, u.DexUnit) else unit) for width in given[1:]]
    except (u.UnitConversionError, TypeError, ValueError) as error:
        raise ConfigError(f"prior {label}={given!r}: numbers in {LABELS[name].unit} are needed ({error})") from error
    below, above = widths[0], widths[-1]
    text = f"{label}={value:g}+{above:g}-{below:g}"
    return _checked(LabelPrior(name, value, below, above, text=text))


def _plain(value: Any, unit: Any) -> float:
    if not isinstance(value, u.Quantity):
        return float(value)
    return float(value.to_value(u.dex if value.unit == u.dex and isinstance(unit, u.DexUnit) else unit))


def _checked(label_prior: LabelPrior) -> LabelPrior:
    for error in (label_prior.below, label_prior.above):
        if not (math.isfinite(error) and error > 0):
            raise ConfigError(f"prior {label_prior.text!r}: its error {error:g} must be finite and above 0")
    label = LABELS[label_prior.label]
    low, high = label_prior.value - 5 * label_prior.below, label_prior.value + 5 * label_prior.above
    if label_prior.uniform:
        low, high = label_prior.value - label_prior.below, label_prior.value + label_prior.above
    if high < label.lower or low > label.upper:
        ends = f"{label.lower:g} to {label.upper:g} {label.unit}"
        raise ConfigError(f"prior {label_prior.text!r}: far from the range {ends} of {label.name}")
    return label_prior


def contradictory(label_priors: list[LabelPrior]) -> str | None:
    """Message naming two contradictory priors on one label (ranges apart, values 5 errors apart), or None."""
    for i, a in enumerate(label_priors):
        for b in label_priors[i + 1 :]:
            if a.label != b.label:
                continue
            first, second = (a, b) if a.value <= b.value else (b, a)
            reach = sum(x if y.uniform else 5 * x for x, y in ((first.above, first), (second.below, second)))
            if second.value - first.value > reach:
                return f"priors {a.text!r} and {b.text!r} contradict each other"
    return None
