"""Exposures of one star in one fit: uncertainties, coverage, and observed stars together beside each exposure alone.

    python benchmarks/together.py ../shared/data/observed --stars 200 --exposures 10 --out docs/results/together

Simulated stars have exposures of three resolving powers and S/N 20 to 60, drawn as the covariance has them: errors of
the physics and haze in common, all else apart. They are sampled as by `maury predict`, the network's posterior of the
mean exposure among the proposals: without it the flat tail of the posterior towards v sin i = 0 is missed. A star of
ten exposures takes ten seconds or more, one of four three.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from observed import catalogue, hints
from results import write
from smoke import observed_stars, parse
from torch import Tensor

from maury.cli.console import out, progress
from maury.emulator import load_cached
from maury.inference import Result, predict
from maury.inference.refinement import FlowProposal, physics_of
from maury.likelihood import Coordinates, ErrorModel, refine, usable
from maury.likelihood.laplace import jacobian
from maury.likelihood.together import Together, exposures_of, mean_of
from maury.networks import load_posterior
from maury.pixelspectra import PixelSpectra
from maury.readers import read
from maury.simulation import Simulator

LABELS = ("teff", "logg", "mh", "vsini")
RESOLUTIONS = (28_000.0, 44_000.0, 50_000.0)
SNR = (20.0, 60.0)
LEVELS = {"68 %": 0.1587, "95 %": 0.025}
AVERAGE, AVERAGE_SNR = 10, 30.0
ROTATING_KMS = 8.0
"""Least v sin i at which its width is compared with the bound: below, the posterior is an upper limit, no Gaussian."""


def blank(simulator: Simulator, labels: Tensor, snr: float, resolution: float) -> PixelSpectra:
    """An exposure without any error in its flux."""
    flux = simulator.spectra(labels[None].float(), torch.tensor([resolution]))[0].double()
    return usable(PixelSpectra(flux=flux, sigma=1 / snr, resolution=resolution))


def bound(coordinates: Coordinates, together: Together, stars: PixelSpectra, labels: Tensor) -> Tensor:
    """Joint Cramér-Rao bound (k,) of the unconstrained coordinates, the prior's Gaussian included."""
    real = coordinates.transform.unconstrained(labels[coordinates.columns][None])[0]
    noise = together.whiten(stars, labels, fit=False)
    slopes = noise.weighted(jacobian(coordinates, real, stars.resolution)[1])
    projected = slopes @ noise.projector
    information = slopes @ slopes.mT - projected @ projected.mT + coordinates.precision
    return torch.linalg.inv(information).diagonal().sqrt()


def sunlike(simulator: Simulator, generator: torch.Generator) -> Tensor:
    """Labels of a star of the prior with Teff of 4800 to 6600 K and v sin i below 30 km/s."""
    columns = [simulator.labels.index(name) for name in ("teff", "vsini")]
    while True:
        rows = simulator.draw_labels(64, generator).double()
        teff, vsini = rows[:, columns].unbind(1)
        good = rows[(teff > 4800) & (teff < 6600) & (vsini < 30)]
        if len(good):
            return good[0]


def simulated(count: int, exposures: int, seed: int) -> dict[str, Any]:
    """Coverage of the posteriors of simulated stars, and their width in units of the joint bound."""
    physics, (network, _) = physics_of("default", "packaged", False), load_posterior("default")
    assert physics is not None
    coordinates, simulator = physics.coordinates, physics.coordinates.simulator
    together = Together(ErrorModel(simulator, spread=False))
    columns = [coordinates.names.index(name) for name in LABELS]
    ranks, widths, rotating = [], [], []
    with progress() as bar:
        for number in bar.track(range(count), description="simulated stars"):
            generator = torch.Generator().manual_seed(seed + number)
            labels = sunlike(simulator, generator)
            snrs = SNR[0] + (SNR[1] - SNR[0]) * torch.rand(exposures, generator=generator)
            stars = [blank(simulator, labels, float(s), RESOLUTIONS[i % 3]) for i, s in enumerate(snrs)]
            data = together.draw(exposures_of(stars), labels, generator)
            with torch.inference_mode():
                features = network(mean_of(data)[None].to(dtype=torch.float32))
            proposal = FlowProposal(network, features.clone())
            start = coordinates.start(proposal.sample(256, generator).median(0).values)
            done = refine(coordinates, together, data, start[None], network=proposal, seed=number)
            truth = labels[coordinates.columns]
            rotating.append(float(labels[simulator.labels.index("vsini")]) > ROTATING_KMS)
            ranks.append((done.samples < truth).double().mean(0)[columns].numpy())
            spread = coordinates.transform.unconstrained(done.samples).std(0)
            widths.append((spread / bound(coordinates, together, data, labels))[columns].numpy())
    rank, width = np.array(ranks), np.array(widths)
    inside = {
        level: {name: round(float(np.mean(np.abs(rank[:, k] - 0.5) < 0.5 - tail)), 3) for k, name in enumerate(LABELS)}
        for level, tail in LEVELS.items()
    }
    over = {level: round(float(np.mean(np.abs(rank - 0.5) < 0.5 - tail)), 3) for level, tail in LEVELS.items()}
    width[~np.array(rotating), LABELS.index("vsini")] = np.nan
    median = {name: _rounded(width[:, k]) for k, name in enumerate(LABELS)}
    return {
        "stars": count,
        "exposures": exposures,
        "coverage": inside,
        "coverage_of_all": over,
        "width_over_bound": median,
    }


def _rounded(values: np.ndarray) -> float | None:
    """Median of the values that are finite; None where none is."""
    known = values[np.isfinite(values)]
    return round(float(np.median(known)), 3) if len(known) else None


