"""Prepare a folder of observed spectra and compare their velocities with those of its catalogue.

    python benchmarks/preparation_observed.py ../shared/data/observed --out docs/results/preparation

The folder holds `CATALOG.csv` with the columns file, star, role, rv_kms, vsini, teff, resolution. Each spectrum is
read and prepared with its resolution as the only option (raw APF orders also with `--apf-wavelengths`, a file of the
folder). Writes `observed.txt`, a table, and figures of the files named with `--figure`;
seconds are those of the processor, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from observed import APF_WAVELENGTHS, catalogue, hints
from smoke import observed_stars, parse

from maury.files import atomic_path, write_text
from maury.plots import plot_preparation
from maury.preparation import Preparation, prepare
from maury.readers import read

FIGURES = ("HIRES_Ganymede", "ESPaDOnS_61CygB", "hd122563", "UVES_ABDor", "WASP14-2009-06-14")
HEAD = ("file", "star", "orders", "S/N", "Å", "velocity km/s", "catalogue", "difference", "limit")
HEAD += ("template Teff, log g, [M/H], v sin i", "misfit %", "flags", "CPU s")


def limit_kms(row: dict[str, str]) -> float:
    """What is aimed at: 0.5 km/s for slow FGK stars, 2 km/s for fast rotators, M dwarfs and A stars."""
    fast = float(row["vsini"] or 0) > 15
    return 2.0 if fast or not 4000 <= float(row["teff"]) <= 7000 else 0.5


def line(row: dict[str, str], result: Preparation, seconds: float) -> str:
    """One line of the table."""
    difference, limit, template = result.velocity_kms - float(row["rv_kms"]), limit_kms(row), result.template
    shown = f"{template['teff']:.0f}, {template['logg']:.2f}, {template['mh']:+.2f}, {template['vsini']:.1f}"
    cells = [
        f"`{row['file']}`",
        row["star"].split(" (")[0],
        str(len(result.orders)),
        f"{result.snr:.0f}",
        f"{result.coverage_aa:.0f}",
        f"{result.velocity_kms:+.3f} ± {result.velocity_error_kms:.3f}",
        row["rv_kms"],
        f"{difference:+.2f}",
        f"{limit:g}" + ("" if abs(difference) <= limit else " **missed**"),
        shown,
        f"{100 * result.model_error:.1f}",
        ", ".join(flag for flag in result.flags if flag != "medium_assumed"),
        f"{seconds:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--apf-wavelengths", default=APF_WAVELENGTHS, help="wavelengths of raw APF orders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table and the figures")
    parser.add_argument("--figure", action="append", help="beginnings of the names of files to be drawn")
    options = parse(
        parser, lambda folder: [observed_stars(folder, "sun.fits"), "--out", folder / "out", "--figure", "sun"]
    )
    rows = catalogue(options.folder)
    lines = []
    for row in rows:
        seen = read(options.folder / row["file"], **hints(options.folder, row, options.apf_wavelengths))
        start = time.process_time()
        result = prepare(seen, resolution=float(row["resolution"]))
        lines.append(line(row, result, time.process_time() - start))
        print(lines[-1], flush=True)
        if row["file"].startswith(tuple(options.figure or FIGURES)):
            with atomic_path(options.out / f"{Path(row['file']).name.split('.')[0]}.png") as temporary:
                plot_preparation(result).savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *lines]
    missed = sum("missed" in text for text in lines)
    print(f"{len(lines)} files, {missed} beyond the limit")
    write_text(options.out / "observed.txt", "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
