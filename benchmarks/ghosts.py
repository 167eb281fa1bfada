"""Foreign light that the continuum follows: how often it is flagged, and how often a clean spectrum is.

    python benchmarks/ghosts.py ../shared/data/observed --out docs/results/ghosts.json

Simulated nights of stars drawn from the whole domain (four instruments, S/N 20 to 300) are prepared as they are, and
with light added in one stretch of 5 to 30 % of the window: 30 % of the typical flux more or less, smooth (sine squared)
or sharp (a box); and with waves of the continuum of that size, which take nothing away. Then the observed spectra of
the folder. Results without any flag that limits trust are compared with those of the same night without the light: the
largest difference of Teff, log g, [M/H] and v sin i, in units of the uncertainty given and of its statistical part.
The limits were chosen on stars from ``--seed 1000``. Ten minutes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from observed import APF_WAVELENGTHS, catalogue, hints, measured
from smoke import observed_stars, parse

from maury import predict
from maury.cli.console import out
from maury.files import write_json
from maury.flags import limits_trust
from maury.preparation import Preparation, prepare
from maury.readers import read
from maury.spectra import Observation

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nights import Instrument, draw_star, observe

INSTRUMENTS = (
    Instrument(44_000.0, 0.04, orders=4, blaze=True, wave=0.05),
    Instrument(67_000.0, 0.02, wave=0.05),
    Instrument(110_000.0, 0.012, orders=5, blaze=True),
    Instrument(30_000.0, 0.08),
)
KINDS = {
    "clean": None,
    "added, sharp, +30 %": (0.3, False, False),
    "added, sharp, -30 %": (-0.3, False, False),
    "added, smooth, +30 %": (0.3, True, False),
    "added, smooth, -30 %": (-0.3, True, False),
    "wave of the continuum, smooth, +30 %": (0.3, True, True),
}
"""Height, whether it is smooth, whether it multiplies the flux."""
LABELS = ("teff", "logg", "mh", "vsini")
NUMBERS = {name + part for name in LABELS for part in ("", "_err", "_stat")}


def night(seed: int, kind: tuple[float, bool, bool] | None) -> Preparation:
    """One simulated star, prepared."""
    rng = np.random.default_rng(seed)
    labels, instrument = draw_star(rng), INSTRUMENTS[seed % len(INSTRUMENTS)]
    velocity, snr = rng.uniform(-50, 50), float(np.exp(rng.uniform(np.log(20), np.log(300))))
    star = observe(labels, instrument, velocity_kms=velocity, snr=snr, seed=seed)
    if kind is None:
        return prepare(star, resolution=instrument.resolution)
    part, smooth, times = kind
    width = 300 * rng.uniform(0.05, 0.3)
    start, orders = rng.uniform(5055, 5345 - width), []
    for order in star.orders:
        x = (order.wavelength_aa - start) / width
        shape = np.sin(np.pi * np.clip(x, 0, 1)) ** 2 if smooth else 1.0
        level = np.where((x > 0) & (x < 1), part * shape, 0.0)
        orders.append(order.with_(flux=order.flux + level * (order.flux if times else np.median(order.flux))))
    return prepare(Observation(tuple(orders), None, star.provenance), resolution=instrument.resolution)


@dataclass(frozen=True)
class Star:
    """Result of one star.

    Attributes:
        notes: of the preparation.
        prepared: whether the preparation flags damaged pixels.
        fitted: whether the fit finds foreign light.
        flags: that limit the trust in the result.
        values: value, uncertainty and its statistical part of each label.
    """

    notes: str
    prepared: bool
    fitted: bool
    flags: tuple[str, ...]
    values: dict[str, tuple[float, float, float]]

    @classmethod
    def of(cls, done: Preparation) -> Star:
        """Infer the parameters of a prepared star."""
        fit = predict(done.spectrum)
        row = fit.table[0]
        plain = {name: float(getattr(row[name], "value", row[name])) for name in row.colnames if name in NUMBERS}
        values = {name: (plain[name], plain[f"{name}_err"], plain[f"{name}_stat"]) for name in LABELS}
        foreign = fit.refinement is not None and fit.refinement.foreign is not None
        flags = tuple(flag for flag in dict.fromkeys((*done.flags, *fit.flags)) if limits_trust(flag))
        return cls(" ".join(done.notes), "damaged_pixels" in done.flags, foreign, flags, values)


def biases(stars: dict[int, Star], clean: dict[int, Star]) -> dict[str, Any]:
    """Results without a flag: how many, and how far from those of the same night without the light."""
    unflagged = [seed for seed, star in stars.items() if not star.flags]
    pairs = [(stars[seed].values, clean[seed].values) for seed in unflagged if seed in clean and not clean[seed].flags]
    changes = {
        unit: [
            max(abs(spoiled[name][0] - plain[name][0]) / spoiled[name][k] for name in LABELS)
            for spoiled, plain in pairs
        ]
        for k, unit in ((1, "uncertainties"), (2, "statistical uncertainties"))
    }
    sizes = {
        f"largest change, {unit}: median, 90 %, maximum": np.quantile(values, [0.5, 0.9, 1]).round(2).tolist()
        for unit, values in changes.items()
        if values
    }
    return {"without any flag": len(unflagged), "of them without a flag when clean": len(pairs)} | sizes


def count(stars: list[Star]) -> dict[str, Any]:
    """How many are flagged, and by which sign."""
    return {
        "stars": len(stars),
        "flagged": sum(star.prepared or star.fitted for star in stars),
        "by the preparation": sum(star.prepared for star in stars),
        "by its depth of lines": sum("than elsewhere" in star.notes for star in stars),
        "by its step": sum("has a step" in star.notes for star in stars),
        "by the fit": sum(star.fitted for star in stars),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with CATALOG.csv and the spectra")
    parser.add_argument("--stars", type=int, default=100, help="simulated stars without light")
    parser.add_argument("--spoiled", type=int, default=50, help="of these, stars of each kind of light")
    parser.add_argument("--seed", type=int, default=0, help="of the first star")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    tiny = ("--stars", 1, "--spoiled", 1, "--out")
    options = parse(parser, lambda folder: [observed_stars(folder, "sun.fits"), *tiny, folder / "ghosts.json"])

    def seen(row: dict[str, str]) -> tuple[str, Star]:
        star = read(options.folder / row["file"], **hints(options.folder, row, APF_WAVELENGTHS))
        return row["file"], Star.of(prepare(star, resolution=float(row["resolution"])))

    report: dict[str, Any] = {"first seed": options.seed}
    nights: dict[str, dict[int, Star]] = {}
    for name, kind in KINDS.items():
        number = options.stars if kind is None else min(options.stars, options.spoiled)
        rows = [{"seed": str(options.seed + i)} for i in range(number)]
        pairs = measured(rows, lambda row, kind=kind: (int(row["seed"]), Star.of(night(int(row["seed"]), kind))), name)
        nights[name] = dict(pairs)
        report[name] = count(list(nights[name].values()))
        if kind is not None:
            report[name] |= biases(nights[name], nights["clean"])
        out.print(f"{name}: {report[name]}", markup=False)
    observed = dict(measured(catalogue(options.folder), seen, "observed"))
    flagged = sorted(name for name, star in observed.items() if star.prepared or star.fitted)
    report["observed"] = count(list(observed.values())) | {"files flagged": flagged}
    out.print(f"observed: {report['observed']}", markup=False)
    write_json(options.out, report)


if __name__ == "__main__":
    main()
