"""The road from a public line list to refined parameters of stars in a window of one's own, timed.

    python benchmarks/own_window.py --line-list nlte_ges_linelist_jmg17feb2022_I_II --format turbospectrum \
        --atmospheres ../shared/data/atmospheres/ck04_odfnew.tar.xz --observed ../shared/data/observed \
        --work FOLDER --out docs/results/own-window

Runs the commands of docs/results/own-window.md with the settings of benchmarks/own_window, and writes what each took
(`own-window.json`), the tables of stars and of calibration, and figures. Steps that the working folder has finished
(`steps.json`) are not run again.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

from observed import write_standards
from smoke import observed_stars, parse, synthesis_inputs

import nights
from maury.cli.app import main as maury
from maury.cli.console import out
from maury.files import atomic_path, write_json, write_text

SETTINGS = Path(__file__).parent / "own_window"
WINDOW_AA = (5985, 6270)
BOX = {"teff": (4800, 6700), "logg": (3.0, 4.9), "mh": (-0.6, 0.4)}
"""Standard stars within these ranges are used."""

EMULATOR = ("--emulator", "emulator.safetensors")
FILES = {
    "calibration/stars.png": "calibration.png",
    "run/physics-errors/table.md": "physics-errors.md",
    "run/physics-errors/physics-errors.png": "physics-errors.png",
    "run/systematic-errors/systematic-errors.json": "systematic-errors.json",
    "validated/figures/coverage.png": "coverage.png",
    "model-error.toml": "model-error.toml",
    "figures/HARPS_Sun.png": "star.png",
}
"""Results to keep, and their names."""


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Arguments of maury by step, to be run in the working folder."""
    margins = ["--window", str(WINDOW_AA[0] - 10), str(WINDOW_AA[1] + 10)]
    run = ["run", "standards.csv", *EMULATOR]
    train = ["--preset", "default", *EMULATOR, "--model-error", "model-error.toml", "--max-time", str(options.minutes)]
    validate = ["--stars", str(options.stars), "--own-stars", str(3 * options.stars), "--bound-stars", "0"]
    shown = ["--labels", "abundances", "--plot", "figures", "--out", "star.ecsv"]
    steps = {
        "lines convert": ["lines", "convert", "raw.lin", "--format", options.format, *margins, "--out", "lines.lin"],
        "lines calibrate": ["lines", "calibrate", "standards.toml", "--out", "calibration"],
        "lines apply": ["lines", "apply", "lines.lin", "calibration/changes.ecsv", "--out", "calibrated.lin"],
        "synthesize": ["synthesize", "synthesis.toml", "--out", "library.h5"],
        "emulator fit": ["emulator", "fit", "emulator.toml", "--library", "library.h5", "--out", EMULATOR[1]],
        "emulator test": ["emulator", "test", "library.h5", *EMULATOR, "--no-recover"],
        "model-error": ["model-error", "standards.csv", *EMULATOR, "--out", "model-error.toml"],
        "train": ["train", *train, "--out", "run"],
        "physics-errors": ["physics-errors", *run],
        "systematic-errors": ["systematic-errors", *run],
        "predict": [
            "predict",
            options.star,
            "--resolution",
            str(options.resolution),
            "--model",
            "run",
            *EMULATOR,
            *shown,
        ],
        "validate": ["validate", "run", *EMULATOR, *validate, "--out", "validated"],
    }
    if options.smoke:  # of a made-up list, and with a network of a few weights
        steps["train"] = ["train", "--config", "network.toml", *EMULATOR, "--out", "run"]
        return {name: steps[name] for name in ("synthesize", "emulator fit", "train", "predict")}
    return steps


def process(arguments: list[str], folder: Path) -> None:
    """Run maury in a process of its own; some spectra may have failed (exit code 2)."""
    done = subprocess.run([sys.executable, "-m", "maury", *arguments], cwd=folder, check=False)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{arguments}: exit code {done.returncode}")


def here(arguments: list[str], folder: Path) -> None:
    """Run maury in this process."""
    with chdir(folder), redirect_stdout(io.StringIO()):
        try:
            maury(arguments)
        except SystemExit as ended:
            if ended.code not in (0, None, 2):
                raise SystemExit(f"{arguments}: exit code {ended.code}") from None


