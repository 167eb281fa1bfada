"""One spectrum after the other onto the pixels of the import: cut, normalised, broadened, rebinned; or why not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maury.broadening import cutoff, instrument_sigma, remaining_resolution, transfer
from maury.emulator import Sampler, to_modes
from maury.errors import ConfigError, DomainError, FormatError
from maury.grids.importers.families import Entry, Family, ImportConfig, Medium, Synthetic
from maury.grids.importers.normalise import MediumCheck, Normalised, normalise
from maury.wavelengths import (
    C_KMS,
    Floats,
    LogGrid,
    air_to_vacuum,
    fast_size,
    pixel_edges,
    pixel_points,
    rebin,
    sampling_of,
    window_pixels,
)

_GAP_KMS = 100.0
_SAME = 0.02
"""Largest distance, in pixels, of wavelengths of two files that count as equal."""

_STEPS_PER_CUTOFF = 0.45
_COARSEST_KMS, _FINEST_KMS = 1.0, 0.05


class Window:
    """The pixels of an import and how spectra get there.

    The first spectrum that is read settles medium, resolution and, without ``step``, the pixels; others have to agree.

    Attributes:
        config: settings.
        family: kind of the files.
        margin_kms: wavelengths needed beyond the window at both ends, for the wings of rotation and instrument.
        wavelength_aa: pixels (p,), Å air.
        resolution: R of the imported spectra, infinite without an instrument.
        medium: air or vacuum, of the files.
        native: R of the files.
        normalisations: the ways in which spectra were normalised.
        check: whether strong lines stand where the medium puts them.
        notes: assumptions made, for the user.
        look_at_every: of so many spectra the strong lines of one are looked at.
    """

    def __init__(self, family: Family, config: ImportConfig) -> None:
        self.config, self.family = config, family
        self.broadens = config.resolution is not None or any(v > 0 for v in config.vsini)
        self.margin_kms = 0.0
        if self.broadens:
            width = float(instrument_sigma(config.resolution)) if config.resolution else 0.0
            self.margin_kms = max(config.vsini, default=0.0) + 4 * width + 10.0
        self.normalisations: dict[str, int] = {}
        self.notes: list[str] = []
        self.first: Entry | None = None
        self.look_at_every = 1
        self._done = 0
        self._observers: dict[tuple[int, float, float], _Observer] = {}

    @property
    def needed_aa(self) -> tuple[float, float]:
        """First and last wavelength (Å air) that a file has to cover."""
        low, high = self.config.window
        return low * (1 - self.margin_kms / C_KMS), high * (1 + self.margin_kms / C_KMS)

    def settle(self, entry: Entry) -> None:
        """Take medium, resolution and pixels from a spectrum.

        Raises:
            FormatError: it cannot be read.
            ConfigError: it does not tell what is needed, or contradicts the settings.
        """
        spectrum = self._read(entry)
        self.medium = self._medium(entry, spectrum)
        self.native = self._native(entry, spectrum)
        target = self.config.resolution
        if target is not None and target > self.native * (1 + 1e-6):
            raise ConfigError(f"{entry.title}: its R is {self.native:g}; it cannot be raised to {target:g}")
        self.resolution = min(target or math.inf, self.native)
        self.check = MediumCheck(self.medium)
        normal = self._normalised(entry, spectrum)
        low, high = self.config.window
        if self.config.step is not None:
            self.wavelength_aa = window_pixels(low, high, self.config.step)
        else:
            inside = normal.wavelength_aa[(normal.wavelength_aa >= low) & (normal.wavelength_aa <= high)]
            try:
                sampling_of(inside, entry.title)
            except DomainError as error:
                raise ConfigError(f"{error}; give the width of the pixels", parameter="step") from error
            self.wavelength_aa = inside
        self.first = entry

    def __call__(self, entry: Entry) -> NDArray[np.float32]:
        """Flux (r, p) of a spectrum with each of the r rotations.

        Raises:
            FormatError: in one line with the file's name: unreadable, truncated, NaN, another medium, sampling or
                resolution, or the window is not covered.
        """
        spectrum = self._read(entry)
        if self._medium(entry, spectrum) != self.medium:
            raise FormatError(f"{entry.title}: in {spectrum.medium}, but {self._first} in {self.medium}")
        if not math.isclose(self._native(entry, spectrum), self.native, rel_tol=1e-6):
            raise FormatError(f"{entry.title}: R = {spectrum.resolution}, but {self._first} has {self.native:g}")
        normal = self._normalised(entry, spectrum)
        self.normalisations[normal.how] = self.normalisations.get(normal.how, 0) + 1
        if self._done % self.look_at_every == 0:
            self.check.see(normal)
        self._done += 1
        pixels = self._own_pixels(entry, normal) if self.config.step is None else None
        if self.broadens:
            return self._observe(normal)
        if pixels is not None:
            return normal.flux[None, pixels].astype(np.float32)
        old, new = pixel_edges(normal.wavelength_aa), pixel_edges(self.wavelength_aa)
        return rebin(old, normal.flux, new).astype(np.float32)[None]

    @property
    def _first(self) -> str:
        return self.first.title if self.first is not None else "the first file"

    def _read(self, entry: Entry) -> Synthetic:
        """The piece of a spectrum that is needed, checked."""
        low, high = self.needed_aa
        spectrum = self.family.read(entry, float(low), float(air_to_vacuum(high)))
        medium = self._medium(entry, spectrum)
        if medium == "vacuum":
            low, high = float(air_to_vacuum(low)), float(air_to_vacuum(high))
        wavelength, flux = spectrum.wavelength_aa, spectrum.flux
        if wavelength.size < 4:
            raise FormatError(f"{entry.title}: window not covered: it has no pixel near {low:.2f} to {high:.2f} Å")
        if not (np.diff(wavelength) > 0).all():
            raise FormatError(f"{entry.title}: wavelengths must increase")
        half = float(np.median(np.diff(wavelength))) / 2 if self.margin_kms == 0 else 0.0
        if wavelength[0] > low + half or wavelength[-1] < high - half:
            margin = f", {self.margin_kms:.0f} km/s more than the window for broadening" if self.margin_kms else ""
            where = f"begins at {wavelength[0]:.2f}" if wavelength[0] > low + half else f"ends at {wavelength[-1]:.2f}"
            raise FormatError(
                f"{entry.title}: {where} Å; {low:.2f} to {high:.2f} Å are needed ({medium}{margin}): window not covered"
            )
        keep = slice(
            max(int(np.searchsorted(wavelength, low)) - 8, 0), int(np.searchsorted(wavelength, high, "right")) + 8
        )
        bad = ~np.isfinite(flux[keep])
        if bad.any():
            raise FormatError(
                f"{entry.title}: flux is not finite in {int(bad.sum())} pixels, the first at "
                f"{wavelength[keep][bad][0]:.3f} Å"
            )
        continuum = None if spectrum.continuum is None else spectrum.continuum[keep]
        return Synthetic(
            wavelength[keep], flux[keep], continuum, spectrum.normalised, spectrum.medium, spectrum.resolution
        )

    def _medium(self, entry: Entry, spectrum: Synthetic) -> Medium:
        wanted = self.config.medium
        if spectrum.medium is None and wanted is None:
            raise ConfigError(
                f"{entry.title}: does not say whether its wavelengths are in air or vacuum", parameter="medium"
            )
        if spectrum.medium is not None and wanted is not None and spectrum.medium != wanted:
            raise ConfigError(f"{entry.title}: is in {spectrum.medium}, not in {wanted}")
        return spectrum.medium or wanted  # type: ignore[return-value]

    def _native(self, entry: Entry, spectrum: Synthetic) -> float:
        stated, wanted = spectrum.resolution, self.config.native_resolution
        if wanted is not None:
            if stated is not None and math.isfinite(stated) and not math.isclose(stated, wanted, rel_tol=1e-3):
                raise ConfigError(f"{entry.title}: its R is {stated:g}, not {wanted:g}")
            return wanted
        if stated is None:
            note = "R of the files is unknown: taken as infinite (native_resolution)"
            if note not in self.notes:
                self.notes.append(note)
        return math.inf if stated is None else stated

    def _normalised(self, entry: Entry, spectrum: Synthetic) -> Normalised:
        try:
            return normalise(spectrum, self.medium)
        except FormatError as error:
            raise FormatError(f"{entry.title}: {error}") from error

    def _own_pixels(self, entry: Entry, normal: Normalised) -> slice:
        """Which pixels of a spectrum are those of the window; they have to be the same in all files."""
        wavelength = self.wavelength_aa
        start = int(np.searchsorted(normal.wavelength_aa, wavelength[0] - 0.5 * (wavelength[1] - wavelength[0])))
        pixels = slice(start, start + wavelength.size)
        mine = normal.wavelength_aa[pixels]
        allowed = _SAME * float(np.diff(wavelength).min())
        if mine.size != wavelength.size or np.abs(mine - wavelength).max() > allowed:
            raise FormatError(
                f"{entry.title}: its pixels are not those of {self._first}; give a common width", parameter="step"
            )
        return pixels

    def _observe(self, normal: Normalised) -> NDArray[np.float32]:
        """Flux (r, p), rotation and instrument applied in Fourier space."""
        wavelength = normal.wavelength_aa
        key = (wavelength.size, float(wavelength[0]), float(wavelength[-1]))
        if key not in self._observers:
            self._observers = {key: _Observer(wavelength, self)}
        return self._observers[key](normal)


class _Observer:
    """From a spectrum on certain wavelengths to the pixels of the window, broadened."""

    def __init__(self, wavelength_aa: Floats, window: Window) -> None:
        config = window.config
        band = cutoff(window.resolution if math.isfinite(window.resolution) else 1e6)
        step = float(np.clip(_STEPS_PER_CUTOFF / band, _FINEST_KMS, _COARSEST_KMS))
        start, end = float(wavelength_aa[0]) * (1 + 1e-9), float(wavelength_aa[-1])
        length = np.log(end / start) * C_KMS + _GAP_KMS
        self.grid = LogGrid(start, step, fast_size(int(length / step)))
        self.sampler = Sampler(self.grid, pixel_points(window.wavelength_aa), band, average=4)
        vsini = torch.tensor(config.vsini or (0.0,), dtype=torch.float64)
        frequency = torch.from_numpy(self.grid.frequency[: self.sampler.modes])
        options: dict[str, Any] = {"vsini_kms": vsini, "limb_darkening": config.limb_darkening}
        if config.resolution is not None:
            target = torch.tensor(config.resolution, dtype=torch.float64)
            options["resolution"] = remaining_resolution(target, window.native)
        self.kernel = transfer(frequency, **options).to(torch.float32)

    def __call__(self, normal: Normalised) -> NDArray[np.float32]:
        modes = to_modes(normal.flux[None].astype(np.float32), normal.wavelength_aa, self.grid)
        with torch.no_grad():
            broadened = torch.from_numpy(modes)[:, : self.sampler.modes] * self.kernel
            flux: NDArray[np.float32] = self.sampler(broadened).numpy()
        return flux
