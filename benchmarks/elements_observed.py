"""Abundances of observed stars: the Sun's zero points, stars of solar type, Arcturus, and two stars apart in Nd and Y.

    python benchmarks/elements_observed.py ../shared/data/observed --out docs/results/abundances

Reads the results of `benchmark_stars.py` (`--stars`), and predicts the two metal-poor stars of the figure anew. Writes
observed.json, observed.md and r-process.png: lines of Y II and Nd II in CS 22892-052, rich in r-process elements,
and HD 122563, poor in them. Values of Arcturus are of Ramirez & Allende Prieto (2011, ApJ 743, 135), Table 4 [X/Fe].
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from observed import catalogue, hints
from results import write
from smoke import observed_stars, parse

from maury.cli.console import out
from maury.inference import Result, predict
from maury.inference.element_lines import without_element
from maury.inference.posterior import ELEMENTS
from maury.plots import save_figure
from maury.plots.style import COLOURS, DOUBLE, INK, styled
from maury.readers import read

ARCTURUS = {
    "c": 0.43, "na": 0.11, "mg": 0.37, "ca": 0.11, "sc": 0.19, "ti": 0.24, "cr": -0.05, "mn": -0.21, "co": 0.09,
    "ni": 0.06,
}  # fmt: skip
"""[X/Fe]; Sc and Ti are means of the neutral and the ionised species (Sc +0.15, +0.23; Ti +0.27, +0.21)."""

LINES = (("y", 5087.42, "Y II"), ("y", 5200.41, "Y II"), ("nd", 5249.58, "Nd II"), ("nd", 5319.81, "Nd II"))
PAIR = {"cs22892-52.fits": "CS 22892-052", "hd122563.fits": "HD 122563"}
LIKE_THE_SUN = {"teff": (5200.0, 6700.0), "mh": (-0.6, 0.4)}
SLOPES = {"mn": (0.37, 0.20), "co": (1.31, 0.15), "cu": (2.09, 0.19)}
"""Slope of [X/Fe] against [Ni/Fe] and its error by the same fit to solar twins of Bedell et al. (2018, ApJ 865, 68).

Their first 26 stars by name, HIP10175 to HIP29432: `data/final_abundances_w_ncapture.csv` less [Fe/H] of
`data/final_parameters.csv` in github.com/megbedell/solartwin-abundances.
"""


def suns(stars: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and scatter (dex) of each element over spectra of the Sun."""
    rows = [star["result"] for star in stars if star["star"] == "Sun"]
    values = {name: np.array([row[f"{name}_fe"] for row in rows]) for name in ELEMENTS}
    found = {
        name: {"mean": float(x.mean()), "scatter": float(x.std(ddof=1)), "farthest": float(x[np.abs(x).argmax()])}
        for name, x in values.items()
    }
    return found | {"spectra": {"count": float(len(rows))}}


