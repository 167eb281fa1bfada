"""Ghosts and stray light that a continuum follows: lines too shallow or too deep in one stretch, steps at its ends."""

from __future__ import annotations

import numpy as np

from maury.preparation.merge import Merged
from maury.wavelengths import Bools, Floats

_BLOCK_AA = 5.0
_STRETCH = (3, 20)
"""Blocks of the shortest and of the longest stretch that is looked for."""
_MEASURED = 0.25
"""Largest error of the depth of lines in a block that is used."""
_FLOOR = 0.02
_DILUTED = 0.1
_SIGNIFICANT = 6.5
"""At most 5.7 in 43 observed stars, 2.7 in 100 simulated nights."""
_EDGE_AA = 2.0
_BIN_AA, _BINS = 0.5, 5
_STEP = 0.10
"""In 43 observed stars the step less 4 times its noise is 0.088 at most, or it is within 3 times the misfit."""


def ghost(merged: Merged, model_error: float, window_aa: tuple[float, float]) -> str | None:
    """A stretch of the spectrum with foreign light, or None.

    Light a that is added smoothly to the continuum c is fitted as continuum, but lines become shallower there by c / (c
    + a). So the depth of the data's lines over that of the template's is measured in blocks of 5 Å, and the stretch is
    looked for in which it differs most significantly from all other blocks. What sets in sharply leaves a step in the
    residuals, as the continuum is too stiff for it. ``model_error`` is the rms of data minus template beyond the noise;
    the outermost 2 Å of the window, where the template ends, are left out.

    Returns:
        A sentence for the notes, in ASCII, as FITS headers hold it.
    """
    wave = merged.wavelength_aa
    seen = np.isfinite(merged.flux) & np.isfinite(merged.model)
    seen &= (wave > window_aa[0] + _EDGE_AA) & (wave < window_aa[1] - _EDGE_AA)
    step, at, noise = _step(merged, seen)
    if step > max(_STEP + 4 * noise, 3 * model_error):
        return (
            f"at {at:.0f} Angstrom (at rest) the flux has a step of {100 * step:.0f} %: a ghost, or orders badly joined"
        )
    change, first, last = _stretch(*_depths(merged, model_error, seen))
    if not change:
        return None
    low = float(wave[0])
    word = "shallower" if change < 0 else "deeper"
    return (
        f"lines between {low + first * _BLOCK_AA:.0f} and {low + last * _BLOCK_AA:.0f} Angstrom (at rest) are "
        f"{100 * abs(change):.0f} % {word} than elsewhere: a ghost or stray light, of positive or negative sign"
    )


def _depths(merged: Merged, model_error: float, seen: Bools) -> tuple[Floats, Floats]:
    """Depth of lines relative to the template's in each block (b,), and its error.

    The error is infinite where there are no lines, NaN where less than half of a block was observed.
    """
    wave, flux, model = merged.wavelength_aa, 1 - merged.flux, 1 - merged.model
    block = ((wave - wave[0]) // _BLOCK_AA).astype(int)
    depth, error = np.ones(block[-1] + 1), np.full(block[-1] + 1, np.inf)
    total = np.hypot(merged.sigma, max(model_error, 0.003))
    for k in range(depth.size):
        use = seen & (block == k)
        if use.sum() < max(20, 0.5 * (block == k).sum()):
            error[k] = np.nan
        else:
            depth[k], error[k] = _slope(model[use], flux[use], total[use])
    return depth, error


def _slope(x: Floats, y: Floats, sigma: Floats) -> tuple[float, float]:
    """Slope of y over x and its error; residuals beyond two standard deviations weigh less."""
    weight = 1 / sigma**2
    for _ in range(3):
        dx, dy = x - np.average(x, weights=weight), y - np.average(y, weights=weight)
        spread = float((weight * dx**2).sum())
        if spread < 1e-9:
            return 1.0, np.inf
        slope = float((weight * dx * dy).sum()) / spread
        size = np.abs(dy - slope * dx) / sigma
        scatter = float(np.mean(size**2 * weight * sigma**2))
        weight = 1 / sigma**2 / np.maximum(1, size / 2)
    return slope, float(np.sqrt(max(1.0, scatter) / spread))


def _stretch(depth: Floats, error: Floats) -> tuple[float, int, int]:
    """Relative change of depth in the most significant stretch of blocks, its first block and that after it; 0 if none.

    No stretch reaches over blocks whose ``error`` is NaN: nothing was observed there.
    """
    used = error < _MEASURED
    if used.sum() < 8:
        return 0.0, 0, 0
    spread = 1.4826 * float(np.median(np.abs(depth - np.median(depth[used]))[used]))
    weight = np.where(used, 1 / (np.where(used, error, 1.0) ** 2 + max(spread, _FLOOR) ** 2), 0.0)
    sums = [np.r_[0.0, np.cumsum(values)] for values in (weight, weight * depth, used.astype(float), np.isnan(error))]
    first, count = np.meshgrid(np.arange(depth.size), np.arange(_STRETCH[0], _STRETCH[1] + 1))
    last = np.minimum(first + count, depth.size)
    (w_in, d_in, n_in, gaps), (w, d, n, _) = (s[last] - s[first] for s in sums), (float(s[-1]) for s in sums)
    enough = (n_in >= 2) & (n - n_in >= 5) & (gaps == 0) & (first + count <= depth.size)
    safe_in, safe_out = np.where(enough, w_in, 1.0), np.where(enough, w - w_in, 1.0)
    inside, outside = np.where(enough, d_in / safe_in, 1.0), np.where(enough, (d - d_in) / safe_out, 1.0)
    change = inside / np.maximum(outside, 0.2) - 1
    score = np.where(enough, np.abs(change) / np.sqrt(1 / safe_in + 1 / safe_out), 0.0)
    best = np.unravel_index(int(score.argmax()), score.shape)
    if score[best] < _SIGNIFICANT or abs(change[best]) < _DILUTED:
        return 0.0, 0, 0
    return float(change[best]), int(first[best]), int(last[best])


def _step(merged: Merged, seen: Bools) -> tuple[float, float, float]:
    """Largest difference between the typical residuals on both sides of a wavelength, that wavelength, and its noise.

    Typical is the median of five means over 0.5 Å each.
    """
    residual = np.where(seen, merged.flux - merged.model, 0.0)
    wave = merged.wavelength_aa
    number = ((wave - wave[0]) // _BIN_AA).astype(int)
    count, pixels = np.bincount(number, seen), np.bincount(number)
    means = np.where(count >= 0.5 * pixels, np.bincount(number, residual) / np.maximum(count, 1), np.nan)
    if means.size <= 2 * _BINS or not seen.any():
        return 0.0, float(wave[0]), 0.0
    sides = np.median(np.lib.stride_tricks.sliding_window_view(means, _BINS), axis=1)  # NaN beside gaps
    step = np.nan_to_num(np.abs(sides[_BINS:] - sides[:-_BINS]))
    noise = np.median(merged.sigma[seen]) / np.sqrt(_BINS * max(np.median(pixels), 1)) * 1.25 * np.sqrt(2)
    best = int(step.argmax())
    return float(step[best]), float(wave[0] + (best + _BINS) * _BIN_AA), float(noise)
