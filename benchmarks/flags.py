"""How often flags are raised: of usual stars, and of spectra that are not what the model takes them for.

    python benchmarks/flags.py --stars 100 --out docs/results/calibration

Simulated stars of 4500 to 7000 K, v sin i below 5 km/s and macroturbulence as usual, with all errors of the
simulation, S/N 30 to 300, are refined on the network's pixels as `maury predict` does. Then the same stars are spoiled
in one way at a time. A star counts as flagged by any of the flags of refinement that limit the trust in it, or as at
the edge of the model. What the preparation finds (double lines by their cross-correlation, no overlap with the window,
cool stars) comes before and is not counted.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import write
from smoke import parse
from torch import Tensor

from maury.cli.console import out, progress
from maury.emulator import load_cached
from maury.inference.posterior import edges
from maury.inference.refinement import physics_of, refined
from maury.inference.single import RELATIONS
from maury.likelihood import relation, usable
from maury.networks import load_posterior
from maury.pixelspectra import PixelSpectra
from maury.simulation import SimulationSettings, Simulator

Spoil = Callable[[PixelSpectra, Tensor, Simulator, torch.Generator], PixelSpectra]


def told(factor: float) -> Spoil:
    """R told wrong by a factor."""
    return lambda star, *_: star.with_(resolution=(star.resolution * factor).clamp_max(50_000.0))


def emission(star: PixelSpectra, _labels: Tensor, _simulator: Simulator, generator: torch.Generator) -> PixelSpectra:
    """Lines turned into emission in a tenth of the window, as of an active star's strong lines or a bad sky."""
    flux = star.flux.clone()
    first = int(torch.randint(0, len(flux) - len(flux) // 10, (1,), generator=generator))
    part = slice(first, first + len(flux) // 10)
    flux[part] = 2 - flux[part]
    return star.with_(flux=flux)


def binary(star: PixelSpectra, labels: Tensor, simulator: Simulator, generator: torch.Generator) -> PixelSpectra:
    """A second star of 40 % of the light, the same labels, 40 to 120 km/s away."""
    shift = int(torch.randint(20, 60, (1,), generator=generator))
    second = simulator.spectra(labels[None], star.resolution[None])[0].double().roll(shift)
    return star.with_(flux=0.6 * star.flux + 0.4 * second)


def flipped(star: PixelSpectra, *_: Any) -> PixelSpectra:
    """Wavelengths in the wrong order."""
    return star.with_(flux=star.flux.flip(0), sigma=star.sigma.flip(0), mask=star.mask.flip(0))


def reddened(star: PixelSpectra, *_: Any) -> PixelSpectra:
    """A slope of 40 % over the window that the continuum left."""
    tilt = torch.linspace(0.8, 1.2, len(star.flux), dtype=torch.float64)
    return star.with_(flux=star.flux * tilt, sigma=star.sigma * tilt)


def elsewhere(star: PixelSpectra, *_: Any) -> PixelSpectra:
    """Another part of the spectrum: rolled by 100 Å."""
    n = len(star.flux) // 3
    return star.with_(flux=star.flux.roll(n), sigma=star.sigma.roll(n), mask=star.mask.roll(n))


CASES: dict[str, tuple[str, Spoil]] = {
    "usual": ("nothing wrong: false alarms", lambda star, *_: star),
    "R 20 % too high": ("slow rotators, nominal R 1.2 times too high", told(1.2)),
    "R 20 % too low": ("slow rotators, nominal R 1.2 times too low", told(1 / 1.2)),
    "emission": ("a tenth of the window turned into emission", emission),
    "binary": ("a second star of 40 % of the light, 40 to 120 km/s away", binary),
    "flipped": ("wavelengths in the wrong order", flipped),
    "reddened": ("a slope of 40 % left by the continuum", reddened),
    "another window": ("another part of the spectrum", elsewhere),
}

TINY = ("usual", "emission", "binary")
"""Cases of a smoke run."""


def text_of(report: dict[str, Any]) -> str:
    """The table of the page."""
    lines = ["| case | flagged | by | median χ² |", "|---|---|---|---|"]
    for row in report.values():
        shares = ", ".join(f"{flag} {share:.0%}" for flag, share in row["flags"].items() if flag != "any")
        lines.append(f"| {row['what']} | {row['flags'].get('any', 0):.0%} | {shares} | {row['chi2']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=24)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES, help="by default all")
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: ["--stars", 1, "--cases", *TINY, "--out", folder / "out"])
    network, _ = load_posterior("default")
    physics = physics_of("default", "packaged", False)
    assert physics is not None
    settings = SimulationSettings.model_validate({"noise": {"snr": (30.0, 300.0)}, "resolution": (20_000.0, 41_000.0)})
    simulator = Simulator(load_cached(), settings)
    generator = torch.Generator().manual_seed(options.seed)
    labels = simulator.draw_labels(40 * options.stars, generator)
    rows = dict(zip(simulator.labels, labels.unbind(1), strict=True))
    fgk = (rows["teff"] > 4500) & (rows["teff"] < 7000) & (rows["mh"] > -1.5) & (rows["vsini"] < 5)
    labels = labels[fgk][: options.stars]
    relations = [relation(name) for name in RELATIONS]
    macro = relation("doyle2014")
    near = torch.linspace(0, 10, 501)
    for row in labels:
        star = dict(zip(simulator.labels, row.clone()[:, None].expand(-1, 501), strict=True))
        row[simulator.labels.index("vmac")] = near[macro.log_density({**star, "vmac": near}).argmax()]
    batch = simulator.observe(labels, generator)
    report: dict[str, Any] = {}
    with progress() as bar:
        task = bar.add_task("spectra", total=len(options.cases) * len(labels))
        for name in options.cases:
            what, spoil = CASES[name]
            counts: Counter[str] = Counter()
            sizes = []
            for i in range(len(labels)):
                star = usable(batch[i])
                star = spoil(star, labels[i], simulator, torch.Generator().manual_seed(i))
                with torch.inference_mode():
                    features = network(star[None].to(dtype=torch.float32))
                samples, fit, flags = refined(
                    physics, star, network, features.clone(), relations=relations, systematics=False, count=500, seed=i
                )
                own = [
                    flag
                    for flag in edges(physics.coordinates.transform, samples.fit)
                    if flag[5:] in ("teff", "logg", "mh")
                ]
                counts.update([*flags, *own])
                counts["any"] += bool(flags or own)
                sizes.append(fit.chi2)
                bar.advance(task)
            shares = {flag: round(count / len(labels), 3) for flag, count in counts.most_common()}
            report[name] = {"what": what, "n": len(labels), "flags": shares, "chi2": float(np.median(sizes))}
            out.print(name, report[name])
    write(options.out, {"flags.json": {"seed": options.seed, "cases": report}, "flags.md": text_of(report)})


if __name__ == "__main__":
    main()
