"""What a reference star of the same instrument changes: `maury predict --reference` beside plain results.

    python benchmarks/differential.py ../shared/data/observed --out docs/results/benchmark-stars/differential.md

Each pair of the list below is a star and a spectrum of the Sun (Moon, Ganymede, atlas) of the same spectrograph, or of
one of the same resolution. Values are less those of the literature in `CATALOG.csv`; at the end stand root mean squares
and standard deviations of the stars like the Sun (5500 to 6250 K) and of the others. Half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from observed import catalogue, hints
from smoke import observed_stars, parse

from maury.cli.console import out, progress
from maury.files import write_text
from maury.inference import predict, reference_star
from maury.readers import read

PAIRS = (
    ("UVES_Sun-1_cleaned_norm.txt", "HARPS_Sun.fits"),
    ("APF_HIP62207_rarj.224.fits", "APF_Moon_rabh.225.fits"),
    ("HARPS_HD17051_estrela1.fits", "HARPS_Sun.fits"),
    ("HIRES_HD190406_rj59.1923.fits", "HIRES_Ganymede_rj76.279.fits"),
    ("APF_HD72760_rbcs.254.fits", "APF_Moon_rabh.225.fits"),
    ("APF_GJ144_NDRS.fits", "APF_Moon_rabh.225.fits"),
    ("UVES_epsEri-2_47000.fits", "ATLAS.Sun_47000.fits"),
    ("HARPS_HD189733_2006-09-08_s1d_A.fits", "HARPS_Sun.fits"),
    ("HARPS.GBOG_Procyon.fits", "HARPS_Sun.fits"),
)
DIGITS = {"teff": 0, "logg": 2, "mh": 2, "alpha": 2}
LIKE_THE_SUN_K = (5500.0, 6250.0)


def differences(folder: Path, row: dict[str, str], reference: Any) -> dict[str, float]:
    """Result less literature, and reduced chi-square."""
    star = read(folder / row["file"], resolution=float(row["resolution"]), **hints(folder, row))
    values = predict(star, labels="abundances", reference=reference).record()
    return {name: values[name] - float(row[name]) for name in DIGITS if row.get(name)} | {"chi2": values["chi2"]}


def line(title: str, cells: list[str]) -> str:
    """One row of the table."""
    return "| " + " | ".join([title, *cells]) + " |"


def spread(rows: list[tuple[dict[str, float], dict[str, float]]], title: str) -> list[str]:
    """Root mean square about the literature and standard deviation of absolute and differential values."""
    squares, deviations = [], []
    for name, digits in DIGITS.items():
        values = np.array([[way[name] for way in row] for row in rows if name in row[0]])
        for cells, two in ((squares, np.sqrt((values**2).mean(0))), (deviations, values.std(0, ddof=1))):
            cells.append(", ".join(f"{x:.{digits + (digits > 0)}f}" for x in two))
    return [line(f"**{title}: rms**", [*squares, ""]), line(f"**{title}: scatter**", [*deviations, ""])]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [observed_stars(folder, *PAIRS[2]), "--out", folder / "out.md"])
    known = {row["file"]: row for row in catalogue(options.folder, "resolution")}
    groups: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {"like the Sun": [], "others": []}
    lines = ["| star, reference | Teff (K) | log g | [M/H] | [α/M] | χ² |", "|" + "---|" * 6]
    with progress() as bar:
        for name, sun in bar.track(PAIRS[2:3] if options.smoke else PAIRS, description="pairs"):
            row, other = known[name], known[sun]
            spectrum = read(options.folder / sun, resolution=float(other["resolution"]), **hints(options.folder, other))
            reference = reference_star(spectrum)
            both = (differences(options.folder, row, None), differences(options.folder, row, reference))
            low, high = LIKE_THE_SUN_K
            groups["like the Sun" if low < float(row["teff"]) < high else "others"].append(both)
            cells = [
                ", ".join(f"{way[key]:+.{digits}f}" for way in both) if key in both[0] else ""
                for key, digits in DIGITS.items()
            ]
            title = f"{row['star'].split(' (')[0]} (`{name}`), `{sun}`"
            lines.append(line(title, [*cells, ", ".join(f"{way['chi2']:.2f}" for way in both)]))
    lines += [text for title, rows in groups.items() if rows for text in spread(rows, title)]
    write_text(options.out, "\n".join(lines) + "\n")
    out.print("\n".join(lines), markup=False)


if __name__ == "__main__":
    main()
