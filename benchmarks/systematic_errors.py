"""Systematic errors of labels: the scatter of fit minus literature that both errors do not explain.

    python benchmarks/systematic_errors.py docs/results/benchmark-stars/stars.json --package

For Teff, log g, [M/H] and [alpha/M] the standard deviation s(Teff, [M/H]) of `maury.likelihood.systematics` maximises
the likelihood of the differences of verified stars above 3450 K, normal with the variance of statistical error,
literature's error and s in quadrature. Each star counts once: the mean of its spectra. ln s has a wide prior about a
common value and a narrower one on steps between temperatures, since the stars are few. Each star is then left out and
asked whether it lies within its own 68 %. Writes systematic-errors.json beside the input; with --package also the sizes
that maury uses.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from smoke import parse

from maury.cli.console import out
from maury.files import atomic_path
from maury.likelihood.systematics import PACKAGED, size_at

Floats = NDArray[np.float64]

NODES_K = (3700.0, 4200.0, 5000.0, 6500.0)
CENTRE = {"teff": 40.0, "logg": 0.08, "mh": 0.04, "alpha": 0.04}
"""Middle of the prior on s; a factor of 3 is one standard deviation."""
WIDTH, STEP, POOR = np.log(3), 0.7, 0.7
"""Standard deviations of ln s at a temperature, of its step to the next, and of its growth in metal-poor stars."""
COOLEST_K, HOTTEST_K = 3450.0, 7000.0


def stars_of(path: Path, name: str) -> list[dict[str, float | str]]:
    """Difference to the literature and its variance for each verified star."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        known, result = row["literature"], row["result"]
        if row["verified"] and name in known and result.get(name) is not None and COOLEST_K < known["teff"] < HOTTEST_K:
            found.setdefault(row["star"].split(" (")[0], []).append(row)
    stars = []
    for star, rows in found.items():
        off = [row["result"][name] - row["literature"][name] for row in rows]
        own = np.mean([row["result"][f"{name}_stat"] for row in rows])
        error = rows[0]["literature_error"].get(name, 0.05 if name == "alpha" else 0.0)
        stars.append({
            "star": star, "off": float(np.mean(off)), "variance": float(own**2 + error**2),
            "teff": rows[0]["result"]["teff"], "mh": rows[0]["result"]["mh"],
        })  # fmt: skip
    return stars


def fit(stars: list[dict[str, Any]], name: str) -> tuple[list[float], float]:
    """Sizes at the nodes and their growth in metal-poor stars."""
    centre = np.log(CENTRE[name])

    def loss(x: Floats) -> float:
        total = sum(((v - centre) / WIDTH) ** 2 for v in x[:-1]) / len(x[:-1])
        total += sum(((b - a) / STEP) ** 2 for a, b in pairwise(x[:-1])) + (x[-1] / POOR) ** 2
        for star in stars:
            size = size_at(star["teff"], star["mh"], NODES_K, np.exp(x[:-1]), abs(x[-1]))
            variance = star["variance"] + size**2
            total += star["off"] ** 2 / variance + np.log(variance)
        return float(0.5 * total)

    start = np.r_[np.full(len(NODES_K), centre), 0.2]
    x = minimize(loss, start, method="Powell", options={"maxiter": 20_000, "xtol": 1e-5}).x
    return np.exp(x[:-1]).tolist(), float(abs(x[-1]))


def tiny_stars(folder: Path) -> Path:
    """Results of three stars, 1 % or 0.1 dex from the literature's labels."""
    rows = []
    for number, off in enumerate((-1, 0, 1)):
        known = {"teff": 5000.0 + 500 * number, "logg": 4.4, "mh": -0.2 * number, "alpha": 0.1}
        result = {name: value + off * (50 if name == "teff" else 0.1) for name, value in known.items()}
        result |= {f"{name}_stat": 25.0 if name == "teff" else 0.03 for name in known}
        error = {name: 20.0 if name == "teff" else 0.02 for name in known}
        star = {"star": f"star {number}", "verified": True, "literature": known, "literature_error": error}
        rows.append(star | {"result": result})
    (folder / "stars.json").write_text(json.dumps(rows))
    return folder / "stars.json"


def main() -> None:
    """Fit all labels, and leave each star out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stars", type=Path, help="stars.json of benchmark_stars.py")
    parser.add_argument("--package", action="store_true", help="write the sizes that maury uses")
    options = parse(parser, lambda folder: [tiny_stars(folder)])
    sizes, poor, report = {}, {}, {}
    for name in CENTRE:
        stars = stars_of(options.stars, name)
        sizes[name], poor[name] = fit(stars, name)
        rows, inside = [], 0
        for star in stars:
            own = fit([other for other in stars if other is not star], name)
            size = size_at(star["teff"], star["mh"], NODES_K, *own)
            ratio = star["off"] / np.sqrt(star["variance"] + size**2)
            inside += abs(ratio) < 1
            rows.append(
                {
                    "star": star["star"],
                    "off": round(star["off"], 3),
                    "size": round(size, 3),
                    "ratio": round(float(ratio), 2),
                }
            )
        report[name] = {
            "stars": len(stars),
            "within_own_68_percent": round(inside / len(stars), 3),
            "leave_one_out": rows,
        }
        out.print(name, [round(s, 3) for s in sizes[name]], round(poor[name], 2), f"{inside}/{len(stars)} within")
    stored = {
        "date": datetime.date.today().isoformat(), "machine": platform.machine(), "teff_k": list(NODES_K),
        "size": {name: [float(f"{s:.3g}") for s in values] for name, values in sizes.items()},
        "poor": {name: round(value, 3) for name, value in poor.items()},
    }  # fmt: skip
    written = {options.stars.with_name("systematic-errors.json"): stored | {"labels": report}}
    for path, content in (written | ({PACKAGED: stored} if options.package else {})).items():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
