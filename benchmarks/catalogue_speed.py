"""Catalogue of simulated spectra in HDF5: speed end to end, memory, rejects, and kills at random moments.

    OMP_NUM_THREADS=1 python benchmarks/catalogue_speed.py --spectra 100000 --workers 2 --kills 5
    OMP_NUM_THREADS=1 python benchmarks/catalogue_speed.py --spectra 400 --workers 2 --refine --against ../before/src

Spectra are simulated on the pixels of the default network (once, kept with --folder); 1 % of them are corrupted.
``maury catalog`` then runs as a process of its own, whose memory is measured together with its workers'; once
more with SIGKILL at random moments, and the two tables are compared. With ``--against``, the folder ``src`` of another
version, that version does the same before it: the ratio of processor times holds also where other work slows both.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from smoke import parse

from maury.catalogue import read_catalogue
from maury.cli.console import progress
from maury.emulator import load
from maury.files import write_json
from maury.simulation import Simulator

REJECTS = 2
"""Exit code of `maury catalog` where some spectra cannot be used."""


def write_spectra(path: Path, count: int, seed: int = 1) -> int:
    """Simulate spectra into a file and corrupt 1 % of them in four ways; returns how many."""
    source = Simulator(load())
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    bad = rng.permutation(count)[: max(1, count // 100)]
    spoilt = np.zeros(count, int)
    spoilt[bad] = 1 + np.arange(bad.size) % 4
    temporary = path.with_suffix(".part")
    pixels = source.pixels.count
    with h5py.File(temporary, "w") as file, progress() as bar:
        task = bar.add_task("simulating", total=count)
        file["wavelength"] = source.pixels.wavelength_aa
        flux, sigma, good = (
            file.create_dataset(name, (count, pixels), kind, chunks=(min(16, count), pixels))
            for name, kind in (("flux", "f2"), ("sigma", "f2"), ("good", "?"))
        )
        resolution = file.create_dataset("resolution", (count,), "f4")
        for first in range(0, count, 1024):
            stars = source.batch(min(1024, count - first), generator)
            rows = slice(first, first + len(stars.flux))
            parts = [part.numpy().copy() for part in (stars.flux, stars.sigma, stars.good, stars.resolution)]
            kind = spoilt[rows]
            parts[0][kind == 1] = np.nan
            parts[1][kind == 2] = 0.0
            parts[2][kind == 3] = False
            parts[3][kind == 4] = -1.0
            for dataset, part in zip((flux, sigma, good, resolution), parts, strict=True):
                dataset[rows] = part
            bar.advance(task, len(stars.flux))
        file["spoilt"] = spoilt
    os.replace(temporary, path)
    return bad.size


class Memory(threading.Thread):
    """Follows the memory of a process and its children (proportional set size, MB), five times a second."""

    def __init__(self, pid: int) -> None:
        """Watch a process until it ends."""
        super().__init__(daemon=True)
        self.pid, self.seen = pid, []

    def run(self) -> None:
        """Take a sample every 0.2 s."""
        while (total := sum(map(_pss_mb, [self.pid, *_children(self.pid)]))) > 0:
            self.seen.append(total)
            time.sleep(0.2)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found + [grandchild for child in found for grandchild in _children(child)]


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Simulate, run, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--model", default="default")
    parser.add_argument("--refine", action="store_true", help="refine the spectra")
    parser.add_argument("--against", type=Path, help="folder src of another version, for the ratio of processor times")
    parser.add_argument("--folder", type=Path, help="where spectra and tables stay")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parse(parser, lambda folder: ["--spectra", 200, "--workers", 1, "--out", folder / "out.json"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(folder, arguments)
    print(json.dumps(figures, indent=1))
    if arguments.out is not None:
        write_json(arguments.out, figures)


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Figures of one whole run and one that is killed."""
    path = folder / f"spectra-{arguments.spectra}.h5"
    if not path.exists():
        write_spectra(path, arguments.spectra)
    command = [sys.executable, "-m", "maury", "catalog", str(path), "--model", arguments.model]
    command += ["--workers", str(arguments.workers)]
    command += ["--refine"] if arguments.refine else []
    whole = folder / "whole.parquet"
    other = None if arguments.against is None else timed(command, folder / "other.parquet", arguments.against)
    seconds, processor, memory = timed(command, whole)
    table = read_catalogue(whole)
    rejects = read_catalogue(whole / "_rejects")
    with h5py.File(path) as file:
        spoilt = file["spoilt"][()]
    peak = np.array(memory)
    quarter = len(peak) // 4
    figures: dict[str, object] = {
        "spectra": arguments.spectra,
        "workers": arguments.workers,
        "seconds": round(seconds, 1),
        "per_second": round(arguments.spectra / seconds, 2 if arguments.refine else None),
        "processor_seconds_a_spectrum": round(processor / arguments.spectra, 5),
        "gigabytes": round(path.stat().st_size / 1e9, 2),
        "memory_peak_mb": round(peak.max()),
        "memory_median_2nd_to_4th_quarter_mb": [
            round(np.median(peak[k * quarter : (k + 1) * quarter])) for k in (1, 2, 3)
        ],
        "results": len(table),
        "rejects": len(rejects),
        "rejects_are_the_corrupted": sorted(rejects["row"]) == sorted(np.flatnonzero(spoilt)),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }
    if other is not None:
        figures |= {"seconds_other": round(other[0], 1), "processor_ratio": round(processor / other[1], 3)}
        figures |= differences(table, read_catalogue(folder / "other.parquet"))
    if arguments.kills:
        figures |= killed(folder / "killed.parquet", command, seconds, arguments.kills, table, rejects)
    return figures


