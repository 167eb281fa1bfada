"""Read a folder of observed spectra and check their wavelengths against the velocities of its catalogue.

    python benchmarks/readers_observed.py ../shared/data/observed --out docs/results/readers.md

The folder holds `CATALOG.csv` with the columns file, star, role, rv_kms, vsini. Each spectrum is read without options
(raw APF orders with `--apf-wavelengths`, a file of the folder), shifted by the catalogue's velocity, and
cross-correlated over 5085-5295 Å, Mg b included, with the Sun's flux atlas, broadened to the star's rotation. The error
of the offset is the scatter of four quarters of the range, halved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from observed import APF_WAVELENGTHS, catalogue, hints
from smoke import observed_stars, parse

from maury.broadening import rotation
from maury.readers import WINDOW_AA, read
from maury.readers.summary import summarise
from maury.spectra import Observation
from maury.wavelengths import C_KMS

STEP_KMS = 0.3
GRID = 5085 * np.exp(np.arange(0, np.log(5295 / 5085), STEP_KMS / C_KMS))
LIMIT_AA = 0.02


def continuum(flux: np.ndarray, width: int = 1000) -> np.ndarray:
    """A running 92nd percentile over 300 km/s."""
    centres, levels = [], []
    for start in range(0, flux.size, width):
        piece = flux[max(0, start - width // 2) : start + width + width // 2]
        piece = piece[np.isfinite(piece)]
        if piece.size > 300:
            centres.append(start + width / 2)
            levels.append(np.percentile(piece, 92))
    return np.interp(np.arange(flux.size), centres, levels) if centres else np.full(flux.size, np.nan)


def on_grid(seen: Observation, velocity_kms: float) -> np.ndarray:
    """Flux over continuum on the grid, at rest; orders weighted by their counts, NaN where there is none."""
    total, weight = np.zeros(GRID.size), np.zeros(GRID.size)
    for order in seen.overlapping(GRID[0], GRID[-1]):
        good = ~np.asarray(order.mask)
        wave = order.wavelength_aa[good] / (1 + velocity_kms / C_KMS)
        flux = np.interp(GRID, wave, order.flux[good], left=np.nan, right=np.nan)
        level = continuum(flux)
        ratio = flux / level
        use = np.isfinite(ratio) & (ratio > -0.5) & (ratio < 1.5)
        share = np.where(use, np.clip(level, 0, None), 0)
        total += np.where(use, ratio, 0) * share
        weight += share
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)


def broadened(flux: np.ndarray, vsini_kms: float) -> np.ndarray:
    """The template, rotated."""
    size = 4 * flux.size
    kernel = rotation(torch.tensor(np.fft.rfftfreq(size, STEP_KMS)), torch.tensor(float(vsini_kms)).double())
    return 1 - np.fft.irfft(np.fft.rfft(1 - flux, size) * kernel.numpy(), size)[: flux.size]


def offset_kms(star: np.ndarray, template: np.ndarray, reach_kms: float = 24.0) -> tuple[float, float]:
    """Velocity and height of the peak of the cross-correlation."""
    good = np.isfinite(star)
    one = np.where(good, 1 - star, 0)
    one -= one[good].mean() * good
    other = (1 - template) - (1 - template).mean()
    lags = np.arange(-round(reach_kms / STEP_KMS), round(reach_kms / STEP_KMS) + 1)
    inner = slice(200, -200)

    def at(lag: int) -> float:
        moved = np.roll(other, lag) * good
        return float(np.sum((one * moved)[inner]) / np.sqrt(np.sum((one**2)[inner]) * np.sum((moved**2)[inner])))

    values = np.array([at(lag) for lag in lags])
    peak = int(np.clip(values.argmax(), 1, lags.size - 2))
    curve = np.polyfit([-1, 0, 1], values[peak - 1 : peak + 2], 2)
    return float((lags[peak] - curve[1] / 2 / curve[0]) * STEP_KMS), float(values.max())


def measure(seen: Observation, row: dict[str, str], sun: np.ndarray) -> tuple[float, float, float]:
    """Offset (Å at 5180 Å), its error, and the height of the peak."""
    star = on_grid(seen, float(row["rv_kms"]))
    vsini = float(row["vsini"] or 0)
    template = broadened(sun, vsini) if vsini > 5 else sun
    velocity, height = offset_kms(star, template)
    quarters = []
    for piece in np.array_split(np.arange(GRID.size), 4):
        part = np.full(GRID.size, np.nan)
        part[piece] = star[piece]
        if np.isfinite(part).sum() > 1000:
            quarters.append(offset_kms(part, template)[0])
    error = np.std(quarters, ddof=1) / np.sqrt(len(quarters))
    return velocity / C_KMS * 5180, error / C_KMS * 5180, height


def line(row: dict[str, str], folder: Path, options: argparse.Namespace, sun: np.ndarray) -> tuple[str, float, float]:
    """One line of the table, with the offset and its error."""
    hint = hints(folder, row, options.apf_wavelengths)
    start = time.perf_counter()
    seen = read(folder / row["file"], **hint)
    seconds = time.perf_counter() - start
    found = summarise(seen, WINDOW_AA)
    assumed = any("air wavelengths assumed" in rule for rule in found["rules"])
    finite = np.mean([np.isfinite(order.flux).mean() for order in seen.orders])
    offset, error, height = measure(seen, row, sun)
    resolution = "" if found["resolution"] is None else f"{found['resolution']:.0f}"
    cells = [
        f"`{row['file']}`",
        row["star"].split(" (")[0],
        found["reader"],
        str(found["orders"]),
        found["medium"] + (" (assumed)" if assumed else ""),
        found["frame"],
        found["sigma"],
        "yes" if found["normalised"] else "no",
        resolution,
        f"{100 * finite:.2f}",
        f"{offset:+.4f} ± {error:.4f}",
        f"{height:.2f}",
        f"{seconds:.2f}",
    ]
    return "| " + " | ".join(cells) + " |", offset, error


HEAD = ("file", "star", "reader", "orders", "medium", "frame", "sigma", "normalised", "R in header", "finite %")
HEAD += ("offset Å", "peak", "s")

TEXT = """# Readers: the observed spectra

