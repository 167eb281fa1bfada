"""Stellar parameters of observed benchmark stars beside those of the literature.

    python benchmarks/benchmark_stars.py ../shared/data/observed --out docs/results/benchmark-stars

The folder holds `CATALOG.csv` with the columns file, star, role, resolution, labels_verified and teff, logg, mh, vsini,
alpha with their errors (e_teff and so on). Each spectrum is read and predicted with its resolution as the only option
(raw APF orders also with `--apf-wavelengths`, a file of the folder). Writes `stars.json` with everything, `table.md`,
`summary.md`, and a figure of the verified stars above 4500 K. A cool dwarf that corrects others is corrected by the
others alone. Systematic errors with each star left out:
`maury systematic-errors`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from observed import APF_WAVELENGTHS, catalogue, hints, measured
from results import write
from smoke import observed_stars, parse

from maury.cli.console import out
from maury.inference import predict
from maury.plots import plot_literature, save_figure
from maury.readers import read
from maury.standards import corrections_without

MAIN = ("teff", "logg", "mh")
DIGITS = {"teff": 0, "logg": 2, "mh": 2, "vsini": 1, "alpha": 2}


def measure(row: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Catalogue and result of one spectrum."""
    start = time.perf_counter()
    path = options.folder / row["file"]
    star = read(path, resolution=float(row["resolution"]), **hints(options.folder, row, options.apf_wavelengths))
    others = corrections_without(row["star"].split(" (")[0], options.model) if options.refine else None
    result = predict(
        star, options.model, refine=None if options.refine else False, labels="abundances", reference=others
    )
    literature = {name: float(row[name]) for name in DIGITS if row.get(name)}
    errors = {name: float(row[f"e_{name}"]) for name in DIGITS if row.get(f"e_{name}")}
    return {
        "star": row["star"], "role": row["role"], "verified": row["labels_verified"] == "True",
        "literature": literature, "literature_error": errors, "seconds": round(time.perf_counter() - start, 2),
        "result": {**result.record(), "file": path.name},
    }  # fmt: skip


def off(star: dict[str, Any], name: str) -> tuple[float, float] | None:
    """Difference to the literature, and in units of both errors in quadrature."""
    value, known = star["result"].get(name), star["literature"].get(name)
    if value is None or known is None:
        return None
    error = float(np.hypot(star["result"][f"{name}_err"], star["literature_error"].get(name, 0.0)))
    return value - known, (value - known) / error


def line(star: dict[str, Any]) -> str:
    """One line of the table."""
    result = star["result"]
    cells = [f"`{result['file']}`", star["star"].split(" (")[0], "" if star["verified"] else "no"]
    cells.append(f"{result['snr']:.0f}")
    for name, digits in DIGITS.items():
        value, error, known = result.get(name), result.get(f"{name}_err"), star["literature"].get(name)
        text = "" if value is None else f"{value:.{digits}f} ± {error:.{digits}f}"
        if name == "vsini" and result["vsini_upper"] is not None:
            text = f"< {result['vsini_upper']:.1f}"
        difference = off(star, name)
        literature = "" if known is None else f"{known:.{digits}f}"
        sigma = "" if difference is None else f"{difference[1]:+.1f}"
        cells += [literature, text, sigma]
    cells += [f"{result['chi2']:.2f}" if result["chi2"] else "", ", ".join(named(result["flags"]))]
    cells.append(f"{star['seconds']:.1f}")
    return "| " + " | ".join(cells) + " |"


def named(flags: list[str]) -> list[str]:
    """Flags of the result, without those on what the file does not say and on single elements."""
    quiet = ("medium_assumed", "vsini_upper_limit")
    return [flag for flag in flags if flag not in quiet and not flag.startswith(("no_information", "upper_limit"))]


