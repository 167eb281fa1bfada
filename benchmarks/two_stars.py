"""Two stars in one spectrum: detection, false alarms, and uncertainties of both stars' labels.

    python benchmarks/two_stars.py --out docs/results/two-stars --repeats 2 --singles 200
    python benchmarks/two_stars.py --out docs/results/two-stars --observed ../shared/data/observed

Spectra on the network's pixels (prepared ones), R = 50 000, are drawn with noise, continuum and errors of the physics
as the covariance has them; velocities of the rest frame are those of the brighter star. Pairs are dwarfs of one
metallicity, the light ratio following from their temperatures and gravities. Beside both stars' labels stands what a
fit of a single star gives. A spectrum takes 5 to 10 seconds on an idle core; those in ``stars.json`` are not repeated.

With ``--observed`` two stars are fitted to observed spectra of single stars of 4500 to 7000 K instead, as
`maury predict --components 2` does: at their nominal R and, one spectrum of each star, at R wrong by 10 %. Each
detection is a false alarm. Spectra in ``observed.json`` are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from observed import catalogue, hints
from results import write
from smoke import observed_stars, parse

from maury.cli.console import out, progress
from maury.errors import MauryError
from maury.inference import predict
from maury.inference.components import CLEAR, two_stars
from maury.inference.refinement import RefinementModel, physics_of
from maury.likelihood import ErrorModel, find_mode, relation, usable
from maury.likelihood.two import PairCoordinates, PairErrors, pair_spectra
from maury.pixelspectra import PixelSpectra
from maury.plots import save_figure
from maury.plots.style import COLOURS, DOUBLE, INK, styled
from maury.readers import read

SEPARATIONS = (5.0, 8.0, 15.0, 30.0, 60.0, 150.0)
AXIS = r"velocity difference (km s$^{-1}$)"
RATIOS = (0.15, 0.4, 0.9)
SNR = (50.0, 200.0)
RELATIONS = [relation(name) for name in ("doyle2014", "random-axes")]
RESOLUTION = 50_000.0
FGK = {"teff": (4500.0, 7000.0), "vsini": (0.0, 40.0)}
"""Literature values of the observed stars: K and km/s."""
FACTORS = (1.0, 1.1, 0.9)
"""Resolving powers relative to the nominal ones, at which observed stars are fitted."""
KEPT = ("teff_1", "teff_2", "rv_1_kms", "rv_2_kms", "rv_2_kms_err", "light_ratio", "light_ratio_err")


def dwarf(teff: float) -> float:
    """Log g of a dwarf at Teff (K)."""
    return 4.40 + 0.20 * (5800.0 - teff) / 2000.0


def companion(pair: PairCoordinates, teff: float, ratio: float) -> float:
    """Teff (K) of the dwarf that gives ``ratio`` of the light of a dwarf of Teff."""
    grid = np.arange(3700.0, teff + 1.0, 10.0)

    def of(t: Any) -> dict[str, torch.Tensor]:
        values = torch.as_tensor(t, dtype=torch.float64) * torch.ones(len(grid), dtype=torch.float64)
        return {"teff": values, "logg": dwarf(values), "mh": torch.zeros_like(values)}  # type: ignore[arg-type,dict-item]

    mean = pair.expected(of(teff), of(torch.from_numpy(grid)))[0].numpy()
    return float(grid[np.abs(mean - np.log10(ratio)).argmin()])


def drawn(
    physics: RefinementModel, pair: PairCoordinates, case: dict[str, Any]
) -> tuple[PixelSpectra, dict[str, float]]:
    """A spectrum of one or two stars, and its labels."""
    random = np.random.default_rng(case["seed"])
    teff, mh, snr = random.uniform(5200, 6400), random.uniform(-0.4, 0.2), case.get("snr") or random.uniform(*SNR)
    speeds = random.uniform(2, 8, 2)
    ratio = case["ratio"]
    other = companion(pair, teff, ratio) if ratio else teff
    names = pair.simulator.labels
    rows = []
    for t, v in zip((teff, other), speeds, strict=True):
        vmac = float(np.clip(3.2 + 2.33e-3 * (t - 5777), 2, 7))
        star = dict.fromkeys(names, 0.0) | {
            "teff": t,
            "logg": dwarf(t),
            "mh": mh,
            "vmic": 1.0,
            "vsini": v,
            "vmac": vmac,
        }
        rows += [star[name] for name in names]
    change = case["separation"] * random.choice((-1, 1))
    labels = torch.tensor([*rows, ratio, 0.0, change], dtype=torch.float64)
    flux = pair_spectra(pair.simulator, labels[None].float(), torch.tensor([RESOLUTION]))[0].double()
    star = usable(PixelSpectra(flux=flux, sigma=1 / snr, resolution=RESOLUTION))
    data = PairErrors(physics.errors).draw(star, labels, torch.Generator().manual_seed(case["seed"]))
    truth = {"teff_1": teff, "teff_2": other, "light_ratio": ratio, "rv_2_kms": change, "mh_both": mh, "snr": snr}
    return data, truth


def measured(physics: RefinementModel, pair: PairCoordinates, case: dict[str, Any]) -> dict[str, Any]:
    """Truth, evidence, labels of both stars and those of a single-star fit."""
    data, truth = drawn(physics, pair, case)
    one = physics.coordinates
    first = torch.tensor([[truth["teff_1"], dwarf(truth["teff_1"])]], dtype=torch.float64)
    start = one.centre.clone()
    start[:4] = one.transform.unconstrained(
        torch.cat([first, torch.tensor([[truth["mh_both"], 5.0]]), torch.zeros(1, len(one.names) - 4)], 1)
    )[0, :4]
    began = time.perf_counter()
    mode = find_mode(one, physics.errors, data, start, RELATIONS)
    labels = dict(zip(one.simulator.labels, mode.labels.tolist(), strict=True))
    two = two_stars(physics, data, labels, relations=RELATIONS, systematics=False, count=1000)
    single = {name: labels[name] for name in ("teff", "logg", "mh", "vsini")}
    return case | {
        "truth": truth, "single": single, "status": two.status, "seconds": time.perf_counter() - began,
        "found": {name: round(value, 5) for name, value in two.numbers().items()},
    }  # fmt: skip


def cases(repeats: int, singles: int) -> list[dict[str, Any]]:
    """Pairs and single stars, mixed so that a run that is cut short has some of each."""
    pairs = [
        {"kind": "pair", "separation": separation, "ratio": ratio, "seed": 100_000 * repeat + 1000 * i + 100 * j + 1}
        for repeat in range(repeats)
        for j, ratio in enumerate(RATIOS)
        for i, separation in enumerate(SEPARATIONS)
    ]
    alone = [{"kind": "single", "separation": 0.0, "ratio": 0.0, "seed": 7_000_000 + i} for i in range(singles)]
    order = [(i / max(len(part), 1), case) for part in (pairs, alone) for i, case in enumerate(part)]
    return [case for _, case in sorted(order, key=lambda item: item[0])]


def summary(stars: list[dict[str, Any]]) -> str:
    """Tables of what was found."""
    pairs = [star for star in stars if star["kind"] == "pair"]
    alone = [star for star in stars if star["kind"] == "single"]
    text = ["# Two stars in one spectrum", "", "Found, of those simulated:", ""]
    text += ["| km/s apart | " + " | ".join(f"light ratio {ratio:g}" for ratio in RATIOS) + " |", "|" + "---|" * 4]
    for separation in SEPARATIONS:
        cells = []
        for ratio in RATIOS:
            chosen = [s for s in pairs if s["separation"] == separation and s["ratio"] == ratio]
            cells.append(f"{sum(s['status'] == 'two' for s in chosen)} of {len(chosen)}")
        text.append(f"| {separation:g} | " + " | ".join(cells) + " |")
    false = sum(star["status"] == "two" for star in alone)
    text += ["", f"False alarms: {false} of {len(alone)} single stars."]
    if alone:
        largest = max(star["found"]["ln_evidence_two_over_one"] for star in alone)
        text.append(f"Largest ln evidence ratio of a single star: {largest:+.1f} ({CLEAR:g} is needed).")
    text += [
        "",
        "Of the pairs found, median absolute differences to the truth (and median uncertainty), and of a fit of a",
    ]
    text += ["single star to the same spectra, relative to star 1:", ""]
    text += [
        "| km/s apart | S/N | pairs | Teff 1 (K) | Teff 2 (K) | light ratio | Teff, single-star fit (K) | v sin i |"
    ]
    text += ["|" + "---|" * 8]
    for low, high in ((0, 10), (10, 40), (40, 200)):
        for least, most in ((50, 100), (100, 200)):
            chosen = [
                s
                for s in pairs
                if low < s["separation"] <= high and least <= s["truth"]["snr"] < most and s["status"] == "two"
            ]
            if chosen:
                text.append(
                    f"| {low} to {high} | {least} to {most} | {len(chosen)} | " + " | ".join(_cells(chosen)) + " |"
                )
    text += ["", f"Median time: {np.median([star['seconds'] for star in stars]):.1f} s a spectrum."]
    return "\n".join(text) + "\n"


def _cells(stars: list[dict[str, Any]]) -> list[str]:
    cells = []
    for name, digits in (("teff_1", 0), ("teff_2", 0), ("light_ratio", 2)):
        off = np.median([abs(s["found"][name] - s["truth"][name]) for s in stars])
        error = np.median([s["found"][f"{name}_err"] for s in stars])
        cells.append(f"{off:.{digits}f} ({error:.{digits}f})")
    off = np.median([abs(s["single"]["teff"] - s["truth"]["teff_1"]) for s in stars])
    return [*cells, f"{off:.0f}", f"{np.median([s['single']['vsini'] for s in stars]):.0f} km/s"]


@styled
def figure(stars: list[dict[str, Any]]) -> Figure:
    """Evidence by separation, and differences of temperature by separation."""
    drawing = Figure(figsize=(DOUBLE, 3.0), layout="constrained")
    left, right = drawing.subplots(1, 2)
    pairs = [star for star in stars if star["kind"] == "pair"]
    for number, (ratio, colour) in enumerate(zip(RATIOS, COLOURS, strict=False)):
        chosen = [star for star in pairs if star["ratio"] == ratio]
        shift = 1 + 0.06 * (number - 1)
        evidence = [max(star["found"]["ln_evidence_two_over_one"], -30) for star in chosen]
        x = [star["separation"] * shift for star in chosen]
        left.plot(x, evidence, "o", ms=4, color=colour, label=f"light ratio {ratio:g}")
        found = [star for star in chosen if star["status"] == "two"]
        x = [star["separation"] * shift for star in found]
        for name, marker, inside in (("teff_1", "o", colour), ("teff_2", "s", "none")):
            off = [star["found"][name] - star["truth"][name] for star in found]
            error = [star["found"][f"{name}_err"] for star in found]
            right.errorbar(x, off, error, fmt=marker, color=colour, mfc=inside, ms=4, lw=0.8)
    alone = [star["found"]["ln_evidence_two_over_one"] for star in stars if star["kind"] == "single"]
    left.plot([3.5] * len(alone), np.maximum(alone, -30), "_", color=INK, label="single stars")
    left.axhline(CLEAR, color="0.5", lw=0.8)
    left.set(xscale="log", xlabel=AXIS, ylabel="ln evidence, two stars over one")
    left.set_yscale("symlog", linthresh=10)
    left.legend(loc="center right")
    right.axhline(0, color="0.5", lw=0.8)
    right.set(xscale="log", xlabel=AXIS, ylabel=r"$\Delta T_\mathrm{eff}$ (K), star 1 filled, star 2 open")
    return drawing


def observed_cases(folder: Path) -> list[dict[str, Any]]:
    """Spectra of single stars at their nominal R, and the first one of each star at R wrong by 10 %."""
    rows = [
        row
        for row in catalogue(folder, "resolution", "teff")
        if all(low <= float(row[name] or low) <= high for name, (low, high) in FGK.items())
    ]
    first = {row["star"]: row["file"] for row in reversed(rows)}
    return [row | {"factor": f} for f in FACTORS for row in rows if f == 1 or first[row["star"]] == row["file"]]


def fitted(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Evidence and parameters of two stars in an observed spectrum."""
    row = {"file": case["file"], "star": case["star"], "factor": case["factor"]}
    try:
        resolution = float(case["resolution"]) * case["factor"]
        result = predict(read(folder / case["file"], resolution=resolution, **hints(folder, case)), components=2)
    except MauryError as error:
        return row | {"error": str(error)}
    assert result.two is not None
    numbers = result.two.numbers()
    record = result.record()
    row |= {"status": result.two.status, "ln_evidence": round(result.two.ln_evidence, 1), "chi2": record["chi2"]}
    return row | {name: round(numbers[name], 3) for name in KEPT} | {"flags": record["flags"]}


