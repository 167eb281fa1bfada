"""What departures from LTE do to the labels of stars: PySME fitted to observed spectra with several sets of them.

    python benchmarks/departures.py ../shared/data --out docs/results/departures.json

Stars are some of docs/results/lines/calibrate.toml. For each set the spectrum and its derivatives by Teff, log g,
[M/H], microturbulence and six elements are synthesised at the labels of the literature; labels, broadening and
continuum are fitted linearly, and once more from there. Written are labels less the literature, [X/M] and the robust
residual. Ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from smoke import nights, observed_stars, parse, synthesis_inputs

from maury.cli.console import progress
from maury.config import make_config, preset_path, read_toml
from maury.files import write_json
from maury.labels import SYNTHESISED
from maury.lines.calibration_settings import StandardStar, load_calibration
from maury.lines.fitback import WIDE
from maury.lines.judge import robust_rms
from maury.lines.leastsquares import robust_steps
from maury.lines.response import Response
from maury.lines.standard_star import model_grid, read_standard
from maury.lines.standards import CONTINUUM_WIDTH, Standard
from maury.synthesis import PhysicsConfig, SynthesisConfig, Workers, read_atmospheres, read_lines, synthesize

WINDOW_AA = (5050.0, 5300.0)
STEPS = {"teff": 50.0, "logg": 0.1, "mh": 0.1, "vmic": 0.15, **dict.fromkeys(("c", "mg", "ca", "ti", "cr", "ni"), 0.1)}
LARGEST = {"teff": 250.0, "logg": 0.4, "mh": 0.3, "vmic": 0.4}
CALIBRATION = Path(__file__).parents[1] / "docs/results/lines/calibrate.toml"
NAMES = ("Sun, UVES", "Arcturus", "eps Eri", "Procyon", "iot Hor", "bet Gem", "HD 106038", "HD 140283")


def sets(physics: PhysicsConfig) -> dict[str, PhysicsConfig]:
    """Sets of departures: none, those of the recipe, and the recipe with one thing changed."""
    assert physics.departures is not None
    every = physics.departures
    iron = tuple(c.model_copy(update={"species": c.species[:1]}) for c in every.corrections)
    variants = {
        "none": None,
        "recipe": every,
        "not faded": every.model_copy(update={"fade": {}}),
        "iron alone": every.model_copy(update={"corrections": iron[:3]}),
        "iron and magnesium": every.model_copy(update={"corrections": iron}),
    }
    return {name: physics.model_copy(update={"departures": value}) for name, value in variants.items()}


def labels_of(values: dict[str, float], **changes: float) -> list[float]:
    """A row of labels, some changed."""
    return [values.get(name, 0.0) + changes.get(name, 0.0) for name in SYNTHESISED]


def start_of(star: StandardStar) -> dict[str, float]:
    """Labels of the literature."""
    elements = {name.lower(): value for name, value in star.abundances.items() if name.lower() in SYNTHESISED}
    return {name: getattr(star, name) for name in ("teff", "logg", "mh", "vmic")} | elements


def fitted(
    star: StandardStar, folder: str, window: tuple[float, float], flux: np.ndarray, slopes: dict[str, np.ndarray]
) -> tuple[dict, float]:
    """Steps of the labels that fit a star best, and the robust residual."""
    grid = model_grid(window)
    wave, observed = read_standard(star, folder, window)
    response = Response(flux, sparse.csc_array((grid.size, 1)), slopes, np.zeros(1))
    standard = Standard(star, wave, observed, grid, response, window, 20.0)
    columns = {**standard.label_derivatives(), **standard.free_derivatives()}
    smooth = standard.continuum_derivatives().toarray()
    widths = np.r_[[WIDE.get(name, 0.3) for name in columns], np.full(smooth.shape[1], CONTINUUM_WIDTH)]
    sigma = np.full(len(wave), 0.01 * max(1.0, 0.12 / np.median(np.diff(wave))) ** 0.5)
    design = sparse.csc_array(np.column_stack([*columns.values(), smooth]))
    solution = robust_steps(design, standard.observed - standard.model, sigma, widths, np.zeros(len(widths)))
    return dict(zip(columns, solution.step, strict=False)), robust_rms(solution.residual)


RECIPE = """line_list = "{lines}"
cool_lines = "{lines}"
atmospheres = "{models}"
[design]
kind = "sobol"
count = 1
[physics]
sampling = "uniform"
[[physics.departures.corrections]]
species = ["Fe 1"]
file = "not-read.npz"
ranges = {{ teff = [5000, 6500], logg = [4.0, 4.5], abundance = [4.5, 7.5], vmic = [0, 3] }}
"""
STAR = """list = "{lines}"
atmospheres = "{models}"
observed = "{folder}"
window = [5160, 5180]
anchor = "Sun"
[[sources]]
name = "all"
pattern = "test"
width = 0.1
[[stars]]
name = "Sun"
file = "star.fits"
resolution = 65000
teff = 5500
logg = 4.44
mh = -0.5
vmic = 1.0
"""
"""Settings of a smoke run."""


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run: one simulated star, 20 Å, no departures."""
    observed_stars(folder, "star.fits", labels=nights.SUN | {"teff": 5500.0, "mh": -0.5})
    _, lines, _, models = synthesis_inputs(folder)
    (folder / "recipe.toml").write_text(RECIPE.format(lines=lines, models=models))
    (folder / "calibrate.toml").write_text(STAR.format(lines=lines, models=models, folder=folder))
    settings = ["--recipe", folder / "recipe.toml", "--calibration", folder / "calibrate.toml", "--stars", "Sun"]
    work = ["--window", 5160, 5180, "--sets", "none", "--iterations", 1, "--workers", 1]
    return [folder, *settings, *work, "--out", folder / "out.json"]


