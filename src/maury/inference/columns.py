"""Columns of results, in one place: names, units and meaning in JSON, tables, catalogues and on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maury.inference.posterior import ELEMENTS
from maury.labels import LABELS

Kind = Literal["text", "integer", "number", "double"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its name.
        kind: text, 64-bit integers, or numbers of 32 bits or (double) of 64, NaN where there is none.
        unit: in astropy's spelling; "" for none.
        description: what it holds.
    """

    name: str
    kind: Kind
    unit: str
    description: str


ENDINGS = {
    "_err": "half the width of the central 68 % of the",
    "_stat": "statistical uncertainty, from noise and random errors of lines:",
    "_sys": "systematic uncertainty, from fit minus literature of benchmark stars:",
    "_lo": "16 % quantile of the",
    "_hi": "84 % quantile of the",
}
"""Endings of a label's columns in results of a posterior."""

UPPER = "_upper"
"""Ending of the column of an upper limit."""

DERIVED = {
    "luminosity": ("L_sun", "luminosity, from parallax and magnitude"),
    "radius": ("R_sun", "radius, from luminosity and effective temperature"),
    "mass": ("M_sun", "mass, from Teff, log g and [M/H] (Torres et al. 2010); uncertain for giants"),
}
"""Unit and meaning of the quantities derived from parallax and magnitude."""


LINES = "_lines"
"""Ending of the column of an element's number of lines."""


def lines_column(element: str) -> Column:
    """Number of lines that measure an element."""
    what = "number of lines that each measure it to 0.3 dex (other labels known):"
    return Column(column_of(element) + LINES, "number", "", f"{what} {LABELS[element].description}")


def derived_columns() -> tuple[Column, ...]:
    """Columns of results with parallax and magnitude: median, half the central 68 %, and its ends."""
    spread = {end: what for end, what in ENDINGS.items() if end in ("_err", "_lo", "_hi")}
    return tuple(
        Column(name + end, "number", unit, f"{what} {meaning}".strip())
        for name, (unit, meaning) in DERIVED.items()
        for end, what in ({"": ""} | spread).items()
    )


TWO_STARS = (
    *(
        Column(f"{name}_{number}", "number", LABELS[name].unit, f"{LABELS[name].description} of star {number} of two")
        for number in (1, 2)
        for name in ("teff", "logg", "vsini")
    ),
    Column("rv_1_kms", "number", "km / s", "radial velocity of star 1 of two, in the frame of rv_kms"),
    Column("rv_2_kms", "number", "km / s", "radial velocity of star 2 of two, in the frame of rv_kms"),
    Column("mh_both", "number", LABELS["mh"].unit, f"{LABELS['mh'].description} of both stars of two"),
    Column("light_ratio", "number", "", "light of star 2 over that of star 1 in the window"),
    Column("ln_evidence_two_over_one", "number", "", "ln of the evidence of two stars over that of one"),
)
"""Columns of two stars in one spectrum: medians."""


COMPONENTS = Column(
    "components", "text", "", "whether the spectrum is of two stars, where two were fitted: one, two or uncertain"
)
"""Column of the decision between one star and two."""


def pair_columns() -> tuple[Column, ...]:
    """Columns of results with two stars: medians and half of the central 68 %."""
    return tuple(
        Column(column.name + end, "number", column.unit, f"{what} {column.description}".strip())
        for column in TWO_STARS
        for end, what in (("", ""), ("_err", ENDINGS["_err"]))
    )


PREPARED = (
    Column("rv_kms", "number", "km / s", "radial velocity in the frame of the file's wavelengths"),
    Column("rv_err", "number", "km / s", "statistical uncertainty of rv_kms"),
    Column("rv_zero_err", "number", "km / s", "uncertainty of the instrument's zero point, not part of rv_err"),
    Column("rv_barycentric_kms", "number", "km / s", "radial velocity referred to the barycentre"),
    Column("bjd_tdb", "double", "d", "barycentric Julian date (TDB) of the middle of the exposure"),
    Column("coverage_aa", "number", "Angstrom", "good pixels of the window"),
)
"""Columns of spectra that were prepared."""

TOGETHER = (
    Column("n_exposures", "number", "", "exposures of the star that were fitted together"),
    Column("rv_scatter_kms", "number", "km / s", "standard deviation of the velocities of the exposures"),
)
"""Columns of stars with several exposures."""

QUALITY = (
    Column("chi2", "number", "", "reduced chi-square of the refined fit, with noise and usual errors of the physics"),
    Column("efficiency", "number", "", "effective samples per model spectrum of the refinement"),
)
"""Columns of refined posteriors."""

SNR = Column("snr", "number", "", "signal-to-noise ratio per pixel: of the network in HDF5, else of the spectrum")

FLAGS = Column("flags", "text", "", "what limits the trust in the values, by name, separated by commas")


def column_of(name: str) -> str:
    """Name of a label in tables: [X/M] of an element is named [X/Fe], as iron scales with the metals."""
    return f"{name}_fe" if name in ELEMENTS else name


def label_columns(name: str, posterior: bool, upper: bool) -> tuple[Column, ...]:
    """Columns of a label.

    Args:
        name: of the label.
        posterior: whether it has an uncertainty.
        upper: whether it may be an upper limit.
    """
    label, column = LABELS[name], column_of(name)
    endings = ENDINGS if posterior else {}
    limit = {UPPER: "95 % upper limit, where it is not measured:"} if posterior and upper else {}
    return (
        Column(column, "number", label.unit, label.description),
        *(
            Column(column + ending, "number", label.unit, f"{what} {label.description}")
            for ending, what in (endings | limit).items()
        ),
    )