def slopes(stars: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Slope of [X/Fe] against [Ni/Fe] of stars like the Sun, each once, by least squares, and its error."""
    rows = {}
    for star in stars:
        row = star["result"]
        inside = all(low < row[name] < high for name, (low, high) in LIKE_THE_SUN.items())
        if inside and row["vsini"] < 10 and row["chi2"] < 1.5:
            rows.setdefault(star["star"], row)
    found = {}
    for name in SLOPES:
        pairs = [(row["ni_fe"], row[f"{name}_fe"]) for row in rows.values() if f"{name}_fe_upper" not in row]
        x, y = np.array([pair for pair in pairs if None not in pair], float).T
        (slope, start), covariance = np.polyfit(x, y, 1, cov=True)
        found[name] = {
            "slope": float(slope), "error": float(covariance[0, 0] ** 0.5), "at_solar": float(start), "stars": len(x),
            "correlation": float(np.corrcoef(x, y)[0, 1]),
        }  # fmt: skip
    return found


@styled
def draw(results: dict[str, Result]) -> Figure:
    """Lines of Y II and Nd II in both stars."""
    figure = Figure(figsize=(DOUBLE, 4.2))
    grid = figure.add_gridspec(len(results), len(LINES))
    for row, (star, result) in enumerate(results.items()):
        fit, wave = result.refinement, result.wavelength_aa
        assert fit is not None
        for column, (element, place, species) in enumerate(LINES):
            axes = figure.add_subplot(grid[row, column])
            near = np.abs(wave - place) < 0.8
            least, without = without_element(result, element)
            flux = np.where(np.isfinite(fit.sigma), result.spectrum.flux.double().numpy(), np.nan)
            axes.plot(wave[near], flux[near], ".", color=INK, ms=3, label="observed")
            axes.plot(wave[near], fit.model[near], color=COLOURS[1], lw=1.1, label="fit")
            axes.plot(wave[near], without[near], "--", color=COLOURS[0], lw=0.9, label=f"fit with [X/M] = {least:g}")
            axes.set(xlim=(place - 0.8, place + 0.8), ylim=(0.78, 1.05))
            axes.set_xticks([round(place - 0.4, 1), round(place + 0.4, 1)])
            axes.ticklabel_format(axis="x", useOffset=False)
            axes.text(0.05, 0.05, f"{species} {place:.2f}", transform=axes.transAxes, fontsize=9)
            if column == 0:
                axes.set_ylabel(f"{star}\nflux")
            else:
                axes.tick_params(labelleft=False)
            if row == len(results) - 1:
                axes.set_xlabel("wavelength (Å)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def text_of(found: dict[str, Any]) -> str:
    """The tables."""
    lines = [f"Six spectra of the Sun ({int(found['sun']['spectra']['count'])}), dex:", ""]
    lines += ["| [X/M] | " + " | ".join(ELEMENTS) + " |", "|" + "---|" * (len(ELEMENTS) + 1)]
    for key in ("mean", "scatter", "farthest"):
        sign = "" if key == "scatter" else "+"
        lines.append(f"| {key} | " + " | ".join(f"{found['sun'][name][key]:{sign}.3f}" for name in ELEMENTS) + " |")
    lines += ["", "Arcturus:", "", "| [X/Fe] | " + " | ".join(ARCTURUS) + " |", "|" + "---|" * (len(ARCTURUS) + 1)]
    lines.append("| maury | " + " | ".join(f"{found['arcturus'][name]:+.2f}" for name in ARCTURUS) + " |")
    lines.append("| literature | " + " | ".join(f"{value:+.2f}" for value in ARCTURUS.values()) + " |")
    lines += ["", "Stars like the Sun, [X/Fe] against [Ni/Fe]:", "", "| element | slope | correlation | stars "]
    lines[-1] += "| slope of solar twins | difference / error |"
    lines.append("|" + "---|" * 6)
    for name, row in found["slopes"].items():
        known, error = SLOPES[name]
        apart = (row["slope"] - known) / float(np.hypot(row["error"], error))
        lines.append(
            f"| {name} | {row['slope']:.1f} ± {row['error']:.1f} | {row['correlation']:.2f} | {row['stars']} "
            f"| {known:.2f} ± {error:.2f} | {apart:+.1f} |"
        )
    lines += ["", "Elements of the r-process:", "", "| star | [Y/Fe] | [Nd/Fe] | lines of Y, Nd |", "|" + "---|" * 4]
    for star, row in found["pair"].items():
        cells = []
        for name in ("y", "nd"):
            limit = row.get(f"{name}_fe_upper")
            value = row[f"{name}_fe"]
            cells.append(
                f"below {limit:+.2f}" if limit is not None else "no information" if value is None
                else f"{value:+.2f} ± {row[f'{name}_fe_err']:.2f}"
            )  # fmt: skip
        lines.append(f"| {star} | {cells[0]} | {cells[1]} | {row['y_fe_lines']}, {row['nd_fe_lines']} |")
    return "\n".join(lines) + "\n"


def tiny(folder: Path) -> list[Any]:
    """Two simulated stars, and results of stars that are drawn at random."""
    rng = np.random.default_rng(1)
    drawn = []
    for star in ("Sun", "Sun", "Arcturus", "a", "b", "c", "d"):
        row = {f"{name}_fe": 0.1 * rng.standard_normal() for name in ELEMENTS}
        drawn.append({"star": star, "result": {"teff": 5700.0, "mh": 0.0, "vsini": 2.0, "chi2": 0.5, **row}})
    (folder / "stars.json").write_text(json.dumps(drawn))
    return [observed_stars(folder, *PAIR), "--stars", folder / "stars.json", "--out", folder / "out"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stars", type=Path, default=Path("docs/results/benchmark-stars/stars.json"))
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, tiny)
    stars = json.loads(options.stars.read_text(encoding="utf-8"))
    known = {row["file"]: row for row in catalogue(options.folder, "resolution")}
    results = {}
    for file, star in PAIR.items():
        observation = read(
            options.folder / file, resolution=float(known[file]["resolution"]), **hints(options.folder, known[file])
        )
        results[star] = predict(observation, labels="abundances")
    arcturus = next(star["result"] for star in stars if star["star"].startswith("Arcturus"))
    found = {
        "sun": suns(stars),
        "arcturus": {name: arcturus[f"{name}_fe"] for name in ARCTURUS},
        "slopes": slopes(stars),
        "pair": {star: result.record() for star, result in results.items()},
    }
    write(options.out, {"observed.json": found, "observed.md": text_of(found)})
    save_figure(draw(results), options.out / "r-process")
    out.print(text_of(found), markup=False)


if __name__ == "__main__":
    main()
