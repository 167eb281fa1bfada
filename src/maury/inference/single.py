"""`predict`: from a spectrum to its stellar parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from maury.emulator import MAX_RESOLUTION, NetworkPixels
from maury.emulator import load_cached as load_emulator
from maury.errors import ConfigError, DomainError
from maury.flags import of_stage
from maury.inference.differential import SUN, Reference
from maury.inference.element_lines import count_lines
from maury.inference.posterior import label_set, posterior_of
from maury.inference.refinement import Refinement, Samples, physics_of, refined
from maury.inference.result import Result
from maury.labels import LabelSpace
from maury.likelihood import LabelPrior, contradictory, luminosity, relation, usable
from maury.likelihood.priors import Priors, as_priors
from maury.networks import PosteriorNetwork, StarNet, load_cached, pixel_wavelengths
from maury.networks import predict as predict_labels
from maury.pixelspectra import PixelSpectra
from maury.preparation import Preparation, prepare, to_pixels
from maury.preparation.masks import Mask, inside, ordered, parse_range, require_rest
from maury.preparation.network_input import to_network
from maury.preparation.observed import observed
from maury.preparation.prepared import DAMAGED, without_damage
from maury.preparation.resample import require_resolution
from maury.spectra import Observation, Spectrum
from maury.threads import one_thread
from maury.wavelengths import C_KMS, LogGrid

DEFAULT_MODEL = "default"

SAMPLES = 4000
"""Number of posterior samples by default."""

RELATIONS = ("doyle2014", "random-axes")
"""Relations from the literature that a refined posterior obeys by default."""

LEAST_SNR = 3.0
"""Signal-to-noise per pixel of the network below which nothing is inferred."""

_SLOW_FWHM_KMS = 5.0
_WINDOW_SLACK_AA = 1.0
_WHOLE = 0.98


@one_thread()
def predict(
    star: Spectrum | Observation | str | os.PathLike[str],
    model: str = DEFAULT_MODEL,
    *,
    resolution: float | Literal["auto"] | None = None,
    velocity_kms: float | None = None,
    velocity_range_kms: tuple[float, float] | None = None,
    mask: Sequence[tuple[float, float]] = (),
    emulator: str = "packaged",
    samples: int = SAMPLES,
    seed: int = 1,
    labels: str = "default",
    refine: bool | None = None,
    priors: Priors = (),
    relations: Sequence[str] = RELATIONS,
    parallax: tuple[float, float] | None = None,
    gmag: float | None = None,
    ebv: tuple[float, float] = (0.0, 0.0),
    systematics: bool = True,
    reference: Spectrum | Observation | Reference | None = None,
    reference_labels: Mapping[str, float] = SUN,
    **reading: Any,
) -> Result:
    """Stellar parameters of an observed spectrum.

    What is not yet normalised and at rest is prepared first (`maury.prepare`): velocity, continuum, masks, merging.

    Args:
        star: what `maury.read` and `maury.prepare` return, or a file: any number of orders, in any frame, normalised
            or not.
        model: a packaged network, a run's folder or a network file.
        resolution: R = lambda / FWHM, where the file does not tell it; "auto" takes it from the width of the lines, as
            if the star rotated slowly.
        velocity_kms: radial velocity in the frame of the wavelengths, when it is known.
        velocity_range_kms: where it is searched otherwise; by default -500 to 500 km/s.
        mask: ranges of wavelength (Å in air, at rest) that are left out.
        emulator: "packaged" or an emulator's file, for the preparation: templates of the network's window.
        samples: of the posterior, from a network that gives one.
        seed: of the samples: the same seed gives the same result.
        labels: "default", "alpha", "abundances" (13 elements), or some, such as "abundances:mg,y".
        refine: weigh samples by the likelihood of the emulator's spectra; by default wherever the network was trained
            with that emulator.
        priors: external information, such as {"logg": (4.29, 0.03)} or ["logg=4.29+-0.03"] (`maury.likelihood.priors`);
            needs refinement.
        relations: from the literature (`maury.likelihood.priors.RELATIONS`) that a refined posterior obeys.
        parallax: Gaia's parallax and its error, mas: with ``gmag`` it gives luminosity, radius and mass, and through
            them log g (`maury.likelihood.luminosity`); needs refinement.
        gmag: Gaia's G, mag.
        ebv: reddening E(B-V) and its error, mag.
        systematics: whether refined uncertainties include systematic ones calibrated on benchmark stars
            (`maury.likelihood.systematics`), and known wrong lines weigh less; switch it off for simulated stars.
        reference: a star observed with the same instrument, whose labels are known: what the model gets wrong in its
            spectrum is taken out of this one, line by line; needs refinement. For many stars: what `reference_star`
            makes of it once.
        reference_labels: its labels; those of the Sun by default.
        reading: attributes of `maury.readers.ReadOptions`, such as ``medium="air"`` or ``row=3``, for a file.

    Raises:
        DomainError: the spectrum does not suit the network (coverage, resolution unknown, signal-to-noise below 3), or
            refinement is asked for where it is not possible.
        ConfigError: a mask or a prior that cannot be.
        FormatError: the file, the network or the emulator cannot be read.
    """
    given_priors = (*as_priors(priors), *light(parallax, gmag, ebv))
    label_set(labels)
    network, header = load_cached(model)
    window = _window(header)
    require_rest(ranges := ordered(mask), window)
    observation = observed(star, **reading)
    file = observation.name
    if (missed := observation.missed(*window)) is not None:
        raise DomainError(f"{file}: {missed}")
    guessed = resolution == "auto"
    searched = {"velocity_kms": velocity_kms, "velocity_range_kms": velocity_range_kms}
    if resolution == "auto":
        resolution = guess_resolution(observation, emulator, ranges, **searched)
    resolution = require_resolution(file, observation.resolution if resolution is None else resolution)
    preparation, done = None, _flags_before(observation)
    if is_prepared(observation) and (observation.single().sigma is not None or isinstance(network, StarNet)):
        spectrum, damage = without_damage(observation.single().with_(resolution=resolution), resolution)
        spectrum = _masked(spectrum, ranges)
        done += ["damaged_pixels"] if damage > DAMAGED and "damaged_pixels" not in done else []
    else:
        if is_prepared(observation) and velocity_kms is None:
            searched["velocity_kms"] = 0.0
        preparation = _prepare(observation, window, resolution, emulator, mask=ranges, **searched)
        spectrum, done = preparation.spectrum, list(preparation.flags)
    if isinstance(network, PosteriorNetwork):
        template = None if preparation is None else preparation.template
        ask = _Ask(model, emulator, labels, samples, seed, refine, given_priors, tuple(relations), systematics)
        if reference is not None:
            ask = replace(ask, reference=_reference(reference, resolution, reference_labels, ask))
        name = str(spectrum.provenance.get("file", "spectrum"))
        noted = spectrum.provenance.get("warnings", ())
        result = _posterior(network, header, to_network(spectrum, _pixels(header)), name, ask, template, noted)
    elif refine or given_priors or labels != "default":
        raise DomainError(f"{model}: gives points alone; refinement, priors and sets of labels need a posterior")
    else:
        result = _points(network, header, spectrum)
    done += ["resolution_assumed"] if guessed else []
    flags = (*done, *(flag for flag in result["flags"] if flag not in done))
    typical = {k: float(v) for k, v in header.get("typical_errors", {}).items()}
    given = tuple(map(parse_range, observation.provenance.get("mask", ())))  # when it was prepared
    result |= {"flags": flags, "mask_aa": ordered((*given, *ranges))}
    return Result(file, model, typical_errors=typical, preparation=preparation, **result)


@one_thread()
def predict_pixels(
    star: PixelSpectra,
    model: str = DEFAULT_MODEL,
    *,
    name: str = "spectrum",
    emulator: str = "packaged",
    samples: int = SAMPLES,
    seed: int = 1,
    labels: str = "default",
    relations: Sequence[str] = RELATIONS,
    systematics: bool = True,
    reference: Reference | None = None,
) -> Result:
    """Refined stellar parameters of one spectrum that is on a network's pixels already; arguments as for `predict`.

    Args:
        star: as `maury.preparation.network_input.to_network` gives it.
        model: a network with a posterior.
        name: of the star, for messages.
        emulator: of the refinement.
        samples: of the posterior.
        seed: of the samples.
        labels: set of labels.
        relations: from the literature, that the posterior obeys.
        systematics: whether uncertainties include systematic ones.
        reference: what the model gets wrong in a star whose labels are known, to be taken out.

    Raises:
        DomainError: as `predict`; a network without posterior.
        FormatError: the network or the emulator cannot be read.
    """
    network, header = load_cached(model)
    if not isinstance(network, PosteriorNetwork):
        raise DomainError(f"{model}: gives points alone, no posterior")
    ask = _Ask(model, emulator, labels, samples, seed, True, (), tuple(relations), systematics, reference)
    typical = {key: float(value) for key, value in header.get("typical_errors", {}).items()}
    return Result(name, model, typical_errors=typical, **_posterior(network, header, star, name, ask))


def reference_star(
    star: Spectrum | Observation,
    model: str = DEFAULT_MODEL,
    *,
    resolution: float | Literal["auto"] | None = None,
    labels: Mapping[str, float] = SUN,
    emulator: str = "packaged",
) -> Reference:
    """What the model gets wrong in a star whose labels are known, to be taken out of others by `predict`.

    Args:
        star: observed with the same instrument as the others.
        model: the network that the others are for.
        resolution: R = lambda / FWHM, where the file does not tell it, or "auto" (`predict`).
        labels: its labels; those of the Sun by default.
        emulator: "packaged" or an emulator's file.

    Raises:
        DomainError: refinement is not possible with that network, or star or labels do not suit it.
        FormatError: the network or the emulator cannot be read.
    """
    _, header = load_cached(model)
    observation = observed(star)
    name = str(observation.provenance.get("file", "reference"))
    physics = physics_of(model, emulator, True, differential=True)
    if physics is None:
        raise DomainError(f"{name}: a reference needs refinement, which is not possible here")
    if resolution == "auto":
        resolution = guess_resolution(observation, emulator)
    resolution = require_resolution(name, observation.resolution if resolution is None else resolution)
    if is_prepared(observation) and observation.single().sigma is not None:
        spectrum = observation.single().with_(resolution=resolution)
    else:
        spectrum = _prepare(observation, _window(header), resolution, emulator).spectrum
    return Reference.of(physics, to_network(spectrum, _pixels(header)), dict(labels), name)


def guess_resolution(observation: Observation, emulator: str, mask: Mask = (), **searched: Any) -> float:
    """R from the width of the lines, if v sin i is 2 km/s and macroturbulence usual; a fast rotator gives too low an R.

    A template without an instrument's profile takes up all of the broadening in its rotation, whose profile has a FWHM
    of 1.5 v sin i; rotation and macroturbulence of a slow star are subtracted in quadrature.

    Args:
        observation: the spectrum.
        emulator: of the templates.
        mask: ranges that are left out.
        searched: ``velocity_kms`` or ``velocity_range_kms`` of `maury.prepare`.
    """
    bare = Observation(tuple(order.with_(resolution=None) for order in observation.orders), None, {})
    template = prepare(bare, mask=mask, emulator=load_emulator(emulator), **searched).template
    width = np.sqrt(max((1.5 * template["vsini"]) ** 2 - _SLOW_FWHM_KMS**2, 0.0))
    return float(np.clip(C_KMS / max(width, 1e-3), 5_000.0, MAX_RESOLUTION))


def _points(network: StarNet, header: dict[str, Any], spectrum: Spectrum) -> dict[str, Any]:
    """Labels, flags, resolution and pixels by a network that gives points."""
    wavelength = pixel_wavelengths(header)
    star, flags = to_pixels(spectrum, wavelength, header["resolution"])
    values = predict_labels(network, header, star.flux.numpy()[None])[0]
    space = LabelSpace.from_header(header)
    outside = [f"outside_{n}" for n, x in zip(space.names, space.normalise(values), strict=True) if not 0 <= x <= 1]
    return {
        "values": dict(zip(space.names, map(float, values), strict=True)),
        "flags": (*flags, *outside),
        "resolution": header["resolution"],
        "wavelength_aa": wavelength,
        "spectrum": star,
    }


def light(
    parallax: tuple[float, float] | None, gmag: float | None, ebv: tuple[float, float] = (0.0, 0.0)
) -> tuple[LabelPrior, ...]:
    """What parallax and magnitude say on log g; nothing where neither is given.

    Raises:
        DomainError: one without the other, or as `maury.likelihood.luminosity`.
    """
    if parallax is None and gmag is None:
        return ()
    if parallax is None or gmag is None:
        missing, there = ("parallax", "gmag") if parallax is None else ("gmag", "parallax")
        raise DomainError(f"{there} is given without {missing}: a luminosity needs both", parameter=missing)
    return (luminosity(parallax, gmag, ebv),)


@dataclass(frozen=True)
class _Ask:
    """What is wanted of a posterior."""

    model: str
    emulator: str
    labels: str
    samples: int
    seed: int
    refine: bool | None
    priors: tuple[LabelPrior, ...]
    relations: tuple[str, ...]
    systematics: bool
    reference: Reference | None = None


def _posterior(
    network: PosteriorNetwork,
    header: dict[str, Any],
    star: PixelSpectra,
    name: str,
    ask: _Ask,
    template: dict[str, float] | None = None,
    noted: Sequence[str] = (),
) -> dict[str, Any]:
    """Medians, flags, resolution, pixels, posterior and refinement by the default network."""
    _require_signal(star, name, noted)
    if ask.reference is not None:
        star = ask.reference.applied(star, name)
    with torch.inference_mode():
        features = network(star[None])
    physics = None
    if ask.refine is not False:
        physics = physics_of(ask.model, ask.emulator, ask.systematics, differential=ask.reference is not None)
    _require_physics(physics is not None, ask)
    fit: Refinement | None = None
    more: tuple[str, ...] = ()
    if physics is not None:
        data = usable(star, name)
        with torch.inference_mode(False):
            priors, relations = _priors(ask, network)
            drawn, fit, more = refined(
                physics, data, network, features.clone(), template=template, priors=priors, relations=relations,
                systematics=ask.systematics, count=ask.samples, seed=ask.seed,
            )  # fmt: skip
    else:
        with torch.inference_mode():
            own = network.sample(features, ask.samples, torch.Generator().manual_seed(ask.seed))[0]
        drawn = Samples(own, own)
    before = None if physics is None else physics.coordinates.drawn
    transform = network.transform if physics is None else physics.coordinates.transform
    sizes = None if fit is None else fit.systematic
    posterior = posterior_of(transform, drawn, float(star.resolution), ask.labels, ask.model, before, sizes)
    lines = (
        {} if physics is None or fit is None else count_lines(physics.coordinates.simulator, star, fit, posterior.names)
    )
    short = ("short_coverage",) if float(star.good.double().mean()) < _WHOLE else ()
    return {
        "values": dict(zip(posterior.names, map(float, posterior.median), strict=True)),
        "flags": (*short, *posterior.flags, *more),
        "resolution": float(star.resolution),
        "wavelength_aa": _pixels(header).wavelength_aa,
        "spectrum": star,
        "posterior": posterior,
        "refinement": fit,
        "lines": lines,
    }


def _window(header: dict[str, Any]) -> tuple[float, float]:
    """First and last wavelength of a network's pixels, Å."""
    first, last = pixel_wavelengths(header)[[0, -1]]
    return float(first), float(last)


