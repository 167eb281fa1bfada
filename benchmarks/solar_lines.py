"""Lines that give a wrong abundance of the Sun in the Kitt Peak atlas, on which the line list was calibrated.

    python benchmarks/solar_lines.py ../shared/data/observed --out docs/results/abundances

The atlas is fitted as by `maury predict --labels abundances`, all lines with their usual errors. Lists the lines of
each element that differ from the solar abundance by two standard deviations or more, as `WRONG_LINES_AA` of
`maury.likelihood.profile` holds them. Writes solar-lines.md. Half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from observed import catalogue, hints
from results import write
from smoke import observed_stars, parse

from maury.cli.console import out
from maury.inference import Result, element_lines, predict
from maury.inference.posterior import ELEMENTS
from maury.inference.refinement import physics_of
from maury.likelihood import profile
from maury.readers import read

ATLAS, DEVIATIONS = "ATLAS.Sun_47000.fits", 2.0


def text_of(result: Result) -> str:
    """The lines as a table."""
    lines = ["| element | from, to (Å) | [X/M] | error | known lines |", "|" + "---|" * 5]
    number = 0
    for element in ELEMENTS:
        for row in element_lines(result, element):
            number += 1
            value, error = float(row["abundance"].value), float(row["error"].value)
            if abs(value) >= DEVIATIONS * error:
                cells = [element, f"{row['first'].value:.2f}, {row['last'].value:.2f}", f"{value:+.2f}", f"{error:.2f}"]
                lines.append("| " + " | ".join([*cells, str(row["lines"])]) + " |")
    return "\n".join([*lines, "", f"Of {number} lines."]) + "\n"


def main() -> None:
    """Fit the atlas and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [observed_stars(folder, ATLAS), "--out", folder / "out"])
    torch.set_num_threads(1)
    (row,) = [row for row in catalogue(options.folder, "resolution") if row["file"] == ATLAS]
    star = read(options.folder / ATLAS, resolution=float(row["resolution"]), **hints(options.folder, row))
    listed, profile.WRONG_LINES_AA = profile.WRONG_LINES_AA, ()
    physics_of.cache_clear()
    try:
        text = text_of(predict(star, labels="abundances"))
    finally:
        profile.WRONG_LINES_AA = listed
        physics_of.cache_clear()
    write(options.out, {"solar-lines.md": text})
    out.print(text, markup=False)


if __name__ == "__main__":
    main()
