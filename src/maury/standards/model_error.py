"""Size of the errors of model spectra by Teff and [M/H], measured on standard stars, for simulated observations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls

from maury.broadening import instrument_sigma
from maury.emulator import Emulator, NetworkPixels
from maury.errors import DomainError
from maury.pixelspectra import PixelSpectra
from maury.preparation import prepare
from maury.preparation.network_input import to_network
from maury.simulation import SimulationSettings, Simulator
from maury.simulation.conditions import ModelErrorSettings
from maury.standards.table import Standard
from maury.wavelengths import Floats

UNIT = 1e-3
DEPTHS = (-1.0, 0.05, 0.2, 1.2)
"""Depths below the continuum: pixels below the first lie between lines, those above the second in deep lines."""

_FEWEST = 3


@dataclass(frozen=True)
class Scatter:
    """Robust scatter of residuals between lines and in deep lines, their tails, and correlation at 2, 4 and 6 km/s."""

    shallow: float
    deep: float
    tails: float
    correlation: tuple[float, ...]

    @classmethod
    def of(cls, residual: Floats, model: Floats, good: NDArray[np.bool_]) -> Scatter:
        """Measure residuals (s, p) about a model (p,)."""
        bins = [good & (1 - model >= a) & (1 - model < b) for a, b in pairwise(DEPTHS)]
        shallow, _, deep = (_robust(residual[:, chosen]) for chosen in bins)
        x = np.where(good, residual, 0.0)
        square = (x**2).mean()
        return cls(
            shallow,
            deep,
            float(residual[:, good].std()) / _robust(residual[:, good]),
            tuple(float((x[:, :-k] * x[:, k:]).mean() / square) for k in (1, 2, 3)),
        )


@dataclass(frozen=True)
class ModelErrorTable:
    """Settings of `maury.simulation.conditions.ModelErrorSettings` as measured, and how well they fit."""

    settings: dict[str, Any]  # ``teff_k``, ``level``, ``mh_slope``, ``floor``, ``scatter`` and ``line``
    stars: int  # spectra that the levels rest on


def measure_model_error(star: Standard, emulator: Emulator, pixels: NetworkPixels) -> dict[str, Any]:
    """Errors of the model spectrum of one star, and a comparison of its residuals with simulated ones.

    The star is prepared; the robust scatter of observed minus template flux beyond the noise, between lines and in
    deep ones, is compared with that of simulated errors of unit level and unit error of line depths at the template's
    labels. The level is a lower limit, since the fit of the template absorbs a part of the error.

    Returns:
        ``star``, ``file``, ``teff`` (K), ``mh``, ``vsini`` (km/s), ``noise``, ``shallow``, ``deep``, ``level`` (per
        unit of the continuum), ``line`` (per unit of the depth), ``tails`` and ``correlation``.

    Raises:
        MauryError: the star cannot be prepared.
    """
    if missing := [name for name in ("teff", "mh") if name not in star.labels]:
        raise DomainError(f"{star.path.name}: no {' and '.join(missing)} in the table")
    done = prepare(star.read(), emulator=emulator, velocity_kms=star.velocity_kms)
    seen = to_network(done.spectrum, pixels)
    flux = np.where(np.isfinite(done.model), done.model, 1.0)
    model = to_network(done.spectrum.with_(flux=flux), pixels)
    good = seen.good.numpy()
    observed = Scatter.of((seen.flux - model.flux)[None].double().numpy(), model.flux.numpy(), good)
    resolution = float(done.spectrum.resolution or 0)
    level, line = (
        _simulated(_errors_only(emulator, min(resolution, 115_000.0), *unit), done.template, model, good)
        for unit in ((UNIT, 0.0), (0.0, UNIT))
    )
    noise = _noise_per_pixel(seen, resolution, pixels)
    a = np.array([[level.shallow**2, line.shallow**2], [level.deep**2, line.deep**2]]) / UNIT**2
    excess = np.maximum(np.array([observed.shallow, observed.deep]) ** 2 - noise**2, 0.0)
    found = np.full(2, np.nan)
    if (excess > 0).all():
        found = np.sqrt(nnls(a / excess[:, None], np.ones(2))[0])
    elif excess[0] > 0:
        found[0] = np.sqrt(excess[0] / a[0, 0])
    return {
        "star": star.star, "file": star.path.name, "teff": star.labels["teff"], "mh": star.labels["mh"],
        "vsini": round(done.template["vsini"], 1), "noise": round(noise, 5),
        "shallow": round(observed.shallow, 5), "deep": round(observed.deep, 5),
        "level": round(float(found[0]), 5), "line": round(float(found[1]), 4),
        "tails": [round(observed.tails, 2), round(level.tails, 2)],
        "correlation": [[round(c, 2) for c in s.correlation] for s in (observed, level)],
    }  # fmt: skip


def fit_levels(stars: list[dict[str, Any]], nodes: Floats) -> ModelErrorTable:
    """The table: level^2 = floor^2 + (level at [M/H] = 0 x 10^(slope [M/H]))^2, by least squares of ln.

    ``nodes`` (k,) are temperatures of the table, K.

    Raises:
        DomainError: fewer than three spectra of slow rotators with enough signal.
    """
    usable = [star for star in stars if star["level"] > max(0.3 * star["noise"], 1e-3) and star["vsini"] < 30]
    if len(usable) < _FEWEST:
        raise DomainError(
            f"errors above the noise were found in {len(usable)} of {len(stars)} spectra of slow rotators; "
            f"at least {_FEWEST} are needed"
        )
    teff, mh, level = (np.array([star[name] for star in usable], float) for name in ("teff", "mh", "level"))

    def residual(x: Floats) -> Floats:
        metals = np.exp(np.interp(teff, nodes, x[:-2]) + np.log(10) * x[-2] * mh)
        return np.asarray(np.log(level) - np.log(np.hypot(metals, np.exp(x[-1]))))

    def cost(x: Floats) -> float:
        bend = np.diff(np.diff(x[:-2]) / np.diff(nodes / 1000))
        return float((residual(x) ** 2).sum() + 0.02 * (bend**2).sum())

    start = np.r_[np.log(np.interp(nodes, [3500, 5000, 9750], [0.1, 0.015, 0.002])), 0.3, np.log(0.004)]
    best = minimize(cost, start, method="Powell", options={"maxiter": 100_000, "xtol": 1e-6, "ftol": 1e-10}).x
    lines = [star["line"] for star in stars if star["line"] > 0 and star["vsini"] < 30]
    settings = {
        "teff_k": nodes.tolist(),
        "level": [float(f"{x:.2g}") for x in np.exp(best[:-2])],
        "mh_slope": round(float(best[-2]), 2),
        "floor": float(f"{np.exp(best[-1]):.2g}"),
        "scatter": round(float(residual(best).std()), 2),
        "line": round(float(np.median(lines)), 3) if lines else ModelErrorSettings().line,
    }
    return ModelErrorTable(settings, len(usable))


def default_nodes(emulator: Emulator) -> Floats:
    """Temperatures of the table (K): those of the packaged one within the emulator's range, and its ends."""
    column = emulator.space.names.index("teff")
    low, high = emulator.space.lower[column], emulator.space.upper[column]
    inner = [teff for teff in ModelErrorSettings().teff_k if low < teff < high]
    return np.array([low, *inner, high])


