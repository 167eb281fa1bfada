"""Time, memory and file size of building the full SPC grid, and the time to read it back.

    python benchmarks/grid_build.py --out docs/results/grid-build.json

(--pixels 29788 for the full sampling) takes under a minute on two cores.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from smoke import TINY_GRID, parse

from maury.emulator import PACKAGED, load
from maury.files import sha256, write_json
from maury.grids import GridConfig, build_grid, encode, open_grid, quantise
from maury.grids.build import NodeMaker
from maury.grids.plan import make_plan


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def parts(config: GridConfig) -> dict[str, float]:
    """Milliseconds of each part for one node with its 29 rotations, on one thread, best of 20."""
    torch.set_num_threads(1)
    emulator = load()
    plan = make_plan(config, emulator)
    maker = NodeMaker(emulator, config, plan)
    node = torch.from_numpy(plan.nodes[-1:]).float()

    @torch.no_grad()
    def emulate() -> torch.Tensor:
        return emulator.modes(node, maker.sampler.modes)[0]

    modes = emulate()
    broad = modes * maker.transfer
    flux = maker.sampler(broad).numpy()
    counts = quantise(flux)
    works: dict[str, Callable[[], object]] = {
        "emulator": emulate,
        "transfer": lambda: modes * maker.transfer,
        "inverse FFT and sampling": lambda: maker.sampler(broad),
        "quantise": lambda: quantise(flux),
        "shuffle and deflate": lambda: encode(counts),
    }
    return {name: min(timed(work)[0] for _ in range(20)) * 1e3 for name, work in works.items()}


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=int, default=7447)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parse(parser, lambda folder: ["--out", folder / "out.json"])
    config = GridConfig(pixels=options.pixels, **TINY_GRID if options.smoke else {})
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spc.h5"
        build = timed(lambda: build_grid(path, load(), sha256(PACKAGED), config))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform != "darwin" else 1e9)
        read = timed(lambda: open_grid(path).read_flux())
        spectra = len(open_grid(path))
        size = path.stat().st_size / 1e9
    result = {
        "spectra": spectra,
        "pixels": options.pixels,
        "threads": threads,
        "build_s": build[0],
        "build_cpu_s": build[1],
        "peak_memory_gb": peak,
        "file_gb": size,
        "read_s": read[0],
        "read_cpu_s": read[1],
        "ms_per_node": parts(config),
    }
    if options.out is not None:
        write_json(options.out, result)
    for name, value in result.items():
        print(f"{name}: {value if not isinstance(value, float) else round(value, 2)}")


if __name__ == "__main__":
    main()
