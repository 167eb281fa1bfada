"""The road from a line list to the parameters of a star in a window of one's own, timed.

    python benchmarks/own_window.py --line-list LIST --atmospheres MODELS --star SPECTRUM --resolution R --work FOLDER \
        --out docs/results/own-window

Runs the commands of docs/results/own-window.md with the settings of benchmarks/own_window, and writes what each took,
what the star came out as, and two figures of the report.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from smoke import nights, observed_stars, parse, synthesis_inputs

from maury.cli.app import main as maury
from maury.cli.console import out
from maury.files import atomic_path

SETTINGS = Path(__file__).parent / "own_window"
FIGURES = ("errors.png", "predicted_teff_block.png")


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Arguments of maury by step, to be run in the working folder."""
    inputs = ["--line-list", str(options.line_list.absolute()), "--atmospheres", str(options.atmospheres.absolute())]
    emulator, labels = ["--emulator", "emulator.safetensors"], ["--labels", "teff,logg,mh,alpha,vsini"]
    epochs = ["--epochs", str(options.epochs)]
    star = [str(options.star.absolute()), "--resolution", str(options.resolution)]
    return {
        "synthesize": ["synthesize", "synthesis.toml", *inputs, "--out", "library.h5", "--workers", "2"],
        "emulator fit": ["emulator", "fit", "emulator.toml", "--library", "library.h5", "--out", emulator[1]],
        "grid build": ["grid", "build", "--config", "nodes.toml", *emulator, "--out", "grid.h5"],
        "train": ["train", "--preset", "starnet-spc", "--grid", "grid.h5", *labels, "--out", "run", *epochs],
        "evaluate": ["evaluate", "run", "--grid", "grid.h5", "--out", "report"],
        "predict": ["predict", *star, "--model", "run", *emulator, "--json"],
    }


def process(arguments: list[str], folder: Path) -> str:
    """Run maury in a process of its own; what it prints."""
    command = [sys.executable, "-m", "maury", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def here(arguments: list[str], folder: Path) -> str:
    """Run maury in this process; what it prints."""
    with chdir(folder), redirect_stdout(io.StringIO()) as printed:
        try:
            maury(arguments)
        except SystemExit as ended:
            if ended.code:
                raise SystemExit(f"{arguments}: exit code {ended.code}") from None
    return printed.getvalue()


TINY = {
    "synthesis": """window = [5165, 5180]
step = 0.02
workers = 1
[design]
kind = "sobol"
count = 16
ranges = { teff = [5050, 5950], logg = [4.05, 4.95], mh = [-0.9, -0.1], vmic = [0.7, 2.0], alpha = [-0.1, 0.35] }
[physics]
sampling = "uniform"
""",
    "emulator": "components = 8\nwidth = 16\nmembers = 2\ndepth = 1\nepochs = 20\nbatch_size = 16\n",
    "nodes": """resolution = 60000
step = 0.04
[nodes]
teff = [5200, 5500, 5800]
logg = [4.2, 4.5, 4.8]
mh = [-0.7, -0.5, -0.3]
vmic = [1.2]
alpha = [0.0, 0.2]
vsini = [0, 4]
""",
}
"""Settings of a smoke run."""


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run."""
    (folder / "settings").mkdir()
    for name, text in TINY.items():
        (folder / "settings" / f"{name}.toml").write_text(text)
    star = observed_stars(folder, "star.fits", labels=nights.SUN | {"teff": 5500.0, "mh": -0.5}) / "star.fits"
    inputs = [*synthesis_inputs(folder), "--star", star, "--resolution", 65_000, "--settings", folder / "settings"]
    return [*inputs, "--work", folder / "work", "--out", folder, "--epochs", 1]


def main() -> None:
    """Run, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("line-list", "atmospheres", "star", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--resolution", type=float, required=True)
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="folder of the settings")
    parser.add_argument("--epochs", type=int, default=40, help="of the network")
    options = parse(parser, tiny)
    options.work.mkdir(parents=True)
    for file in options.settings.glob("*.toml"):
        shutil.copy(file, options.work)
    steps, printed = {}, ""
    for name, arguments in commands(options).items():
        if options.smoke and name == "evaluate":
            continue  # its many figures take longest
        clock, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = (here if options.smoke else process)(arguments, options.work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        steps[name] = {
            "seconds": round(time.monotonic() - clock, 1),
            "processor seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        }
        out.print(name, steps[name])
    star = {key: value for key, value in json.loads(printed)[0].items() if key not in ("file", "model")}
    report = {"cores": os.cpu_count(), "load": os.getloadavg()[2], "steps": steps, "star": star}
    with atomic_path(options.out / "own-window.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    for figure in () if options.smoke else FIGURES:
        shutil.copy(options.work / "report" / "figures" / figure, options.out)


if __name__ == "__main__":
    main()