def observed_table(stars: list[dict[str, Any]]) -> str:
    """Counts for each R, and a row per spectrum."""
    text = [
        "# Two stars fitted to observed single stars",
        "",
        "| R | spectra | two | uncertain | one | largest ln evidence |",
    ]
    text += ["|" + "---|" * 6]
    for factor in FACTORS:
        chosen = [star for star in stars if star["factor"] == factor and "error" not in star]
        counts = [sum(star["status"] == status for star in chosen) for status in ("two", "uncertain", "one")]
        most = f"{max(star['ln_evidence'] for star in chosen):+.1f}" if chosen else ""
        name = "nominal" if factor == 1 else f"nominal × {factor:g}"
        text.append(f"| {name} | {len(chosen)} | " + " | ".join(map(str, counts)) + f" | {most} |")
    text += [
        "",
        "| spectrum | star | ln evidence at R | " + " | ".join(f"× {f:g}" for f in FACTORS[1:]) + " |",
        "|" + "---|" * 5,
    ]
    for star in (star for star in stars if star["factor"] == 1):
        same = {one["factor"]: one for one in stars if one["file"] == star["file"]}
        cells = [_evidence(same.get(factor)) for factor in FACTORS]
        text.append(f"| `{star['file']}` | {star['star'].split(' (')[0]} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def _evidence(star: dict[str, Any] | None) -> str:
    """Evidence with the status where that is not one star."""
    if star is None:
        return ""
    if "error" in star:
        return "not fitted"
    return f"{star['ln_evidence']:+.1f}" + ("" if star["status"] == "one" else f" ({star['status']})")


def observed(options: argparse.Namespace) -> None:
    """Fit observed stars and write ``observed.json`` and ``observed.md``."""
    source = options.out / "observed.json"
    stars = json.loads(source.read_text())["stars"] if source.is_file() else []
    done = {(star["file"], star["factor"]) for star in stars}
    began = time.monotonic()
    with progress() as bar:
        for case in bar.track(observed_cases(options.observed), description="spectra"):
            if (case["file"], case["factor"]) in done or (time.monotonic() - began > 60 * options.minutes and stars):
                continue
            stars.append(fitted(options.observed, case))
            write(options.out, {"observed.json": {"stars": stars}})
    text = observed_table(stars)
    write(options.out, {"observed.md": text})
    out.print(text, markup=False)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=2, help="pairs of each separation and light ratio")
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1e9, help="no further star is begun after this time")
    parser.add_argument("--observed", type=Path, help="folder with CATALOG.csv and spectra: fit these instead")
    options = parse(parser, lambda folder: ["--out", folder / "out", "--repeats", 1, "--singles", 1, "--minutes", 0.01])
    if options.smoke or options.observed is not None:
        options.observed = options.observed or observed_stars(options.out.parent, "star.fits")
        observed(options)
    if options.observed is not None and not options.smoke:
        return
    physics = physics_of("default", "packaged", False)
    if physics is None:
        raise SystemExit("the packaged network and emulator do not belong together")
    physics = replace(physics, errors=ErrorModel(physics.coordinates.simulator, spread=False))  # as `draw` has them
    pair = PairCoordinates(physics.coordinates)
    source = options.out / "stars.json"
    stars = json.loads(source.read_text())["stars"] if source.is_file() else []
    done = {star["seed"] for star in stars}
    began = time.monotonic()
    with progress() as bar:
        for case in bar.track(cases(options.repeats, options.singles), description="spectra"):
            if case["seed"] in done or (time.monotonic() - began > 60 * options.minutes and stars):
                continue
            stars.append(measured(physics, pair, case))
            write(options.out, {"stars.json": {"stars": stars}})
    text = summary(stars)
    write(options.out, {"table.md": text})
    save_figure(figure(stars), options.out / "two-stars")
    out.print(text, markup=False)


if __name__ == "__main__":
    main()
