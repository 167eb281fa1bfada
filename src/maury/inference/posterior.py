"""A posterior as samples: medians, intervals, upper limits, and the flags that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from maury.errors import ConfigError, DomainError
from maury.inference.refinement import Samples
from maury.labels import FURTHER_ELEMENTS, named
from maury.likelihood.target import with_alpha
from maury.networks.transform import LabelTransform
from maury.wavelengths import C_KMS, Floats

ELEMENTS = ("c", "mg", "ca", "ti", "cr", "ni", *FURTHER_ELEMENTS)
"""Single elements, [X/M]; as Fe is among the metals M, [X/Fe] is the same. Networks infer the first six of them."""

LABELS_OF = {
    "default": ("teff", "logg", "mh", "vsini", "vmic", "alpha"),
    "alpha": ("teff", "logg", "mh", "vsini", "alpha"),
    "abundances": ("teff", "logg", "mh", "vsini", "vmic", "alpha", *ELEMENTS),
}
"""Labels that are reported, by the name of the set. The others are marginalised."""

INTERVAL = (0.1587, 0.8413)
"""Quantiles between which the central 68 % lie."""

UPPER = 0.95
"""Quantile of an upper limit."""

_EDGE, _AT_EDGE = 0.01, 0.1
_NO_INFORMATION, _LIMIT = 0.8, 0.4
_CONSISTENT_WITH_0 = 0.55  # 16 % quantile over median: 0.32 for a flat posterior from 0 on, 0.55 at 2.3 sigma from 0


@dataclass(frozen=True)
class Posterior:
    """Samples of one star's labels.

    Attributes:
        names: the k labels.
        samples: (n, k), in the labels' units.
        resolution: R of the spectrum.
        flags: names from `maury.flags.FLAGS`.
        statistical: half the central 68 % (k,) without systematic errors and priors.
        systematic: standard deviation (k,) of the systematic error, NaN where none is included.
        uninformed: labels that the spectrum hardly constrains: their posterior is about as wide as the prior, or all
            lines of the element are masked.
        limits: 95 % upper limits by label, for labels without a lower limit.
    """

    names: tuple[str, ...]
    samples: Floats = field(repr=False)
    resolution: float
    flags: tuple[str, ...]
    statistical: Floats = field(repr=False)
    systematic: Floats = field(repr=False)
    uninformed: tuple[str, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> Floats:
        """Median of each label (k,)."""
        return np.asarray(np.median(self.samples, axis=0))

    @property
    def interval(self) -> Floats:
        """Lower and upper ends (2, k) of the central 68 % of each label."""
        return np.asarray(np.quantile(self.samples, INTERVAL, axis=0))

    @property
    def covariance(self) -> Floats:
        """Covariance matrix (k, k)."""
        return np.cov(self.samples, rowvar=False)

    @property
    def upper_limits(self) -> dict[str, float]:
        """95 % upper limits, by label, of labels that are not measured."""
        if "vsini_upper_limit" not in self.flags:
            return self.limits
        return {"vsini": float(np.quantile(self.samples[:, self.names.index("vsini")], UPPER)), **self.limits}


def without_masked(posterior: Posterior, elements: Sequence[str]) -> Posterior:
    """The same with no values of the elements given, all of whose lines are masked or were not observed."""
    nothing = (*posterior.uninformed, *(name for name in elements if name not in posterior.uninformed))
    limits = {name: limit for name, limit in posterior.limits.items() if name not in elements}
    flags = tuple(flag for flag in posterior.flags if flag.removeprefix("upper_limit_") not in elements)
    flags += tuple(f"lines_masked_{name}" for name in elements)
    return replace(posterior, flags=flags, uninformed=nothing, limits=limits)


def label_set(text: str) -> tuple[str, ...]:
    """Labels of a set by name, or of ``abundances:mg,y`` the usual ones and some elements.

    Raises:
        ConfigError: the set does not exist, no element is named, or one is not in `ELEMENTS`.
    """
    name, colon, listed = text.partition(":")
    if name not in LABELS_OF or (colon and name != "abundances"):
        raise ConfigError(
            f"no set of labels {text!r}; there are {', '.join(LABELS_OF)} and abundances:{ELEMENTS[1]},{ELEMENTS[-1]}",
            parameter="labels",
        )
    if not colon:
        return LABELS_OF[name]
    elements = tuple(dict.fromkeys(named(part.strip().lower()) for part in listed.split(",") if part.strip()))
    unknown = [element for element in elements if element not in ELEMENTS]
    if unknown or not elements:
        what = f"no element {', '.join(unknown)}" if unknown else "names no element"
        raise ConfigError(f"labels {text!r}: {what}; there are {', '.join(ELEMENTS)}", parameter="labels")
    return (*LABELS_OF["default"], *elements)


def shown(names: tuple[str, ...], samples: torch.Tensor, labels: str, model: str) -> tuple[tuple[str, ...], Floats]:
    """Names and samples (n, k) of a set of labels; [alpha/M] is the mean of Mg, Ca and Ti unless it is a label itself.

    Args:
        names: labels of ``samples``.
        samples: of all labels.
        labels: as `label_set` takes it.
        model: for messages.

    Raises:
        ConfigError: as `label_set`.
        DomainError: a label of the set is not among the names (the set "abundances" may lack elements).
    """
    requested = label_set(labels)
    names, samples = with_alpha(names, samples.double().cpu())
    columns = dict(zip(names, samples.unbind(1), strict=True))
    missing = [name for name in requested if name not in columns]
    some = labels == "default" or (labels == "abundances" and set(ELEMENTS) & set(columns))
    if missing and not some:
        there = ", ".join(name for name in (*LABELS_OF["default"], *ELEMENTS) if name in columns)
        raise DomainError(
            f"{model}: has no labels {', '.join(missing)}, which the set {labels} needs; there are {there}",
            parameter="labels",
        )
    chosen = tuple(name for name in requested if name in columns)
    return chosen, torch.stack([columns[name] for name in chosen], 1).numpy()


def information(
    names: tuple[str, ...], samples: Floats, prior: Mapping[str, torch.Tensor]
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Abundances that a spectrum does not constrain, and upper limits of those for which only high values are excluded.

    Args:
        names: k labels.
        samples: of the posterior (n, k).
        prior: draws from the prior (m,), by label.
    """
    nothing, limits = [], {}
    for name, column in zip(names, samples.T, strict=True):
        if name not in (*ELEMENTS, "alpha") or name not in prior:
            continue
        before = prior[name].numpy()
        low, high = np.quantile(before, (0.1, 0.9))
        most = float(np.quantile(column, UPPER))
        if column.std() > _NO_INFORMATION * before.std():
            nothing.append(name)
        elif column.std() > _LIMIT * before.std() and (column < low).mean() > 0.07 and most < high:
            limits[name] = most
    return tuple(nothing), limits


