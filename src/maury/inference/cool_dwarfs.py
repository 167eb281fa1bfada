"""Cool dwarfs: spectra are corrected by model / observed flux of standard dwarfs of about their temperature.

Below 4500 K most lines of a dwarf are too weak in the stars on which line lists are calibrated, and the model's depths
are wrong by a tenth of the continuum, in the same lines of all dwarfs of one temperature. Where such a correction makes
the spectrum more probable, labels are measured relative to those of the standards (`maury.inference.differential`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury import __version__, checkpoints
from maury.broadening import remaining_resolution, transfer
from maury.inference.differential import Reference
from maury.wavelengths import C_KMS

KIND = "cool-dwarfs"
PACKAGED = checkpoints.MODELS / "cool-dwarfs.safetensors"
"""Corrections of the packaged network, written by `maury physics-errors`."""

HOTTEST_K = 4500.0
"""Teff above which no correction is tried."""

LEAST_LOGG = 3.0
"""log g of the corrected fit below which the correction is not used: lines of giants are too weak and too strong in
other places, and log g of alf Tau would come out too low by 0.8."""

_MIRRORED = 200
"""Pixels mirrored at both ends before the convolution."""


@dataclass(frozen=True)
class CoolDwarfs:
    """Corrections of standard dwarfs on a network's pixels.

    Attributes:
        names: of the stars, by increasing temperature.
        teff_k: their temperatures (n,).
        log_ratio: ln of model over observed flux (n, p), 0 where nothing is known.
        variance: of ``log_ratio`` (n, p), from the noise.
        wavelength_aa: the pixels (p,), Å in air.
        resolution: R = lambda / FWHM of the spectra on these pixels.
    """

    names: tuple[str, ...]
    teff_k: NDArray[np.float64]
    log_ratio: NDArray[np.float64] = field(repr=False)
    variance: NDArray[np.float64] = field(repr=False)
    wavelength_aa: NDArray[np.float64] = field(repr=False)
    resolution: float

    @classmethod
    def of(cls, references: dict[str, tuple[float, list[Reference]]], wavelength_aa: NDArray[np.float64]) -> CoolDwarfs:
        """Collect the corrections of standard stars; several spectra of one star are averaged.

        Args:
            references: Teff (K) and corrections of each star by its name.
            wavelength_aa: the pixels (p,), Å in air.
        """
        names = sorted(references, key=lambda name: references[name][0])
        spectra = [references[name][1] for name in names]
        return cls(
            tuple(names),
            np.array([references[name][0] for name in names]),
            np.array([np.mean([np.log(one.ratio) for one in each], 0) for each in spectra]),
            np.array([np.mean([(one.sigma / one.ratio) ** 2 for one in each], 0) / len(each) for each in spectra]),
            wavelength_aa,
            min(one.resolution for each in spectra for one in each),
        )

    def suit(self, wavelength_aa: NDArray[np.float64]) -> bool:
        """Whether pixels are those of the corrections."""
        own = self.wavelength_aa
        return len(own) == len(wavelength_aa) and bool(np.allclose(own, wavelength_aa, rtol=1e-7, atol=0))

    def without(self, star: str) -> CoolDwarfs:
        """The corrections of all stars but one, to test it."""
        keep = [name != star for name in self.names]
        names = tuple(name for name in self.names if name != star)
        kept = {key: getattr(self, key)[keep] for key in ("teff_k", "log_ratio", "variance")}
        return replace(self, names=names, **kept)

    def at(self, teff_k: float, resolution: float, vsini_kms: float) -> Reference:
        """Correction for a star: linear in Teff between the standards, constant beyond them, broadened to it.

        Args:
            teff_k: its temperature.
            resolution: R of its spectrum on the pixels.
            vsini_kms: its projected rotational velocity.
        """
        share = np.array([np.interp(teff_k, self.teff_k, row) for row in np.eye(len(self.names))])
        log_ratio = torch.from_numpy(share @ self.log_ratio)
        padded = torch.cat([log_ratio[:_MIRRORED].flip(0), log_ratio, log_ratio[-_MIRRORED:].flip(0)])
        step_kms = C_KMS * np.log(self.wavelength_aa[-1] / self.wavelength_aa[0]) / (len(self.wavelength_aa) - 1)
        frequency = torch.fft.rfftfreq(len(padded), step_kms, dtype=torch.float64)
        kernel = transfer(
            frequency,
            vsini_kms=torch.tensor(vsini_kms, dtype=torch.float64),
            resolution=remaining_resolution(torch.tensor(resolution, dtype=torch.float64), self.resolution),
        )
        smooth = torch.fft.irfft(torch.fft.rfft(padded) * kernel, len(padded))[_MIRRORED:-_MIRRORED].numpy()
        noise = np.sqrt(share**2 @ self.variance)
        return Reference(" and ".join(self.names), resolution, np.exp(smooth), noise * np.exp(smooth))

    def save(self, path: Path) -> None:
        """Write them to a file beside a network."""
        tensors = {
            "teff_k": torch.from_numpy(self.teff_k),
            "log_ratio": torch.from_numpy(self.log_ratio).half(),
            "sigma": torch.from_numpy(np.sqrt(self.variance)).half(),
            "wavelength_aa": torch.from_numpy(self.wavelength_aa),
        }
        header = {"resolution": self.resolution, "stars": list(self.names)}
        checkpoints.save(path, KIND, tensors, {"maury": __version__, **header})


@lru_cache(maxsize=4)
def load_cool_dwarfs(path: Path) -> CoolDwarfs:
    """Read corrections.

    Raises:
        FormatError: not such a file.
    """
    stored = checkpoints.load(path, KIND)
    parts = {name: tensor.double().numpy() for name, tensor in stored.tensors.items()}
    header = stored.header
    return CoolDwarfs(
        tuple(header["stars"]), parts["teff_k"], parts["log_ratio"], parts["sigma"] ** 2, parts["wavelength_aa"],
        header["resolution"],
    )  # fmt: skip


def log_jacobian(reference: Reference, good: Tensor) -> float:
    """Sum of ln ratio over the good pixels: the density of corrected flux times its exponential is that of the flux."""
    return float(np.log(reference.ratio)[good.numpy()].sum())