def averaging() -> dict[str, Any]:
    """Bounds of ten exposures of S/N 30, of one with the noise of their mean, and of one of them, for the Sun."""
    simulator = Simulator(load_cached())
    coordinates = Coordinates(simulator)
    values = dict.fromkeys(simulator.labels, 0.0)
    values |= {"teff": 5772.0, "logg": 4.44, "vmic": 1.0, "vsini": 3.0, "vmac": 3.2}
    labels = torch.tensor([values[name] for name in simulator.labels], dtype=torch.float64)
    cases = {
        f"{AVERAGE} of S/N {AVERAGE_SNR:.0f}": (AVERAGE, AVERAGE_SNR, True),
        f"1 of S/N {AVERAGE_SNR * math.sqrt(AVERAGE):.0f}": (1, AVERAGE_SNR * math.sqrt(AVERAGE), True),
        f"1 of S/N {AVERAGE_SNR:.0f}": (1, AVERAGE_SNR, True),
        f"{AVERAGE} of S/N {AVERAGE_SNR:.0f}, no model errors": (AVERAGE, AVERAGE_SNR, False),
    }
    real = coordinates.transform.unconstrained(labels[coordinates.columns][None])
    table = {}
    for case, (count, snr, physics) in cases.items():
        together = Together(ErrorModel(simulator, model_error=physics))
        stars = exposures_of([blank(simulator, labels, snr, 45_000.0)] * count)
        step = torch.diag(bound(coordinates, together, stars, labels)) / 100
        moved = coordinates.transform.constrained(real + step) - coordinates.transform.constrained(real)
        errors = 100 * moved.diagonal()
        table[case] = {name: float(f"{float(errors[coordinates.names.index(name)]):.3g}") for name in LABELS[:3]}
    return table


def row_of(result: Result) -> dict[str, Any]:
    """Labels with statistical and whole uncertainties, and what the exposures say."""
    numbers, record = result.numbers(), result.record()
    row: dict[str, Any] = {name: [round(numbers[name], 3), round(numbers[f"{name}_stat"], 3)] for name in LABELS}
    row |= {"chi2": record.get("chi2"), "flags": record["flags"]}
    if result.exposures:
        keys = ("rv_kms", "rv_err", "snr", "noise_scale", "apart", "labels_chi2", "status")
        row["exposures"] = [{key: one.record()[key] for key in keys} for one in result.exposures]
        row |= {key: record[key] for key in ("n_exposures", "rv_scatter_kms")}
    return row


def observed(folder: Path, star: str) -> dict[str, Any]:
    """A star of the catalogue: its exposures together and each alone."""
    rows = [row for row in catalogue(folder, "resolution") if row["star"] == star]
    seen = {
        row["file"]: read(folder / row["file"], resolution=float(row["resolution"]), **hints(folder, row))
        for row in rows
    }
    found = {"together": row_of(predict(list(seen.values())))}
    return found | {file: row_of(predict(observation)) for file, observation in seen.items()}


def markdown(report: dict[str, Any]) -> str:
    """Tables of the results."""
    one = report["simulated"]
    lines = [
        "# Exposures of one star together", "",
        f"{one['stars']} simulated stars of {one['exposures']} exposures each (R 28,000, 44,000 and 50,000; "
        "S/N 20 to 60), drawn as the covariance has them; `benchmarks/together.py`.", "",
        "| | " + " | ".join(LABELS) + " | all |", "|---|" + "---|" * 5,
        *(f"| inside the central {level} | " + " | ".join(f"{row[name]:.0%}" for name in LABELS)
          + f" | {one['coverage_of_all'][level]:.1%} |" for level, row in one["coverage"].items()),
        f"| width over the joint bound, median; of v sin i above {ROTATING_KMS:g} km/s | "
        + " | ".join("" if width is None else f"{width:.2f}" for width in one["width_over_bound"].values()) + " | |",
        "",
        "Bounds for the Sun at R = 45,000: noise averages down, errors of the physics do not.", "",
        "| | Teff, K | log g | [M/H] |", "|---|---|---|---|",
        *(f"| {case} | " + " | ".join(f"{row[name]:g}" for name in LABELS[:3]) + " |"
          for case, row in report["averaging"].items()),
    ]  # fmt: skip
    for star, rows in report["observed"].items():
        lines += [
            "", f"{star}: medians and statistical uncertainties.", "",
            "| | Teff, K | log g | [M/H] | v sin i, km/s | chi2 | flags |", "|---|---|---|---|---|---|---|",
            *(f"| {file} | " + " | ".join(f"{row[n][0]:.{d}f} ± {row[n][1]:.{d}f}" for n, d in zip(LABELS, (0, 2, 2, 1),
              strict=True)) + f" | {row['chi2']:.2f} | {', '.join(row['flags']) or 'none'} |"
              for file, row in rows.items()),
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--stars", type=int, default=200, help="simulated stars")
    parser.add_argument("--exposures", type=int, default=10, help="of each of them")
    parser.add_argument("--observed", nargs="*", default=["WASP-14", "Sun"], help="stars of the catalogue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of together.json and together.md")
    options = parse(
        parser,
        lambda folder: [observed_stars(folder, "star.fits"), "--stars", 1, "--exposures", 2, "--observed", "star 0",
                        "--out", folder / "out"],
    )  # fmt: skip
    report = {
        "averaging": averaging(),
        "observed": {star: observed(options.folder, star) for star in options.observed},
        "simulated": simulated(options.stars, options.exposures, options.seed),
    }
    write(options.out, {"together.json": report, "together.md": markdown(report)})
    out.print(markdown(report))


if __name__ == "__main__":
    main()
