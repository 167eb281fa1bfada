"""Numbers and results in words, for terminal and page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from maury.inference.columns import DERIVED, TWO_STARS
from maury.labels import LABELS

if TYPE_CHECKING:
    from maury.inference.components import TwoStars
    from maury.inference.result import Result

_DIGITS = {"teff": 0, "vsini": 1}
_MOST_DIGITS = 4
_NAMES = {"teff": "Teff", "logg": "log g", "vsini": "v sin i", "alpha": "[α/M]", "vmic": "ξ", "vmac": "ζ"}


def number(name: str, value: float, error: float | None = None) -> str:
    """A label's value with as many digits as matter.

    Args:
        name: of the label.
        value: in its unit.
        error: its uncertainty, of which at least one digit has to be seen.
    """
    digits = _DIGITS.get(name, 2)
    if error is not None and 0 < error < math.inf:
        digits = max(digits, min(-math.floor(math.log10(error)), _MOST_DIGITS))
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no negative zero


def plain_name(name: str) -> str:
    """A label's name without mathematical markup: log g, [Mg/Fe]."""
    return _NAMES.get(name) or LABELS[name].symbol.replace("/M]", "/Fe]")


def titled(name: str) -> str:
    """A label's name with its unit, where it has one besides dex: Teff (K)."""
    unit = LABELS[name].unit
    return plain_name(name) if unit.startswith("dex") else f"{plain_name(name)} ({unit})"


def why_no_value(result: Result, name: str) -> str:
    """Why an element that the spectrum does not constrain has no value."""
    return "all lines masked" if f"lines_masked_{name}" in result.flags else "no information"


def fit_phrases(result: Result) -> list[str]:
    """Velocity, spectral type, quality of the fit and effect of priors, one phrase each."""
    done, fit, phrases = result.preparation, result.refinement, []
    if done is not None:
        velocity = f"{done.velocity_kms:+.2f} ± {done.velocity_error_kms:.2f} km/s"
        velocity += " (frame of the file not stated)" if done.frame == "unknown" else ""
        phrases.append(f"velocity {velocity}, S/N {done.snr:.0f} per {done.step_kms:.1f} km/s")
    phrases += [together(result)] if result.exposures else []
    if result.posterior is None:
        typical = ", ".join(f"{plain_name(k)} {number(k, value)}" for k, value in result.typical_errors.items())
        return [*phrases, f"this network gives no uncertainties; 68 % of its validation spectra are within {typical}"]
    if result.spectral_type is not None:
        phrases.append(f"about {result.spectral_type}")
    if fit is None:
        return [*phrases, "the network's posterior, not refined"]
    phrases.append(
        f"refined: {fit.effective:.0f} effective samples (efficiency {fit.efficiency:.0%}), reduced chi-square "
        f"{fit.chi2:.2f}"
    )
    if fit.foreign is not None:
        phrases.append(f"{fit.foreign}: a ghost, stray light, a filled gap or orders badly joined")
    if fit.prior_efficiency < 1:
        phrases.append(f"{fit.prior_efficiency:.0%} of the samples are effective after weighting by priors")
    return phrases


def together(result: Result) -> str:
    """Number of exposures, their mean velocity and its scatter, and those that disagree, as one phrase."""
    row = result.record()
    phrase = f"{row['n_exposures']} exposures"
    if row["rv_kms"] is not None:
        phrase += f", mean velocity {row['rv_kms']:+.2f} ± {row['rv_err']:.2f} km/s"
        phrase += f", scatter {row['rv_scatter_kms']:.2f} km/s" if row["rv_scatter_kms"] is not None else ""
    odd = [exposure.file for exposure in result.exposures if exposure.status == "disagrees"]
    return phrase + (f"; not like the others: {', '.join(odd)}" if odd else "")


def exposure_rows(result: Result) -> list[dict[str, str]]:
    """One row per exposure, for a table: velocity, signal-to-noise, noise, whether it fits the others."""
    rows = []
    for one in (exposure.record() for exposure in result.exposures):
        velocity = one["rv_kms"] if one["rv_barycentric_kms"] is None else one["rv_barycentric_kms"]
        numbers = {
            "BJD (TDB)": (one["bjd_tdb"], ".5f"),
            "velocity (km/s)": (velocity, "+.3f"),
            "±": (one["rv_err"], ".3f"),
            "zero point ±": (one["rv_zero_err"], ".3f"),
            "S/N": (one["snr"], ".0f"),
            "R": (one["resolution"], ".0f"),
            "noise ×": (one["noise_scale"], ".2f"),
        }
        row = {title: "" if x is None else format(x, how) for title, (x, how) in numbers.items()}
        rows.append({"file": Path(one["file"]).name, **row, "status": one["error"] or one["status"]})
    return rows


def two_phrase(two: TwoStars) -> str:
    """Whether the spectrum is of two stars, with the evidence, as one phrase."""
    known = {"two": "two stars are clearly more probable than one", "one": "one star explains the spectrum"}
    words = known.get(two.status, "two stars may be more probable than one, but not with certainty")
    return f"{words}: ln of the evidence ratio {two.ln_evidence:+.1f}"


def two_rows(two: TwoStars) -> list[dict[str, str]]:
    """One row per parameter of two stars, for a table: column, value, uncertainty and unit."""
    numbers, rows = two.numbers(), []
    for column in TWO_STARS[:-1]:
        label, value, error = column.name.split("_")[0], numbers[column.name], numbers[f"{column.name}_err"]
        shown = {"value": number(label, value, error), "±": number(label, error, error)}
        rows.append({"column": column.name, **shown, "unit": column.unit})
    return rows


def in_solar_units(result: Result) -> dict[str, str]:
    """Luminosity, radius and mass with their uncertainties, by title with unit; none without parallax and magnitude."""
    numbers = result.numbers()
    return {
        f"{name} ({unit.replace('_', '')})": f"{numbers[name]:.3g} ± {numbers[f'{name}_err']:.2g}"
        for name, (unit, _) in DERIVED.items()
        if name in numbers
    }