def timed(command: list[str], out: Path, source: Path | None = None) -> tuple[float, float, list[float]]:
    """Wall and processor seconds of a run, start-up included, and its memory (MB); of the version in a folder."""
    environment = {**os.environ, **({} if source is None else {"PYTHONPATH": str(source.resolve())})}
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([*command, "--out", str(out), "--fresh"], env=environment)
    memory = Memory(process.pid)
    memory.start()
    if process.wait() not in (0, REJECTS):
        raise SystemExit("the catalogue failed")
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory.seen


def differences(table, other) -> dict[str, float]:
    """Differences of medians in statistical errors, and ratios of these, of two catalogues of the same spectra."""
    names = [name for name in table.colnames if f"{name}_stat" in table.colnames]
    value, error = (np.array([_plain(table[name + end]) for name in names], float) for end in ("", "_stat"))
    before, error_before = (np.array([_plain(other[name + end]) for name in names], float) for end in ("", "_stat"))
    moved, ratio = (value - before) / error_before, error / error_before
    flags = np.mean(_plain(table["flags"]) == _plain(other["flags"]))
    return {
        "rms_difference_of_medians": round(float(np.sqrt(np.nanmean(moved**2))), 3),
        "mean_ratio_of_errors": round(float(np.nanmean(ratio)), 3),
        "same_flags": round(float(flags), 3),
    }


def killed(folder: Path, command: list[str], seconds: float, kills: int, table, rejects) -> dict[str, object]:
    """Kill the run at random moments after its first new part, go on to the end, and compare."""
    shutil.rmtree(folder, ignore_errors=True)
    chance = random.Random(4)
    moments, parts = [], [0]
    for _ in range(kills):
        process = subprocess.Popen([*command, "--out", str(folder)], start_new_session=True)
        while process.poll() is None and len(list(folder.glob("part-*"))) <= parts[-1]:
            time.sleep(0.01)
        moments.append(round(chance.uniform(0, seconds / kills / 2), 2))
        time.sleep(moments[-1])
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        parts.append(len(list(folder.glob("part-*"))))
    if subprocess.run([*command, "--out", str(folder)]).returncode not in (0, REJECTS):
        raise SystemExit("the resumed catalogue failed")
    same = all(
        len(one) == len(other)
        and all(np.array_equal(_plain(one[c]), _plain(other[c]), equal_nan=_number(one[c])) for c in one.colnames)
        for one, other in ((table, read_catalogue(folder)), (rejects, read_catalogue(folder / "_rejects")))
    )
    return {"killed_after_first_new_part_s": moments, "parts_there": parts[1:], "identical_after_kills": same}


def _plain(column):
    return np.asarray(column)


def _number(column) -> bool:
    return _plain(column).dtype.kind == "f"


if __name__ == "__main__":
    main()
