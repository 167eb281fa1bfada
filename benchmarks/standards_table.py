"""The table of standard stars for maury's verbs, from a folder of observed spectra with `CATALOG.csv`.

    python benchmarks/standards_table.py ../shared/data/observed --out standards.csv
    maury model-error standards.csv --out model-error.toml
    maury physics-errors default standards.csv --out docs/results/physics-errors
    maury systematic-errors default standards.csv --out docs/results/benchmark-stars

Adds where raw orders of the APF have their wavelengths; names of files become absolute. `--teff`, `--logg` and `--mh`
take the stars within ranges.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from observed import write_standards
from smoke import observed_stars, parse

LABELS = ("teff", "logg", "mh", "vsini", "alpha")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    for name in ("teff", "logg", "mh"):
        parser.add_argument(f"--{name}", type=float, nargs=2, default=(-1e9, 1e9))
    options = parse(parser, lambda folder: [observed_stars(folder, "sun.fits"), "--out", folder / "standards.csv"])
    ranges = {name: tuple(getattr(options, name)) for name in ("teff", "logg", "mh")}
    write_standards(options.out, options.folder, LABELS, ranges)


if __name__ == "__main__":
    main()
