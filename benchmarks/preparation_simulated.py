"""Prepare simulated nights and compare velocity, continuum and noise with the truth; time many files.

    python benchmarks/preparation_simulated.py --stars 400 --out docs/results/preparation
    python benchmarks/preparation_simulated.py --files 1000 --out docs/results/preparation

Stars are drawn over the domain (`tests/nights.py`): 3900 to 8000 K, S/N 10 to 200 per pixel, velocities of -400 to
+400 km/s, v sin i 1 to 60 km/s, abundances scattered, by four spectrographs. A third of the files holds no noise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nights import Instrument, draw_star, observe, star_flux  # noqa: I001
from results import write as write_files
from smoke import parse

from maury.preparation import Preparation, prepare
from maury.preparation.many import Options, prepare_files
from maury.readers import write
from maury.wavelengths import C_KMS

INSTRUMENTS = {
    "merged, flat, R 60,000": Instrument(),
    "6 orders with blaze, R 44,000, 0.045 Å": Instrument(44_000.0, 0.045, 6, True),
    "merged, waves of 3 %, R 115,000, 0.01 Å": Instrument(115_000.0, 0.01, wave=0.03),
    "6 orders with blaze and waves of 2 %, R 60,000": Instrument(60_000.0, 0.02, 6, True, 0.02),
}


def continuum_error(result: Preparation, instrument: Instrument, velocity_kms: float) -> float:
    """Rms of the continuum over the true one, minus 1, over the pixels used in the window."""
    parts = []
    for order in result.orders:
        wave = order.segment.wavelength_aa
        rest = wave / (1 + velocity_kms / C_KMS)
        use = order.segment.good & (rest > 5050) & (rest < 5350)
        true = instrument.continuum(int(order.segment.name) - 1, wave)
        parts.append((order.continuum * order.segment.scale / true - 1)[use])
    return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def one(seed: int, name: str) -> dict[str, float]:
    """Simulate and prepare one star."""
    rng = np.random.default_rng((20261124, seed))
    labels, snr = draw_star(rng), float(10 ** rng.uniform(1, 2.3))
    velocity, instrument = rng.uniform(-400, 400), INSTRUMENTS[name]
    seen = observe(labels, instrument, velocity_kms=velocity, snr=snr, seed=seed, sigma=bool(seed % 3))
    result = prepare(seen, resolution=instrument.resolution)
    spectrum = result.spectrum
    good = ~np.asarray(spectrum.mask)
    truth = star_flux(labels, spectrum.wavelength_aa, instrument.resolution)
    scaled = ((spectrum.flux - truth) / spectrum.sigma)[good]
    return {
        "mh": labels["mh"],
        "teff": labels["teff"],
        "vsini": labels["vsini"],
        "snr": snr,
        "difference": result.velocity_kms - velocity,
        "pull": (result.velocity_kms - velocity) / result.velocity_error_kms,
        "continuum": continuum_error(result, instrument, velocity),
        "noise": float(1.4826 * np.median(np.abs(scaled))),
        "double": float("double_lined" in result.flags),
        "uncertain": float("velocity_uncertain" in result.flags),
    }


def accuracy(stars: int) -> dict[str, dict[str, float]]:
    """Figures over all stars and by spectrograph."""
    names = list(INSTRUMENTS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(stars):
        found[names[seed % len(names)]].append(one(seed, names[seed % len(names)]))
        if seed % 20 == 19:
            print(f"{seed + 1} of {stars}", flush=True)
    return {name: figures(rows) for name, rows in {"all": list(chain(*found.values())), **found}.items()}


def figures(rows: list[dict[str, float]]) -> dict[str, float]:
    """Widths, quantiles and rates."""
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    poor, rich = column["mh"] < -0.5, column["mh"] >= -0.5
    bright = column["snr"] >= 45
    slow = column["vsini"] < 15

    def quantile(values: np.ndarray, q: float) -> float:
        return float(np.quantile(values, q)) if values.size else float("nan")

    return {
        "stars": len(rows),
        "velocity_pull_std": float(column["pull"].std()),
        "velocity_pull_68": quantile(np.abs(column["pull"]), 0.683),
        "velocity_pull_beyond_3": int((np.abs(column["pull"]) > 3).sum()),
        "velocity_error_median_slow_kms": quantile(np.abs(column["difference"][slow]), 0.5),
        "velocity_error_largest_kms": quantile(np.abs(column["difference"]), 1.0),
        "continuum_median_poor": quantile(column["continuum"][bright & poor], 0.5),
        "continuum_p95_poor": quantile(column["continuum"][bright & poor], 0.95),
        "continuum_median_rich": quantile(column["continuum"][bright & rich], 0.5),
        "continuum_p95_rich": quantile(column["continuum"][bright & rich], 0.95),
        "noise_ratio_median": quantile(column["noise"], 0.5),
        "noise_ratio_p95": quantile(column["noise"], 0.95),
        "double_lined_alarms": int(column["double"].sum()),
        "velocity_uncertain": int(column["uncertain"].sum()),
    }


def text_of(found: dict[str, dict[str, float]]) -> str:
    """The table of the page."""
    columns = ("spectrograph", "stars", "pull", "beyond 3", "continuum %, [M/H] < -0.5", "continuum %, others", "noise")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, row in found.items():
        cells = [name, str(row["stars"]), f"{row['velocity_pull_std']:.2f}, {row['velocity_pull_68']:.2f}"]
        cells.append(str(row["velocity_pull_beyond_3"]))
        for kind in ("poor", "rich"):
            median, high = row[f"continuum_median_{kind}"], row[f"continuum_p95_{kind}"]
            cells.append(f"{100 * median:.2f}, {100 * high:.2f}")
        lines.append("| " + " | ".join([*cells, f"{row['noise_ratio_median']:.2f}"]) + " |")
    total = found["all"]
    lines += ["", f"{total['double_lined_alarms']} stars were mistaken for binaries; the velocity of "
              f"{total['velocity_uncertain']} was flagged as uncertain. The median error of slow rotators is "
              f"{1000 * total['velocity_error_median_slow_kms']:.0f} m/s."]  # fmt: skip
    return "\n".join(lines) + "\n"


def throughput(files: int, processes: int) -> dict[str, object]:
    """Seconds to prepare files by one and by several processes, and by one a tenth of them."""
    instrument = Instrument(60_000.0, 0.02, 6, True, 0.02)
    rng = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i in range(min(20, files)):
            path = Path(folder) / f"{i}.fits"
            write(observe(draw_star(rng), instrument, velocity_kms=20.0, snr=80, seed=i), path)
            paths.append(path)
        many = [paths[i % len(paths)] for i in range(files)]
        options = Options({"resolution": 60_000.0})
        seconds = {}
        tenth = many[: max(files // 10, 1)]
        for name, part, workers in (("tenth", tenth, 1), ("one", many, 1), ("several", many, processes)):
            start = time.perf_counter()
            failed = [r.error for r in prepare_files(part, options, workers) if r.error]
            seconds[name] = time.perf_counter() - start
            if failed:
                raise SystemExit(f"{len(failed)} failed: {failed[0]}")
    return {
        "files": files,
        "seconds_per_file": seconds["one"] / files,
        "growth_over_linear": seconds["one"] / (10 * seconds["tenth"]),
        "processes": processes,
        "gain_of_processes": seconds["one"] / seconds["several"],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stars", type=int, default=0, help="simulated stars for the accuracy")
    parser.add_argument("--files", type=int, default=0, help="files for the speed")
    parser.add_argument("--processes", type=int, default=2, help="compared with one")
    parser.add_argument("--out", type=Path, required=True, help="folder for accuracy.json and speed.json")
    options = parse(parser, lambda folder: ["--stars", 4, "--files", 2, "--processes", 1, "--out", folder / "out"])
    files = {}
    if options.stars:
        found = accuracy(options.stars)
        files |= {"accuracy.json": found, "accuracy.md": text_of(found)}
    if options.files:
        files["speed.json"] = throughput(options.files, options.processes)
    write_files(options.out, files)
    for name in files:
        print((options.out / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