Made by

    python benchmarks/readers_observed.py ../shared/data/observed --out docs/results/readers.md

All {count} files of the catalogue are read, {plain} of them with no option at all and {hinted} (raw APF orders, which
hold no wavelengths) with `wavelength_file`. {good} have wavelengths right to {limit} Å once the catalogue's radial
velocity is taken out: the offset of the cross-correlation over 5085-5295 Å, Mg b included, with the solar flux atlas
broadened to the star's rotation; the error is from the scatter of four quarters of the range. {named} hold noise that
was recognised; {assumed} do not say whether their wavelengths are in air (air is assumed, with a warning).

{outside}

`finite %` is the part of the pixels with a finite flux, `peak` the height of the cross-correlation (low for stars
unlike the Sun), `s` the time to read the file. Frames are unknown where the header does not tell them, or where a
pipeline's product was shifted afterwards (IRAF `dopcor`).

Mutated files are read by `python benchmarks/fuzz_readers.py --count 2000 --seed 1 --out docs/results/fuzz.json`: other
header cards, units, bytes and lengths in all layouts of the tests, or junk in place of the flux in 6 to 30 % of the
pixels. There was no traceback and no result without a flag from replaced flux; counts and seeds are in
[`fuzz.json`](fuzz.json).
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--apf-wavelengths", default=APF_WAVELENGTHS, help="wavelengths of raw APF orders")
    parser.add_argument("--template", default="ATLAS.Sun_47000.fits", help="the solar flux atlas")
    parser.add_argument("--out", type=Path, help="write a page there")
    options = parse(
        parser,
        lambda folder: [observed_stars(folder, "a.fits", "b.fits"), "--template", "a.fits", "--out", folder / "out.md"],
    )
    rows = catalogue(options.folder)
    sun = on_grid(read(options.folder / options.template), 0.0)
    lines, outside, hinted = [], [], 0
    for row in rows:
        text, offset, error = line(row, options.folder, options, sun)
        print(text)
        lines.append(text)
        hinted += "orders with a wavelength file" in text
        if abs(offset) > LIMIT_AA:
            snr = row["snr_est"].split(" (")[0]
            outside.append(
                f"`{row['file']}` is off by {offset:+.3f} ± {error:.3f} Å (v sin i {row['vsini']} km/s, S/N {snr})."
            )
    text = TEXT.format(
        count=len(rows),
        plain=len(rows) - hinted,
        hinted=hinted,
        good=len(rows) - len(outside),
        limit=LIMIT_AA,
        named=sum("| none" not in text for text in lines),
        assumed=sum("(assumed)" in text for text in lines),
        outside="\n".join(outside),
    )
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *lines]
    page = text + "\n" + "\n".join(table) + "\n"
    print(text)
    if options.out:
        options.out.write_text(page)


if __name__ == "__main__":
    main()