def main() -> None:
    """Fit all stars with all sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path, help="folder of the recipe's inputs, with observed/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stars", nargs="*", default=list(NAMES))
    parser.add_argument("--sets", nargs="*", help="by default all")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--recipe", type=Path, default=preset_path("synthesis", "packaged"), help="of the library")
    parser.add_argument("--calibration", type=Path, default=CALIBRATION, help="settings with the stars")
    parser.add_argument("--window", type=float, nargs=2, default=WINDOW_AA, help="Å")
    options = parse(parser, tiny)
    config = make_config(read_toml(options.recipe), SynthesisConfig, str(options.recipe)).located(options.inputs)
    settings = load_calibration(options.calibration)
    stars = [star for star in settings.stars if star.name in options.stars]
    grid = model_grid(options.window)
    atmospheres = read_atmospheres(config.atmospheres, config.vturb, True, True)
    chosen = {name: p for name, p in sets(config.physics).items() if not options.sets or name in options.sets}
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "machine": platform.machine(), "sets": {}}
    report["command"] = "python benchmarks/departures.py ../shared/data"
    total = len(chosen) * options.iterations * len(stars) * (len(STEPS) + 1)
    with Workers(options.workers) as workers, progress() as bar:
        task = bar.add_task("spectra", total=total)
        lines, cool = read_lines(config.line_list, workers), read_lines(config.cool_lines, workers)
        for name, physics in chosen.items():
            now = {star.name: start_of(star) for star in stars}
            residual = {}
            for _ in range(options.iterations):
                rows = []
                for star in stars:
                    rows.append(labels_of(now[star.name]))
                    rows += [labels_of(now[star.name], **{label: step}) for label, step in STEPS.items()]
                made = synthesize(
                    lines, atmospheres, rows, grid.wavelength_aa, physics, workers, lambda n: bar.advance(task, n), cool
                )
                for i, star in enumerate(stars):
                    flux, *others = made.flux[i * (len(STEPS) + 1) : (i + 1) * (len(STEPS) + 1)]
                    slopes = {k: (f - flux) / s for (k, s), f in zip(STEPS.items(), others, strict=True)}
                    steps, residual[star.name] = fitted(star, settings.observed, tuple(options.window), flux, slopes)
                    for label in STEPS:
                        most = LARGEST.get(label, 0.3)
                        now[star.name][label] = now[star.name].get(label, 0.0) + float(
                            np.clip(steps[label], -most, most)
                        )
                    now[star.name]["vmic"] = max(now[star.name]["vmic"], 0.25)
            report["sets"][name] = {
                star.name: {
                    **{
                        k: round(now[star.name][k] - start_of(star).get(k, 0.0), 3)
                        for k in ("teff", "logg", "mh", "vmic")
                    },
                    **{f"{k}_m": round(now[star.name][k], 3) for k in list(STEPS)[4:]},
                    "residual_percent": round(100 * residual[star.name], 2),
                }
                for star in stars
            }
    write_json(options.out, report)


if __name__ == "__main__":
    main()
