"""`predict`: from a spectrum to its stellar parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from maury.emulator import NetworkPixels
from maury.emulator import load_cached as load_emulator
from maury.errors import DomainError
from maury.inference.posterior import sample
from maury.inference.result import Result
from maury.labels import LabelSpace
from maury.networks import PosteriorNetwork, StarNet, load, pixel_wavelengths
from maury.networks import predict as predict_labels
from maury.networks.posterior import Inputs
from maury.preparation import FLAGS as PREPARATION_FLAGS
from maury.preparation import Preparation, Prepared, prepare, to_pixels
from maury.preparation.network import to_network
from maury.preparation.pixels import require_resolution
from maury.spectra import Observation, Spectrum
from maury.wavelengths import LogGrid

DEFAULT_MODEL = "starnet-spc"

SAMPLES = 4000
"""Samples of a posterior, unless told otherwise."""

_WINDOW_SLACK_AA = 1.0
_WHOLE = 0.98


def predict(
    star: Spectrum | Observation,
    model: str = DEFAULT_MODEL,
    *,
    resolution: float | None = None,
    velocity_kms: float | None = None,
    emulator: str = "packaged",
    samples: int = SAMPLES,
    seed: int = 1,
) -> Result:
    """Stellar parameters of an observed spectrum.

    What is not yet normalised and at rest is prepared first (`maury.prepare`): velocity, continuum, masks, merging.

    Args:
        star: what `maury.read` or `maury.prepare` give: any number of orders, in any frame, normalised or not.
        model: a packaged network, a run's folder or a network file.
        resolution: R = lambda / FWHM, where the file does not tell it.
        velocity_kms: radial velocity in the frame of the wavelengths, when it is known.
        emulator: "packaged" or an emulator's file, for the preparation: templates of the network's window.
        samples: of the posterior, from a network that gives one.
        seed: of the samples: the same seed gives the same result.

    Raises:
        DomainError: the spectrum does not suit the network (coverage, resolution unknown).
        FormatError: the network or the emulator cannot be read.
    """
    network, header = load_cached(model)
    wavelength = pixel_wavelengths(header)
    observation = star if isinstance(star, Observation) else Observation((star,), None, dict(star.provenance))
    file = str(observation.provenance.get("file", "spectrum"))
    resolution = require_resolution(file, observation.resolution if resolution is None else resolution)
    preparation = None
    if is_prepared(observation) and (observation.single().sigma is not None or isinstance(network, StarNet)):
        spectrum = observation.single().with_(resolution=resolution)
    else:
        window = (float(wavelength[0]), float(wavelength[-1]))
        known = 0.0 if is_prepared(observation) and velocity_kms is None else velocity_kms
        preparation = _prepare(observation, window, resolution, known, emulator)
        spectrum = preparation.spectrum
    if isinstance(network, PosteriorNetwork):
        result = _posterior(network, header, spectrum, samples, seed)
    else:
        result = _points(network, header, spectrum)
    done = _flags_before(observation) if preparation is None else list(preparation.flags)
    flags = (*done, *(flag for flag in result["flags"] if flag not in done))
    typical = {k: float(v) for k, v in header.get("typical_errors", {}).items()}
    return Result(file, model, typical_errors=typical, preparation=preparation, **result | {"flags": flags})


def _points(network: StarNet, header: dict[str, Any], spectrum: Spectrum) -> dict[str, Any]:
    """Labels, flags, resolution and pixels by a network that gives points."""
    prepared = to_pixels(spectrum, pixel_wavelengths(header), header["resolution"])
    values = predict_labels(network, header, prepared.flux[None])[0]
    space = LabelSpace.from_header(header)
    outside = [f"outside_{n}" for n, x in zip(space.names, space.normalise(values), strict=True) if not 0 <= x <= 1]
    return {
        "values": dict(zip(space.names, map(float, values), strict=True)),
        "flags": (*prepared.flags, *outside),
        "resolution": header["resolution"],
        "prepared": prepared,
    }


def _posterior(
    network: PosteriorNetwork, header: dict[str, Any], spectrum: Spectrum, samples: int, seed: int
) -> dict[str, Any]:
    """Medians, flags, resolution, pixels and posterior by the default network."""
    stored = header["pixels"]
    pixels = NetworkPixels(LogGrid(**stored["grid"]), stored["first"], stored["count"], stored["resolution"])
    star = to_network(spectrum, pixels)
    flux, sigma, good = (torch.from_numpy(part)[None] for part in (star.flux, star.sigma, star.good))
    posterior = sample(network, Inputs(flux, sigma, good, torch.tensor([star.resolution]).float()), samples, seed)[0]
    short = ("short_coverage",) if star.good.mean() < _WHOLE else ()
    return {
        "values": dict(zip(posterior.names, map(float, posterior.median), strict=True)),
        "flags": (*short, *posterior.flags),
        "resolution": float(star.resolution),
        "prepared": Prepared(pixels.wavelength_aa, star.flux.astype(float), star.good, short),
        "posterior": posterior,
    }


def is_prepared(observation: Observation) -> bool:
    """Whether a spectrum says of itself that it is one, normalised and at rest."""
    return len(observation.orders) == 1 and observation.normalised and observation.frame == "rest"


def _flags_before(observation: Observation) -> list[str]:
    """Flags that a spectrum got when it was prepared, as it or its file tells."""
    return [flag for flag in observation.provenance.get("flags", ()) if flag in PREPARATION_FLAGS]


def _prepare(
    observation: Observation,
    window: tuple[float, float],
    resolution: float,
    velocity_kms: float | None,
    emulator: str,
) -> Preparation:
    """Prepare for a network's window.

    Raises:
        DomainError: the emulator is one of another window.
    """
    templates = load_emulator(emulator)
    low, high = templates.window_aa
    if window[0] < low - _WINDOW_SLACK_AA or window[1] > high + _WINDOW_SLACK_AA:
        file = observation.provenance.get("file", "spectrum")
        raise DomainError(
            f"{file}: has to be prepared for the network's window {window[0]:.0f} to {window[1]:.0f} Å, but the "
            f"emulator ({emulator}) is for {low:.0f} to {high:.0f} Å; give one of that window with --emulator"
        )
    return prepare(observation, resolution=resolution, velocity_kms=velocity_kms, window_aa=window, emulator=templates)


@lru_cache(maxsize=4)
def load_cached(model: str) -> tuple[StarNet | PosteriorNetwork, dict[str, Any]]:
    """A network and its header; a few that were used last stay in memory."""
    return load(model)
