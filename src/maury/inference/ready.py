"""Bring a file or spectrum to normalised flux at rest, as a network needs it, and record the steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from maury.emulator import MAX_RESOLUTION, NetworkPixels
from maury.emulator import load_cached as load_emulator
from maury.errors import DomainError
from maury.flags import of_stage
from maury.networks import PosteriorNetwork, StarNet, pixel_wavelengths
from maury.pixelspectra import PixelSpectra
from maury.preparation import Preparation, prepare
from maury.preparation.masks import Mask, inside, ordered, parse_range
from maury.preparation.network_input import to_network
from maury.preparation.observed import observed
from maury.preparation.prepared import DAMAGED, without_damage
from maury.preparation.resample import require_resolution
from maury.spectra import Observation, Spectrum
from maury.wavelengths import C_KMS, LogGrid

LEAST_SNR = 3.0
"""Signal-to-noise per pixel of the network below which nothing is inferred."""

_SLOW_FWHM_KMS = 5.0
_WINDOW_SLACK_AA = 1.0


@dataclass(frozen=True)
class Ready:
    """A spectrum that a network can take.

    Attributes:
        file: where it came from.
        observation: as it was read.
        spectrum: normalised, at rest.
        preparation: how it was prepared, or None when it was normalised and at rest already.
        flags: from these steps.
        mask_aa: ranges that the user left out, Å in air, at rest.
    """

    file: str
    observation: Observation
    spectrum: Spectrum
    preparation: Preparation | None
    flags: tuple[str, ...]
    mask_aa: Mask


def ready(
    star: Spectrum | Observation | str | os.PathLike[str],
    *,
    window: tuple[float, float],
    resolution: float | Literal["auto"] | None,
    emulator: str,
    mask: Mask,
    velocity_kms: float | None,
    velocity_range_kms: tuple[float, float] | None,
    noise: bool,
    **reading: Any,
) -> Ready:
    """Prepare a spectrum for a network, unless it is normalised and at rest; arguments as for `maury.predict`.

    Args:
        star: what `maury.read` returns, a spectrum, or a file.
        window: of the network, Å.
        resolution: R = lambda / FWHM, "auto", or None for that of the file.
        emulator: of the templates.
        mask: ranges that are left out.
        velocity_kms: radial velocity, when it is known.
        velocity_range_kms: where it is searched otherwise.
        noise: also prepare a spectrum at rest that has no sigma, to measure its noise.
        reading: attributes of `maury.readers.ReadOptions`, for a file.

    Raises:
        DomainError: the spectrum does not overlap the window, or R is unknown.
        FormatError: the file cannot be read.
    """
    observation = observed(star, **reading)
    file = observation.name
    if (missed := observation.missed(*window)) is not None:
        raise DomainError(f"{file}: {missed}")
    guessed = resolution == "auto"
    searched = {"velocity_kms": velocity_kms, "velocity_range_kms": velocity_range_kms}
    if resolution == "auto":
        resolution = guess_resolution(observation, emulator, mask, **searched)
    resolution = require_resolution(file, observation.resolution if resolution is None else resolution)
    preparation, done = None, _flags_before(observation)
    if is_prepared(observation) and (observation.single().sigma is not None or not noise):
        spectrum, damage = without_damage(observation.single().with_(resolution=resolution), resolution)
        spectrum = _masked(spectrum, mask)
        if damage > DAMAGED or _ghost(observation, window, resolution, emulator, mask):
            done += ["damaged_pixels"] if "damaged_pixels" not in done else []
    else:
        if is_prepared(observation) and velocity_kms is None:
            searched["velocity_kms"] = 0.0
        preparation = prepare_for(observation, window, resolution, emulator, mask=mask, **searched)
        spectrum, done = preparation.spectrum, list(preparation.flags)
    done += ["resolution_assumed"] if guessed else []
    given = tuple(map(parse_range, observation.provenance.get("mask", ())))  # when it was prepared
    return Ready(file, observation, spectrum, preparation, tuple(done), ordered((*given, *mask)))


def _ghost(observation: Observation, window: tuple[float, float], resolution: float, emulator: str, mask: Mask) -> bool:
    """Whether a template fit at rest finds damage, such as a ghost, in a spectrum that another program prepared.

    A spectrum with recorded flags was tested by `maury.prepare` already. There is no test where the emulator does not
    cover the window, or the signal is too low for a fit.
    """
    if "flags" in observation.provenance:
        return False
    try:
        return (
            "damaged_pixels"
            in prepare_for(observation, window, resolution, emulator, mask=mask, velocity_kms=0.0).flags
        )
    except DomainError:
        return False


def guess_resolution(observation: Observation, emulator: str, mask: Mask = (), **searched: Any) -> float:
    """Estimate R from the width of the lines of a slow rotator; a fast rotator gives an R that is too low.

    A template without instrument profile is fitted, so that its v sin i describes all of the broadening, with a FWHM of
    1.5 v sin i. A v sin i of 2 km/s and a usual macroturbulence are subtracted in quadrature; the rest is c / R.

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


