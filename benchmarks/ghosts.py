"""Foreign light that the continuum follows: how often it is flagged, and how often a clean spectrum is.

    python benchmarks/ghosts.py ../shared/data/observed --out docs/results/ghosts.json

Simulated nights of stars drawn from the whole domain (four instruments, S/N 20 to 300) are prepared as they are, and
with light added in one stretch of 5 to 30 % of the window: 30 % of the typical flux more or less, smooth (sine squared)
or sharp (a box); and with waves of the continuum of that size, which take nothing away. Then the observed spectra of
the folder. Three minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from observed import APF_WAVELENGTHS, catalogue, hints, measured
from smoke import observed_stars, parse

from maury.cli.console import out
from maury.files import atomic_path
from maury.preparation import Preparation, prepare
from maury.readers import read
from maury.spectra import Observation

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nights import Instrument, draw_star, observe

INSTRUMENTS = (
    Instrument(44_000.0, 0.04, orders=4, blaze=True, wave=0.05),
    Instrument(67_000.0, 0.02, wave=0.05),
    Instrument(110_000.0, 0.012, orders=5, blaze=True),
    Instrument(30_000.0, 0.08),
)
KINDS = {
    "clean": None,
    "added, sharp, +30 %": (0.3, False, False),
    "added, sharp, -30 %": (-0.3, False, False),
    "added, smooth, +30 %": (0.3, True, False),
    "added, smooth, -30 %": (-0.3, True, False),
    "wave of the continuum, smooth, +30 %": (0.3, True, True),
}
"""Height, whether it is smooth, whether it multiplies the flux."""


def night(seed: int, kind: tuple[float, bool, bool] | None) -> Preparation:
    """One simulated star, prepared."""
    rng = np.random.default_rng(seed)
    labels, instrument = draw_star(rng), INSTRUMENTS[seed % len(INSTRUMENTS)]
    velocity, snr = rng.uniform(-50, 50), float(np.exp(rng.uniform(np.log(20), np.log(300))))
    star = observe(labels, instrument, velocity_kms=velocity, snr=snr, seed=seed)
    if kind is None:
        return prepare(star, resolution=instrument.resolution)
    part, smooth, times = kind
    width = 300 * rng.uniform(0.05, 0.3)
    start, orders = rng.uniform(5055, 5345 - width), []
    for order in star.orders:
        x = (order.wavelength_aa - start) / width
        shape = np.sin(np.pi * np.clip(x, 0, 1)) ** 2 if smooth else 1.0
        level = np.where((x > 0) & (x < 1), part * shape, 0.0)
        orders.append(order.with_(flux=order.flux + level * (order.flux if times else np.median(order.flux))))
    return prepare(Observation(tuple(orders), None, star.provenance), resolution=instrument.resolution)


def count(stars: list[Preparation]) -> dict[str, int]:
    """How many are flagged, and by which sign."""
    notes = [" ".join(star.notes) for star in stars]
    return {
        "stars": len(stars),
        "flagged": sum("damaged_pixels" in star.flags for star in stars),
        "by the depth of lines": sum("than elsewhere" in text for text in notes),
        "by a step": sum("has a step" in text for text in notes),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--stars", type=int, default=100, help="simulated stars of each kind")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parse(
        parser, lambda folder: [observed_stars(folder, "sun.fits"), "--stars", 1, "--out", folder / "ghosts.json"]
    )

    def seen(row: dict[str, str]) -> Preparation:
        star = read(options.folder / row["file"], **hints(options.folder, row, APF_WAVELENGTHS))
        return prepare(star, resolution=float(row["resolution"]))

    report: dict[str, Any] = {}
    for name, kind in KINDS.items():
        stars = [{"file": f"{name} {seed}", "seed": str(seed)} for seed in range(options.stars)]
        report[name] = count(measured(stars, lambda row, kind=kind: night(int(row["seed"]), kind), name))
        out.print(f"{name}: {report[name]}", markup=False)
    report["observed"] = count(measured(catalogue(options.folder), seen, "observed"))
    out.print(f"observed: {report['observed']}", markup=False)
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
