"""What pulls [M/H] of cool dwarfs: the parts of species and of lines of each depth in the fit.

    python benchmarks/cool_species.py ../shared/data --out docs/results/benchmark-stars

The spectrum of each star is synthesised by PySME at the labels of the literature with the lines of one species after
the other; a pixel belongs to the species whose lines are deepest there, as the instrument sees them, or to none below
3 %. With Teff and log g held to the literature [M/H] is fitted to all pixels, without those of a species, and with an
error of lines of half depth in addition. The pull of a species is the part of its pixels in the first step of [M/H]
from the literature. Residuals are averaged by the depth of the synthesised lines. Writes species.json, species.md and
species.png. Three minutes on two idle cores.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from observed import catalogue, hints
from results import write
from scipy.ndimage import gaussian_filter1d
from smoke import nights, observed_stars, parse, synthesis_inputs
from torch import Tensor

from maury.cli.console import out
from maury.config import make_config, preset_path, read_toml
from maury.emulator import NetworkPixels, load_cached
from maury.inference.posterior import ELEMENTS
from maury.inference.refinement import DISTORTION_KMS, RefinementModel, physics_of
from maury.labels import SYNTHESISED, usual_vmic
from maury.likelihood import ErrorModel, LabelPrior, find_mode, usable
from maury.likelihood.laplace import Mode
from maury.pixelspectra import PixelSpectra
from maury.plots import save_figure
from maury.plots.style import COLOURS, INK, SINGLE, styled
from maury.preparation import prepare
from maury.preparation.network_input import to_network
from maury.readers import read
from maury.synthesis import LineList, SynthesisConfig, read_atmospheres, read_lines, synthesize
from maury.synthesis.changes import changed_lines
from maury.synthesis.settings import PACKAGED_CHANGES

Floats = NDArray[np.float64]
MAIN = ("teff", "logg", "mh")
GROUPS = {
    "Fe I": ("Fe 1",), "Mg I": ("Mg 1",), "Ti I": ("Ti 1",), "Cr I": ("Cr 1",), "Ca I": ("Ca 1",), "Ni I, Co I, V I":
    ("Ni 1", "Co 1", "V 1"), "MgH": ("MgH 1",), "C2": ("C2 1",), "TiO": ("TiO 1",),
}  # fmt: skip
STARS = ("UVES_Gl846.fits", "HIRES_GJ880_rj59.1926_adj.fits", "ESPaDOnS_61CygB.fits")
TIGHT = {"teff": 30.0, "logg": 0.03, "mh": 0.02}
FEWEST = 0.1
"""Share of the pixels from which a species is left out in turn."""
HALF_DEPTH = 2.0
"""Standard deviation of the coefficient of flux (1 - flux), per unit of the haze."""
DEPTHS = np.arange(0.0, 1.0, 0.1)
SHALLOW = 0.03
"""Depth of the lines below which a pixel belongs to no species."""


class HalfDepth(ErrorModel):
    """Errors with one more column: lines of half depth are too deep or too shallow, gaps and deep cores are not."""

    def columns(
        self, star: PixelSpectra, labels: Tensor, models: tuple[Tensor, Tensor, Tensor], own: float = 1.0,
        common: float = 1.0,
    ) -> Tensor:  # fmt: skip
        """As those of `ErrorModel`."""
        size = HALF_DEPTH * float(self.simulator.haze.usual(labels[None])[0])
        half = size * models[0] * (1 - models[0])
        return torch.cat([half[None], super().columns(star, labels, models, own, common)])


def alone(lines: LineList, species: tuple[str, ...]) -> LineList:
    """The lines of some species."""
    keep = np.isin(lines.species, species)
    return replace(lines, columns={name: column[keep] for name, column in lines.columns.items()})


def depths(recipe: SynthesisConfig, rows: list[dict[str, str]], pixels: Floats) -> dict[str, Floats]:
    """Depths (stars, p) of the lines of each species, and of all lines, of stars of the literature on some pixels."""
    atmospheres = read_atmospheres(recipe.atmospheres, vturb=recipe.vturb)
    lines, wave = read_lines(recipe.line_list), recipe.wavelength_aa
    if recipe.changes:
        lines = changed_lines(lines, PACKAGED_CHANGES)
    if recipe.cool_lines:
        lines, _ = lines.joined(read_lines(recipe.cool_lines))
    labels = np.zeros((len(rows), len(SYNTHESISED)))
    for k, row in enumerate(rows):
        teff, logg = float(row["teff"]), float(row["logg"])
        labels[k, :4] = teff, logg, float(row["mh"]), usual_vmic(teff, logg)
    physics = recipe.physics.model_copy(update={"departures": None})
    found = {}
    for name, species in (*GROUPS.items(), ("all", tuple(np.unique(lines.species)))):
        own = alone(lines, species)
        if not len(own):
            continue
        flux = synthesize(own, atmospheres, labels, wave, physics).flux
        found[name] = np.array(
            [1 - seen(wave, one, float(row["resolution"]), pixels) for one, row in zip(flux, rows, strict=True)]
        )
    return found


def seen(wavelength: Floats, flux: Floats, resolution: float, pixels: Floats) -> Floats:
    """Flux as an instrument sees it, on other pixels."""
    width = np.mean(wavelength) / resolution / np.sqrt(8 * np.log(2)) / (wavelength[1] - wavelength[0])
    return np.interp(pixels, wavelength, gaussian_filter1d(flux, width))


def observed_star(folder: Path, row: dict[str, str], pixels: NetworkPixels) -> PixelSpectra:
    """A star on the pixels of the network, ready for the likelihood."""
    observation = read(folder / row["file"], resolution=float(row["resolution"]), **hints(folder, row))
    return usable(to_network(prepare(observation, emulator=load_cached()), pixels))


def fitted(physics: RefinementModel, star: PixelSpectra, row: dict[str, str], hold: tuple[str, ...]) -> Mode:
    """Most probable labels with some of them held to the literature; abundance ratios solar within 0.1 dex."""
    coordinates = physics.coordinates
    known = [LabelPrior(name, float(row[name]), *2 * [TIGHT[name]]) for name in hold]
    known += [LabelPrior(name, 0.0, 0.1, 0.1) for name in coordinates.names if name in ELEMENTS]
    start = {name: float(row[name]) for name in MAIN} | {"vsini": 2.0, "vmac": 2.0, "vmic": 0.8}
    labels = torch.tensor([[start.get(name, 0.0) for name in coordinates.names]]).double()
    real = coordinates.transform.unconstrained(labels)[0].nan_to_num(0.0).clamp(-3, 3)
    return find_mode(coordinates, physics.errors, star, real, known)


def metallicity(physics: RefinementModel, mode: Mode) -> float:
    """[M/H] of a mode."""
    return float(mode.labels[physics.coordinates.simulator.labels.index("mh")])


def pull(physics: RefinementModel, star: PixelSpectra, mode: Mode) -> tuple[Floats, Floats]:
    """Part of each pixel (p,) in the first step of [M/H] from a mode, dex, and the model spectrum (p,).

    With weighted residual r and derivative d by [M/H], both less what the nuisances explain, pixels contribute
    ``r d / sum d^2``.
    """
    coordinates = physics.coordinates
    column = coordinates.names.index("mh")
    model, slopes = mode.model, mode.slopes
    step = 0.01 * torch.eye(len(mode.theta), dtype=torch.float64)[column]
    two = coordinates.transform.constrained(torch.stack([mode.theta - step, mode.theta + step]))[:, column]
    slope = mode.noise.weighted(slopes[column]) * 0.02 / (two[1] - two[0])
    residual, projector = mode.noise.residual(model), mode.noise.projector
    residual, slope = (x - projector @ (projector.mT @ x) for x in (residual, slope))
    return (residual * slope / slope.square().sum()).numpy(), model.numpy()


def measure(
    star: PixelSpectra, row: dict[str, str], both: tuple[RefinementModel, RefinementModel], depth: dict[str, Floats]
) -> dict[str, Any]:
    """Results of one star; physics without and with the error of lines of half depth."""
    plain, physics = both
    species = [name for name in depth if name != "all"]
    deepest = np.array([depth[name] for name in species])
    owner = np.where(deepest.max(0) > SHALLOW, deepest.argmax(0), -1)
    known = fitted(plain, star, row, MAIN)
    parts, model = pull(plain, star, known)
    rows = {}
    for number, name in enumerate(species):
        own = owner == number
        rows[name] = {"pixels": float(own.mean()), "pull": float(parts[own].sum())}
        if own.mean() > FEWEST:
            rest = star.with_(mask=star.mask | torch.from_numpy(own))
            rows[name]["mh_without"] = metallicity(plain, fitted(plain, rest, row, MAIN[:2]))
    off, good = star.flux.numpy() - model, star.good.numpy()
    bins = [good & (depth["all"] >= low) & (depth["all"] < low + 0.1) for low in DEPTHS]
    return {
        "star": row["star"].split(" (")[0], "literature": {name: float(row[name]) for name in MAIN}, "species": rows,
        "mh": metallicity(plain, fitted(plain, star, row, MAIN[:2])),
        "mh_half_depth": metallicity(physics, fitted(physics, star, row, MAIN[:2])),
        "residual": [float(off[pixels].mean()) if pixels.sum() > 10 else None for pixels in bins],
    }  # fmt: skip


def text_of(stars: list[dict[str, Any]]) -> str:
    """The table."""
    head = ["species", *(f"{star['star']}: pixels, pull, [M/H] without it" for star in stars)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in dict.fromkeys(name for star in stars for name in star["species"]):
        cells = [name]
        for star in stars:
            one = star["species"].get(name)
            without = "" if one is None or "mh_without" not in one else f", {one['mh_without']:+.2f}"
            cells.append("" if one is None else f"{one['pixels']:.0%}, {one['pull']:+.3f}{without}")
        lines.append("| " + " | ".join(cells) + " |")
    for title, key in (("all, [M/H]", "mh"), ("the same with an error of lines of half depth", "mh_half_depth")):
        lines.append("| " + " | ".join([title, *(f"{star[key]:+.2f}" for star in stars)]) + " |")
    lines.append("| " + " | ".join(["literature", *(f"{star['literature']['mh']:+.2f}" for star in stars)]) + " |")
    return "\n".join(lines) + "\n"


@styled
def draw(stars: list[dict[str, Any]]) -> Figure:
    """Mean residual by depth of the lines."""
    figure = Figure(figsize=(SINGLE, 2.6))
    axes = figure.add_subplot()
    for star, colour in zip(stars, COLOURS, strict=False):
        values = np.array([np.nan if x is None else x for x in star["residual"]])
        axes.plot(DEPTHS + 0.05, values, "o-", ms=3, lw=1, color=colour, label=star["star"])
    axes.axhline(0, color=INK, lw=0.6)
    axes.set(xlabel="depth of the lines, PySME", ylabel="observed - model")
    axes.legend()
    return figure


RECIPE = """line_list = "{lines}"
atmospheres = "{models}"
window = [5160, 5180]
[design]
kind = "sobol"
count = 1
[physics]
sampling = "uniform"
"""
"""Settings of a smoke run."""


def tiny(folder: Path) -> list[Any]:
    """Options of a smoke run: one simulated star and a few lines."""
    observed_stars(folder / "observed", "star.fits", labels=nights.SUN | {"teff": 5500.0, "mh": -0.5})
    _, lines, _, models = synthesis_inputs(folder)
    (folder / "recipe.toml").write_text(RECIPE.format(lines=lines, models=models))
    return [folder, "--recipe", folder / "recipe.toml", "--stars", "star.fits", "--out", folder / "out"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path, help="folder of the recipe's inputs, with observed/")
    parser.add_argument("--recipe", type=Path, default=preset_path("synthesis", "packaged"))
    parser.add_argument("--stars", nargs="+", default=STARS, help="files in observed/")
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, tiny)
    recipe = make_config(read_toml(options.recipe), SynthesisConfig, str(options.recipe)).located(options.inputs)
    physics = physics_of("default", "packaged", True)
    assert physics is not None
    simulator, pixels = physics.coordinates.simulator, NetworkPixels.of(load_cached())
    errors = HalfDepth(simulator, distortion_kms=DISTORTION_KMS, profile=physics.errors.profile)
    both = (physics, replace(physics, errors=errors))
    rows = [row for row in catalogue(options.inputs / "observed", *MAIN) if row["file"] in options.stars]
    depth = depths(recipe, rows, simulator.pixels.wavelength_aa)
    stars = []
    for number, row in enumerate(rows):
        star = observed_star(options.inputs / "observed", row, pixels)
        stars.append(measure(star, row, both, {name: values[number] for name, values in depth.items()}))
    report = {"species.json": stars, "species.md": text_of(stars)}
    write(options.out, report)
    save_figure(draw(stars), options.out / "species")
    out.print(text_of(stars), markup=False)


if __name__ == "__main__":
    main()
