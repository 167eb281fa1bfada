"""Spectra of a library synthesised anew, by both ways of sampling; and the gain of a second worker process.

    python benchmarks/synthesis_agreement.py --library LIBRARY.h5 --line-list LIST --atmospheres FOLDER_OR_ARCHIVE \
        --out docs/results/synthesis

Takes 12 spectra of the library that lie far apart in Teff, log g, [M/H] and microturbulence, makes them with PySME's
adaptive sampling and with the uniform one, and compares: each pixel, and as instruments of R = 115,000 and 44,000 see
them. The measure of both is the uniform sampling at a quarter of its step with nothing left out. Times are processor
times. Then 64 spectra of 20 Å with one and with two workers. Writes agreement.json and agreement.txt.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from smoke import parse, synthesis_inputs

from maury.cli.console import out, progress
from maury.files import write_json, write_text
from maury.labels import INTRINSIC
from maury.library import OFF_NODE, SCALE, Library, read_library, write_library
from maury.synthesis import (
    AtmosphereGrid,
    LineList,
    PhysicsConfig,
    Workers,
    engine,
    read_atmospheres,
    read_lines,
    synthesize,
)
from maury.wavelengths import C_KMS

Floats = NDArray[np.float64]
RESOLUTIONS = (115_000, 44_000)
WAYS = {"adaptive": PhysicsConfig(), "uniform": PhysicsConfig(sampling="uniform")}
EXACT = PhysicsConfig(sampling="uniform", doppler_step=0.1)


def far_apart(labels: Floats, count: int) -> list[int]:
    """Rows that lie far from each other in the first four labels: the first row, then always the farthest."""
    unit = (labels[:, :4] - labels[:, :4].min(0)) / np.ptp(labels[:, :4], axis=0)
    rows = [0]
    while len(rows) < count:
        rows.append(int(np.linalg.norm(unit[:, None] - unit[rows], axis=-1).min(1).argmax()))
    return rows


def seen(wavelength: Floats, flux: Floats, resolution: float) -> Floats:
    """Flux convolved with a Gaussian of constant R, on equal steps of ln(wavelength) without the ends."""
    fine = np.exp(np.arange(*np.log(wavelength[[0, -1]]), 0.4 / C_KMS))
    transform = np.fft.rfft(CubicSpline(wavelength, flux)(fine) - 1)
    frequency, sigma = np.fft.rfftfreq(len(fine), 0.4), C_KMS / resolution / np.sqrt(8 * np.log(2))
    return np.fft.irfft(transform * np.exp(-2 * (np.pi * frequency * sigma) ** 2), len(fine))[200:-200]


def everything() -> None:
    """In a worker: let the uniform sampling leave nothing out."""
    engine.thinned = lambda atmosphere: atmosphere
    engine._CONTINUUM_STEP_AA, engine._NARROWEST_DOPPLER = 1.0, 0.0
    quadrature = engine.disc_quadrature
    engine.disc_quadrature = lambda count: quadrature(6)


def rms(difference: Floats) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(difference**2)))


def agreement(library: Library, lines: LineList, atmospheres: AtmosphereGrid, count: int) -> list[dict[str, float]]:
    """One row for each star."""
    import synthesis_agreement  # this file by the name under which a worker finds it

    wavelength, rows = library.wavelength_aa, []
    with Workers() as usual, Workers() as careful, progress() as bar:
        careful.run(synthesis_agreement.everything)
        for row in bar.track(far_apart(library.labels, count), description="stars"):
            labels, stored = library.labels[row], library.flux([row])[0].astype(float)
            exact = synthesize(lines, atmospheres, labels, wavelength, EXACT, careful).flux[0]
            result = dict(zip(INTRINSIC, labels.tolist(), strict=True))
            for resolution in RESOLUTIONS:
                difference = seen(wavelength, stored, resolution) - seen(wavelength, exact, resolution)
                result[f"library to exact, R {resolution}"] = rms(difference)
            for name, config in WAYS.items():
                synthesize(lines, atmospheres, labels, wavelength[:9], config, usual)  # the list is there, as in a run
                start = usual.run(time.process_time)
                flux = synthesize(lines, atmospheres, labels, wavelength, config, usual).flux[0]
                result[f"{name} s"] = usual.run(time.process_time) - start
                result[f"{name} to library"] = rms(flux - stored)
                for resolution in RESOLUTIONS:
                    difference = seen(wavelength, flux, resolution) - seen(wavelength, exact, resolution)
                    result[f"{name} to exact, R {resolution}"] = rms(difference)
            rows.append(result)
    return rows


def scaling(library: Library, lines: LineList, atmospheres: AtmosphereGrid, spectra: int) -> dict[str, float]:
    """Seconds for spectra of 20 Å with one and with two workers that are ready: by the clock, and by processor time.

    On cores that are busy with other work the clock tells little: the processor time of the busier worker, and of the
    parent, is what would pass on free ones.
    """
    wavelength = library.wavelength_aa
    wavelength = wavelength[(wavelength >= 5160) & (wavelength <= 5180)]
    labels = library.labels[np.linspace(0, len(library) - 1, spectra).astype(int)]
    seconds: dict[str, float] = {"load before": os.getloadavg()[0]}
    for count in (1, 2):
        with Workers(count) as workers:
            synthesize(lines, atmospheres, labels[: 2 * count], wavelength, None, workers)
            clock, parent, children = time.monotonic(), time.process_time(), processor_times(workers)
            made = synthesize(lines, atmospheres, labels, wavelength, None, workers)
            seconds[f"{count} workers, clock"] = time.monotonic() - clock
            seconds[f"{count} workers, parent"] = time.process_time() - parent
            seconds[f"{count} workers, busier worker"] = float((processor_times(workers) - children).max())
            assert not made.failures
    one, two = (seconds[f"{c} workers, busier worker"] + seconds[f"{c} workers, parent"] for c in (1, 2))
    return seconds | {
        "gain, clock": seconds["1 workers, clock"] / seconds["2 workers, clock"],
        "gain, processor": one / two,
    }


def processor_times(workers: Workers) -> Floats:
    """Processor time that each worker has used, s."""
    return np.array([worker.call(time.process_time, timeout_s=60.0) for worker in workers._workers])


def table(rows: list[dict[str, float]]) -> str:
    """The rows as Markdown; rms in units of 1e-4 of the continuum."""
    high, low = RESOLUTIONS
    heads = ["Teff", "log g", "[M/H]", "vmic", "s adaptive", "s uniform", "adaptive − library", "uniform − library"]
    heads += [f"{name}, R = {r:,}" for r in (high, low) for name in ("library", "uniform")]
    text = f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    for row in rows:
        cells = [f"{row['teff']:.0f}", *(f"{row[name]:.2f}" for name in ("logg", "mh", "vmic"))]
        cells += [f"{row[f'{name} s']:.2f}" for name in WAYS]
        cells += [f"{1e4 * row[f'{name} to library']:.2f}" for name in WAYS]
        cells += [f"{1e4 * row[f'{name} to exact, R {r}']:.2f}" for r in (high, low) for name in ("library", "uniform")]
        text += f"| {' | '.join(cells)} |\n"
    return text


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run: one spectrum of 8 Å."""
    wavelength = np.arange(5168.0, 5176.0, 0.02)
    labels = np.zeros((2, len(INTRINSIC)))
    labels[:, :4] = [[5200, 4.2, -0.5, 1.0], [5800, 4.8, 0.0, 2.0]]
    counts = np.full((2, len(wavelength)), round(1 / SCALE), np.uint16)
    kind, attributes = np.full(2, OFF_NODE, np.uint8), {"code": "test"}
    write_library(Library(wavelength, labels, counts, SCALE, kind, ("flat",), attributes), folder / "library.h5")
    inputs = [*synthesis_inputs(folder), "--library", folder / "library.h5"]
    return [*inputs, "--stars", 1, "--spectra", 0, "--out", folder / "out"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("library", "line-list", "atmospheres", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--stars", type=int, default=12)
    parser.add_argument("--spectra", type=int, default=64, help="of 20 Å by one and two workers; 0: none")
    options = parse(parser, tiny)
    library = read_library(options.library)
    lines = read_lines(options.line_list)
    atmospheres = read_atmospheres(options.atmospheres, extrapolate_logg=True)
    rows = agreement(library, lines, atmospheres, options.stars)
    report = {"lines": len(lines), "pixels": len(library.wavelength_aa), "stars": rows}
    if options.spectra:
        report[f"{options.spectra} spectra of 20 Å"] = scaling(library, lines, atmospheres, options.spectra)
    for name in WAYS:
        report[f"mean seconds, {name}"] = float(np.mean([row[f"{name} s"] for row in rows]))
        report[f"largest rms to the library, {name}"] = max(row[f"{name} to library"] for row in rows)
    write_json(options.out / "agreement.json", report)
    write_text(options.out / "agreement.txt", table(rows))
    out.print({key: value for key, value in report.items() if key != "stars"})


if __name__ == "__main__":
    main()