def is_prepared(observation: Observation) -> bool:
    """Whether a spectrum is normalised and at rest by its own header."""
    return len(observation.orders) == 1 and observation.normalised and observation.frame == "rest"


def window_of(header: dict[str, Any]) -> tuple[float, float]:
    """First and last wavelength of a network's pixels, Å."""
    first, last = pixel_wavelengths(header)[[0, -1]]
    return float(first), float(last)


def pixels_of(header: dict[str, Any]) -> NetworkPixels:
    """Pixels of a network by its header."""
    stored = header["pixels"]
    return NetworkPixels(LogGrid(**stored["grid"]), stored["first"], stored["count"], stored["resolution"])


def _masked(spectrum: Spectrum, mask: Mask) -> Spectrum:
    """A spectrum at rest without the pixels in the ranges."""
    return spectrum.with_(mask=np.asarray(spectrum.mask, bool) | inside(spectrum.wavelength_aa, mask))


def _flags_before(observation: Observation) -> list[str]:
    """Flags from an earlier preparation, recorded in the spectrum or its file."""
    return [flag for flag in observation.provenance.get("flags", ()) if flag in of_stage("preparation")]


def prepare_for(
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
            f"{file}: must be prepared for the network's window {window[0]:.0f} to {window[1]:.0f} Å, but the "
            f"emulator ({emulator}) covers {low:.0f} to {high:.0f} Å; give an emulator of the network's window",
            parameter="emulator",
            value=emulator,
        )
    return prepare(observation, resolution=resolution, window_aa=window, emulator=templates, **settings)


def signal_to_noise(star: PixelSpectra) -> float:
    """Median signal-to-noise of the continuum per good pixel of the network."""
    return float(1 / np.median(star.sigma[star.good].numpy()))


def require_signal(star: PixelSpectra, name: str, warnings: Sequence[str]) -> None:
    """Refuse a spectrum (p,) that is too noisy.

    Raises:
        DomainError: signal-to-noise below `LEAST_SNR`.
    """
    snr = signal_to_noise(star)
    if snr < LEAST_SNR:
        hint = "".join(f"; {text}" for text in warnings if "noise measured in the flux" in text)
        raise DomainError(
            f"{name}: signal-to-noise {snr:.1f} per pixel of 2 km/s; at least {LEAST_SNR:g} is needed for "
            f"parameters{hint}",
            parameter="ignore_sigma" if hint else None,
        )


def check_of(network: PosteriorNetwork | StarNet, header: dict[str, Any]) -> Callable[[Spectrum, str], None]:
    """Return a function that raises if a network cannot use an exposure that is normalised and at rest.

    Raises:
        DomainError: a network that gives no posterior.
    """
    if not isinstance(network, PosteriorNetwork):
        raise DomainError("exposures together need a network that gives a posterior", parameter="model")

    def check(spectrum: Spectrum, name: str) -> None:
        require_signal(to_network(spectrum, pixels_of(header)), name, spectrum.provenance.get("warnings", ()))

    return check
