"""Observed spectra of a folder with CATALOG.csv, for the benchmarks beside this file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from maury.cli.console import fail, progress
from maury.errors import MauryError

Star = TypeVar("Star")

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