def _robust(values: Floats) -> float:
    """Standard deviation from the median of absolute values; NaN with fewer than 20."""
    return float(1.4826 * np.median(np.abs(values))) if values.size >= 20 else float("nan")


def _errors_only(emulator: Emulator, resolution: float, level: float, line: float) -> Simulator:
    """A simulator with the same model error at all temperatures, and no other errors."""
    error = ModelErrorSettings(
        teff_k=(3000.0, 10_000.0), level=(level, level), mh_slope=0, floor=0, scatter=0, line=line, emulator=0
    )
    changes = {"model_error": error, "resolution": (resolution, resolution)}
    settings = SimulationSettings.without_errors().model_copy(update=changes)
    return Simulator(emulator, settings)


def _simulated(
    simulator: Simulator, template: dict[str, float], model: PixelSpectra, good: NDArray[np.bool_]
) -> Scatter:
    """Scatter of simulated errors at the labels of a template."""
    labels = [template.get(name, 0.0) for name in simulator.labels]
    rows = torch.tensor([labels]).expand(32, -1).float()
    batch = simulator.observe(rows, torch.Generator().manual_seed(1))
    truth = simulator.spectra(rows[:1], torch.tensor([simulator.settings.resolution[0]]))
    return Scatter.of((batch.flux - truth).double().numpy(), model.flux.numpy(), good)


def _noise_per_pixel(seen: PixelSpectra, resolution: float, pixels: NetworkPixels) -> float:
    """Median noise of single pixels, smaller than ``sigma`` after degrading."""
    smoothed = float(instrument_sigma(pixels.resolution)) ** 2 - float(instrument_sigma(resolution)) ** 2
    pixel = pixels.grid.step_kms
    factor = min(1.0, pixel / np.sqrt(4 * np.pi * max(smoothed, 1e-6)))
    return float(np.median(seen.sigma[seen.good].numpy()) * np.sqrt(factor))