def summary(stars: list[dict[str, Any]], title: str) -> list[str]:
    """Medians of the differences, and how often intervals hold the literature's value."""
    lines = []
    for name in MAIN:
        differences = [off(star, name) for star in stars if off(star, name) is not None]
        if not differences:
            continue
        d, s = np.array(differences).T
        own = np.array([star["result"][f"{name}_err"] for star in stars if off(star, name) is not None])
        inside = np.mean(np.abs(d) <= own)
        digits = DIGITS[name] + (0 if name == "teff" else 1)
        values = [f"{x:{sign}.{digits}f}" for x, sign in ((np.median(np.abs(d)), ""), (np.median(d), "+"))]
        shares = [f"{x:.0%}" for x in (np.mean(np.abs(s) <= 1), inside, np.mean(np.abs(s) <= 2))]
        cells = [title, name, str(len(d)), *values, f"{np.median(own):.{digits}f}", *shares]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def tables(stars: list[dict[str, Any]]) -> tuple[str, str]:
    """All stars, and the summary over those that count."""
    head = ["file", "star", "verified", "S/N"]
    for name in DIGITS:
        head += [f"{name} lit.", "maury", "σ"]
    head += ["χ²", "flags", "s"]
    rows = [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head), *map(line, stars)]
    usual = [s for s in stars if 4500 <= s["literature"]["teff"] <= 7000 and s["role"] == "develop"]
    cool = {s["star"]: s for s in reversed(stars) if s["verified"] and 4000 <= s["literature"]["teff"] <= 7000}
    verified = [s for s in usual if s["verified"]]
    first = {s["star"]: s for s in reversed(verified)}
    text = [
        "| stars | label | spectra | median of the absolute difference | median | own error | "
        "within 1 σ | within own 68 % | within 2 σ |",
        "|" + "---|" * 9,
        *summary(list(cool.values()), "4000 to 7000 K, verified, one spectrum a star"),
        *summary(verified, "4500 to 7000 K, verified"),
        *summary(list(first.values()), "the same, one spectrum a star"),
        *summary([s for s in verified if s["literature"]["mh"] > -2], "verified, [M/H] above -2"),
        *summary(usual, "4500 to 7000 K, verified or not"),
        *summary([s for s in stars if s["literature"]["teff"] < 4500], "below 4500 K"),
    ]
    return "\n".join(rows) + "\n", "\n".join(text) + "\n"


def figure_of(stars: list[dict[str, Any]]) -> Figure:
    """Differences of the verified stars above 4500 K."""
    names = [*MAIN, "alpha"]
    columns: dict[str, list[Any]] = {
        key: [] for key in ("star", "label", "literature", "literature_error", "maury", "maury_error")
    }
    for star in stars:
        if not star["verified"] or star["literature"]["teff"] < 4500:
            continue
        for name in names:
            known, value = star["literature"].get(name), star["result"].get(name)
            if known is None or value is None:
                continue
            row = f"{star['star'].split(' (')[0]}, {star['result']['file'][:9].split('.')[0]}"
            error = star["literature_error"].get(name, 0.0)
            values = (row, name, known, error, value, star["result"][f"{name}_err"])
            for column, x in zip(columns.values(), values, strict=True):
                column.append(x)
    return plot_literature(columns)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--model", default="default", help="network")
    parser.add_argument("--no-refine", dest="refine", action="store_false", help="the network's own posterior")
    parser.add_argument("--apf-wavelengths", default=APF_WAVELENGTHS, help="wavelengths of raw APF orders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    options = parse(parser, lambda folder: [observed_stars(folder, "sun.fits"), "--out", folder / "out"])
    options.out.mkdir(parents=True, exist_ok=True)
    rows = catalogue(options.folder, "resolution", "teff", "mh")
    stars = measured(rows, lambda row: measure(row, options), "stars")
    stars.sort(key=lambda star: star["literature"]["teff"])
    table, text = tables(stars)
    write(options.out, {"stars.json": stars, "table.md": table, "summary.md": text})
    save_figure(figure_of(stars), options.out / "literature")
    out.print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