def _masked(spectrum: Spectrum, mask: Mask) -> Spectrum:
    """A spectrum at rest without the pixels in the ranges."""
    return spectrum.with_(mask=np.asarray(spectrum.mask, bool) | inside(spectrum.wavelength_aa, mask))


def _pixels(header: dict[str, Any]) -> NetworkPixels:
    stored = header["pixels"]
    return NetworkPixels(LogGrid(**stored["grid"]), stored["first"], stored["count"], stored["resolution"])


def _reference(
    star: Spectrum | Observation | Reference, resolution: float, labels: Mapping[str, float], ask: _Ask
) -> Reference:
    """A reference as it was given, or made of a star; R where its file tells none is that of the star to predict.

    Raises:
        DomainError: nothing is to be refined, or as `reference_star`.
    """
    if ask.refine is False:
        raise DomainError("a reference needs refinement", parameter="refine", value=False)
    if isinstance(star, Reference):
        return star
    own = observed(star).resolution
    return reference_star(
        star, ask.model, resolution=resolution if own is None else own, labels=labels, emulator=ask.emulator
    )


def _priors(ask: _Ask, network: PosteriorNetwork) -> tuple[tuple[LabelPrior, ...], tuple[LabelPrior, ...]]:
    """Priors, and relations on labels of the network that no prior is on.

    Raises:
        ConfigError: priors that contradict each other, on a label that is not the network's, or an unknown relation.
    """
    names = {*network.transform.space.names, "alpha"}
    for prior in ask.priors:
        if prior.label not in names:
            raise ConfigError(f"prior {prior.text!r}: network {ask.model} has no label {prior.label}")
    if (message := contradictory(list(ask.priors))) is not None:
        raise ConfigError(message)
    own = {prior.label for prior in ask.priors}
    chosen = [relation(name) for name in ask.relations]
    return ask.priors, tuple(r for r in chosen if r.label in names and r.label not in own)


