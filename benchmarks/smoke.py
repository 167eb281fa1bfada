"""Smoke runs of the benchmarks: `--smoke` runs all of a script within seconds, on tiny inputs that it makes itself."""

from __future__ import annotations

import argparse
import atexit
import csv
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import nights
from maury.emulator import PACKAGED, load_cached
from maury.files import sha256
from maury.grids import GridConfig, build_grid
from maury.readers import write
from synthesis_inputs import LINES, atmosphere_folder, vald_short

TINY_GRID: dict[str, Any] = {"teff": (5750, 6000), "logg": (4.0, 5.0), "mh": (-0.5, 0.5), "vsini": (0, 4)}
"""Nodes of a grid of 72 spectra."""


def parse(parser: argparse.ArgumentParser, tiny: Callable[[Path], Sequence[Any]]) -> argparse.Namespace:
    """Parse the command line, with `--smoke` as a further option.

    Args:
        parser: of the benchmark.
        tiny: arguments of a smoke run, given a temporary folder; those of the command line override them.
    """
    parser.add_argument("--smoke", action="store_true", help="only see whether it runs: seconds, on tiny inputs")
    given = sys.argv[1:]
    if "--smoke" in given:
        folder = Path(tempfile.mkdtemp(prefix="maury-smoke-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        given = [*map(str, tiny(folder)), *given]
    return parser.parse_args(given)


def observed_stars(folder: Path, *files: str, labels: dict[str, float] = nights.SUN) -> Path:
    """Write simulated spectra of a star with a `CATALOG.csv`, as `observed.catalogue` reads it.

    Args:
        folder: where to write.
        files: names of the spectra, FITS; each star is 200 K cooler than the one before.
        labels: of the first star.
    """
    rows = []
    for number, file in enumerate(files):
        star = labels | {"teff": labels["teff"] - 200 * number}
        instrument = nights.Instrument(65_000.0, 0.04)
        write(nights.observe(star, instrument, velocity_kms=5.0, snr=200, seed=number + 1), folder / file)
        known = {"teff": 50, "logg": 0.05, "mh": 0.05, "vsini": 0.5}
        row: dict[str, Any] = {"file": file, "star": f"star {number}", "role": "develop", "format": "simulated"}
        row |= {"resolution": instrument.resolution, "rv_kms": 5.0, "snr_est": 200, "labels_verified": True}
        row |= {name: star[name] for name in known} | {f"e_{name}": error for name, error in known.items()}
        rows.append(row | {"alpha": 0.0})
    with (folder / "CATALOG.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def synthesis_inputs(folder: Path, **nodes: tuple[float, ...]) -> list[Any]:
    """Write a line list of few lines and grey model atmospheres; the options that name them."""
    ends = [("Fe 1", wavelength, 3.5, -2.0) for wavelength in (5030.0, 5370.0)]
    lines = vald_short(folder / "lines.lin", lines=[*LINES, *ends])
    return ["--line-list", lines, "--atmospheres", atmosphere_folder(folder / "models", **nodes)]


def tiny_grid(folder: Path) -> Path:
    """Write a small grid of the packaged emulator."""
    build_grid(folder / "grid.h5", load_cached(), sha256(PACKAGED), GridConfig(**TINY_GRID))
    return folder / "grid.h5"
