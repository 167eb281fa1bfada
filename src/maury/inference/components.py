"""Two stars in one spectrum: whether they are clearly more probable than one, and the labels of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from maury.errors import DomainError
from maury.inference.columns import TWO_STARS
from maury.inference.posterior import INTERVAL
from maury.inference.ready import signal_to_noise
from maury.inference.refinement import RefinementModel
from maury.likelihood import LabelPrior, find_mode, highest_mode, refine, usable
from maury.likelihood.importance import DEPENDABLE_K
from maury.likelihood.systematics import systematic
from maury.likelihood.two import OWN, PairCoordinates, PairErrors, pair_starts
from maury.pixelspectra import PixelSpectra
from maury.wavelengths import Floats, add_velocities

CLEAR = 10.0
"""ln of the evidence of two stars over that of one from which two are found."""

LEAST_AA = 100.0
"""Good pixels (Å) below which two stars cannot be separated."""

LEAST_SNR_OF_TWO = 20.0
"""Signal-to-noise per pixel of the network below which two stars cannot be separated."""

_CLIMBS = 3
_TARGET_ESS = 200.0
_FEWEST = 50.0
_APART = 3.0
_NEEDED = ("teff", "logg", "mh", "vsini", "vmic", "vmac")


@dataclass(frozen=True)
class TwoStars:
    """Inferred parameters of two stars in one spectrum; star 1 gives more of the light.

    Attributes:
        ln_evidence: ln of the evidence of two stars over that of one.
        samples: of the posterior, by column of `maury.inference.columns.TWO_STARS`; velocities in the frame of the
            file where its velocity was measured, else in that of the spectrum.
        systematic: standard deviation of the systematic error by column; empty for simulated stars.
        effective: effective number of samples.
        pareto_k: shape of the tail of the weights; below 0.7 they can be trusted.
        model: spectrum of the pair on the network's pixels (p,).
    """

    ln_evidence: float
    samples: dict[str, Floats] = field(repr=False)
    systematic: dict[str, float] = field(repr=False)
    effective: float
    pareto_k: float
    model: Floats = field(repr=False)

    @property
    def status(self) -> Literal["two", "one", "uncertain"]:
        """``two`` where two stars at different velocities are clearly more probable.

        ``uncertain`` where they are, by too few samples or by velocities that differ by less than three uncertainties:
        at one velocity, errors of the model look like a second star.
        """
        if self.ln_evidence < CLEAR:
            return "one"
        difference = self.samples["rv_2_kms"] - self.samples["rv_1_kms"]
        if abs(float(np.median(difference))) < _APART * float(np.std(difference)):
            return "uncertain"
        return "two" if self.effective >= _FEWEST and self.pareto_k < DEPENDABLE_K + 0.3 else "uncertain"

    def numbers(self) -> dict[str, float]:
        """Medians by column, and with ``_err`` half of the central 68 % with the systematic error."""
        numbers = {}
        for name, drawn in self.samples.items():
            low, middle, high = np.quantile(drawn, (INTERVAL[0], 0.5, INTERVAL[1]))
            numbers[name] = float(middle)
            numbers[f"{name}_err"] = float(np.hypot((high - low) / 2, self.systematic.get(name, 0.0)))
        return numbers | {"ln_evidence_two_over_one": self.ln_evidence}


def check_components(components: int | None, refined: bool, several: bool, priors: Sequence[LabelPrior]) -> None:
    """Refuse a number of components that cannot be, or two where they are not possible.

    Args:
        components: 1, 2, or None.
        refined: whether the posterior is refined.
        several: whether there are exposures of one star.
        priors: priors on labels.

    Raises:
        DomainError: neither 1 nor 2; two without refinement, of several exposures, or with priors on labels.
    """
    if components not in (None, 1, 2):
        raise DomainError(f"components = {components}: allowed: 1 or 2", parameter="components", value=components)
    reasons = {
        "refinement, and a network that gives a posterior": not refined,
        "a single exposure: velocities differ between exposures": several,
        "no prior and no parallax: they are of one star": bool(priors),
    }
    if components == 2 and (text := next((reason for reason, yes in reasons.items() if yes), None)) is not None:
        raise DomainError(f"two components need {text}", parameter="components", value=components)


def fits_two(
    components: int | None, flags: Sequence[str], result: Mapping[str, Any], priors: Sequence[LabelPrior]
) -> bool:
    """Whether two stars are fitted: asked for, or by the flag ``double_lined`` where the spectrum allows it.

    Raises:
        DomainError: asked for, and the spectrum has less than 100 Å, signal-to-noise below 20, or is not refined.
    """
    if components == 1 or (components is None and ("double_lined" not in flags or priors)):
        return False
    try:
        if result.get("refinement") is None:
            raise DomainError("two components need refinement, which is not possible with this network and emulator")
        _require_two(result["spectrum"], result["wavelength_aa"])
    except DomainError:
        if components == 2:
            raise
        return False
    return True


def _require_two(data: PixelSpectra, wavelength_aa: Floats) -> None:
    covered = float(np.gradient(wavelength_aa)[data.good.numpy()].sum())
    signal = (signal_to_noise(data), LEAST_SNR_OF_TWO, "signal-to-noise per pixel of 2 km/s")
    needs = ((covered, LEAST_AA, "Å of good pixels"), signal)
    for value, least, what in needs:
        if value < least:
            raise DomainError(
                f"two components need at least {least:g} {what}, got {value:.0f}", parameter="components", value=2
            )


def two_stars(
    physics: RefinementModel,
    star: PixelSpectra,
    labels: Mapping[str, float],
    *,
    relations: Sequence[LabelPrior] = (),
    velocity_kms: float | None = None,
    systematics: bool = True,
    count: int = 4000,
    seed: int = 1,
    name: str = "spectrum",
) -> TwoStars:
    """Posterior and evidence of two stars, relative to the evidence of one.

    Evidences are Laplace's approximations with the covariance fitted to a single star, the same for both: covariances
    fitted to each would differ in their determinants by more than a faint star changes chi-square.

    Args:
        physics: coordinates and errors of single stars.
        star: the data (p,).
        labels: the most probable ones of a single star, by name.
        relations: what labels of star 1 obey.
        velocity_kms: radial velocity of the rest frame of the data, or None.
        systematics: whether the systematic errors of real stars are added.
        count: samples.
        seed: of the samples.
        name: of the star, for messages.

    Raises:
        DomainError: an emulator without the labels needed, or a spectrum that cannot be fitted.
    """
    one, data = physics.coordinates, usable(star, name)
    if missing := [name for name in _NEEDED if name not in one.names]:
        raise DomainError(f"{name}: two components need the labels {', '.join(missing)}, which the network lacks")
    first = torch.tensor([[labels[name] for name in one.names]], dtype=torch.float64)
    start = one.transform.unconstrained(first)
    mode = find_mode(one, physics.errors, data, start[0], relations)
    pair, errors = PairCoordinates(one), PairErrors(physics.errors)
    starts = pair_starts(pair, data, mode)
    best = highest_mode(pair, errors, data, starts, relations, iterations=_CLIMBS)
    alone = [mode, find_mode(one, physics.errors, data, pair.first(best.theta), relations, known=[mode])]
    single = max(alone, key=lambda mode: mode.log_density)
    alike = find_mode(pair, single.noise, data, best.theta, relations)
    evidence = alike.log_evidence - single.log_evidence
    double = refine(
        pair, errors, data, best.theta[None], label_priors=relations, count=count, seed=seed,
        target_ess=_FEWEST if evidence < 0 else _TARGET_ESS,
    )  # fmt: skip
    samples = _by_column(pair, double.samples, velocity_kms)
    sizes = _systematic(samples, physics) if systematics else {}
    model, _ = errors.adjusted(data, double.mode.labels, double.mode.noise)
    return TwoStars(evidence, samples, sizes, double.weighted.effective, double.weighted.pareto_k, model.numpy())


def _by_column(pair: PairCoordinates, samples: Tensor, velocity_kms: float | None) -> dict[str, Floats]:
    """Samples (n,) by column, star 1 the brighter one."""
    drawn = dict(zip(pair.names, samples.numpy().T, strict=True))
    stars = [
        {name: drawn[name + end] for name in OWN} | {"rv_kms": drawn[f"rv_{number}"]}
        for number, end in ((1, ""), (2, "_2"))
    ]
    ratio = drawn["light_ratio"]
    if np.median(ratio) > 1:
        stars, ratio = stars[::-1], 1 / ratio
    known = {f"{name}_{number}": stars[number - 1][name] for number in (1, 2) for name in OWN}
    known |= {f"rv_{number}_kms": stars[number - 1]["rv_kms"] for number in (1, 2)}
    if velocity_kms is not None:
        known |= {name: add_velocities(known[name], velocity_kms) for name in ("rv_1_kms", "rv_2_kms")}
    known |= {"mh_both": drawn["mh"], "light_ratio": ratio}
    return {column.name: np.asarray(known[column.name], float) for column in TWO_STARS if column.name in known}


def _systematic(samples: Mapping[str, Floats], physics: RefinementModel) -> dict[str, float]:
    """Standard deviation of the systematic error of both stars' labels, by column."""
    sizes: dict[str, Any] = {}
    for number in (1, 2):
        medians = {name: float(np.median(samples[f"{name}_{number}"])) for name in OWN}
        medians["mh"] = float(np.median(samples["mh_both"]))
        own = systematic(medians, physics.sizes)
        sizes |= {f"{name}_{number}": own[name] for name in OWN}
        sizes.setdefault("mh_both", own["mh"])
    return sizes