def _require_signal(star: PixelSpectra, name: str, warnings: Sequence[str]) -> None:
    snr = float(1 / np.median(star.sigma[star.good].numpy()))
    if snr < LEAST_SNR:
        hint = "".join(f"; {text}" for text in warnings if "noise measured in the flux" in text)
        raise DomainError(
            f"{name}: signal-to-noise {snr:.1f} per pixel of 2 km/s; at least {LEAST_SNR:g} is needed for "
            f"parameters{hint}",
            parameter="ignore_sigma" if hint else None,
        )


def _require_physics(there: bool, ask: _Ask) -> None:
    if not there and (ask.refine or ask.priors):
        what = "priors" if ask.priors else "refinement"
        raise DomainError(
            f"{what}: not possible with network {ask.model} and emulator {ask.emulator}: refinement must be on, and "
            "the network trained with that emulator, for all of its labels"
        )


def is_prepared(observation: Observation) -> bool:
    """Whether a spectrum is normalised and at rest by its own header."""
    return len(observation.orders) == 1 and observation.normalised and observation.frame == "rest"


def _flags_before(observation: Observation) -> list[str]:
    """Flags that a spectrum got when it was prepared, as it or its file tells."""
    return [flag for flag in observation.provenance.get("flags", ()) if flag in of_stage("preparation")]


def _prepare(
    observation: Observation,
    window: tuple[float, float],
    resolution: float,
    emulator: str,
    **settings: Any,
) -> Preparation:
    """Prepare for a network's window, with further settings of `maury.prepare`.

    Raises:
        DomainError: the emulator is one of another window.
    """
    templates = load_emulator(emulator)
    low, high = templates.window_aa
    if window[0] < low - _WINDOW_SLACK_AA or window[1] > high + _WINDOW_SLACK_AA:
        file = observation.provenance.get("file", "spectrum")
        raise DomainError(
            f"{file}: has to be prepared for the network's window {window[0]:.0f} to {window[1]:.0f} Å, but the "
            f"emulator ({emulator}) is for {low:.0f} to {high:.0f} Å; give one of that window",
            parameter="emulator",
            value=emulator,
        )
    return prepare(observation, resolution=resolution, window_aa=window, emulator=templates, **settings)
