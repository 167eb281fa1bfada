"""How well lanthanum and cerium, which the emulator has no labels for, could be measured: the Cramer-Rao bound.

    python benchmarks/rare_earths.py ../shared/data --out docs/results/abundances

PySME computes each star with the lines of La II or Ce II stronger and weaker by 0.1 dex. The derivative joins those of
the emulator's labels; all labels, continuum, velocity, zero level and resolution are free, as in `maury limits`, at
S/N 100 per 2.3 km/s and R = 42,000. As a test the derivative by [Nd/M] is computed alike and compared with that of the
emulator. A line counts as in `maury.inference.element_lines`. Writes rare-earths.json and rare-earths.md. Five minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cool_species import RECIPE
from numpy.typing import NDArray
from results import write
from smoke import parse, synthesis_inputs

from maury.broadening import transfer
from maury.cli.console import out
from maury.config import make_config, preset_path, read_toml
from maury.emulator import grid_for, load_cached, to_modes
from maury.evaluation.bound import fisher, smallest_errors
from maury.evaluation.limits import Bound, simulator_at, star_labels
from maury.inference.element_lines import features
from maury.labels import SYNTHESISED
from maury.synthesis import LineList, SynthesisConfig, read_atmospheres, read_lines, synthesize
from maury.synthesis.changes import changed_lines
from maury.synthesis.settings import PACKAGED_CHANGES

Floats = NDArray[np.float64]
SPECIES = {"La": "La 2", "Ce": "Ce 2", "Nd": "Nd 2"}
STARS = {
    "Sun": {"teff": 5772.0, "logg": 4.44, "mh": 0.0},
    "K dwarf": {"teff": 4800.0, "logg": 4.6, "mh": 0.0},
    "F star": {"teff": 6500.0, "logg": 4.2, "mh": 0.0},
    "K giant": {"teff": 4500.0, "logg": 2.0, "mh": 0.0},
    "metal-poor giant": {"teff": 4700.0, "logg": 1.5, "mh": -1.5},
}
BROADENING = {"vsini": 3.0, "vmac": 3.0}
SNR, RESOLUTION, STEP_DEX = 100.0, 42_000.0, 0.1
PRIOR_DEX = 0.5
"""Scatter of [La/M] and [Ce/M] in the prior, that of [Y/M] and [Nd/M]."""


def stronger(lines: LineList, species: str, dex: float) -> LineList:
    """The list with log gf of a species changed; for weak lines of ions that is a change of the abundance."""
    columns = dict(lines.columns)
    columns["gflog"] = columns["gflog"] + dex * (lines.species == species)
    return replace(lines, columns=columns)


def slopes(recipe: SynthesisConfig, labels: Floats, pixels: Floats) -> dict[str, Floats]:
    """Derivatives (stars, p) of broadened spectra by the abundance of each element, per dex."""
    atmospheres = read_atmospheres(recipe.atmospheres, vturb=recipe.vturb)
    lines, wave = read_lines(recipe.line_list), recipe.wavelength_aa
    if recipe.changes:
        lines = changed_lines(lines, PACKAGED_CHANGES)
    grid = grid_for(wave)
    kernel = transfer(
        torch.from_numpy(grid.frequency), vsini_kms=torch.tensor([BROADENING["vsini"]]).double(),
        resolution=torch.tensor([RESOLUTION]).double(), vmac_kms=torch.tensor([BROADENING["vmac"]]).double(),
    )  # fmt: skip
    found = {}
    for element, species in SPECIES.items():
        both = [
            synthesize(stronger(lines, species, dex), atmospheres, labels, wave, recipe.physics).flux
            for dex in (STEP_DEX, -STEP_DEX)
        ]
        modes = torch.from_numpy(to_modes((both[0] - both[1]) / (2 * STEP_DEX) + 1, wave, grid)) * kernel
        flux = torch.fft.irfft(modes, n=grid.size).numpy() - 1
        found[element] = np.array([np.interp(pixels, grid.wavelength_aa, row) for row in flux])
    return found


def errors(bound: Bound, labels: torch.Tensor, extra: Floats | None) -> tuple[Floats, Floats]:
    """Least standard deviations of the free labels and of one more of given derivatives (p,), and weights (p,)."""
    noise = bound.whiten(labels, SNR)
    rows, precision = bound.slopes(labels)[0], bound.precision
    if extra is not None:
        rows = np.vstack([rows, extra])
        precision = np.pad(precision, (0, 1))
        precision[-1, -1] = PRIOR_DEX**-2
    information = fisher(rows, noise.weight.numpy(), noise.projector.numpy())
    return smallest_errors(information, precision, np.eye(len(rows))), noise.weight.numpy()


def measure(recipe: SynthesisConfig) -> list[dict[str, Any]]:
    """The bounds of each star."""
    emulator = load_cached()
    simulator = simulator_at(emulator, RESOLUTION)
    wave = simulator.pixels.wavelength_aa
    own = [star_labels(emulator, simulator, star | BROADENING) for star in STARS.values()]
    columns = [simulator.labels.index(name) for name in SYNTHESISED]
    made = slopes(recipe, torch.cat(own)[:, columns].double().numpy(), wave)
    bounds = {"error": Bound(simulator, RESOLUTION), "with_model_error": Bound(simulator, RESOLUTION, (), True)}
    neodymium = bounds["error"].free.index("nd")
    stars = []
    for number, star in enumerate(STARS):
        row: dict[str, Any] = {"star": star, **STARS[star]}
        for key, bound in bounds.items():
            for element in ("La", "Ce"):
                least, weight = errors(bound, own[number], made[element][number])
                row.setdefault(element, {})[key] = float(least[-1])
                if key == "error":
                    seen = features(wave, made[element][number], weight)
                    row[element]["lines"] = [round(float(one.share @ wave[one.inside]), 2) for one in seen]
            row.setdefault("Nd", {})[key] = float(errors(bound, own[number], None)[0][neodymium])
        emulated, other = bounds["error"].slopes(own[number])[0][neodymium], made["Nd"][number]
        row["Nd"]["ratio"] = float((emulated @ other) / (emulated @ emulated))
        row["Nd"]["correlation"] = float(np.corrcoef(emulated, other)[0, 1])
        stars.append(row)
    return stars


def text_of(stars: list[dict[str, Any]]) -> str:
    """The table."""
    lines = ["| star | [La/M] | lines of La II | [Ce/M] | lines of Ce II | [Nd/M] |", "|" + "---|" * 6]
    for star in stars:
        cells = [f"{star['star']}: {star['teff']:.0f} K, {star['logg']:g}, {star['mh']:g}"]
        for element in ("La", "Ce", "Nd"):
            cells.append(f"{star[element]['error']:.3f} ({star[element]['with_model_error']:.2f})")
            if element != "Nd":
                cells.append(", ".join(f"{line:.2f}" for line in star[element]["lines"]) or "none")
        lines.append("| " + " | ".join(cells) + " |")
    ratios = [star["Nd"]["ratio"] for star in stars]
    lines += ["", f"Derivative by [Nd/M], PySME over emulator: {min(ratios):.2f} to {max(ratios):.2f}; correlation at "]
    lines[-1] += f"least {min(star['Nd']['correlation'] for star in stars):.3f}."
    return "\n".join(lines) + "\n"


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run: a few lines, and grey atmospheres of all stars."""
    _, lines, _, models = synthesis_inputs(folder, teff=(4000.0, 7000.0), logg=(1.0, 5.0), mh=(-2.0, 0.0))
    (folder / "recipe.toml").write_text(RECIPE.format(lines=lines, models=models))
    return [folder, "--recipe", folder / "recipe.toml", "--out", folder / "out"]


def main() -> None:
    """Compute and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path, help="folder of the recipe's inputs")
    parser.add_argument("--recipe", type=Path, default=preset_path("synthesis", "packaged"))
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, tiny)
    torch.set_num_threads(1)
    recipe = make_config(read_toml(options.recipe), SynthesisConfig, str(options.recipe)).located(options.inputs)
    stars = measure(recipe)
    text = text_of(stars)
    write(options.out, {"rare-earths.json": stars, "rare-earths.md": text})
    out.print(text, markup=False)


if __name__ == "__main__":
    main()
