"""Errors of the physics in single lines, measured on residuals of standard stars, and their effect on fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from maury import __version__, checkpoints
from maury.errors import DomainError
from maury.inference import predict
from maury.inference.refinement import DISTORTION_KMS, Refinement, RefinementModel, refined
from maury.likelihood import ErrorModel, relation, usable
from maury.likelihood.priors import RELATIONS
from maury.likelihood.profile import KIND, LIMITS
from maury.networks import load_posterior
from maury.pixelspectra import PixelSpectra
from maury.progress import Advance, silent
from maury.standards.table import Standard
from maury.wavelengths import Floats

Row = dict[str, Any]

MAIN = ("teff", "logg", "mh")
BIN, SMOOTH, VOTES = 8, 3.0, 3.0
"""Pixels of a sum of residuals; smoothing of the factors, pixels; weight of the prior factor 1, stars."""

CLIP = 4.0
"""Residuals, in standard deviations, are clipped to this: larger ones are missing lines."""


@dataclass(frozen=True)
class Fitted:
    """A standard star, and its fit without factors."""

    star: Standard  # as the table has it
    data: PixelSpectra  # the spectrum on the network's pixels
    features: torch.Tensor  # of the network (1, f)
    template: dict[str, float] | None  # labels of the preparation's template
    labels: dict[str, float]  # medians of the posterior, by name
    fit: Refinement  # the refinement
    error: float  # of Teff, K: standard deviation of the samples of the fit

    @property
    def votes(self) -> bool:
        """Whether the star's residuals count: 4600 to 6800 K, [M/H] above -0.8, slow rotation, R above 20,000."""
        x = self.labels
        usual = 4600 < x["teff"] < 6800 and x["mh"] > -0.8 and x["vsini"] < 8
        return usual and float(self.data.resolution) > 20_000 and self.fit.chi2 < 1.7


def fit_star(star: Standard, physics: RefinementModel, model: str, emulator: str) -> Fitted:
    """Prepare a star as `maury.predict` does, and refine it without factors.

    Raises:
        MauryError: as `maury.predict`.
    """
    result = predict(star.read(), model, velocity_kms=star.velocity_kms, emulator=emulator, refine=False)
    data = usable(result.spectrum, star.path.name)
    with torch.inference_mode():
        features = load_posterior(model)[0](result.spectrum[None])
    template = None if result.preparation is None else result.preparation.template
    return _fit(star, data, features.clone(), template, physics, model)


def factors(stars: Sequence[Fitted], without: str = "") -> Floats:
    """Factors (p,) on the errors of the physics, with rms 1, from all voting stars, or all but one.

    Sums of residuals over eight pixels, squared and divided by their variance, are averaged over stars (one vote each);
    where few stars have data, a prior pulls the mean to 1. The factor is the square root of the mean.

    Raises:
        DomainError: no star votes.
    """
    named: dict[str, list[tuple[Floats, Floats]]] = {}
    for star in stars:
        if star.votes and star.star.star != without:
            named.setdefault(star.star.star, []).append(_squares(star))
    if not named and not without:
        raise DomainError(
            "no star is suitable to measure errors of the physics: 4600 to 6800 K, [M/H] above -0.8, v sin i below "
            "8 km/s, R above 20,000 and a reduced chi-square below 1.7 are needed"
        )
    total = votes = np.zeros(len(stars[0].data.flux))
    for spectra in named.values():
        total = total + sum(square * weight for square, weight in spectra) / len(spectra)
        votes = votes + sum(weight for _, weight in spectra) / len(spectra)
    variance = gaussian_filter1d((VOTES + total) / (VOTES + votes), SMOOTH)
    return np.asarray(np.sqrt(np.clip(variance / variance.mean(), *LIMITS)))


def compare(stars: Sequence[Fitted], physics: RefinementModel, model: str, advance: Advance = silent) -> list[Row]:
    """Fit each star without factors, and with factors measured on the other stars.

    Returns:
        A row for each spectrum: ``file``, ``star``, ``votes``, ``scored``, ``verified``, ``teff``, ``gain`` in the log
        evidence, ``error_ratio`` of Teff, and ``d_LABEL``: differences to the literature without and with factors.
    """
    rows = []
    for star in stars:
        others = torch.from_numpy(factors(stars, star.star.star))
        known = _fit(star.star, star.data, star.features, star.template, physics, model, others)
        row: Row = {"file": star.star.path.name, "star": star.star.star, "votes": star.votes}
        row |= {"verified": star.star.verified, "scored": star.star.scored, "teff": star.labels["teff"]}
        row |= {"gain": known.fit.log_evidence - star.fit.log_evidence, "error_ratio": known.error / star.error}
        for name in MAIN:
            if name in star.star.labels:
                row[f"d_{name}"] = [fit.labels[name] - star.star.labels[name] for fit in (star, known)]
        rows.append(row)
        advance(1)
    return rows


