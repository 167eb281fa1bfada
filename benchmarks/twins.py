"""Abundances of simulated solar twins relative to the Sun: what a reference star and single lines gain.

    python benchmarks/twins.py --twins 30 --out docs/results/abundances

Twins (Teff 5772 +- 80 K, log g 4.44 +- 0.08, [M/H] +- 0.1, [X/M] +- 0.05 dex) at S/N 200 per 2.3 km/s and R = 42,000.
The model's lines are wrong by 10 % of their depth, in pieces of 0.3 Å independently, by the same in the Sun and in all
twins. Scatter of fitted minus true [X/M], robust, without and with the Sun as a reference: of the posterior's medians,
and of the means of single lines. Writes twins.json and twins.md. A minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import write
from smoke import parse

from maury.cli.console import out, progress
from maury.evaluation.bound import pixel_sigma
from maury.inference import Reference, element_lines, predict_pixels
from maury.inference.differential import SUN
from maury.inference.posterior import ELEMENTS
from maury.inference.refinement import physics_of
from maury.pixelspectra import PixelSpectra

SPREAD = {"teff": 80.0, "logg": 0.08, "mh": 0.1} | dict.fromkeys(ELEMENTS, 0.05)
SNR, RESOLUTION, WRONG, PIECE_AA = 200.0, 42_000.0, 0.1, 0.3
WAYS = ("plain", "reference", "lines")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twins", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: ["--twins", 2, "--out", folder])
    torch.set_num_threads(1)
    physics = physics_of("default", "packaged", True, differential=True)
    assert physics is not None
    simulator = physics.coordinates.simulator
    rng = np.random.default_rng(options.seed)
    wave, sigma = simulator.pixels.wavelength_aa, pixel_sigma(simulator, SNR)
    knots = np.arange(wave[0], wave[-1] + PIECE_AA, PIECE_AA)
    wrong = 1 + WRONG * np.interp(wave, knots, rng.standard_normal(len(knots)))

    def observed(labels: dict[str, float]) -> PixelSpectra:
        row = torch.tensor([[labels.get(name, 0.0) for name in simulator.labels]])
        flux = simulator.spectra(row, torch.tensor([RESOLUTION]))[0].double().numpy()
        flux = 1 - (1 - flux) * wrong + sigma * rng.standard_normal(len(wave))
        return PixelSpectra(flux=flux.astype(np.float32), sigma=float(sigma), resolution=RESOLUTION)

    reference = Reference.of(physics, observed(SUN), SUN, "Sun")
    errors: dict[str, dict[str, list[float]]] = {name: {way: [] for way in WAYS} for name in ELEMENTS}
    with progress() as bar:
        for _ in bar.track(range(options.twins), description="twins"):
            true = {**SUN} | {name: SUN.get(name, 0.0) + size * rng.standard_normal() for name, size in SPREAD.items()}
            star = observed(true)
            for way, known in (("plain", None), ("reference", reference)):
                found = predict_pixels(star, labels="abundances", reference=known, name="twin")
                for name in ELEMENTS:
                    errors[name][way].append(found.values[name] - true[name])
                    if known is not None:
                        mean = element_lines(found, name).meta["mean"]
                        errors[name]["lines"].append(np.nan if mean is None else mean - true[name])
    table: dict[str, Any] = {
        name: {way: float(1.4826 * np.nanmedian(np.abs(values))) for way, values in ways.items()}
        for name, ways in errors.items()
    }
    text = ["| [X/M], dex | " + " | ".join(ELEMENTS) + " |", "|" + "---|" * (len(ELEMENTS) + 1)]
    titles = {"plain": "without a reference", "reference": "relative to the Sun", "lines": "the same, mean of lines"}
    for way, title in titles.items():
        text.append(f"| {title} | " + " | ".join(f"{table[name][way]:.3f}" for name in ELEMENTS) + " |")
    found_all = {"seed": options.seed, "twins": len(errors["y"]["plain"]), "snr": SNR, "scatter_dex": table}
    write(options.out, {"twins.json": found_all, "twins.md": "\n".join(text) + "\n"})
    out.print("\n".join(text), markup=False)


if __name__ == "__main__":
    main()
