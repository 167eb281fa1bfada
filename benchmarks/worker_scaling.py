"""How much two worker processes gain over one, in predicting catalogues and in synthesis.

    OMP_NUM_THREADS=1 python benchmarks/worker_scaling.py --line-list LIST --atmospheres FOLDER_OR_ARCHIVE \
        --out docs/results/worker-scaling.json

On a machine of two cores with nothing else to do, five minutes. Three kinds of work:

- ``catalogue``: `maury catalog` on HDF5, spectra simulated on the default network's pixels;
- ``files``: the same on a list of files, each prepared and refined;
- ``synthesis``: spectra of 20 Å with PySME (left out without --line-list and --atmospheres).

Each is done small and large, by one process and by two, in turns; predictions as the command that a user would give, so
that no process is warmer than another. Start-up is in both sizes, so that the gain is that
of the difference: (large - small) by one, over (large - small) by two. ``gain_by_processor_time`` is twice the
processor time of one over that of two: what the clock would say if nothing else ran and the load were balanced.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from catalogue_speed import REJECTS, write_spectra
from smoke import parse

from maury.cli.console import progress
from maury.emulator import load
from maury.emulator.network_pixels import NetworkPixels
from maury.errors import MauryError
from maury.files import write_json
from maury.readers import write
from maury.simulation import Simulator
from maury.spectra import Spectrum
from maury.synthesis import PhysicsConfig, Workers, read_atmospheres, read_lines, synthesize

Work = Callable[[int, bool], None]
"""Does the work with so many processes, the small one or the large one."""


def processor_s() -> float:
    """Processor time of this process and of those it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Work, workers: int, large: bool) -> tuple[float, float]:
    """Seconds of the clock and of processors."""
    wall, used = time.monotonic(), processor_s()
    work(workers, large)
    return time.monotonic() - wall, processor_s() - used


def gain(work: Work, small: int, large: int, rounds: int, step: Callable[[], None]) -> dict[str, object]:
    """Figures of one kind of work; medians over rounds."""
    load_before = os.getloadavg()[0]
    seen: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for turn in range(rounds):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            for size in (False, True):
                seen.setdefault((workers, size), []).append(timed(work, workers, size))
                step()

    def difference(workers: int, kind: int) -> float:
        middle = [statistics.median(t[kind] for t in seen[workers, size]) for size in (False, True)]
        return middle[1] - middle[0]

    count = large - small
    return {
        "load_before": round(load_before, 2),
        "small": small,
        "large": large,
        "per_second_by_one": count / difference(1, 0),
        "per_second_by_two": count / difference(2, 0),
        "gain": difference(1, 0) / difference(2, 0),
        "gain_by_processor_time": 2 * difference(1, 1) / difference(2, 1),
        "whole_commands_seconds": {
            f"{workers} processes, {'large' if size else 'small'}": [round(wall, 2) for wall, _ in times]
            for (workers, size), times in sorted(seen.items())
        },
    }


def predicted(source: Path, out: Path, workers: int) -> None:
    """`maury catalog`."""
    command = ["catalog", str(source), "--out", str(out), "--workers", str(workers), "--fresh"]
    done = subprocess.run([sys.executable, "-m", "maury", *command], capture_output=True, text=True, check=False)
    if done.returncode not in (0, REJECTS):
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")


def catalogue(folder: Path, unit: int) -> tuple[Work, int, int]:
    """Spectra in HDF5: two units, or eight."""
    sizes = 2 * unit, 8 * unit
    paths = [folder / f"{count}.h5" for count in sizes]
    for path, count in zip(paths, sizes, strict=True):
        write_spectra(path, count)

    def work(workers: int, large: bool) -> None:
        predicted(paths[large], folder / "table.fits", workers)

    return work, *sizes


def files(folder: Path, unit: int) -> tuple[Work, int, int]:
    """Spectra in files: simulated ones on the default network's pixels, written as tables."""
    sizes = unit, 3 * unit
    emulator = load()
    source, pixels = Simulator(emulator), NetworkPixels.of(emulator)
    stars = source.batch(sizes[1], torch.Generator().manual_seed(2))
    lists = [folder / f"list-{count}.csv" for count in sizes]
    for k in range(sizes[1]):
        good = stars.good[k].numpy()
        spectrum = Spectrum(
            pixels.wavelength_aa, stars.flux[k].numpy(), sigma=stars.sigma[k].numpy(), mask=~good, frame="rest",
            normalised=True,
        )  # fmt: skip
        write(spectrum, folder / f"star-{k}.ecsv")
    for path, count in zip(lists, sizes, strict=True):
        rows = [f"star-{k}.ecsv,{float(stars.resolution[k])},0" for k in range(count)]
        path.write_text("\n".join(["file,resolution,velocity_kms", *rows]) + "\n")

    def work(workers: int, large: bool) -> None:
        predicted(lists[large], folder / "table.fits", workers)

    return work, *sizes


def synthesis(line_list: str, atmospheres: str, unit: int) -> tuple[Work, int, int]:
    """Spectra of 20 Å of Sun-like stars, all alike in cost."""
    sizes = unit, 4 * unit
    wavelength = np.arange(5160.0, 5180.0, 0.01)
    with Workers(1) as workers:
        lines = read_lines(line_list, workers)
    models = read_atmospheres(atmospheres, 2.0, False)
    labels = np.tile([5750.0, 4.4, 0.0, 1.0, 0, 0, 0, 0, 0, 0], (sizes[1], 1))
    labels[:, 0] += np.arange(sizes[1])

    def work(workers: int, large: bool) -> None:
        made = synthesize(lines, models, labels[: sizes[large]], wavelength, PhysicsConfig(), workers)
        if made.failures:
            raise SystemExit(f"synthesis failed: {made.failures}")

    return work, *sizes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--line-list")
    parser.add_argument("--atmospheres")
    parser.add_argument("--part", type=int, default=8192, help="unit of the catalogue, spectra")
    parser.add_argument("--files", type=int, default=20, help="files of the small list")
    parser.add_argument("--spectra", type=int, default=16, help="spectra of the small synthesis")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["catalogue", "files", "synthesis"])
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parse(parser, lambda folder: ["--files", 1, "--kinds", "files", "--out", folder / "out.json"])
    figures: dict[str, object] = {"cores": os.cpu_count(), "rounds": arguments.rounds}
    with tempfile.TemporaryDirectory() as temporary, progress() as bar:
        folder = Path(temporary)
        kinds = {
            "catalogue": lambda: catalogue(folder, arguments.part),
            "files": lambda: files(folder, arguments.files),
        }
        if arguments.line_list and arguments.atmospheres:
            kinds["synthesis"] = lambda: synthesis(arguments.line_list, arguments.atmospheres, arguments.spectra)
        for name, prepare in kinds.items():
            if name not in arguments.kinds:
                continue
            task = bar.add_task(name, total=4 * arguments.rounds)
            work, small, large = prepare()
            if arguments.smoke:
                figures[name] = timed(work, 1, False)
            else:
                figures[name] = gain(work, small, large, arguments.rounds, lambda task=task: bar.advance(task))
    print(json.dumps(figures, indent=1))
    if arguments.out is not None:
        write_json(arguments.out, figures)


if __name__ == "__main__":
    try:
        main()
    except MauryError as error:
        sys.exit(f"error: {error}")
