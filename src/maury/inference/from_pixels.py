"""Infer labels from a spectrum on a network's pixels: network, refinement, correction of cool dwarfs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maury.errors import ConfigError, DomainError
from maury.inference.cool_dwarfs import HOTTEST_K, LEAST_LOGG, PACKAGED, CoolDwarfs, load_cool_dwarfs, log_jacobian
from maury.inference.differential import Reference
from maury.inference.element_lines import count_lines
from maury.inference.posterior import posterior_of, without_masked
from maury.inference.ready import pixels_of, require_signal
from maury.inference.refinement import Refinement, RefinementModel, Samples, measured_on_standards, physics_of, refined
from maury.likelihood import LabelPrior, contradictory, relation, usable
from maury.likelihood.together import exposures_of, mean_of
from maury.networks import PosteriorNetwork
from maury.pixelspectra import PixelSpectra

_WHOLE = 0.98


@dataclass(frozen=True)
class Request:
    """Arguments of `predict` that concern the posterior."""

    model: str
    emulator: str
    labels: str
    samples: int
    seed: int
    refine: bool | None
    priors: tuple[LabelPrior, ...]
    relations: tuple[str, ...]
    systematics: bool
    reference: Reference | CoolDwarfs | None = None

    def physics(self) -> RefinementModel | None:
        """What refinement needs, or None where network and emulator do not belong together."""
        return physics_of(
            self.model, self.emulator, self.systematics, differential=isinstance(self.reference, Reference)
        )


def infer(
    network: PosteriorNetwork,
    header: dict[str, Any],
    star: PixelSpectra,
    name: str,
    request: Request,
    template: dict[str, float] | None = None,
    noted: Sequence[str] = (),
) -> dict[str, Any]:
    """Medians, flags, resolution, pixels, posterior and refinement; of exposures (n, p) the spectrum is their mean.

    A spectrum below `HOTTEST_K` is also fitted after correction by standard dwarfs, and the more probable fit is kept.
    """
    parts = [star] if star.flux.ndim == 1 else [star[i] for i in range(len(star))]
    if isinstance(request.reference, Reference):
        parts = [request.reference.applied(part, name) for part in parts]
    fit = partial(_fit, network, header, several=star.flux.ndim == 2, name=name, template=template, noted=noted)
    found = fit(parts, request=request)
    if found["refinement"] is None or found["refinement"].labels["teff"] > HOTTEST_K:
        return found
    if (dwarfs := _cool_dwarfs(request, found["wavelength_aa"])) is None:
        return found
    evidence = found["refinement"].log_evidence
    for _ in range(2):  # the second time at the better temperature
        labels = found["refinement"].labels
        if labels["teff"] > HOTTEST_K:
            break
        corrections = [dwarfs.at(labels["teff"], float(part.resolution), labels.get("vsini", 0.0)) for part in parts]
        corrected = [one.applied(part, name) for one, part in zip(corrections, parts, strict=True)]
        better = fit(corrected, request=replace(request, reference=corrections[0]))
        density = sum(log_jacobian(one, part.good) for one, part in zip(corrections, parts, strict=True))
        giant = better["refinement"].labels["logg"] < LEAST_LOGG
        if giant or better["refinement"].log_evidence + density <= evidence:
            break
        evidence = better["refinement"].log_evidence + density
        found = better | {"flags": (*better["flags"], "cool_dwarf_standards")}
    return found


def _cool_dwarfs(request: Request, wavelength_aa: NDArray[np.float64]) -> CoolDwarfs | None:
    """Corrections of standard dwarfs on the same pixels; None for simulated stars, or with a reference star."""
    if isinstance(request.reference, CoolDwarfs):
        found = request.reference
    elif request.reference is None and request.systematics:
        found = load_cool_dwarfs(measured_on_standards(request.model, PACKAGED))
    else:
        return None
    return found if found.names and found.suit(wavelength_aa) else None


def _fit(
    network: PosteriorNetwork,
    header: dict[str, Any],
    parts: list[PixelSpectra],
    *,
    several: bool,
    name: str,
    request: Request,
    template: dict[str, float] | None,
    noted: Sequence[str],
) -> dict[str, Any]:
    """As `infer`, of a spectrum or several exposures as they are."""
    star = mean_of(exposures_of(parts)) if several else parts[0]
    require_signal(star, name, noted)
    with torch.inference_mode():
        features = network(star[None])
    physics = None
    if request.refine is not False:
        physics = request.physics()
    _require_physics(physics is not None, request)
    fit: Refinement | None = None
    more: tuple[str, ...] = ()
    if physics is not None:
        data = exposures_of([usable(part, name) for part in parts]) if several else usable(star, name)
        with torch.inference_mode(False):
            priors, relations = priors_of(request, network)
            drawn, fit, more = refined(
                physics, data, network, features.clone(), template=template, priors=priors, relations=relations,
                systematics=request.systematics, count=request.samples, seed=request.seed,
            )  # fmt: skip
    else:
        with torch.inference_mode():
            own = network.sample(features, request.samples, torch.Generator().manual_seed(request.seed))[0]
        drawn = Samples(own, own)
    before = None if physics is None else physics.coordinates.drawn
    transform = network.transform if physics is None else physics.coordinates.transform
    sizes = None if fit is None else fit.systematic
    posterior = posterior_of(transform, drawn, float(star.resolution), request.labels, request.model, before, sizes)
    lines: dict[str, int] = {}
    if physics is not None and fit is not None:
        lines, masked = count_lines(physics.coordinates.simulator, star, fit, posterior.names)
        posterior = without_masked(posterior, masked)
    short = ("short_coverage",) if float(star.good.double().mean()) < _WHOLE else ()
    return {
        "values": dict(zip(posterior.names, map(float, posterior.median), strict=True)),
        "flags": (*short, *posterior.flags, *more),
        "resolution": float(star.resolution),
        "wavelength_aa": pixels_of(header).wavelength_aa,
        "spectrum": star,
        "posterior": posterior,
        "refinement": fit,
        "lines": lines,
    }


def priors_of(request: Request, network: PosteriorNetwork) -> tuple[tuple[LabelPrior, ...], tuple[LabelPrior, ...]]:
    """Priors, and relations on labels of the network that no prior is on.

    Raises:
        ConfigError: priors that contradict each other, on a label that is not the network's, or an unknown relation.
    """
    names = {*network.transform.space.names, "alpha"}
    for prior in request.priors:
        if prior.label not in names:
            raise ConfigError(f"prior {prior.text!r}: network {request.model} has no label {prior.label}")
    if (message := contradictory(list(request.priors))) is not None:
        raise ConfigError(message)
    own = {prior.label for prior in request.priors}
    chosen = [relation(name) for name in request.relations]
    return request.priors, tuple(r for r in chosen if r.label in names and r.label not in own)


def _require_physics(there: bool, request: Request) -> None:
    if not there and (request.refine or request.priors):
        what = "priors" if request.priors else "refinement"
        raise DomainError(
            f"{what}: not possible with network {request.model} and emulator {request.emulator}: refinement "
            "must be on, and the network must be trained with that emulator and have all of its labels"
        )