TINY = {
    "synthesis": """window = [5165, 5180]
line_list = "raw.lin"
atmospheres = "models"
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
    "network": """kind = "posterior"
epochs = 1
steps = 4
batch_size = 16
components_from = 16
validation = 16
[network]
pixels = 435
labels = ["teff", "logg", "mh", "vsini", "vmic", "alpha", "vmac"]
components = 8
width = 16
depth = 1
context = 4
transforms = 1
knots = 4
hidden = [16]
""",
}
"""Settings of a smoke run."""


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run."""
    (folder / "settings").mkdir()
    for name, text in TINY.items():
        (folder / "settings" / f"{name}.toml").write_text(text)
    observed_stars(folder, "star.fits", labels=nights.SUN | {"teff": 5500.0, "mh": -0.5})
    _, lines, _, models = synthesis_inputs(folder)
    inputs = ["--line-list", lines, "--atmospheres", models, "--observed", folder]
    return [
        *inputs,
        "--settings",
        folder / "settings",
        "--work",
        folder / "work",
        "--out",
        folder / "out",
        "--star",
        folder / "star.fits",
    ]


def main() -> None:
    """Run, time, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("line-list", "atmospheres", "observed", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--format", default="turbospectrum", help="of the line list")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="folder of the settings")
    parser.add_argument("--star", default="observed/HARPS_Sun.fits", help="spectrum to predict")
    parser.add_argument("--resolution", type=float, default=115_000, help="of that spectrum")
    parser.add_argument("--minutes", type=float, default=20, help="of training")
    parser.add_argument("--stars", type=int, default=240, help="simulated, of the calibration")
    options = parse(parser, tiny)
    options.work.mkdir(parents=True, exist_ok=True)
    for file in options.settings.glob("*.toml"):
        shutil.copy(file, options.work)
    for name, target in (("raw.lin", options.line_list), ("observed", options.observed)):
        if not (options.work / name).exists():
            (options.work / name).symlink_to(target.absolute())
    models = options.work / ("models" if options.smoke else "atmospheres.tar.xz")
    if not models.exists():
        models.symlink_to(options.atmospheres.absolute())
    write_standards(options.work / "standards.csv", options.observed, tuple(BOX), BOX, WINDOW_AA)
    record = options.work / "steps.json"
    steps = json.loads(record.read_text()) if record.is_file() else {}
    for name, arguments in commands(options).items():
        if name in steps:
            continue
        clock, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        (here if options.smoke else process)(arguments, options.work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        steps[name] = {
            "command": " ".join(["maury", *arguments]),
            "seconds": round(time.monotonic() - clock, 1),
            "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        }
        write_json(record, steps)
        out.print(name, steps[name])
    report = {"date": datetime.date.today().isoformat(), "machine": platform.machine(), "cores": os.cpu_count()}
    report |= {"load": os.getloadavg()[2], "seed": 1, "steps": steps}
    if not options.smoke:
        report["calibration"] = calibration(options.work)
        write_text(options.out / "stars.md", table_of_stars(options.work))
        for source, name in FILES.items():
            with atomic_path(options.out / name) as temporary:
                shutil.copy(options.work / source, temporary)
    write_json(options.out / "own-window.json", report)


def calibration(work: Path) -> dict[str, Any]:
    """Shares of true labels within 68 % and 95 % intervals, of stars whose errors the likelihood drew."""
    own = json.loads((work / "validated" / "calibration.json").read_text())["own_errors"]
    labels = own["simulated"]["labels"]
    return {"stars": own["simulated"]["n"]} | {name: label["coverage"] for name, label in labels.items()}


def table_of_stars(work: Path) -> str:
    """Fit minus literature of each spectrum, as Markdown."""
    with (work / "standards.csv").open(newline="") as stream:
        known = {Path(row["file"]).name: row for row in csv.DictReader(stream)}
    report = json.loads((work / "run" / "systematic-errors" / "systematic-errors.json").read_text())
    lines = ["| star | file | Teff (K) | log g | [M/H] |", "|---|---|---|---|---|"]
    for row in report["spectra"]:
        star = known[row["file"]]
        off = {name: row[name] - float(star[name]) for name in BOX}
        cells = [f"{off['teff']:+.0f} ± {row['teff_stat']:.0f}"]
        cells += [f"{off[name]:+.2f} ± {row[f'{name}_stat']:.2f}" for name in ("logg", "mh")]
        used = " (line list)" if star["role"] == "calibrate" else ""
        lines.append(f"| {star['star'].split(' (')[0]}{used} | {row['file']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
