"""`predict`: from a spectrum to its stellar parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from maury.errors import DomainError
from maury.inference.components import check_components, fits_two, two_stars
from maury.inference.cool_dwarfs import CoolDwarfs
from maury.inference.differential import SUN, Reference
from maury.inference.exposures import Exposure, Star, common_flags, label_distances, prepare_exposures, with_joint_fit
from maury.inference.from_pixels import Request, infer, priors_of
from maury.inference.posterior import label_set
from maury.inference.ready import (
    Ready,
    check_of,
    guess_resolution,
    is_prepared,
    pixels_of,
    prepare_for,
    ready,
    window_of,
)
from maury.inference.refinement import physics_of
from maury.inference.result import Result
from maury.labels import LabelSpace
from maury.likelihood import luminosity_prior
from maury.likelihood.priors import Priors, as_priors
from maury.networks import PosteriorNetwork, StarNet, load_cached, pixel_wavelengths
from maury.networks import predict as predict_labels
from maury.pixelspectra import PixelSpectra
from maury.preparation import to_pixels
from maury.preparation.masks import ordered, require_rest
from maury.preparation.network_input import to_network
from maury.preparation.observed import observed
from maury.preparation.resample import require_resolution
from maury.spectra import Observation, Spectrum
from maury.threads import one_thread

DEFAULT_MODEL = "default"

SAMPLES = 4000
"""Number of posterior samples by default."""

RELATIONS = ("doyle2014", "random-axes")
"""Relations from the literature that a refined posterior obeys by default."""

_WHOLE = 0.98


@one_thread()
def predict(
    star: Star | Sequence[Star],
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
    reference: Spectrum | Observation | Reference | CoolDwarfs | None = None,
    reference_labels: Mapping[str, float] = SUN,
    components: int | None = None,
    **reading: Any,
) -> Result:
    """Stellar parameters of an observed spectrum.

    A spectrum that is not normalised and at rest is prepared first (`maury.prepare`).

    Args:
        star: what `maury.read` and `maury.prepare` return, or a file: any number of orders, in any frame, normalised
            or not. A list of these is exposures of one star, which are fitted together: each with its velocity,
            continuum and noise, the errors of the physics in common. One that cannot be used is left out by name
            (`Result.exposures`).
        model: a packaged network, a run's folder or a network file.
        resolution: R = lambda / FWHM, needed where the file does not give it; "auto" estimates it from the width of the
            lines, assuming a slow rotator.
        velocity_kms: radial velocity in the frame of the wavelengths, when it is known.
        velocity_range_kms: where it is searched otherwise; by default -500 to 500 km/s.
        mask: ranges of wavelength (Å in air, at rest) that are left out.
        emulator: "packaged" or an emulator's file, for the preparation: templates of the network's window.
        samples: number of posterior samples (not for networks that give point estimates).
        seed: of the random numbers: the same seed gives the same result.
        labels: "default", "alpha", "abundances" (13 elements), or some elements, such as "abundances:mg,y".
        refine: weigh samples by the likelihood of the emulator's spectra; by default wherever the network was trained
            with that emulator.
        priors: priors on labels, such as {"logg": (4.29, 0.03)} or ["logg=4.29+-0.03"] (`maury.likelihood.priors`);
            needs refinement.
        relations: names of relations from the literature (`maury.likelihood.priors.RELATIONS`), priors of the refined
            fit.
        parallax: Gaia's parallax and its error, mas: with ``gmag`` it gives luminosity, radius and mass, and through
            them log g (`maury.likelihood.luminosity`); needs refinement.
        gmag: Gaia's G, mag.
        ebv: reddening E(B-V) and its error, mag.
        systematics: whether refined uncertainties include systematic ones calibrated on benchmark stars
            (`maury.likelihood.systematics`), and known wrong lines weigh less; switch it off for simulated stars.
        reference: spectrum of a star with known labels, from the same instrument: this spectrum is corrected, pixel by
            pixel, by the ratio of the reference's model to its observed flux; needs refinement. For many stars, call
            `reference_star` once and give its result. Dwarfs below 4500 K are corrected by standard dwarfs
            (`maury.inference.cool_dwarfs`) by default.
        reference_labels: labels of the reference; those of the Sun by default.
        components: 2 also fits two stars (`Result.two`), 1 never; by default two are fitted where the preparation
            flags ``double_lined``, and shown if they are clearly more probable.
        reading: attributes of `maury.readers.ReadOptions`, such as ``medium="air"`` or ``row=3``, for a file.

    Raises:
        DomainError: the spectrum does not suit the network (coverage, resolution unknown, signal-to-noise below 3), or
            refinement is asked for where it is not possible.
        ConfigError: a mask or a prior is invalid.
        FormatError: the file, the network or the emulator cannot be read.
    """
    given_priors = (*as_priors(priors), *luminosity_prior(parallax, gmag, ebv))
    label_set(labels)
    network, header = load_cached(model)
    posterior = isinstance(network, PosteriorNetwork)
    check_components(components, posterior and refine is not False, isinstance(star, list | tuple), given_priors)
    window = window_of(header)
    require_rest(ranges := ordered(mask), window)

    def prepared(one: Star) -> Ready:
        return ready(
            one, window=window, resolution=resolution, emulator=emulator, mask=ranges, velocity_kms=velocity_kms,
            velocity_range_kms=velocity_range_kms, noise=posterior, **reading,
        )  # fmt: skip

    exposures: tuple[Exposure, ...] = ()
    if isinstance(star, list | tuple):
        exposures = prepare_exposures(star, prepared, check_of(network, header))
        done = [exposure.ready for exposure in exposures if exposure.ready is not None]
    else:
        done = [prepared(cast(Star, star))]
    brightest = max(done, key=lambda one: 0.0 if one.preparation is None else one.preparation.snr)
    spectrum, preparation = brightest.spectrum, brightest.preparation
    if isinstance(network, PosteriorNetwork):
        template = None if preparation is None else preparation.template
        request = Request(model, emulator, labels, samples, seed, refine, given_priors, tuple(relations), systematics)
        if reference is not None:
            own = require_resolution(brightest.file, spectrum.resolution)
            request = replace(request, reference=_reference(reference, own, reference_labels, request))
        name = str(spectrum.provenance.get("file", "spectrum"))
        noted = spectrum.provenance.get("warnings", ())
        pixels = [to_network(one.spectrum, pixels_of(header)) for one in done]
        data = PixelSpectra.cat([one[None] for one in pixels]) if exposures else pixels[0]
        result = infer(network, header, data, name, request, template, noted)
    elif refine or given_priors or labels != "default":
        raise DomainError(f"{model}: gives point estimates; refinement, priors and sets of labels need a posterior")
    else:
        result = _points(network, header, spectrum)
    typical = {k: float(v) for k, v in header.get("typical_errors", {}).items()}
    result |= {"mask_aa": done[0].mask_aa, "typical_errors": typical}
    if exposures and isinstance(network, PosteriorNetwork):
        return _together(exposures, data, network, model, result)
    flags = (*done[0].flags, *(flag for flag in result["flags"] if flag not in done[0].flags))
    if isinstance(network, PosteriorNetwork) and fits_two(components, flags, result, given_priors):
        velocity = None if preparation is None else preparation.velocity_kms
        flags += _two(components, result, request, network, done[0].file, velocity)
    return Result(done[0].file, model, preparation=preparation, **result | {"flags": flags})


def _together(
    exposures: tuple[Exposure, ...], data: PixelSpectra, network: PosteriorNetwork, model: str, result: dict[str, Any]
) -> Result:
    """The joint result of exposures of one star, with noise, residuals and flags of each exposure."""
    fit = result["refinement"]
    exposures = with_joint_fit(exposures, None if fit is None else fit.details, label_distances(network, data))
    flags = common_flags(exposures)
    flags = (*flags, *(flag for flag in result["flags"] if flag not in flags))
    used = [exposure.file for exposure in exposures if exposure.status != "failed"]
    file = used[0] if len(used) == 1 else f"{used[0]} (+{len(used) - 1})"
    return Result(file, model, exposures=exposures, **result | {"flags": flags})


def _two(
    components: int | None,
    result: dict[str, Any],
    request: Request,
    network: PosteriorNetwork,
    name: str,
    velocity_kms: float | None = None,
) -> tuple[str, ...]:
    """Add two stars to a result, where they were asked for or are clearly more probable; flags of them."""
    physics = request.physics()
    assert physics is not None  # as the result is refined
    two = two_stars(
        physics, result["spectrum"], result["refinement"].labels, relations=priors_of(request, network)[1],
        velocity_kms=velocity_kms, systematics=request.systematics, count=request.samples, seed=request.seed,
        name=name,
    )  # fmt: skip
    found = two.status == "two"
    if found or components == 2:
        result["two"] = two
    return ("two_stars",) if found else ()


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
    reference: Reference | CoolDwarfs | None = None,
    components: int | None = None,
    parallax: tuple[float, float] | None = None,
    gmag: float | None = None,
    ebv: tuple[float, float] = (0.0, 0.0),
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
        reference: corrections from a star with known labels (`reference_star`).
        components: 2 also fits two stars.
        parallax: Gaia's parallax and its error, mas.
        gmag: Gaia's G, mag.
        ebv: reddening E(B-V) and its error, mag.

    Raises:
        DomainError: as `predict`; a network without posterior.
        FormatError: the network or the emulator cannot be read.
    """
    network, header = load_cached(model)
    if not isinstance(network, PosteriorNetwork):
        raise DomainError(f"{model}: gives point estimates, no posterior")
    priors = luminosity_prior(parallax, gmag, ebv)
    check_components(components, refined=True, several=False, priors=priors)
    request = Request(model, emulator, labels, samples, seed, True, priors, tuple(relations), systematics, reference)
    typical = {key: float(value) for key, value in header.get("typical_errors", {}).items()}
    result = infer(network, header, star, name, request)
    if components == 2 and fits_two(components, result["flags"], result, ()):
        result["flags"] += _two(components, result, request, network, name)
    return Result(name, model, typical_errors=typical, **result)


