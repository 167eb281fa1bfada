"""Whether a wrong R is found in observed slow rotators.

    python benchmarks/flags_observed.py ../shared/data/observed --out docs/results/flags-observed.json

Spectra of `CATALOG.csv` of R of 60,000 and more, of stars of 4500 to 7000 K and below 6 km/s in v sin i, are prepared,
degraded to R = 36,000, and predicted with the true R, one 1.2 times too low, and one 1.2 times too high. Two minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from observed import catalogue, hints
from scipy.ndimage import gaussian_filter1d
from smoke import observed_stars, parse

from maury.broadening import instrument_sigma, remaining_resolution
from maury.cli.console import out, progress
from maury.files import write_json
from maury.inference import predict
from maury.preparation import prepare
from maury.readers import read
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS

R = 36_000.0
TOLD = {"as it is": 1.0, "1.2 times too low": 1 / 1.2, "1.2 times too high": 1.2}
FASTEST_KMS, LEAST_R = 6.0, 60_000.0


def degraded(folder: Path, row: dict[str, str]) -> Spectrum:
    """A spectrum at rest, normalised, of R = 36,000; noise as if its pixels were independent, which sums then have."""
    true = float(row["resolution"])
    spectrum = prepare(read(folder / row["file"], resolution=true, **hints(folder, row))).spectrum
    step = C_KMS * float(np.diff(np.log(spectrum.wavelength_aa)).mean())
    width = float(instrument_sigma(remaining_resolution(torch.tensor(R, dtype=torch.float64), true)))
    bad = np.asarray(spectrum.mask, bool) | ~np.isfinite(spectrum.flux)
    flux = gaussian_filter1d(np.where(bad, 1.0, spectrum.flux), width / step)
    near = gaussian_filter1d(bad.astype(float), width / step) > 0.05
    return spectrum.with_(flux=flux, mask=bad | near, resolution=R)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [observed_stars(folder, "sun.fits"), "--out", folder / "out.json"])
    rows = [
        row
        for row in catalogue(options.folder, "resolution", "teff")
        if float(row["resolution"]) >= LEAST_R
        and 4500 <= float(row["teff"]) <= 7000
        and float(row["vsini"] or 0) < FASTEST_KMS
    ]
    stars: list[dict[str, Any]] = []
    with progress() as bar:
        for row in bar.track(rows, description="stars"):
            spectrum = degraded(options.folder, row)
            results = {how: predict(spectrum, resolution=factor * R) for how, factor in TOLD.items()}
            found = {how: "resolution_doubtful" in result.flags for how, result in results.items()}
            odds = {how: round(r.refinement.sharper_odds, 2) for how, r in results.items() if r.refinement}
            stars.append({"file": row["file"], "star": row["star"], "flagged": found, "log_odds_of_1.2_R": odds})
            out.print(row["file"], found, odds)
    share = {how: round(float(np.mean([star["flagged"][how] for star in stars])), 3) for how in TOLD}
    out.print(share)
    write_json(options.out, {"n": len(stars), "resolution": R, "flagged": share, "stars": stars})


if __name__ == "__main__":
    main()
