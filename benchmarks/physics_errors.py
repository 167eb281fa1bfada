"""Where the physics is wrong: errors of single lines, from the residuals of observed stars, and what they are worth.

    python benchmarks/physics_errors.py ../shared/data/observed --out docs/results/physics-errors --package

The spectra of the folder's CATALOG.csv are predicted without such knowledge. Sums of residuals over eight pixels,
squared and in units of their variance, are averaged over stars (one vote each) of 4600 to 6800 K, [M/H] above -0.8 and
slow rotation; where few stars tell, the mean is drawn to 1. The root is the factor of the errors of the physics there.
Every star is then fitted with the factors that the *other* stars give, and the log evidence and the differences to the
literature are compared with those without any. Writes physics-errors.json, table.md, a figure, and with --package the
factors of all stars for `maury.likelihood.profile`.
"""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from observed import catalogue, hints, measured
from scipy.ndimage import gaussian_filter1d
from smoke import observed_stars, parse

import maury
from maury import checkpoints
from maury.cli.console import out, progress
from maury.errors import MauryError
from maury.files import atomic_path
from maury.inference import predict
from maury.inference.refinement import DISTORTION_KMS, Physics, Refinement, physics_of, refined
from maury.likelihood import ErrorModel, relation
from maury.likelihood.priors import RELATIONS
from maury.likelihood.profile import KIND, PACKAGED
from maury.networks import load_posterior
from maury.pixelspectra import PixelSpectra
from maury.plots import save_figure
from maury.plots.style import styled
from maury.readers import read

Floats = NDArray[np.float64]
Row = dict[str, Any]

MAIN = ("teff", "logg", "mh")
BIN, SMOOTH, VOTES = 8, 3.0, 3.0
LIMITS = (0.15, 12.0)
CLIP = 4.0


@dataclass
class Fitted:
    """A star, and its fit without factors."""

    row: Row
    data: PixelSpectra
    features: torch.Tensor
    template: dict[str, float] | None
    labels: dict[str, float]
    fit: Refinement

    @property
    def name(self) -> str:
        """Of the star."""
        return str(self.row["star"]).split(" (")[0]

    @property
    def votes(self) -> bool:
        """Whether the star's residuals count."""
        x = self.labels
        usual = 4600 < x["teff"] < 6800 and x["mh"] > -0.8 and x["vsini"] < 8
        return usual and self.data.resolution > 20_000 and self.fit.chi2 < 1.7


def box(values: Floats) -> Floats:
    """Sums over eight neighbours."""
    return np.convolve(values, np.ones(BIN), "same")


def squares(star: Fitted) -> tuple[Floats, Floats]:
    """Squared sums of residuals in units of their mean (p,), and how much of their variance is that of the physics."""
    sigma = star.fit.sigma
    good = star.data.good.numpy() & np.isfinite(sigma)
    variance = np.where(good, sigma**2, 0.0)
    residual = np.where(good, star.data.flux.numpy() - star.fit.model, 0.0)
    residual = np.clip(residual, -CLIP * np.sqrt(variance), CLIP * np.sqrt(variance))
    noise = np.where(good, (star.fit.noise_scale * star.data.sigma.numpy()) ** 2, 0.0)
    total = np.maximum(box(variance), 1e-30)
    seen = box(good.astype(float)) > BIN // 2
    square = np.where(seen, box(residual) ** 2 / total, 0.0)
    weight = np.where(seen, np.clip(1 - box(noise) / total, 0, 1), 0.0)
    return square / np.average(square, weights=weight), weight


def factors(stars: list[Fitted], without: str = "") -> Floats:
    """Factors (p,) of the errors of the physics by all voting stars but one."""
    named: dict[str, list[tuple[Floats, Floats]]] = {}
    for star in stars:
        if star.votes and star.name != without:
            named.setdefault(star.name, []).append(squares(star))
    total = votes = np.zeros(len(stars[0].data.flux))
    for spectra in named.values():
        total = total + sum(square * weight for square, weight in spectra) / len(spectra)
        votes = votes + sum(weight for _, weight in spectra) / len(spectra)
    variance = gaussian_filter1d((VOTES + total) / (VOTES + votes), SMOOTH)
    return np.asarray(np.sqrt(np.clip(variance / variance.mean(), *LIMITS)))


def first_fit(folder: Path, row: Row) -> Fitted:
    """Predict a star as anybody would, and keep what its refinement was given."""
    module = importlib.import_module("maury.inference.single")
    kept: dict[str, Any] = {}

    def keep(physics: Physics, data: PixelSpectra, network: Any, features: torch.Tensor, **options: Any) -> Any:
        plain = with_factors(physics, None)
        kept.update(data=data, features=features, template=options["template"])
        return refined(plain, data, network, features, **options)

    star = read(folder / row["file"], resolution=float(row["resolution"]), **hints(folder, row))

    def plain_physics(model: str, emulator: str, _real: bool, differential: bool = False) -> Physics | None:
        return physics_of(model, emulator, False, differential)  # there may be no packaged factors yet

    with mock.patch.multiple(module, refined=keep, physics_of=plain_physics):
        result = predict(star, labels="abundances")
    if result.refinement is None:
        raise MauryError(f"{row['file']}: was not refined")
    return Fitted(row, labels=result.values, fit=result.refinement, **kept)


