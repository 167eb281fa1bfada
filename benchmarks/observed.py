"""Observed spectra of a folder with CATALOG.csv, for the benchmarks beside this file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from maury.cli.console import fail, progress
from maury.errors import MauryError
from maury.files import atomic_path

Star = TypeVar("Star")

SECOND_EDITION = {"61 Cyg B": {"teff": "4044", "mh": "-0.38", "e_teff": "130", "e_mh": "0.17"}}
"""Labels of the second edition of the Gaia benchmark stars in place of the third, with the difference as uncertainty:
corrections by 61 Cyg B with 4044 K make other dwarfs more probable than with 4174 K, and corrected by other dwarfs it
comes out at 4080 K."""

APF_WAVELENGTHS = "aux_apf_wave_bj2.fits"
"""Wavelengths of raw orders of the APF, which hold none."""


def catalogue(folder: Path, *needed: str) -> list[dict[str, str]]:
    """Rows of the catalogue that say something in the columns needed."""
    with (folder / "CATALOG.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if all(row[name] for name in needed)]


def measured(rows: list[dict[str, str]], measure: Callable[[dict[str, str]], Star], description: str) -> list[Star]:
    """What ``measure`` finds for each row; those that cannot be used are named and left out."""
    found = []
    with progress() as bar:
        for row in bar.track(rows, description=description):
            try:
                found.append(measure(row))
            except MauryError as error:
                fail(str(error))
    return found


def hints(folder: Path, row: dict[str, str], apf_wavelengths: str = APF_WAVELENGTHS) -> dict[str, Path]:
    """What `maury.read` needs to be told of a file: wavelengths of raw APF orders."""
    raw_apf = row["file"].startswith("APF") and "wavelengths in aux" in row["format"]
    return {"wavelength_file": folder / apf_wavelengths} if raw_apf else {}


def write_standards(
    path: Path,
    folder: Path,
    labels: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
    window: tuple[float, float] | None = None,
) -> None:
    """Write the catalogue as a table of standard stars, as maury's verbs take it; names of files become absolute.

    Args:
        path: of the table.
        folder: of the catalogue.
        labels: columns of labels of the literature, each with its uncertainty.
        ranges: of the labels that a star must have, and within which it must be.
        window: wavelengths (Å) that a spectrum must cover.
    """
    first = ("file", "star", "role", "resolution", "wavelength_file", "labels_verified")
    columns = (*first, *labels, *(f"e_{name}" for name in labels if name != "alpha"))
    low, high = window or (float("inf"), 0.0)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        for row in catalogue(folder, "resolution", *ranges):
            begin, end = map(float, (row.get("coverage_A") or "0-99999").split("-"))
            inside = all(least <= float(row[name]) <= most for name, (least, most) in ranges.items())
            if inside and begin < low and end > high:
                row |= SECOND_EDITION.get(row["star"].split(" (")[0], {})
                files = {"file": (folder / row["file"]).absolute()} | hints(folder.absolute(), row)
                writer.writerow(row | {name: str(value) for name, value in files.items()})
