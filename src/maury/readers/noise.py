"""Tell sigma, variance, inverse variance and relative error apart: by name and unit first, then by a check.

The check compares a reading of the array with the noise that the flux itself shows from pixel to pixel. It decides
alone only for arrays without a name, and only when exactly one reading agrees.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from maury.readers.source import Floats, Log

NoiseKind = Literal["sigma", "variance", "inverse variance", "relative error", "signal-to-noise"]

_BLOCK = 200
_AGREE = (0.1, 5.0)
"""Noise measured over noise claimed. Resampling makes neighbours correlate, which lowers it; lines raise it."""


def der_snr(flux: Floats) -> float:
    """Noise per pixel, DER_SNR: 1.482602 / sqrt(6) median |2 f_i - f_{i-2} - f_{i+2}| (Stoehr et al. 2008).

    Unit of the flux; lines raise it, correlation between neighbours lowers it. NaN with under 5 finite pixels.
    """
    good = flux[np.isfinite(flux)]
    if good.size < 5:
        return float("nan")
    second = 2 * good[2:-2] - good[:-4] - good[4:]
    return float(1.482602 / np.sqrt(6) * np.median(np.abs(second)))


def to_sigma(values: Floats, kind: NoiseKind, flux: Floats) -> Floats:
    """Standard deviation (unit of the flux) from an array of the kind named; NaN where it has no meaning."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if kind == "sigma":
            sigma = values.copy()
        elif kind == "variance":
            sigma = np.sqrt(values)
        elif kind == "inverse variance":
            sigma = 1 / np.sqrt(values)
        elif kind == "relative error":
            sigma = values * np.abs(flux)
        else:
            sigma = np.abs(flux) / values
    sigma[~np.isfinite(sigma) | (sigma <= 0)] = np.nan
    return sigma


def noise_ratio(flux: Floats, sigma: Floats) -> float:
    """Noise measured in the flux over the noise claimed: the 10th percentile over blocks of 200 pixels.

    About 1 for white noise, below it for resampled spectra, above it where lines fill every block. NaN when no
    block has both.

    Args:
        flux: flux (..., n); rows are taken one by one.
        sigma: standard deviation of the same shape.
    """
    size = flux.shape[-1] // _BLOCK
    if size == 0:
        return float("nan")
    f = flux.reshape(-1, flux.shape[-1])[:, : size * _BLOCK].reshape(-1, _BLOCK)
    s = sigma.reshape(-1, flux.shape[-1])[:, : size * _BLOCK].reshape(-1, _BLOCK)
    keep = np.isfinite(f).all(1) & np.isfinite(s).all(1)
    if not keep.any():
        return float("nan")
    f, s = f[keep], s[keep]
    second = 2 * f[:, 2:-2] - f[:, :-4] - f[:, 4:]
    measured = 1.482602 / np.sqrt(6) * np.median(np.abs(second), axis=1)
    ratio = measured / np.median(s, axis=1)
    ratio = ratio[measured > 0]
    return float(np.percentile(ratio, 10)) if ratio.size else float("nan")


def _agrees(ratio: float) -> bool:
    return _AGREE[0] <= ratio <= _AGREE[1]


def kind_of_unit(kind: NoiseKind, unit: object, flux_unit: object, log: Log, what: str) -> NoiseKind:
    """Correct a kind known from a name by the unit: a squared unit of the flux is a variance, whatever the name.

    Nothing changes when either unit is missing or both are the same text.
    """
    text, base = (re.sub(r"\s", "", str(u or "")).lower() for u in (unit, flux_unit))
    if not text or not base or text == base or kind in ("relative error", "signal-to-noise"):
        return kind
    squared = {f"({base})**2", f"({base})^2", f"({base})2", f"{base}**2", f"{base}^2", f"{base}2", f"{base}.{base}"}
    inverse = {f"1/{s}" for s in squared} | {f"{base}-2", f"{base}**-2", f"{base}^-2", f"({base})**-2", f"({base})-2"}
    for units, found in ((inverse, "inverse variance"), (squared, "variance")):
        if text in units and kind != found:
            log.rule(f"{what}: named like a {kind}, but its unit {unit} is that of a {found}: read as a {found}")
            log.warn(f"{what}: name and unit disagree; the unit was believed")
            return found  # type: ignore[return-value]
    return kind