def with_factors(physics: Physics, profile: torch.Tensor | None) -> Physics:
    """Errors of real stars with other factors, or none."""
    errors = ErrorModel(physics.errors.simulator, distortion_kms=DISTORTION_KMS, profile=profile)
    return replace(physics, errors=errors)


def again(star: Fitted, physics: Physics, profile: torch.Tensor | None) -> tuple[dict[str, float], float, float]:
    """Medians, log evidence and error of Teff with given factors."""
    drawn, fit, _ = refined(
        with_factors(physics, profile), star.data, load_posterior("default")[0], star.features, template=star.template,
        relations=[relation(name) for name in RELATIONS], count=2000, seed=1,
    )  # fmt: skip
    names = physics.coordinates.names
    medians = dict(zip(names, drawn.true.median(0).values.tolist(), strict=True))
    return medians, fit.log_evidence, float(drawn.fit[:, names.index("teff")].std())


def compare(stars: list[Fitted], physics: Physics) -> list[Row]:
    """Each star with no factors and with those of the others."""
    rows = []
    with progress() as bar:
        for star in bar.track(stars, description="fitted again"):
            others = torch.from_numpy(factors(stars, star.name))
            (plain, before, wide), (known, after, narrow) = (again(star, physics, p) for p in (None, others))
            row: Row = {"file": star.row["file"], "star": star.name, "votes": star.votes}
            row |= {"verified": star.row["labels_verified"] == "True", "role": star.row["role"]}
            row |= {"teff": plain["teff"], "gain": after - before, "error_ratio": narrow / wide}
            for name in MAIN:
                if star.row.get(name):
                    row[f"d_{name}"] = [plain[name] - float(star.row[name]), known[name] - float(star.row[name])]
            rows.append(row)
    return rows


def summary(rows: list[Row]) -> str:
    """Medians of the absolute differences, before and after, and the gain in evidence."""
    usual = [row for row in rows if 4500 <= row["teff"] <= 7000 and row["role"] == "develop"]
    lines = ["| stars | label | spectra | median difference, alike | by line |", "|---|---|---|---|---|"]
    for title, chosen in (("verified", [r for r in usual if r["verified"]]), ("all", usual)):
        for name in MAIN:
            pairs = np.abs([row[f"d_{name}"] for row in chosen if f"d_{name}" in row])
            digits = 0 if name == "teff" else 3
            middle = np.median(pairs, axis=0)
            lines.append(f"| {title} | {name} | {len(pairs)} | {middle[0]:.{digits}f} | {middle[1]:.{digits}f} |")
    gain = np.array([row["gain"] for row in usual])
    narrow = np.median([row["error_ratio"] for row in usual])
    text = (
        f"Of {len(gain)} spectra of 4500 to 7000 K {np.mean(gain > 0):.0%} are more probable with the factors of the "
        f"other stars, by {np.median(gain):.0f} in the log evidence in the median; the error of Teff is {narrow:.2f} "
        "times as large."
    )
    lines += ["", text]
    return "\n".join(lines) + "\n"


@styled
def figure_of(wavelength: Floats, factor: Floats) -> Figure:
    """The factors over the window, in three rows."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    rows = figure.subplots(3, 1, sharey=True)
    for axes, part in zip(rows, np.array_split(np.arange(len(wavelength)), 3), strict=True):
        axes.plot(wavelength[part], factor[part], lw=0.7)
        axes.axhline(1, lw=0.6, ls=":", color="0.5")
        axes.set_xlim(wavelength[part[0]], wavelength[part[-1]])
    rows[1].set_ylabel("error of the physics, in units of the usual one")
    rows[2].set_xlabel("wavelength (Å, air)")
    return figure


def main() -> None:
    """Fit, average, fit again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--package", action="store_true", help="write the factors into the package")
    options = parse(parser, lambda folder: [observed_stars(folder, "sun.fits"), "--out", folder / "out"])
    physics = physics_of("default", "packaged", False)
    if physics is None:
        raise SystemExit("the default network was not trained with the packaged emulator")
    stars = measured(catalogue(options.folder, "resolution"), lambda row: first_fit(options.folder, row), "stars")
    wavelength, factor = physics.coordinates.simulator.pixels.wavelength_aa, factors(stars)
    rows = compare(stars, physics)
    voters = sorted({star.name for star in stars if star.votes})
    with atomic_path(options.out / "physics-errors.json") as temporary:
        text = {"maury": maury.__version__, "voters": voters, "stars": rows}
        temporary.write_text(json.dumps(text, indent=1, default=float) + "\n")
    with atomic_path(options.out / "table.md") as temporary:
        temporary.write_text(summary(rows))
    save_figure(figure_of(wavelength, factor), options.out / "physics-errors")
    out.print(summary(rows), f"{len(voters)} stars vote: {', '.join(voters)}", markup=False)
    if options.package:
        parts = {"wavelength": torch.from_numpy(wavelength).float(), "factor": torch.from_numpy(factor).half()}
        checkpoints.save(PACKAGED, KIND, parts, {"maury": maury.__version__, "voters": voters})
        out.print("[bold]next[/]  cd src/maury/models && sha256sum *.safetensors > SHA256SUMS")


if __name__ == "__main__":
    main()