def posterior_of(
    prior: LabelTransform,
    drawn: Samples,
    resolution: float,
    labels: str,
    model: str,
    before: Mapping[str, torch.Tensor] | None = None,
    systematic: Mapping[str, float] | None = None,
) -> Posterior:
    """A star's posterior with its flags, which depend on the fitted labels, without systematic errors and priors.

    Args:
        prior: ranges of all labels.
        drawn: samples of all labels.
        resolution: R of the spectrum.
        labels: the set to show.
        model: for messages.
        before: draws from the prior (m,), by label; None: `information` is not tested.
        systematic: standard deviation of the systematic error by label.

    Raises:
        DomainError: as `shown`.
    """
    names, fit = shown(prior.space.names, drawn.fit, labels, model)
    flags = tuple(flag for flag in edges(prior, drawn.fit) if flag.removeprefix("edge_") in names)
    flags += limit_flags(names, fit, resolution)
    _, true = shown(prior.space.names, drawn.true, labels, model)
    nothing, limits = information(names, fit, before or {})
    flags += tuple(f"no_information_{name}" for name in nothing) + tuple(f"upper_limit_{name}" for name in limits)
    low, high = np.quantile(fit, INTERVAL, axis=0)
    sizes = np.array([(systematic or {}).get(name, np.nan) for name in names])
    return Posterior(names, true, resolution, flags, (high - low) / 2, sizes, nothing, limits)


def edges(prior: LabelTransform, samples: torch.Tensor) -> tuple[str, ...]:
    """Flags of labels whose samples (n, k) pile up at an end of the prior, except v sin i near 0 (an upper limit)."""
    unit = prior.unit(samples)
    low, high = ((x < _EDGE).float().mean(0) > _AT_EDGE for x in (unit, 1 - unit))
    names = prior.space.names
    low &= torch.tensor([name != "vsini" for name in names], device=low.device)
    return tuple(f"edge_{name}" for name, edge in zip(names, (low | high).tolist(), strict=True) if edge)


def limit_flags(names: tuple[str, ...], samples: Floats, resolution: float) -> tuple[str, ...]:
    """``vsini_upper_limit`` where v sin i (n, k) is no measurement."""
    if "vsini" not in names:
        return ()
    low, median = np.quantile(samples[:, names.index("vsini")], (INTERVAL[0], 0.5))
    return ("vsini_upper_limit",) if is_limit(low, median, resolution) else ()


def is_limit(low: Floats | float, median: Floats | float, resolution: Floats | float) -> NDArray[np.bool_]:
    """Whether v sin i with this 16 % quantile and median (km/s) is only an upper limit at R = lambda / FWHM."""
    median = np.asarray(median)
    return (median < C_KMS / np.asarray(resolution)) & (np.asarray(low) < _CONSISTENT_WITH_0 * median)
