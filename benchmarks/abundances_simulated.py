"""Abundances of simulated stars: scatter over the Cramer-Rao bound, coverage, and what is called no information.

    python benchmarks/abundances_simulated.py --out docs/results/abundances

Stars of 4500 to 7000 K at S/N 100 (`--snr`) per 2.3 km/s and R = 42,000, refined. First with white noise alone, against
the bound; then with all errors of the simulation, how often the truth lies within central intervals; last, for usual,
metal-poor, hot and fast rotating stars, how often `maury predict --labels abundances` gives no value or an upper limit,
how wide the posterior is in units of the prior, for all and where a value is given, and how often the truth lies above
the limits. `--parts` chooses among bound, coverage and detection. Writes abundances.json and table.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smoke import parse
from torch import Tensor

from maury.cli.console import out, progress
from maury.emulator import load_cached
from maury.evaluation.calibration import coverage
from maury.evaluation.refined import recover_refined, refined_bound, refined_posterior
from maury.files import write_json, write_text
from maury.inference.posterior import ELEMENTS, UPPER, information
from maury.likelihood import Coordinates, ErrorModel, usable
from maury.likelihood.target import with_alpha
from maury.networks import load_posterior
from maury.simulation import SimulationSettings, Simulator

NAMES = ("alpha", *ELEMENTS)
PARTS = ("bound", "coverage", "detection")
RESOLUTION, SAMPLES = 42_000.0, 1000
Columns = dict[str, Tensor]
CLASSES: dict[str, Callable[[Columns], Tensor]] = {
    "4500 to 7000 K, [M/H] > -1, v sin i < 10": lambda x: fgk(x) & (x["mh"] > -1) & (x["vsini"] < 10),
    "the same, [M/H] < -2": lambda x: fgk(x) & (x["mh"] < -2) & (x["vsini"] < 10),
    "the same, v sin i > 80": lambda x: fgk(x) & (x["mh"] > -1) & (x["vsini"] > 80),
    "above 8500 K": lambda x: (x["teff"] > 8500) & (x["mh"] > -1),
}


def fgk(x: Columns) -> Tensor:
    """Stars of 4500 to 7000 K."""
    return (x["teff"] > 4500) & (x["teff"] < 7000)


def drawn(simulator: Simulator, keep: Callable[[Columns], Tensor], count: int, seed: int) -> Tensor:
    """Labels (count, all) of the prior that are kept."""
    labels = simulator.draw_labels(400 * count, torch.Generator().manual_seed(seed))
    return labels[keep(dict(zip(simulator.labels, labels.unbind(1), strict=True)))][:count]


def detection(network: Any, simulator: Simulator, labels: Tensor, seed: int, advance: Callable[[], None]) -> list[dict]:
    """For each element: shares without a value and with a limit, widths over the prior's, truths above the limits."""
    coordinates, errors = Coordinates(simulator, network.config.labels), ErrorModel(simulator)
    batch = simulator.observe(labels, torch.Generator().manual_seed(seed))
    rows: dict[str, list[tuple[float, bool, bool, bool]]] = {name: [] for name in NAMES}
    for i in range(len(labels)):
        star = usable(batch[i])
        done = refined_posterior(network, coordinates, errors, star, SAMPLES, seed + i, 400.0)
        names, samples = with_alpha(coordinates.names, done.samples)
        truth = dict(zip(names, with_alpha(coordinates.names, labels[i, coordinates.columns].double())[1], strict=True))
        nothing, limits = information(names, samples.numpy(), coordinates.drawn)
        for name in NAMES:
            column = samples[:, names.index(name)]
            width = float(column.std() / coordinates.drawn[name].std())
            above = bool(truth[name] > column.quantile(UPPER))
            rows[name].append((width, name in nothing, name in limits, above))
        advance()
    table = []
    for name, values in rows.items():
        width, none, limit, above = np.array(values, float).T
        told = (none == 0) & (limit == 0)
        of_values = float(np.median(width[told])) if told.any() else None
        table.append(
            {
                "label": name, "no_information": float(none.mean()), "upper_limit": float(limit.mean()),
                "width": float(np.median(width)), "width_of_values": of_values,
                "above_limit": float(above[limit == 1].mean()) if limit.any() else None,
            }
        )  # fmt: skip
    return table