def summary(rows: Sequence[Row], teff: tuple[float, float] = (4500.0, 7000.0)) -> str:
    """Medians of the absolute differences, before and after, and the gain in evidence, as Markdown.

    Spectra in the range ``teff`` (K) count.
    """
    usual = [row for row in rows if teff[0] <= row["teff"] <= teff[1] and (row["scored"] or not row["verified"])]
    lines = ["| stars | label | spectra | median difference without factors | with factors |", "|---|---|---|---|---|"]
    for title, chosen in (("verified", [r for r in usual if r["verified"]]), ("all", usual)):
        for name in MAIN:
            pairs = np.abs([row[f"d_{name}"] for row in chosen if f"d_{name}" in row])
            digits = 0 if name == "teff" else 3
            if len(pairs):
                middle = np.median(pairs, axis=0)
                lines.append(f"| {title} | {name} | {len(pairs)} | {middle[0]:.{digits}f} | {middle[1]:.{digits}f} |")
    if not usual:
        return f"No star of {teff[0]:.0f} to {teff[1]:.0f} K can be compared with the literature.\n"
    gain = np.array([row["gain"] for row in usual])
    narrow = np.median([row["error_ratio"] for row in usual])
    text = (
        f"Of {len(gain)} spectra of {teff[0]:.0f} to {teff[1]:.0f} K {np.mean(gain > 0):.0%} are more probable with "
        f"the factors of the other stars, by {np.median(gain):.0f} in the log evidence in the median; the "
        f"error of Teff is {narrow:.2f} times as large."
    )
    return "\n".join([*lines, "", text]) + "\n"


def save_factors(path: Path, wavelength: Floats, factor: Floats, stars: Sequence[Fitted]) -> list[str]:
    """Write factors (p,) at wavelengths (Å in air) to the file that refinement reads; return the stars that voted."""
    voters = sorted({star.star.star for star in stars if star.votes})
    parts = {"wavelength": torch.from_numpy(wavelength).float(), "factor": torch.from_numpy(factor).half()}
    checkpoints.save(path, KIND, parts, {"maury": __version__, "voters": voters})
    return voters


def _box(values: Floats) -> Floats:
    """Sums over eight neighbours."""
    return np.convolve(values, np.ones(BIN), "same")


def _squares(star: Fitted) -> tuple[Floats, Floats]:
    """Squared sums of residuals in units of their mean (p,), and how much of their variance is that of the physics."""
    sigma = star.fit.sigma
    good = star.data.good.numpy() & np.isfinite(sigma)
    variance = np.where(good, sigma**2, 0.0)
    residual = np.where(good, star.data.flux.numpy() - star.fit.model, 0.0)
    residual = np.clip(residual, -CLIP * np.sqrt(variance), CLIP * np.sqrt(variance))
    noise = np.where(good, (star.fit.noise_scale * star.data.sigma.numpy()) ** 2, 0.0)
    total = np.maximum(_box(variance), 1e-30)
    seen = _box(good.astype(float)) > BIN // 2
    square = np.where(seen, _box(residual) ** 2 / total, 0.0)
    weight = np.where(seen, np.clip(1 - _box(noise) / total, 0, 1), 0.0)
    return square / np.average(square, weights=weight), weight


def _fit(
    star: Standard,
    data: PixelSpectra,
    features: torch.Tensor,
    template: dict[str, float] | None,
    physics: RefinementModel,
    model: str,
    profile: torch.Tensor | None = None,
) -> Fitted:
    """Refine a star with given factors of the errors of the physics, or none."""
    errors = ErrorModel(physics.errors.simulator, distortion_kms=DISTORTION_KMS, profile=profile)
    drawn, fit, _ = refined(
        replace(physics, errors=errors), data, load_posterior(model)[0], features, template=template,
        relations=[relation(name) for name in RELATIONS], count=2000, seed=1,
    )  # fmt: skip
    names = physics.coordinates.names
    medians = dict(zip(names, drawn.true.median(0).values.tolist(), strict=True))
    return Fitted(star, data, features, template, medians, fit, float(drawn.fit[:, names.index("teff")].std()))
