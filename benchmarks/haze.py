"""Haze of cool stars: the light that is missing between their lines, as a function of temperature.

    python benchmarks/haze.py ../shared/data/observed --out docs/results/haze.json

Each spectrum of a verified star below 5500 K in the folder's CATALOG.csv is fitted for a series of haze h, flux = model
+ h (1 - model), with Teff, log g and [M/H] held to the literature within its errors, abundance ratios to 0
(alpha: the literature's) within 0.03 dex and microturbulence to what is usual within 0.2 km/s; the most
probable h and its uncertainty follow from the density of the modes. Stars count once. The relation is linear between
its nodes and 0 at the last; its values maximise the likelihood with a scatter from star to star in proportion to h.
Each star is also predicted by the relation of the others (leave-one-out), and the differences are correlated with log g
and [M/H]. Writes h of each spectrum, the relation, its scatter, and the differences.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from observed import catalogue, hints, measured
from scipy.optimize import minimize
from scipy.stats import spearmanr
from smoke import nights, observed_stars, parse

from maury.cli.console import fail, out
from maury.emulator import NetworkPixels, load
from maury.errors import MauryError
from maury.files import write_json
from maury.haze import SIZE, TEFF_K
from maury.inference.posterior import ELEMENTS
from maury.inference.refinement import DISTORTION_KMS
from maury.labels import ALPHA, usual_vmic
from maury.likelihood import Coordinates, ErrorModel, LabelPrior, find_mode, usable
from maury.preparation import prepare
from maury.preparation.network_input import to_network
from maury.readers import read
from maury.simulation import Simulator
from maury.simulation.conditions import HazeSettings
from maury.simulation.haze import Haze

Floats = NDArray[np.float64]

NODES_K = (3600.0, 4100.0, 5200.0)
"""Temperatures of the relation; 0 at the last."""
TRIED = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.22)
MAIN = ("teff", "logg", "mh")


def constant(simulator: Simulator, h: float) -> None:
    """Give all spectra of a simulator one haze."""
    settings = HazeSettings.model_construct(teff_k=(3000.0, 10_000.0), size=(h, h), scatter=0.0)
    simulator.haze = Haze(settings, simulator.labels)


def measure(
    folder: Path, row: dict[str, str], simulator: Simulator, pixels: NetworkPixels, tried: list[float]
) -> dict[str, Any]:
    """Most probable haze of one spectrum at the labels of the literature."""
    emulator = simulator._emulator
    prepared = prepare(
        read(folder / row["file"], resolution=float(row["resolution"]), **hints(folder, row)), emulator=emulator
    )
    star = usable(to_network(prepared, pixels))
    coordinates = Coordinates(simulator)
    errors = ErrorModel(simulator, distortion_kms=DISTORTION_KMS)
    known = [
        LabelPrior(n, float(row[n]), *2 * [max(float(row[f"e_{n}"]), least)])
        for n, least in zip(MAIN, (10, 0.02, 0.02), strict=True)
    ]
    alpha = float(row["alpha"] or 0.0)
    elements = [name for name in coordinates.names if name in ELEMENTS]
    known += [LabelPrior(name, alpha if name in ALPHA else 0.0, 0.03, 0.03) for name in elements]
    known.append(LabelPrior("vmic", usual_vmic(float(row["teff"]), float(row["logg"])), 0.2, 0.2))
    start = {**prepared.template, **{name: float(row[name]) for name in MAIN}}
    labels = torch.tensor([[start.get(name, 0.0) for name in coordinates.names]]).double()
    real = coordinates.transform.unconstrained(labels)[0].nan_to_num(0.0).clamp(-3, 3)
    densities = []
    for h in tried:
        constant(simulator, float(h))
        mode = find_mode(coordinates, errors, star, real, known)
        real = mode.theta
        densities.append(mode.log_density)
    best, error = peak(np.array(tried), np.array(densities))
    return {
        "star": row["star"].split(" (")[0], "file": row["file"], **{name: float(row[name]) for name in MAIN},
        "h": round(best, 4), "h_err": round(error, 4),
        "gain": round(float(max(densities) - np.interp(0.0, tried, densities)), 1),
    }  # fmt: skip


def peak(x: Floats, density: Floats) -> tuple[float, float]:
    """Position and standard deviation of the maximum of a log density, by a parabola about its highest point."""
    i = int(np.clip(density.argmax(), 1, len(x) - 2))
    a, b, _ = np.polyfit(x[i - 1 : i + 2] - x[i], density[i - 1 : i + 2], 2)
    if a >= 0:
        return float(x[density.argmax()]), float(x[1] - x[0])
    return float(np.clip(x[i] - b / (2 * a), x[0], x[-1])), float(np.sqrt(-1 / (2 * a)))


def relation(teff: Floats, h: Floats, error: Floats) -> tuple[Floats, float]:
    """Values at the nodes and the scatter per unit of h that maximise the likelihood of measured h."""

    def loss(x: Floats) -> float:
        mean = np.interp(teff, NODES_K, [*np.abs(x[:2]), 0.0])
        variance = error**2 + (np.exp(x[2]) * mean) ** 2 + 0.005**2
        return float(0.5 * ((h - mean) ** 2 / variance + np.log(variance)).sum())

    found = minimize(loss, [0.16, 0.08, np.log(0.2)], method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-8})
    return np.abs(found.x[:2]), float(np.exp(np.clip(found.x[2], -4, 0)))


def tiny_stars(folder: Path) -> list[Any]:
    """Two simulated cool stars."""
    return [observed_stars(folder, "a.fits", "b.fits", labels=nights.K_DWARF), "--out", folder / "out.json"]


def main() -> None:
    """Measure all cool stars and fit the relation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--emulator", default="packaged")
    parser.add_argument("--tried", type=float, nargs="+", default=TRIED, help="values of h")
    parser.add_argument("--roles", nargs="+", default=["calibrate", "develop"])
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [*tiny_stars(folder), "--tried", 0, 0.06, 0.12])
    emulator = load(options.emulator)
    simulator, pixels = Simulator(emulator), NetworkPixels.of(emulator)
    rows = [
        row for row in catalogue(options.folder, "resolution", *MAIN, *(f"e_{name}" for name in MAIN))
        if emulator.space.lower[0] <= float(row["teff"]) < 5500 and row["role"] in options.roles
        and row["labels_verified"] == "True" and float(row["mh"]) > -1
    ]  # fmt: skip
    spectra = measured(rows, lambda row: measure(options.folder, row, simulator, pixels, options.tried), "cool stars")
    out.print(spectra)
    names = sorted({row["star"] for row in spectra}, key=lambda n: next(r["teff"] for r in spectra if r["star"] == n))
    stars = [
        {k: float(np.mean([row[k] for row in spectra if row["star"] == n])) for k in (*MAIN, "h", "h_err")}
        for n in names
    ]
    teff, h, error = (np.array([star[k] for star in stars]) for k in ("teff", "h", "h_err"))
    values, scatter = relation(teff, h, error)
    others = []
    for i in range(len(stars)):
        keep = np.arange(len(stars)) != i
        others.append(float(np.interp(teff[i], NODES_K, [*relation(teff[keep], h[keep], error[keep])[0], 0.0])))
    off = h - np.array(others)
    cool = np.array(others) > 0.03
    trends = {}
    for name in ("logg", "mh"):
        test = spearmanr(np.array([star[name] for star in stars])[cool], (off / np.maximum(others, 1e-9))[cool])
        trends[name] = {"spearman": round(float(test.statistic), 2), "p": round(float(test.pvalue), 2)}
    report = {
        "date": datetime.date.today().isoformat(), "machine": platform.machine(), "emulator": options.emulator,
        "labels_held": list(MAIN),
        "spectra": spectra,
        "stars": [dict(s, star=n, leave_one_out=round(o, 4)) for s, n, o in zip(stars, names, others, strict=True)],
        "relation": {"teff_k": list(NODES_K), "size": [*values.round(4).tolist(), 0.0], "scatter": round(scatter, 3)},
        "leave_one_out_rms": round(float(np.sqrt(np.mean(off**2))), 4),
        "trend_of_relative_difference": trends,
    }  # fmt: skip
    write_json(options.out, report)
    used = np.interp(teff, TEFF_K, SIZE)
    out.print("used", used.round(3))
    out.print(values, scatter, off.round(3), trends)


if __name__ == "__main__":
    try:
        main()
    except MauryError as error:
        fail(error)