def named_noise(values: Floats, kind: NoiseKind, flux: Floats, log: Log, what: str) -> tuple[Floats | None, str]:
    """Sigma from an array whose name (and unit) tell what it is, checked against the noise of the flux.

    An array that holds no positive number gives None. One named sigma that is more than 30 times smaller than the
    noise measured, but agrees with it as a relative error, is read as that (GALAH DR3 names a relative error
    ``input_sigma``), and the rule and a warning say so. Any other disagreement is a warning: by more than 20 or less
    than 0.01, or than 0.05 where another reading agrees.

    Returns:
        Sigma, or None, and where it came from.
    """
    sigma = to_sigma(values, kind, flux)
    if not np.isfinite(sigma).any():
        log.warn(f"{what} holds no positive number: no sigma")
        return None, f"none ({what} is empty)"
    ratio = noise_ratio(flux, sigma)
    if kind == "sigma" and ratio > 30:
        relative = to_sigma(values, "relative error", flux)
        if _agrees(noise_ratio(flux, relative)):
            log.rule(
                f"{what}: named like a sigma, but {ratio:.0f} times smaller than the noise measured in the flux, with "
                "which it agrees as a relative error: multiplied by the flux"
            )
            log.warn(f"{what} is a relative error, not a sigma")
            return relative, f"{what}, a relative error"
    others: list[str] = []
    if ratio > 20 or ratio < 0.05:
        others = [
            reading for reading in ("variance", "inverse variance", "relative error", "signal-to-noise")
            if reading != kind and _agrees(noise_ratio(flux, to_sigma(values, reading, flux)))
        ]  # fmt: skip
    if ratio > 20 or ratio < 0.01 or others:
        hint = f"; it would agree as {' or '.join(others)}" if others else ""
        log.warn(
            f"{what}: noise measured in the flux is {ratio:.3g} times what it says as a {kind}{hint}; ignore_sigma "
            "leaves it out and measures the noise"
        )
    return sigma, f"{what}, a {kind}"


def unnamed_noise(values: Floats, flux: Floats, log: Log, what: str) -> tuple[Floats | None, str]:
    """Sigma from an array without a name: only if exactly one reading agrees with the noise measured in the flux.

    The readings are sigma, variance, inverse variance and relative error; one agrees if the noise measured is 0.1 to
    5 times the noise it claims (`noise_ratio`). Where the flux is about 1, sigma and relative error are the same
    within the depth of the lines, and sigma is taken. A variance of the size of the flux is not believed: the counts
    of another spectrum, with the noise of photons, look the same.

    Returns:
        Sigma, or None, and where it came from.
    """
    kinds: tuple[NoiseKind, ...] = ("sigma", "variance", "inverse variance", "relative error")
    ratios = {kind: noise_ratio(flux, to_sigma(values, kind, flux)) for kind in kinds}
    fitting = [kind for kind in kinds if _agrees(ratios[kind])]
    normal = abs(float(np.nanmedian(flux)) - 1) < 0.3
    with np.errstate(divide="ignore", invalid="ignore"):
        share = float(np.nanmedian(np.abs(values / flux)))
    if fitting == ["variance"] and 0.1 < share < 10:
        log.warn(f"{what} has no name and the size of the flux: a variance, or counts of something else: not used")
        return None, f"none ({what} is unknown)"
    if fitting == ["sigma", "relative error"] and normal:
        fitting = ["sigma"]
    shown = ", ".join(f"{kind} {ratio:.3g}" for kind, ratio in ratios.items())
    if len(fitting) != 1:
        if np.isfinite(list(ratios.values())).any():
            log.warn(
                f"{what} has no name and {len(fitting)} readings agree with the noise measured ({shown}): not used"
            )
        return None, f"none ({what} is unknown)"
    log.rule(
        f"{what} has no name: read as {fitting[0]}, the only reading whose noise agrees with that measured in the flux "
        f"(measured over claimed: {shown})"
    )
    return to_sigma(values, fitting[0], flux), f"{what}, a {fitting[0]} by its size"
