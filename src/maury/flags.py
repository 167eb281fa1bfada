"""All flags in one registry: name, meaning, whether it limits the trust in the values that are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from maury.labels import LABELS

Stage = Literal["preparation", "posterior", "refinement"]


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        name: as in results; ``<label>`` stands for the name of a label.
        meaning: when it is raised.
        limits: whether it limits the trust in a value that is given: a result with such a flag has status ``flagged``.
        stage: what raises it.
    """

    name: str
    meaning: str
    limits: bool
    stage: Stage


_ALL = (
    Flag(
        "velocity_uncertain",
        "the peak of the cross-correlation is not reliable, or the error is above 5 km/s",
        True,
        "preparation",
    ),
    Flag("double_lined", "the residuals hold the lines of a second star at another velocity", True, "preparation"),
    Flag(
        "cool_star",
        "the best template is below 3900 K: strengths of most lines are unknown, log g and [M/H] are uncertain",
        True,
        "preparation",
    ),
    Flag(
        "fast_rotator",
        "v sin i of the template is above 50 km/s: lines are blended, velocity and continuum less certain",
        True,
        "preparation",
    ),
    Flag(
        "poor_template",
        "residuals of more than 5 % of the continuum: no template resembles this spectrum",
        True,
        "preparation",
    ),
    Flag("short_coverage", "less than 98 % of the window was observed and is not masked", True, "preparation"),
    Flag(
        "resolution_unknown",
        "the resolution is not known: the template's rotation includes the instrument's profile",
        True,
        "preparation",
    ),
    Flag(
        "medium_assumed",
        "whether the wavelengths are in air or vacuum rests on an assumption: the velocity may be off by 83 km/s",
        True,
        "preparation",
    ),
    Flag(
        "damaged_pixels",
        "more than 1 % of the pixels hold neither star nor noise (hot pixels, fillings): masked where they stand out, "
        "else in the fit; or lines in one stretch are too shallow or too deep, as of a ghost",
        True,
        "preparation",
    ),
    Flag("low_snr", "signal-to-noise below 10 per pixel", True, "preparation"),
    Flag(
        "edge_<label>",
        "more than a tenth of the posterior lies within 1 % of an end of the label's range",
        True,
        "posterior",
    ),
    Flag("outside_<label>", "outside the range that the network was made for", True, "posterior"),
    Flag(
        "vsini_upper_limit",
        "v sin i is below a resolution element and compatible with 0: vsini_upper is its 95 % limit",
        False,
        "posterior",
    ),
    Flag(
        "no_information_<label>",
        "the posterior is wider than 0.8 times the prior, so that no value is given",
        False,
        "posterior",
    ),
    Flag(
        "lines_masked_<label>",
        "all lines of the element are masked or were not observed, so that no value is given",
        False,
        "posterior",
    ),
    Flag(
        "upper_limit_<label>",
        "high abundances are excluded, low ones are not: the 95 % limit is given",
        False,
        "posterior",
    ),
    Flag(
        "poor_fit",
        "residuals are more than twice as large as usual for such a star: the model does not describe this star",
        True,
        "refinement",
    ),
    Flag(
        "low_efficiency",
        "importance sampling found fewer than 100 effective samples, or weights with too long a tail",
        True,
        "refinement",
    ),
    Flag(
        "cool_dwarf_standards",
        "lines were corrected by what standard dwarfs of this temperature show, which is more probable: labels are "
        "relative to theirs",
        False,
        "refinement",
    ),
    Flag(
        "resolution_doubtful",
        "lines are sharper than R and any rotation allow (1.2 R is more probable), or R is off by more than "
        "1.25 standard deviations",
        True,
        "refinement",
    ),
    Flag(
        "resolution_assumed",
        "R was estimated from the lines of a slow rotator: v sin i is not constrained",
        True,
        "refinement",
    ),
    Flag(
        "parallax_conflict",
        "log g of the spectrum and of parallax and magnitude differ by more than 3 standard deviations: a companion, "
        "or another star's parallax",
        True,
        "refinement",
    ),
    Flag(
        "exposures_disagree",
        "an exposure differs from the others in its lines or its labels by more than the uncertainties: another star, "
        "a companion, or a wrong resolution",
        True,
        "refinement",
    ),
    Flag("exposures_skipped", "at least one exposure could not be used: its row gives the reason", False, "refinement"),
    Flag(
        "two_stars",
        "two stars in one spectrum are clearly more probable than one: the values are those of a single-star fit, "
        "those of both stars stand beside them",
        True,
        "refinement",
    ),
    Flag("prior_conflict", "prior and spectrum differ by more than 3 standard deviations", True, "refinement"),
)

FLAGS: dict[str, Flag] = {flag.name: flag for flag in _ALL}
"""Every flag by name."""

_PATTERNS = [(re.compile(re.escape(flag.name).replace("<label>", r"(?P<label>\w+)")), flag) for flag in _ALL]


def flag_of(name: str) -> tuple[Flag, str | None]:
    """Look up a flag by its name in a result; the second value is the label in the name, or None.

    Raises:
        KeyError: no flag has this name.
    """
    for pattern, flag in _PATTERNS:
        if (found := pattern.fullmatch(name)) is not None:
            label = found.groupdict().get("label")
            if label is None or label in LABELS:
                return flag, label
    raise KeyError(name)


def meaning_of(name: str) -> str:
    """Meaning of a flag of a result, with the label that it is about."""
    flag, label = flag_of(name)
    return flag.meaning if label is None else f"{LABELS[label].description}: {flag.meaning}"


def limits_trust(name: str) -> bool:
    """Whether a flag limits the trust in a value that is given."""
    return flag_of(name)[0].limits


def of_stage(*stages: Stage) -> dict[str, Flag]:
    """The flags that some stages raise."""
    return {name: flag for name, flag in FLAGS.items() if flag.stage in stages}
