"""Simulated nights: emulator stars as an echelle spectrograph gives them, with every truth known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from maury.emulator import Emulator, load
from maury.haze import haze_of, with_haze
from maury.labels import lowest_logg
from maury.preparation.templates import usable_aa
from maury.preparation.velocity import LINE_SHIFT_KMS
from maury.spectra import Observation, Spectrum
from maury.wavelengths import C_KMS

SUN = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vmic": 1.0, "vsini": 2.0}
K_DWARF = {"teff": 4500.0, "logg": 4.6, "mh": 0.3, "vmic": 0.9, "vsini": 2.0}
OLD_GIANT = {"teff": 4800.0, "logg": 2.2, "mh": -1.5, "vmic": 1.7, "mg": 0.3, "ca": 0.3, "ti": 0.3, "vsini": 3.0}


@lru_cache(maxsize=1)
def emulator() -> Emulator:
    """The packaged emulator, loaded once."""
    return load()


def intrinsic(labels: dict[str, float]) -> torch.Tensor:
    """Labels (1, k) of a star, those of the packaged emulator; abundances that are not named are solar."""
    return torch.tensor([[labels.get(name, 0.0) for name in emulator().space.names]])


def star_flux(labels: dict[str, float], rest_aa: NDArray[np.float64], resolution: float) -> NDArray[np.float64]:
    """Normalised flux at rest wavelengths (Å); 1 outside the emulator's range."""
    model = emulator()
    low, high = usable_aa(model)
    inside = (rest_aa > low) & (rest_aa < high)
    flux = np.ones(rest_aa.shape)
    sampler = model.sampler(rest_aa[inside], resolution)
    vsini, r = torch.tensor([labels.get("vsini", 0.0)]), torch.tensor([resolution])
    haze = haze_of(intrinsic(labels), model.space.names)  # as real stars have it
    flux[inside] = with_haze(model.flux(intrinsic(labels), vsini, r, sampler), haze)[0].double().numpy()
    return flux


@dataclass(frozen=True)
class Instrument:
    """What the spectrograph is like.

    Attributes:
        resolution: R.
        step_aa: pixel.
        orders: number of orders over the window; 1 is a merged spectrum.
        blaze: orders fall to a fifth at their ends.
        wave: amplitude of the waves (45 and 110 Å) on the continuum.
        counts: of the continuum.
    """

    resolution: float = 60_000.0
    step_aa: float = 0.02
    orders: int = 1
    blaze: bool = False
    wave: float = 0.0
    counts: float = 5000.0

    def continuum(self, order: int, wavelength_aa: NDArray[np.float64]) -> NDArray[np.float64]:
        """Counts without lines at observed wavelengths of an order."""
        slope = 1 + 0.3 * (wavelength_aa - 5200) / 150
        waves = np.sin(wavelength_aa / 45 * 2 * np.pi + order) + 0.7 * np.sin(wavelength_aa / 110 * 2 * np.pi)
        result = self.counts * slope * (1 + self.wave * waves)
        if self.blaze:
            low, high = self.edges(order)
            result = result * np.sinc((wavelength_aa - (low + high) / 2) / (high - low) * 1.3) ** 2
        return result

    def edges(self, order: int) -> tuple[float, float]:
        """First and last wavelength of an order, Å; neighbours overlap by a fifth."""
        span = 330.0 / self.orders
        margin = 0.1 * span if self.orders > 1 else 0.0
        return 5035 + order * span - margin, 5035 + (order + 1) * span + margin


def observe(
    labels: dict[str, float],
    instrument: Instrument = Instrument(),
    *,
    velocity_kms: float = 0.0,
    snr: float = 100.0,
    seed: int = 1,
    sigma: bool = True,
    second: tuple[dict[str, float], float, float] | None = None,
) -> Observation:
    """One exposure with the noise of photons.

    Args:
        labels: of the star.
        instrument: the spectrograph.
        velocity_kms: of the star, whose lines are shifted further as those of the Sun are.
        snr: of the continuum in the middle of the window, per pixel.
        seed: of the noise.
        sigma: whether the file has noise.
        second: labels, velocity and part of the light of a second star.
    """
    rng = np.random.default_rng(seed)
    lines = 1 + (velocity_kms + LINE_SHIFT_KMS) / C_KMS
    arcs = []
    for order in range(instrument.orders):
        wave = np.arange(*instrument.edges(order), instrument.step_aa)
        flux = star_flux(labels, wave / lines, instrument.resolution)
        if second is not None:
            other, other_kms, part = second
            shifted = star_flux(other, wave / (1 + (other_kms + LINE_SHIFT_KMS) / C_KMS), instrument.resolution)
            flux = (1 - part) * flux + part * shifted
        expected = instrument.continuum(order, wave) * flux
        noise = np.sqrt(np.clip(expected, 1, None) * instrument.counts) / snr
        counts = expected + noise * rng.standard_normal(wave.size)
        provenance = {"file": "night.fits", "order": str(order + 1)}
        given = noise if sigma else None
        arcs.append(Spectrum(wave, counts, sigma=given, frame="barycentric", provenance=provenance))
    return Observation(tuple(arcs), None, {"file": "night.fits", "rules": ()})


def draw_star(rng: np.random.Generator) -> dict[str, float]:
    """A star anywhere in the domain above 3900 K, slow or fast, with scattered abundances."""
    teff = rng.uniform(3900, 8000)
    alpha = rng.uniform(0, 0.4)
    return {
        "teff": teff,
        "logg": rng.uniform(max(1.0, float(lowest_logg(teff))), 4.8),
        "mh": rng.uniform(-2.2, 0.4),
        "vmic": rng.uniform(0.8, 2.5),
        "c": rng.normal(0, 0.1),
        "mg": alpha,
        "ca": alpha,
        "ti": alpha,
        "vsini": float(rng.choice([1.0, 3.0, 8.0, 20.0, 60.0])),
    }
