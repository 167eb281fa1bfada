"""How long refinement takes: up to the usual number of effective samples, up to 5,000, and with six elements alone.

    python benchmarks/refinement_speed.py --stars 24 --out docs/results/refinement-speed.json

Simulated stars with all errors over the whole domain are refined by as many processes as there are cores, of one thread
each, as `maury predict` does for many files. Seconds a star are those of the wall over the stars of all processes.
Beside them the time of a model spectrum, and its floor: the product with the emulator's basis at the speed of this
machine's matrix products. A minute and a half on two cores.

With ``--against``, the folder ``src`` of another version, both versions refine the same stars in turn, in a process
each: the ratio of their times holds also where other work slows both.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smoke import parse

from maury.cli.console import out, progress
from maury.evaluation.refined import refined_posterior
from maury.files import write_json
from maury.inference.refinement import physics_of
from maury.likelihood import Coordinates, usable
from maury.likelihood.refine import TARGET_ESS
from maury.memory import keep_freed_memory
from maury.networks import load_posterior
from maury.networks.transform import LabelTransform
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator

SAMPLES = 4000
TINY = ("--stars", 1, "--processes", 1, "--many", 100)
"""Options of a smoke run."""


def start() -> None:
    """Of a process: one thread, and everything loaded."""
    keep_freed_memory()
    torch.set_num_threads(1)
    load_posterior("default")
    physics_of("default", "packaged", False)


def star_of(seed: int) -> PixelSpectra:
    """A simulated star."""
    physics = physics_of("default", "packaged", False)
    assert physics is not None
    return usable(physics.coordinates.simulator.batch(1, torch.Generator().manual_seed(seed))[0])


class SixElements(Coordinates):
    """Coordinates without the elements that the network does not know, which are solar."""

    def __init__(self, simulator: Simulator, names: tuple[str, ...]) -> None:
        """For the labels of the network."""
        super().__init__(simulator, names)
        self.names, self.columns = self.names[: self.main], self.columns[: self.main]
        self.transform = LabelTransform(simulator.space.subset(self.names), simulator.logg_edges)
        self.centre, covariance = self.centre[: self.main], torch.linalg.inv(self.precision)[: self.main, : self.main]
        self.precision, self.spread = torch.linalg.inv(covariance), torch.linalg.cholesky(covariance).mT


@cache
def six_elements() -> Coordinates:
    """For the packaged network."""
    physics = physics_of("default", "packaged", False)
    assert physics is not None
    return SixElements(physics.coordinates.simulator, load_posterior("default")[0].transform.space.names)


def work(target_ess: float, six: bool, seed: int) -> tuple[float, float, int]:
    """Processor seconds, effective samples and model spectra of a star."""
    physics = physics_of("default", "packaged", False)
    assert physics is not None
    network, _ = load_posterior("default")
    star, coordinates = star_of(seed), six_elements() if six else physics.coordinates
    before = time.process_time()
    done = refined_posterior(network, coordinates, physics.errors, star, SAMPLES, seed, target_ess)
    return time.process_time() - before, done.weighted.effective, len(done.weighted.points)


def best(function: Callable[[], Any], repeats: int = 20) -> float:
    """Shortest time of a call, s."""
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return min(times)


def spectra(count: int) -> dict[str, float]:
    """Milliseconds of a model spectrum on one thread, and of the product with the basis alone."""
    start()
    physics = physics_of("default", "packaged", False)
    assert physics is not None
    simulator = physics.coordinates.simulator
    labels = simulator.draw_labels(count, torch.Generator().manual_seed(1))
    resolution = torch.full((count,), 42_000.0)
    components = simulator._basis.shape
    matrix, basis = torch.randn(count, components[0]), torch.randn(*components)
    each = 1e3 / count
    return {
        "spectrum_ms": round(each * best(lambda: simulator.spectra(labels, resolution)), 3),
        "product_ms": round(each * best(lambda: matrix @ basis), 3),
        "product_mflop": round(2e-6 * components[0] * components[1], 2),
    }


def serve() -> None:
    """Refine the star of each seed on standard input; print processor and wall seconds."""
    start()
    for line in sys.stdin:
        before = time.perf_counter()
        processor, _, _ = work(TARGET_ESS, False, int(line))
        sys.stdout.write(f"{processor} {time.perf_counter() - before}\n")
        sys.stdout.flush()


def compared(source: Path, stars: int, seed: int) -> dict[str, Any]:
    """Mean seconds a star of this version and of the one in ``source``, in turn, and their ratio."""
    command, pipe = [sys.executable, __file__, "--serve", "--out", os.devnull], subprocess.PIPE
    folders = {"this": os.environ.get("PYTHONPATH", ""), "other": str(source)}
    processes = {
        name: subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "PYTHONPATH": folder})
        for name, folder in folders.items()
    }
    rows: dict[str, list[list[float]]] = {name: [] for name in folders}
    for number in range(stars + 1):  # the first one warms up
        for name in sorted(folders, reverse=number % 2 == 0):
            inward, outward = processes[name].stdin, processes[name].stdout
            assert inward is not None
            assert outward is not None
            inward.write(f"{seed + number}\n")
            inward.flush()
            rows[name].append([float(x) for x in outward.readline().split()])
    for process in processes.values():
        process.communicate()
    seconds = {name: np.array(found[1:]).sum(0) for name, found in rows.items()}
    report: dict[str, Any] = {"stars": stars, "load_average": round(os.getloadavg()[0], 1)}
    for column, kind in enumerate(("processor", "wall")):
        report |= {f"{kind}_seconds_a_star_{name}": round(float(x[column]) / stars, 3) for name, x in seconds.items()}
        report[f"{kind}_ratio"] = round(float(seconds["this"][column] / seconds["other"][column]), 3)
    return report


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=24)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--many", type=float, default=5000.0, help="effective samples of the second time")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--against", type=Path, help="folder src of another version: only the ratio of both is measured"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parse(parser, lambda folder: [*TINY, "--out", folder / "out.json"])
    if options.serve:
        serve()
        return
    if options.against is not None:
        found = compared(options.against, options.stars, options.seed)
        out.print(found)
        write_json(options.out, found)
        return
    report: dict[str, Any] = {
        "machine": f"{options.processes} cores, {platform.machine()}", "stars": options.stars, "seed": options.seed,
        **spectra(8 if options.smoke else 128),
    }  # fmt: skip
    seeds = range(options.seed, options.seed + options.stars)
    with (
        ProcessPoolExecutor(options.processes, get_context("spawn"), start) as pool,
        progress() as bar,
    ):
        list(pool.map(partial(work, 100.0, True), seeds[: 2 * options.processes]))
        runs = (("six_elements", TARGET_ESS), ("usual", TARGET_ESS), ("many", options.many))
        for name, target_ess in runs:
            before = time.perf_counter()
            one = partial(work, target_ess, name == "six_elements")
            rows = list(bar.track(pool.map(one, seeds), total=options.stars, description=name))
            wall = time.perf_counter() - before
            processor, effective, points = np.array(rows, float).T
            report[name] = {
                "target_ess": target_ess, "seconds_a_star": round(wall / options.stars, 2),
                "processor_seconds_a_star": round(float(processor.mean()), 2),
                "effective_median": round(float(np.median(effective))),
                "reached": round(float((effective >= target_ess).mean()), 3),
                "efficiency_median": round(float(np.median(effective / points)), 3),
            }  # fmt: skip
            out.print(name, report[name])
    seconds = [report[name]["processor_seconds_a_star"] for name in ("usual", "six_elements")]
    report["all_over_six_elements"] = round(seconds[0] / seconds[1], 2)
    write_json(options.out, report)
    out.print(report)


if __name__ == "__main__":
    main()
