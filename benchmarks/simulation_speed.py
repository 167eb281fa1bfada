"""Simulated observations per second, beside one star at a time with `Emulator.flux`, and how far from the floor.

    python benchmarks/simulation_speed.py --out docs/results/observations

Rounds of both alternate in one process, so that other work on the machine slows both down alike; rates are per second
of wall clock and of processor time. The floor is what the arithmetic alone takes at the speed of a large matrix product
measured in the same run, and what writing the batch takes at the speed of a copy; on a CPU all three by processor time.
Writes speed.json.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from smoke import parse

from maury.cli.console import out
from maury.emulator import Emulator, load
from maury.files import write_json
from maury.simulation import Simulator


def one_by_one(emulator: Emulator, simulator: Simulator, count: int) -> Callable[[], None]:
    """The peer: flux of one star at a time at the network's pixels, a continuum error and white noise."""
    wavelength = simulator.pixels.wavelength_aa
    sampler = emulator.sampler(wavelength, simulator.pixels.resolution)
    rng = np.random.default_rng(1)
    intrinsic = [simulator.labels.index(name) for name in emulator.space.names]
    vsini, vmac = (simulator.labels.index(name) for name in ("vsini", "vmac"))
    labels = simulator.batch(count, torch.Generator(simulator.device).manual_seed(1)).labels.cpu()

    def run() -> None:
        for row in labels:
            r = torch.tensor([rng.uniform(10_000, 50_000)]).float()
            flux = emulator.flux(row[None, intrinsic], row[[vsini]], r, sampler, vmac_kms=row[[vmac]])[0].numpy()
            flux = flux * (1 + 0.003 * np.sin(wavelength / 20 + rng.uniform(0, 6)))
            flux + np.sqrt(np.clip(flux, 0, None)) / 100 * rng.standard_normal(flux.size)

    return run


def timed(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds of wall clock and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def operations(emulator: Emulator, simulator: Simulator) -> float:
    """Floating-point operations of one spectrum: networks, basis, four real FFTs, 60 for each mode and pixel else."""
    networks = sum(2 * weight.numel() for weight in emulator.networks.weights)
    size = simulator.pixels.grid.size
    basis = 2 * emulator.basis.shape[0] * size
    return networks + basis + 4 * 2.5 * size * float(np.log2(size)) + 60 * (size / 2 + simulator.pixels.count)


def machine_speed(device: torch.device, size: int = 2048) -> tuple[float, float]:
    """Operations per second of a matrix product, bytes per second written by a copy; best of five.

    By processor time on a CPU, else by the wall clock.
    """
    clock = int(device.type == "cpu")
    a = torch.randn(size, size, device=device)
    b, c = torch.empty_like(a), torch.randn(8 * size**2, device=device)
    d = torch.empty_like(c)
    product = min(timed(lambda: torch.mm(a, a, out=b), device)[clock] for _ in range(5))
    copy = min(timed(lambda: d.copy_(c), device)[clock] for _ in range(5))
    return 2 * size**3 / product, 4 * c.numel() / copy


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: ["--threads", 1, "--batch", 16, "--rounds", 1, "--out", folder / "out"])
    device = torch.device(options.device)
    emulator = load()
    simulator = Simulator(emulator, device=device)
    generator = torch.Generator(device).manual_seed(1)
    peer = one_by_one(emulator, simulator, 48)
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        simulator.batch(options.batch, generator), peer()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(timed(lambda: simulator.batch(options.batch, generator), device))
            theirs.append(timed(peer, device))
        wall, processor = (options.batch / np.array(ours)).T
        peer_wall, peer_processor = (48 / np.array(theirs)).T
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        flops, copied = machine_speed(device, 256 if options.smoke else 2048)
        work, written = operations(emulator, simulator), 9.0 * simulator.pixels.count
        floor = max(work / flops, written / copied)
        rate = processor if device.type == "cpu" else wall
        rows.append(
            {
                "threads": threads,
                "spectra per second, median and best": [round(float(np.median(wall))), round(float(wall.max()))],
                "spectra per second of processor time": round(float(np.median(processor))),
                "one by one": round(float(np.median(peer_wall))),
                "ratio": round(float(np.median(wall / peer_wall)), 1),
                "ratio of processor time": round(float(np.median(processor / peer_processor)), 1),
                "MFLOP each": round(work / 1e6, 2),
                "GFLOP/s of a matrix product": round(flops / 1e9),
                "GB/s of a copy": round(copied / 1e9, 1),
                "floor, spectra per second": round(1 / floor),
                "part of the floor": round(float(np.median(rate)) * floor, 2),
                "growth of memory, MB": round(growth, 1),
            }
        )
        out.print(rows[-1])
    report = {"machine": platform.machine(), "device": options.device, "batch": options.batch, "runs": rows}
    write_json(options.out / "speed.json", report)


if __name__ == "__main__":
    main()