def text_of(found: dict[str, Any]) -> str:
    """Tables of the parts that were measured."""
    lines: list[str] = []
    if "bound" in found:
        lines += ["| label | scatter / bound | width / bound | in 68 % |", "|" + "---|" * 4]
        for name in NAMES:
            (row,) = found["bound"]["labels"][name]
            cells = [name, f"{row['scatter_ratio']:.2f}", f"{row['error_ratio']:.2f}", f"{row['coverage']:.3f}"]
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", f"{found['bound']['n']} stars; chance alone: {binomial(0.68, found['bound']['n'])} in 68 %.", ""]
    if "coverage" in found:
        shares = found["coverage"]
        levels = tuple(shares[NAMES[0]])
        lines += ["| label | " + " | ".join(f"in {float(x):.0%}" for x in levels) + " |", "|" + "---|" * 4]
        lines += [f"| {name} | " + " | ".join(f"{shares[name][x]:.3f}" for x in levels) + " |" for name in NAMES]
        chance = ", ".join(binomial(float(x), found["stars"]) for x in levels)
        lines += ["", f"{found['stars']} stars, {found['errors']}; chance alone: {chance}.", ""]
    if "detection" in found:
        lines += ["| stars | label | no value | upper limit | width / prior | of values | truth above the limit |"]
        lines += ["|" + "---|" * 7]
    for title, rows in found.get("detection", {}).items():
        for row in rows:
            cells = [title, row["label"], f"{row['no_information']:.0%}", f"{row['upper_limit']:.0%}"]
            cells.append(f"{row['width']:.2f}")
            cells.append("" if row["width_of_values"] is None else f"{row['width_of_values']:.2f}")
            cells.append("" if row["above_limit"] is None else f"{row['above_limit']:.0%}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines).rstrip() + "\n"


def binomial(share: float, stars: int) -> str:
    """Standard deviation of a measured share, as text."""
    return f"{(share * (1 - share) / stars) ** 0.5:.3f}"


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=200, help="of the first two parts")
    parser.add_argument("--detections", type=int, default=40, help="of each class of the third")
    parser.add_argument("--snr", type=float, default=100.0, help="per 2.3 km/s")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--own-errors", action="store_true", help="draw the errors of the second part as the likelihood"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: ["--stars", 2, "--detections", 1, "--out", folder / "out"])
    torch.set_num_threads(1)
    network, _ = load_posterior("default")
    settings = SimulationSettings.model_validate(
        {"noise": {"snr": (options.snr, options.snr)}, "resolution": (RESOLUTION, RESOLUTION)}
    )
    simulator = Simulator(load_cached(), settings)
    found: dict[str, Any] = {"snr": options.snr, "seed": options.seed, "stars": options.stars}
    found |= {"detections": options.detections}
    counts = {"bound": options.stars, "coverage": options.stars, "detection": len(CLASSES) * options.detections}
    with progress() as bar:
        task = bar.add_task("stars", total=sum(counts[part] for part in options.parts))

        def advance(count: int = 1) -> None:
            bar.advance(task, count)

        if "bound" in options.parts:
            found["bound"] = refined_bound(
                network, load_cached(), options.stars, SAMPLES, options.seed, advance, keep=fgk, snrs=(options.snr,)
            )
        if "coverage" in options.parts:
            labels = drawn(simulator, fgk, options.stars, options.seed)
            names, recovered, _ = recover_refined(
                network, simulator, len(labels), SAMPLES, options.seed, 400.0, advance, labels=labels,
                own_errors=options.own_errors,
            )  # fmt: skip
            found["errors"] = f"errors drawn from the {'likelihood' if options.own_errors else 'simulation'}"
            found["coverage"] = {name: coverage(recovered.rank[:, names.index(name)]) for name in NAMES}
        if "detection" in options.parts:
            found["detection"] = {
                title: detection(
                    network, simulator, drawn(simulator, keep, options.detections, 7), options.seed, advance
                )
                for title, keep in CLASSES.items()
            }
    write_json(options.out / "abundances.json", found)
    write_text(options.out / "table.md", text_of(found))
    out.print(text_of(found), markup=False)


if __name__ == "__main__":
    main()
