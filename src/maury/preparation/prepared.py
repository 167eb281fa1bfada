"""A last look at spectra that come prepared from a file: pixels that cannot be of a star are masked and counted."""

from __future__ import annotations

import numpy as np

from maury.preparation.segments import dead_runs, gross_errors
from maury.spectra import Spectrum
from maury.wavelengths import Bools, Floats

DAMAGED = 0.01
"""Part of the pixels from which on the flag ``damaged_pixels`` is raised; at most 0.006 in 43 observed stars."""

_NOISE = 6.0
_LEAST = 0.05
_CONTINUUM = 0.01


def without_damage(spectrum: Spectrum, resolution: float) -> tuple[Spectrum, float]:
    """A normalised spectrum at rest without damaged pixels, and the part of the pixels that these are.

    There is no model yet. Damaged are gross errors (`gross_errors`), runs of one value that is not the continuum's, and
    pixels that differ from the cubic through two neighbours on both sides by more than noise and the deepest line can.
    The last are masked only where they are more frequent than in any clean spectrum.
    """
    good, flux = ~np.asarray(spectrum.mask, bool), spectrum.flux
    if good.sum() < 50:
        return spectrum, 0.0
    bad = gross_errors(spectrum.wavelength_aa, flux, good)
    bad |= good & dead_runs(flux) & (np.abs(flux - 1) > _CONTINUUM)
    step = float(np.median(np.diff(spectrum.wavelength_aa)))
    isolated = _isolated(flux, good & ~bad, float(np.mean(spectrum.wavelength_aa)) / resolution / step)
    part = float((bad | isolated).sum() / good.sum())
    if part > DAMAGED:
        bad |= isolated
    return spectrum.with_(mask=~good | bad) if bad.any() else spectrum, part


def _isolated(flux: Floats, good: Bools, fwhm_pixels: float) -> Bools:
    """Pixels (n,) off the cubic through their neighbours, (-f_{i-2} + 4 f_{i-1} + 4 f_{i+1} - f_{i+2}) / 6.

    At the centre of a line of depth 1 with the instrument's Gaussian profile that is 1 - (8 g_1 - 2 g_2) / 6, where g_k
    is the profile k pixels from its centre.
    """
    near = np.zeros(flux.shape, bool)
    near[2:-2] = good[2:-2] & good[1:-3] & good[:-4] & good[3:-1] & good[4:]
    if near.sum() < 50:
        return np.zeros(flux.shape, bool)
    safe = np.where(good, flux, 1.0)
    off = np.zeros(flux.shape)
    off[2:-2] = safe[2:-2] - (4 * (safe[1:-3] + safe[3:-1]) - safe[:-4] - safe[4:]) / 6
    profile = 2.0 ** (-4 * np.array([1.0, 4.0]) / max(fwhm_pixels, 1.0) ** 2)
    line = 1 - (8 * profile[0] - 2 * profile[1]) / 6
    noise = float(np.quantile(np.abs(off[near]), 0.25)) / 0.3186
    return near & (np.abs(off) > line + max(_LEAST, _NOISE * noise))
