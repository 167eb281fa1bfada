"""Tables of docs/scale.md: what each stage cost where it was measured, and what follows for large numbers.

    python benchmarks/scale_costs.py --out docs/results/scale

Reads the committed results only; nothing is measured here. Writes costs.md and extrapolation.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smoke import parse

RESULTS = Path(__file__).parents[1] / "docs" / "results"

SPECTRA = 1e8
CORES = 16, 1000
GPUS = 1000
GPU_GFLOPS = 50_000.0
"""Of one GPU in float32, from data sheets: assumed, not measured, as are the rates of disks and networks below."""

BATCH, WEIGHTS, NETWORK = 64, 7_658_520, 25e9
"""Of the founding recipe; bytes per second and GPU of an exchange of gradients."""

DISK, PARALLEL = 1e9, 100e9
"""Bytes per second: of one disk, and of a parallel file system."""


@dataclass(frozen=True)
class Stage:
    """What one spectrum costs in one stage.

    Attributes:
        name: of the stage.
        core_s: seconds of one core.
        read: bytes read.
        written: bytes written.
        on_gpu: whether it runs on GPUs.
        source: file of the measurement.
        note: how it was measured.
    """

    name: str
    core_s: float
    read: float
    written: float
    on_gpu: bool
    source: str
    note: str


def result(name: str) -> Any:
    """A committed result."""
    return json.loads((RESULTS / name).read_text())


def stages() -> list[Stage]:
    """Costs from the committed results."""
    catalogue = result("catalogue.json")
    stars = [star["seconds"] for star in result("benchmark-stars/stars.json")]
    preparation = result("preparation/speed.json")
    synthesis = result("synthesis/agreement.json")
    grid = result("grid-build.json")
    simulation = result("observations/speed.json")["runs"][0]
    training = result("founding/training-speed.json")
    pixels, founding = 8650, 2 * 7447
    return [
        Stage(
            "predict, HDF5 on the network's pixels",
            catalogue["workers"] / catalogue["per_second"],
            1e9 * catalogue["gigabytes"] / catalogue["spectra"],
            300.0,
            True,
            "catalogue.json",
            f"clock of two processes on a machine with a load of {catalogue['load_average'][0]:.0f}: an upper bound",
        ),
        Stage(
            "prepare a file",
            preparation["seconds_per_file"],
            1e6,
            0.0,
            False,
            "preparation/speed.json",
            f"clock, one process, {preparation['files']} files",
        ),
        Stage(
            "predict a file: prepared and refined",
            statistics.median(stars),
            1e6,
            300.0,
            False,
            "benchmark-stars/stars.json",
            f"clock, median of {len(stars)} observed stars",
        ),
        Stage(
            "synthesise, adaptive",
            synthesis["mean seconds, adaptive"],
            0.0,
            2.0 * synthesis["pixels"],
            False,
            "synthesis/agreement.json",
            "processor time, twelve spectra of 300 Å",
        ),
        Stage(
            "synthesise, uniform",
            synthesis["mean seconds, uniform"],
            0.0,
            2.0 * synthesis["pixels"],
            False,
            "synthesis/agreement.json",
            "processor time, the same",
        ),
        Stage(
            "grid build",
            grid["build_cpu_s"] / grid["spectra"],
            0.0,
            1e9 * grid["file_gb"] / grid["spectra"],
            False,
            "grid-build.json",
            f"processor time, {grid['spectra']:,} spectra of {grid['pixels']:,} pixels, compressed",
        ),
        Stage(
            "simulate an observation",
            1 / simulation["spectra per second of processor time"],
            0.0,
            0.0,
            True,
            "observations/speed.json",
            f"processor time, batches of {result('observations/speed.json')['batch']}, {pixels:,} pixels",
        ),
        Stage(
            "train the founding network, a spectrum and epoch",
            training["threads"] / training["maury"]["spectra_per_second"],
            float(founding),
            0.0,
            True,
            "founding/training-speed.json",
            f"clock of {training['threads']} threads, float32, batches of 64 in memory",
        ),
    ]


def duration(seconds: float) -> str:
    """Seconds in words of two figures."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):,g} {unit}"
    return f"{seconds:.2g} s"


