"""How wrong synthetic spectra are, measured on observed stars: the table in the settings of simulated observations.

    python benchmarks/model_error.py ../shared/data/observed --out docs/results/observations

Each star of the folder's CATALOG.csv (columns file, resolution, teff, mh) is prepared, and the robust scatter of
observed minus template flux beyond the noise on the network's pixels, between lines and in deep ones, is compared with
that of simulated errors of unit level and unit error of line depths at the template's labels. The levels, as a function
of Teff and [M/H], are fitted by least squares of their logarithms. Writes model-error.json. The template fits a part of
the error away, so that the levels are lower limits.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from observed import catalogue, hints, measured
from scipy.optimize import minimize, nnls
from smoke import observed_stars, parse

from maury.broadening import instrument_sigma
from maury.cli.console import out
from maury.emulator import Emulator, NetworkPixels, load
from maury.files import atomic_path
from maury.pixelspectra import PixelSpectra
from maury.preparation import prepare
from maury.preparation.network_input import to_network
from maury.readers import read
from maury.simulation import SimulationSettings, Simulator
from maury.simulation.conditions import ModelErrorSettings

UNIT = 1e-3
DEPTHS = (-1.0, 0.05, 0.2, 1.2)


@dataclass(frozen=True)
class Scatter:
    """Robust scatter of residuals between lines and in deep ones, tails and correlation at 2, 4 and 6 km/s."""

    shallow: float
    deep: float
    tails: float
    correlation: tuple[float, ...]

    @classmethod
    def of(cls, residual: NDArray[np.float64], model: NDArray[np.float64], good: NDArray[np.bool_]) -> Scatter:
        """Measure residuals (s, p) about a model (p,)."""
        bins = [good & (1 - model >= a) & (1 - model < b) for a, b in pairwise(DEPTHS)]
        shallow, _, deep = (robust(residual[:, chosen]) for chosen in bins)
        x = np.where(good, residual, 0.0)
        square = (x**2).mean()
        return cls(
            shallow,
            deep,
            float(residual[:, good].std()) / robust(residual[:, good]),
            tuple(float((x[:, :-k] * x[:, k:]).mean() / square) for k in (1, 2, 3)),
        )


def robust(values: NDArray[np.float64]) -> float:
    """Standard deviation from the median of absolute values; NaN with fewer than 20."""
    return float(1.4826 * np.median(np.abs(values))) if values.size >= 20 else float("nan")


def errors_only(emulator: Emulator, resolution: float, level: float, line: float) -> Simulator:
    """A simulator of one model error at every temperature, and nothing else wrong."""
    error = ModelErrorSettings(
        teff_k=(3000.0, 10_000.0), level=(level, level), mh_slope=0, floor=0, scatter=0, line=line, emulator=0
    )
    changes = {"model_error": error, "resolution": (resolution, resolution)}
    settings = SimulationSettings.without_errors().model_copy(update=changes)
    return Simulator(emulator, settings)


def simulated(simulator: Simulator, labels: list[float], model: PixelSpectra, good: NDArray[np.bool_]) -> Scatter:
    """Scatter of simulated errors at labels."""
    rows = torch.tensor([[*labels, 0.0, 0.0]]).expand(32, -1).float()
    batch = simulator.observe(rows, torch.Generator().manual_seed(1))
    truth = simulator.spectra(rows[:1], torch.tensor([simulator.settings.resolution[0]]))
    return Scatter.of((batch.flux - truth).double().numpy(), model.flux.numpy(), good)


def measure(folder: Path, row: dict[str, str], emulator: Emulator, pixels: NetworkPixels) -> dict[str, Any]:
    """Errors of one star, with the shape of its residuals beside that of simulated ones."""
    path = folder / row["file"]
    star = prepare(read(path, resolution=float(row["resolution"]), **hints(folder, row)), emulator=emulator)
    seen = to_network(star, pixels)
    flux = np.where(np.isfinite(star.model), star.model, 1.0)
    model = to_network(star.spectrum.with_(flux=flux), pixels)
    observed = Scatter.of((seen.flux - model.flux)[None].double().numpy(), model.flux.numpy(), seen.good.numpy())
    labels = [star.template.get(name, 0.0) for name in (*emulator.space.names, "vsini")]
    resolution = float(star.spectrum.resolution or 0)
    level, line = (
        simulated(errors_only(emulator, min(resolution, 115_000.0), *unit), labels, model, seen.good.numpy())
        for unit in ((UNIT, 0.0), (0.0, UNIT))
    )
    noise = noise_per_pixel(seen, resolution, pixels)
    a = np.array([[level.shallow**2, line.shallow**2], [level.deep**2, line.deep**2]]) / UNIT**2
    excess = np.maximum(np.array([observed.shallow, observed.deep]) ** 2 - noise**2, 0.0)
    found = np.full(2, np.nan)
    if (excess > 0).all():
        found = np.sqrt(nnls(a / excess[:, None], np.ones(2))[0])
    elif excess[0] > 0:
        found[0] = np.sqrt(excess[0] / a[0, 0])
    return {
        "star": row["star"], "file": path.name, "teff": float(row["teff"]), "mh": float(row["mh"]),
        "vsini": round(star.template["vsini"], 1), "noise": round(noise, 5),
        "shallow": round(observed.shallow, 5), "deep": round(observed.deep, 5),
        "level": round(float(found[0]), 5), "line": round(float(found[1]), 4),
        "tails": [round(observed.tails, 2), round(level.tails, 2)],
        "correlation": [[round(c, 2) for c in s.correlation] for s in (observed, level)],
    }  # fmt: skip


def noise_per_pixel(seen: PixelSpectra, resolution: float, pixels: NetworkPixels) -> float:
    """Median noise of single pixels, smaller than ``sigma`` after degrading."""
    smoothed = float(instrument_sigma(pixels.resolution)) ** 2 - float(instrument_sigma(resolution)) ** 2
    pixel = pixels.grid.step_kms
    factor = min(1.0, pixel / np.sqrt(4 * np.pi * max(smoothed, 1e-6)))
    return float(np.median(seen.sigma[seen.good].numpy()) * np.sqrt(factor))


def fit_levels(stars: list[dict[str, Any]], nodes: NDArray[np.float64]) -> dict[str, Any]:
    """The table: level^2 = floor^2 + (level at [M/H] = 0 x 10^(slope [M/H]))^2, by least squares of ln."""
    usable = [star for star in stars if star["level"] > max(0.3 * star["noise"], 1e-3) and star["vsini"] < 30]
    teff, mh, level = (np.array([star[name] for star in usable], float) for name in ("teff", "mh", "level"))

    def residual(x: NDArray[np.float64]) -> NDArray[np.float64]:
        metals = np.exp(np.interp(teff, nodes, x[:-2]) + np.log(10) * x[-2] * mh)
        return np.asarray(np.log(level) - np.log(np.hypot(metals, np.exp(x[-1]))))

    def cost(x: NDArray[np.float64]) -> float:
        bend = np.diff(np.diff(x[:-2]) / np.diff(nodes / 1000))
        return float((residual(x) ** 2).sum() + 0.02 * (bend**2).sum())

    start = np.r_[np.log(np.interp(nodes, [3500, 5000, 9750], [0.1, 0.015, 0.002])), 0.3, np.log(0.004)]
    best = minimize(cost, start, method="Powell", options={"maxiter": 100_000, "xtol": 1e-6, "ftol": 1e-10}).x
    lines = [star["line"] for star in stars if star["line"] > 0 and star["vsini"] < 30]
    return {
        "stars": len(usable),
        "teff_k": nodes.tolist(),
        "level": [float(f"{x:.2g}") for x in np.exp(best[:-2])],
        "mh_slope": round(float(best[-2]), 2),
        "floor": float(f"{np.exp(best[-1]):.2g}"),
        "scatter": round(float(residual(best).std()), 2),
        "line": round(float(np.median(lines)), 3),
    }


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=float, nargs="+", default=[3500, 4000, 4500, 5000, 5750, 9750])
    parser.add_argument("--out", type=Path, required=True)
    options = parse(
        parser,
        lambda folder: [observed_stars(folder, "a.fits", "b.fits"), "--out", folder, "--nodes", 3500, 5500, 9750],
    )
    emulator = load()
    pixels = NetworkPixels.of(emulator)
    rows = catalogue(options.folder, "resolution", "teff", "mh")
    stars = measured(rows, lambda row: measure(options.folder, row, emulator, pixels), "stars")
    for star in sorted(stars, key=lambda s: s["teff"]):
        out.print(" ".join(str(value) for value in star.values()), soft_wrap=True, markup=False, highlight=False)
    table = fit_levels(stars, np.array(options.nodes))
    out.print(table)
    with atomic_path(options.out / "model-error.json") as temporary:
        known = [{k: None if v != v else v for k, v in star.items()} for star in stars]  # NaN is no JSON
        temporary.write_text(json.dumps({"fit": table, "stars": known}, indent=1) + "\n")


if __name__ == "__main__":
    main()
