"""What parallax and magnitude do to observed stars that are known well.

    python benchmarks/parallax.py ../shared/data/observed --out docs/results/parallax

Each star without and with its parallax (Hipparcos, van Leeuwen 2007, or Gaia DR3) and G (Gaia, or by V and V - I of
stars that are too bright for it), as in the tests; the Sun stands at 10 pc. Differences to the literature of
`CATALOG.csv`. Writes stars.json and table.md. Half a minute.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from observed import catalogue, hints
from results import write
from smoke import observed_stars, parse

from maury.cli.console import out, progress
from maury.inference import predict
from maury.readers import read

STARS = {
    "HARPS_Sun.fits": (100.0, 0.3, 4.68),
    "HARPS.GBOG_Procyon.fits": (284.56, 1.26, 0.26),
    "UVES_epsEri-2_47000.fits": (310.58, 0.14, 3.47),
    "ESPaDOnS_61CygB.fits": (286.01, 0.06, 5.45),
    "FIES_HD222404_FIEg310102_step010_wave.fits": (72.52, 0.5, 2.94),
    "hd140283.fits": (16.267, 0.026, 7.04),
    "hd122563.fits": (3.099, 0.033, 5.91),
}
"""Parallax and its error (mas), G (mag)."""
DIGITS = {"teff": 0, "logg": 2, "mh": 2}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    stars = dict(list(STARS.items())[:2]) if "--smoke" in sys.argv else STARS
    options = parse(parser, lambda folder: [observed_stars(folder, *stars), "--out", folder / "out"])
    known = {row["file"]: row for row in catalogue(options.folder, "resolution")}
    found = []
    with progress() as bar:
        for file, (parallax, error, gmag) in bar.track(stars.items(), description="stars"):
            row = known[file]
            star = read(options.folder / file, resolution=float(row["resolution"]), **hints(options.folder, row))
            both = [predict(star), predict(star, parallax=(parallax, error), gmag=gmag)]
            off = [{name: r.values[name] - float(row[name]) for name in DIGITS} for r in both]
            errors = [r.numbers()["logg_err"] for r in both]
            numbers = {name: both[1].numbers()[name] for name in ("luminosity", "radius", "mass")}
            found.append({"star": row["star"], "off": off, "logg_err": errors, **numbers, "flags": both[1].flags})
    text = ["| star | ΔTeff (K) | Δlog g | its error | Δ[M/H] | L, R, M (solar) |", "|" + "---|" * 6]
    for star in found:
        cells = [", ".join(f"{way[name]:+.{digits}f}" for way in star["off"]) for name, digits in DIGITS.items()]
        cells.insert(2, ", ".join(f"{value:.2f}" for value in star["logg_err"]))
        cells.append(", ".join(f"{star[name]:.3g}" for name in ("luminosity", "radius", "mass")))
        text.append(f"| {star['star']} | " + " | ".join(cells) + " |")
    medians = [float(np.median([abs(star["off"][way]["logg"]) for star in found])) for way in (0, 1)]
    text.append(f"| **median of the absolute difference** | | {medians[0]:.3f}, {medians[1]:.3f} | | | |")
    content = {"median_logg": medians, "stars": found}
    write(options.out, {"stars.json": content, "table.md": "\n".join(text) + "\n"})
    out.print("\n".join(text), markup=False)


if __name__ == "__main__":
    main()
