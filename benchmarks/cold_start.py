"""How long the command line takes from nothing: a process of its own for each command, files in the system's cache.

    python benchmarks/cold_start.py

Wall time depends on what else the machine does; processor time (user + system) and the number of imported modules
hardly do. The best of several runs counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nights import SUN, Instrument, observe  # noqa: I001
from smoke import parse

from maury.readers import write
from maury.spectra import Observation

PARTS = """
import importlib, json, sys, time
from time import perf_counter, process_time

def timed(name, function):
    def wrapped(*arguments, **options):
        wall, cpu = perf_counter(), process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] = (perf_counter() - wall, process_time() - cpu)
    return wrapped

spent, start = {}, perf_counter()
import maury.cli.app
from maury.cli.startup import imports
with imports():
    import maury.inference, maury.likelihood, maury.preparation, maury.readers
spent["import"] = (perf_counter() - start, process_time())
read = timed("read", maury.readers.read)
module = importlib.import_module("maury.inference.single")
ready = importlib.import_module("maury.inference.ready")
pixels = importlib.import_module("maury.inference.from_pixels")
ready.prepare, pixels.refined = timed("prepare", ready.prepare), timed("refine", pixels.refined)
timed("all", lambda: module.predict(read(sys.argv[1], window_aa=None)))()
others = [sum(spent[name][i] for name in ("read", "prepare", "refine")) for i in (0, 1)]
spent["infer"] = tuple(whole - other for whole, other in zip(spent.pop("all"), others))
print(json.dumps({"spent": spent, "modules": len(sys.modules)}))
"""


def run(arguments: list[str]) -> tuple[float, float, str]:
    """Wall and processor seconds of a process, and what it printed."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, printed


def best(repeats: int, arguments: list[str]) -> tuple[float, float]:
    """Smallest wall and processor seconds of several runs."""
    runs = [run(arguments) for _ in range(repeats)]
    return min(wall for wall, *_ in runs), min(cpu for _, cpu, _ in runs)


def main() -> None:
    """Time three commands, and the parts of the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parse(parser, lambda _: ["--repeats", 1])
    repeats = options.repeats
    with tempfile.TemporaryDirectory() as folder:
        star = Path(folder) / "star.fits"
        seen = observe(SUN, Instrument(), velocity_kms=25.0)
        write(Observation(tuple(o.with_(resolution=60_000.0) for o in seen.orders), None, {}), star)
        print(f"{'':28}{'wall s':>8}{'CPU s':>8}")
        commands = [
            ("maury --version", ["--version"]),
            ("maury predict --help", ["predict", "--help"]),
            ("maury predict star.fits", ["predict", str(star)]),
        ]
        for name, command in commands[:1] if options.smoke else commands:
            wall, cpu = best(repeats, ["-m", "maury", *command])
            print(f"{name:28}{wall:8.2f}{cpu:8.2f}", flush=True)
        runs = [json.loads(run(["-c", PARTS, str(star)])[2]) for _ in range(repeats)]
        for name in ("import", "read", "prepare", "infer", "refine"):
            wall, cpu = (min(r["spent"][name][i] for r in runs) for i in (0, 1))
            print(f"    {name:24}{wall:8.2f}{cpu:8.2f}")
        print(f"modules imported: {runs[0]['modules']:,}")


if __name__ == "__main__":
    main()