def size(amount: float) -> str:
    """Bytes in words of two figures."""
    if not amount:
        return "-"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= scale:
            return f"{float(f'{amount / scale:.2g}'):g} {unit}"
    return f"{amount:.0f} B"


def costs(found: list[Stage]) -> str:
    """Table of what one spectrum costs."""
    rows = ["| stage | core and spectrum | read | written | from | how |", "|---|---|---|---|---|---|"]
    for s in found:
        cost = f"{s.core_s:.2g} s" if s.core_s >= 0.1 else f"{1e3 * s.core_s:.2g} ms"
        rows.append(f"| {s.name} | {cost} | {size(s.read)} | {size(s.written)} | `{s.source}` | {s.note} |")
    return "\n".join(rows) + "\n"


def core_gflops() -> float:
    """Of one core in its fastest float32 matrix product."""
    training = result("founding/training-speed.json")
    return training["peak_gflops"]["float32"] / training["threads"]


def extrapolation(found: list[Stage]) -> str:
    """Table of what 10^8 spectra take."""
    per_gpu = GPU_GFLOPS / core_gflops()
    heads = [f"{cores:,} cores" for cores in CORES]
    rows = [
        f"| stage | {' | '.join(heads)} | {GPUS:,} GPUs | bytes | at 1 GB/s | at 100 GB/s |",
        "|---|" + "---|" * (len(heads) + 4),
    ]
    for s in found:
        total = SPECTRA * max(s.read, s.written)
        times = [duration(SPECTRA * s.core_s / cores) for cores in CORES]
        gpu = duration(SPECTRA * s.core_s / (GPUS * per_gpu)) if s.on_gpu else "not on GPUs"
        disks = [duration(total / rate) if total else "-" for rate in (DISK, PARALLEL)]
        rows.append(f"| {s.name} | {' | '.join(times)} | {gpu} | {size(total)} | {' | '.join(disks)} |")
    return "\n".join(rows) + "\n\n" + _limits(found[0], found[-1], per_gpu)


def _limits(predict: Stage, train: Stage, per_gpu: float) -> str:
    """Sentences on what a thousand GPUs wait for."""
    cores = PARALLEL / (predict.read / predict.core_s)
    step, exchange = BATCH * train.core_s / per_gpu, 2 * 4 * WEIGHTS / NETWORK
    return (
        f"A core makes {core_gflops():.0f} GFLOP/s in float32 (`founding/training-speed.json`); a GPU is taken to make "
        f"{GPU_GFLOPS / 1000:.0f} TFLOP/s at the same part of its peak: {per_gpu:.0f} cores. A file system of "
        f"{PARALLEL / 1e9:.0f} GB/s feeds {cores:,.0f} cores with a catalogue in HDF5, or {cores / per_gpu:.0f} such "
        f"GPUs: more only wait for it. A step of training with {BATCH} spectra on each GPU would take "
        f"{1e3 * step:.1f} ms, and the exchange of {WEIGHTS:,} gradients over {NETWORK / 1e9:.0f} GB/s another "
        f"{1e3 * exchange:.1f} ms: in training a thousand GPUs would be {(step + exchange) / step:.1f} times slower "
        f"than the table says, at batches of {GPUS * BATCH:,} spectra that nobody has tried.\n"
    )


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "scale")
    out = parse(parser, lambda folder: ["--out", folder / "out"]).out
    out.mkdir(parents=True, exist_ok=True)
    found = stages()
    (out / "costs.md").write_text(costs(found))
    (out / "extrapolation.md").write_text(extrapolation(found))
    print(costs(found))
    print(extrapolation(found))


if __name__ == "__main__":
    main()
