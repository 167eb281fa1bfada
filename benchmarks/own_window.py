"""The road from a line list to the parameters of a star in a window of one's own, timed.

    python benchmarks/own_window.py --line-list LIST --atmospheres MODELS --star SPECTRUM --resolution R --work FOLDER \
        --out docs/results/own-window

Runs the commands of docs/results/own-window.md with the settings of benchmarks/own_window, and writes what each took,
what the star came out as, and two figures of the report.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from maury.cli.console import out
from maury.files import atomic_path

SETTINGS = Path(__file__).parent / "own_window"
FIGURES = ("errors.png", "predicted_teff_block.png")


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Arguments of maury by step, to be run in the working folder."""
    inputs = ["--line-list", str(options.line_list.absolute()), "--atmospheres", str(options.atmospheres.absolute())]
    emulator, labels = ["--emulator", "emulator.safetensors"], ["--labels", "teff,logg,mh,alpha,vsini"]
    star = [str(options.star.absolute()), "--resolution", str(options.resolution)]
    return {
        "synthesize": ["synthesize", "synthesis.toml", *inputs, "--out", "library.h5", "--workers", "2"],
        "emulator fit": ["emulator", "fit", "emulator.toml", "--library", "library.h5", "--out", emulator[1]],
        "grid build": ["grid", "build", "--config", "nodes.toml", *emulator, "--out", "grid.h5"],
        "train": ["train", "--preset", "starnet-spc", "--grid", "grid.h5", *labels, "--out", "run", "--epochs", "40"],
        "evaluate": ["evaluate", "run", "--grid", "grid.h5", "--out", "report"],
        "predict": ["predict", *star, "--model", "run", *emulator, "--json"],
    }


def main() -> None:
    """Run, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("line-list", "atmospheres", "star", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--resolution", type=float, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    for file in SETTINGS.glob("*.toml"):
        shutil.copy(file, options.work)
    steps, printed = {}, ""
    for name, arguments in commands(options).items():
        clock, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "maury", *arguments]
        done = subprocess.run(command, cwd=options.work, check=True, stdout=subprocess.PIPE, text=True)
        after, printed = resource.getrusage(resource.RUSAGE_CHILDREN), done.stdout
        steps[name] = {
            "seconds": round(time.monotonic() - clock, 1),
            "processor seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        }
        out.print(name, steps[name])
    star = {key: value for key, value in json.loads(printed)[0].items() if key not in ("file", "model")}
    report = {"cores": os.cpu_count(), "load": os.getloadavg()[2], "steps": steps, "star": star}
    with atomic_path(options.out / "own-window.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    for figure in FIGURES:
        shutil.copy(options.work / "report" / "figures" / figure, options.out)


if __name__ == "__main__":
    main()
