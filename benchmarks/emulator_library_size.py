"""Error of the emulator against the number of spectra it learned from.

    python benchmarks/emulator_library_size.py --library 'LIBRARY/*.h5' --sizes 500 1000 2000 --out docs/results

Each size is a fit of the packaged settings to the first spectra of the training part, for the same number of steps; all
are compared on the same test stars, which no fit touches. Writes emulator-size.json and emulator-size.png. A run that
was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from smoke import parse

from libraries import line_library
from maury.cli.console import out, progress
from maury.config import PRESETS, load_config, save_config
from maury.emulator import rms_per_star
from maury.evaluation.emulator_errors import unseen_rows
from maury.files import write_json
from maury.library import OFF_NODE, expand, read_libraries, write_library
from maury.plots import plot_library_size, save_figure
from maury.training.emulator_fit import fit_and_measure, to_modes_of
from maury.training.recipes import EmulatorConfig


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run: sixty spectra of Gaussian lines, a small network."""
    write_library(line_library(60, lines=10), folder / "library.h5")
    settings = folder / "emulator.toml"
    save_config(settings, EmulatorConfig(components=6, width=16, depth=1, batch_size=16, test_fraction=0.3))
    inputs = ["--library", folder / "library.h5", "--settings", settings, "--runs", folder / "runs"]
    return [*inputs, "--sizes", 20, 40, "--steps", 4, "--out", folder / "out"]


def main() -> None:
    """Fit, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", nargs="+", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--settings", type=Path, default=PRESETS / "emulator.toml", help="by default the packaged ones")
    parser.add_argument("--steps", type=int, default=8000, help="steps of every fit (default 8000)")
    parser.add_argument("--runs", type=Path, default=Path("runs/emulator-size"), help="folder for the fits")
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, tiny)
    library = read_libraries(expand(options.library))
    settings = load_config(options.settings, EmulatorConfig)
    rows = []
    for size in options.sizes:
        epochs = max(1, round(options.steps / max(size // settings.batch_size, 1)))
        config = settings.model_copy(update={"training_limit": size, "epochs": epochs, "members": 2})
        start = time.monotonic()
        with progress() as bar:
            emulator = fit_and_measure(library, config, options.runs / str(size), bar)
        unseen = library.subset(unseen_rows(emulator, library.labels))
        unseen = unseen.subset(unseen.kind == OFF_NODE)
        rms = rms_per_star(emulator, torch.from_numpy(unseen.labels).float(), torch.from_numpy(to_modes_of(unseen)))
        cool = unseen.labels[:, 0] < 4500
        row = {"training_stars": emulator.header["training"]["stars"], "test_stars": len(rms), "epochs": epochs}
        for name, chosen in (("below 4500 K", cool), ("above 4500 K", ~cool)):
            row[f"median {name}"] = float(np.median(rms[chosen]))
            row[f"p90 {name}"] = float(np.quantile(rms[chosen], 0.9))
        rows.append({**row, "seconds": round(time.monotonic() - start)})
        out.print(rows[-1])
    report = {"resolution": 42_000, "members": 2, "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    write_json(options.out / "emulator-size.json", {**report, "fits": rows})
    names = ["median below 4500 K", "median above 4500 K", "p90 below 4500 K", "p90 above 4500 K"]
    targets = dict(zip(names, (0.009, 0.003, 0.03, 0.01), strict=True))
    errors = {name: [row[name] for row in rows] for name in names}
    figure = plot_library_size([row["training_stars"] for row in rows], errors, targets=targets)
    save_figure(figure, options.out / "emulator-size")


if __name__ == "__main__":
    main()