def reference_star(
    star: Spectrum | Observation,
    model: str = DEFAULT_MODEL,
    *,
    resolution: float | Literal["auto"] | None = None,
    labels: Mapping[str, float] = SUN,
    emulator: str = "packaged",
) -> Reference:
    """Measure corrections of the model on a star with known labels, for use by `predict` as ``reference``.

    Args:
        star: spectrum of the reference, from the same instrument as the stars to predict.
        model: the network that will predict them.
        resolution: R = lambda / FWHM, needed where the file does not give it, or "auto" (`predict`).
        labels: labels of the reference; those of the Sun by default.
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
        spectrum = prepare_for(observation, window_of(header), resolution, emulator).spectrum
    return Reference.of(physics, to_network(spectrum, pixels_of(header)), dict(labels), name)


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


def _reference(
    star: Spectrum | Observation | Reference | CoolDwarfs,
    resolution: float,
    labels: Mapping[str, float],
    request: Request,
) -> Reference | CoolDwarfs:
    """The reference, made from its spectrum if necessary; R where its file gives none is that of the star to predict.

    Raises:
        DomainError: refinement is off, or as `reference_star`.
    """
    if request.refine is False:
        raise DomainError("a reference needs refinement", parameter="refine", value=False)
    if isinstance(star, Reference | CoolDwarfs):
        return star
    own = observed(star).resolution
    return reference_star(
        star, request.model, resolution=resolution if own is None else own, labels=labels, emulator=request.emulator
    )
