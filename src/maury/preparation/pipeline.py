"""`prepare`: from an observation to one normalised spectrum at rest, with a record of each step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from maury.emulator import MAX_RESOLUTION, Emulator, load_cached
from maury.errors import DomainError
from maury.preparation.clean import damaged_part, final_sigma, first_sigma, spikes
from maury.preparation.ghosts import ghost
from maury.preparation.masks import Mask, ordered, require_rest, texts, without
from maury.preparation.merge import Merged, OrderRecord, log_pixels, merge, step_of
from maury.preparation.observed import observed
from maury.preparation.prepared import DAMAGED
from maury.preparation.resample import require_overlap
from maury.preparation.search import Found, in_frame, search, zero_point
from maury.preparation.segments import OrderSegment, fwhm_pixels
from maury.preparation.settings import check_settings
from maury.preparation.template_fit import Fit, Problem, solve
from maury.preparation.templates import Bank, bank
from maury.preparation.velocity import Correlation, second_star
from maury.spectra import Frame, Observation, Spectrum
from maury.threads import one_thread
from maury.wavelengths import C_KMS, Floats

_TWIN = 0.06
_FAST_KMS = 50.0
_COOL_K = 3900.0
_POOR = 0.05
_DIM = 0.03
_SPARSE_K = 4500.0

MARGIN_AA = 2.0
"""Margin of a prepared spectrum beyond both ends of the window, which degrading to lower resolution needs."""


@dataclass(frozen=True)
class Preparation:
    """A prepared spectrum with the steps that led to it.

    Attributes:
        spectrum: normalised, at rest, on pixels uniform in ln(wavelength) that fill the window and 2 Å on both sides,
            with noise; NaN and masked where nothing good was observed. Provenance continues that of the observation by
            ``prepared`` (the notes), ``flags``, ``mask`` (ranges as text), ``velocity_kms`` and ``velocity_error_kms``,
            which its file holds too.
        velocity_kms: radial velocity in the frame of the file's wavelengths, 0 for the Sun at rest: that of the lines
            less `LINE_SHIFT_KMS`. Of a spectrum that is said to be at rest it is that of the lines.
        velocity_error_kms: its standard deviation, from noise and misfit; no zero point of the wavelengths is in it.
        barycentric_velocity_kms: the velocity referred to the barycentre, or None where the frame does not allow it.
        frame: frame of the file's wavelengths.
        template: labels of the template that fits, with ``vsini``: a by-product, without errors, blind to what the
            packaged physics lacks.
        continuum_error: standard deviation of the continuum over the continuum in each pixel of ``spectrum`` (n,).
        model: flux of the template in each pixel of ``spectrum`` (n,), NaN where nothing was observed.
        model_error: rms of data minus template beyond the noise, per unit of the continuum.
        snr: median signal-to-noise per pixel of ``spectrum``.
        coverage_aa: part of the window that was observed and not masked, Å.
        window_aa: the window.
        mask_aa: ranges that were left out as asked for, Å in air, at rest.
        second_star: velocity (km/s) and strength of other lines in the residuals; strength 0 when there are none.
        flags: names from `maury.flags.FLAGS`.
        notes: the steps done, in sentences.
        correlation: the cross-correlation; only near a velocity that was given.
        orders: the orders with their continua.
    """

    spectrum: Spectrum
    velocity_kms: float
    velocity_error_kms: float
    barycentric_velocity_kms: float | None
    frame: Frame
    template: dict[str, float]
    continuum_error: Floats = field(repr=False)
    model: Floats = field(repr=False)
    model_error: float
    snr: float
    coverage_aa: float
    window_aa: tuple[float, float]
    mask_aa: Mask
    second_star: tuple[float, float]
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    correlation: Correlation = field(repr=False)
    orders: tuple[OrderRecord, ...] = field(repr=False)

    @property
    def step_kms(self) -> float:
        """Pixel of ``spectrum``, km/s."""
        first, second = self.spectrum.wavelength_aa[:2]
        return float(np.log(second / first) * C_KMS)

    def record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        strength = self.second_star[1]
        return {
            "file": self.spectrum.provenance.get("file"),
            "velocity_kms": round(self.velocity_kms, 4),
            "velocity_error_kms": round(self.velocity_error_kms, 4),
            "barycentric_velocity_kms": _rounded(self.barycentric_velocity_kms),
            "frame": self.frame,
            "snr": round(self.snr, 1),
            "step_kms": round(self.step_kms, 2),
            "coverage_aa": round(self.coverage_aa, 1),
            "mask_aa": [list(ends) for ends in self.mask_aa],
            "orders": len(self.orders),
            "template": {name: round(value, 3) for name, value in self.template.items()},
            "model_error": round(self.model_error, 4),
            "second_star_kms": _rounded(self.second_star[0]) if strength else None,
            "flags": list(self.flags),
            "notes": list(self.notes),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def prepare(
    star: Observation | Spectrum | str | os.PathLike[str],
    *,
    resolution: float | None = None,
    velocity_kms: float | None = None,
    velocity_range_kms: tuple[float, float] | None = None,
    window_aa: tuple[float, float] | None = None,
    step_kms: float | None = None,
    mask: Sequence[tuple[float, float]] = (),
    emulator: Emulator | None = None,
    **reading: Any,
) -> Preparation:
    """Radial velocity, continuum, masks and noise of an observation; its orders merged at rest.

    The velocity is searched by cross-correlation with emulator spectra. Then template,
    velocity and the continuum of each order are fitted together to the observed pixels, with residuals beyond the noise
    weighing less. Pixels without light, cosmic rays and order edges are masked, the noise is measured where the file
    has none and raised where neighbours are correlated. Last the orders are divided by their continua, brought to rest
    and averaged.

    Args:
        star: as returned by `maury.read`, or a file.
        resolution: nominal resolving power R = lambda / FWHM, if the file does not give it.
        velocity_kms: radial velocity in the frame of the wavelengths, when it is known: it is then refined by at most
            30 km/s, not searched.
        velocity_range_kms: where the velocity is searched, within -1500 to 1500 km/s; by default -500 to 500 km/s.
        window_aa: wavelengths at rest (Å, air) that are wanted; by default the emulator's window.
        step_kms: pixel of the result; by default about that of the file.
        mask: ranges of wavelength (Å in air, at rest, as the window) that are left out of the fit and of the result.
            Only the first, rough velocity is found with them.
        emulator: templates of another window or physics than the packaged ones.
        reading: attributes of `maury.readers.ReadOptions`, such as ``medium="vacuum"``, for a file.

    Raises:
        FormatError: the file cannot be read.
        DomainError: no pixel, or less than 60 Å of the window were observed and not masked, or no light in it.
        ConfigError: a setting is out of its range.
    """
    check_settings(resolution, velocity_kms, step_kms, mask, velocity_range_kms)
    observation = observed(star, **reading)
    emulator = load_cached() if emulator is None else emulator
    resolution = observation.resolution if resolution is None else resolution
    window_aa = window_aa or emulator.window_aa
    require_rest(ranges := ordered(mask), window_aa)
    if (missed := observation.missed(*window_aa)) is not None:
        raise DomainError(f"{observation.name}: {missed}")
    with one_thread():
        found = search(observation, window_aa, bank(emulator), velocity_kms, velocity_range_kms)
        return _prepare(observation, resolution, found, window_aa, step_kms, ranges, emulator)


def _prepare(
    observation: Observation,
    resolution: float | None,
    found: Found,
    window_aa: tuple[float, float],
    step_kms: float | None,
    mask: Mask,
    emulator: Emulator,
) -> Preparation:
    segments, correlation, guess = found.segments, found.correlation, found.guess_kms
    templates = bank(emulator)
    beyond = correlation.peak_kms - guess if correlation.believable else 0.0
    start = np.r_[correlation.labels, correlation.vsini_kms, beyond]
    fit, records, notes, damage = _fit_orders(emulator, segments, mask, resolution, guess, start, observation.name)
    pixels = log_pixels(window_aa, step_kms or step_of(segments), MARGIN_AA)
    merged = merge(records, fit.velocity_kms, pixels)
    coverage = _coverage(observation, merged, window_aa)
    twin = _second(records, templates, fit)
    fit, correlation, records, twin = in_frame(found.centre_kms, fit, correlation, records, twin)
    zero = zero_point(observation)
    names = emulator.space.names
    return _assemble(
        observation, names, resolution, window_aa, mask, fit, correlation, records, merged, coverage, twin, notes,
        damage, zero,
    )  # fmt: skip


def _fit_orders(
    emulator: Emulator,
    whole: list[OrderSegment],
    mask: Mask,
    resolution: float | None,
    guess_kms: float,
    start: Floats,
    name: str,
) -> tuple[Fit, tuple[OrderRecord, ...], list[str], float]:
    """Fit, mask what the residuals show to be bad, measure the noise, and fit again from there.

    Returns:
        The fit, the orders, notes on them, and the part of the pixels that was damaged.
    """
    used = MAX_RESOLUTION if resolution is None else resolution
    segments = without(whole, mask, guess_kms + float(start[-1]))
    fwhm = [fwhm_pixels(s, used) for s in segments]
    first = [first_sigma(s, w) for s, w in zip(segments, fwhm, strict=True)]
    fit = _solved(Problem(emulator, segments, first, used, guess_kms, start), name)
    segments = without(whole, mask, fit.velocity_kms)
    cleaned, sigmas, sources, hit = [], [], [], 0
    sparse = "teff" in emulator.space.names and fit.labels[emulator.space.names.index("teff")] > _SPARSE_K
    for segment, width, part in zip(segments, fwhm, _parts(segments), strict=True):
        continuum, model = np.maximum(fit.continuum[part], _DIM), fit.model[part]
        good = segment.good & fit.inside[part] & (fit.continuum[part] > _DIM)
        sigma, _ = final_sigma(segment, model, continuum, good, width, sparse)
        bad = spikes(segment.flux / continuum, model, sigma / continuum, good, width)
        good &= ~bad
        sigma, source = final_sigma(segment, model, continuum, good, width, sparse)
        cleaned.append(replace(segment, mask=~(good & np.isfinite(sigma) & (sigma > 0))))
        sigmas.append(sigma)
        sources += [source] * bool(good.any())
        hit += int(bad.sum())
    again = np.r_[fit.labels, fit.vsini_kms, fit.velocity_kms - guess_kms]
    fit = _solved(Problem(emulator, cleaned, sigmas, used, guess_kms, again), name, iterations=6)
    records = tuple(
        OrderRecord(s, fit.continuum[part], fit.continuum_error[part], fit.model[part], sigma)
        for s, sigma, part in zip(cleaned, sigmas, _parts(segments), strict=True)
    )
    return fit, records, _sentences(segments, sources, hit), damaged_part(records, fwhm, hit)


def _solved(problem: Problem, name: str, iterations: int = 12) -> Fit:
    """Fit of a problem.

    Raises:
        DomainError: no pixel of it can be used, or what can be is no star's flux.
    """
    if not problem.good.any():
        raise DomainError(f"{name}: no light within the window at the velocity found, {problem.guess_kms:+.0f} km/s")
    try:
        return solve(problem, iterations)
    except ValueError as error:  # LinAlgError is one: a normal matrix that is not finite or not positive
        raise DomainError(f"{name}: no template fits: too many pixels are damaged ({error})") from error


def _parts(segments: list[OrderSegment]) -> list[slice]:
    ends = np.cumsum([s.flux.size for s in segments])
    return [slice(end - s.flux.size, end) for s, end in zip(segments, ends, strict=True)]


def _sentences(segments: list[OrderSegment], sources: list[str], hit: int) -> list[str]:
    """Notes on masked pixels and on the noise."""
    counts: dict[str, int] = {}
    for segment in segments:
        for rule, count in segment.masked.items():
            counts[rule] = counts.get(rule, 0) + count
    names = {
        "file": "by the file or not finite",
        "zero": "exactly zero",
        "constant": "in runs of one value (gaps, saturation)",
        "gross": "above three times the median around them, or below its negative (hot pixels, ghosts)",
        "edge": "at order edges",
        "asked": "in the ranges that were asked for",
    }
    sentences = [f"{count} pixels masked: {names[rule]}" for rule, count in counts.items() if count]
    if hit:
        sentences.append(f"{hit} pixels masked: cosmic rays, hot or dead pixels")
    for source in sorted(set(sources)):
        count = sources.count(source)
        sentences.append(f"noise {source}" + (f" ({count} of {len(sources)} orders)" if count < len(sources) else ""))
    return sentences


def _second(records: tuple[OrderRecord, ...], templates: Bank, fit: Fit) -> tuple[float, float]:
    segments = [record.segment for record in records]
    residuals = [
        np.where(
            r.segment.good, r.model - r.segment.flux / np.where(r.segment.good, np.maximum(r.continuum, _DIM), 1.0), 0.0
        )
        for r in records
    ]
    return second_star(segments, residuals, [r.model for r in records], templates, (fit.velocity_kms, fit.vsini_kms))


def _coverage(observation: Observation, merged: Merged, window_aa: tuple[float, float]) -> float:
    wave, (low, high) = merged.wavelength_aa, window_aa
    seen = np.isfinite(merged.flux) & (wave >= low) & (wave <= high)
    coverage = float(np.gradient(wave)[seen].sum())
    require_overlap(observation.name, coverage, low, high)
    return coverage


def _assemble(
    observation: Observation,
    names: tuple[str, ...],
    resolution: float | None,
    window_aa: tuple[float, float],
    mask: Mask,
    fit: Fit,
    correlation: Correlation,
    records: tuple[OrderRecord, ...],
    merged: Merged,
    coverage: float,
    twin: tuple[float, float],
    notes: list[str],
    damage: float,
    zero_kms: float,
) -> Preparation:
    velocity = fit.velocity_kms - zero_kms
    correlation = replace(
        correlation, velocity_kms=correlation.velocity_kms - zero_kms, peak_kms=correlation.peak_kms - zero_kms
    )
    seen = np.isfinite(merged.flux)
    snr = float(np.median((merged.flux / merged.sigma)[seen]))
    if merged.discordant:
        notes.append(f"{merged.discordant} pixels where orders disagree: the best order alone was kept")
    if damage > DAMAGED:
        notes.append(f"{100 * damage:.0f} % of the pixels are damaged: masked as far as they stand out")
    if (foreign := ghost(merged, fit.model_error, window_aa)) is not None:
        notes.append(foreign)
    template = dict(zip(names, map(float, fit.labels), strict=True)) | {"vsini": fit.vsini_kms}
    flags = {
        "velocity_uncertain": fit.velocity_error_kms > 5 or not correlation.believable,
        "double_lined": twin[1] > _TWIN,
        "cool_star": template.get("teff", _SPARSE_K) < _COOL_K,
        "fast_rotator": fit.vsini_kms > _FAST_KMS,
        "poor_template": fit.model_error > _POOR,
        "short_coverage": coverage < 0.98 * (window_aa[1] - window_aa[0]),
        "resolution_unknown": resolution is None,
        "medium_assumed": bool(observation.provenance.get("medium_assumed")),
        "low_snr": snr < 10,
        "damaged_pixels": damage > DAMAGED or foreign is not None,
    }
    raised = tuple(name for name, applies in flags.items() if applies)
    provenance = {
        **observation.provenance,
        "prepared": tuple(notes),
        "flags": raised,
        "velocity_kms": velocity,
        "velocity_error_kms": fit.velocity_error_kms,
    }
    provenance |= {"mask": texts(mask)} if mask else {}
    spectrum = Spectrum(
        merged.wavelength_aa, merged.flux, sigma=merged.sigma, mask=~seen, frame="rest", normalised=True,
        resolution=resolution, provenance=provenance,
    )  # fmt: skip
    return Preparation(
        spectrum,
        velocity,
        fit.velocity_error_kms,
        _barycentric(observation, velocity),
        observation.frame,
        template,
        merged.continuum_error,
        merged.model,
        fit.model_error,
        snr,
        coverage,
        window_aa,
        mask,
        (twin[0] - zero_kms, twin[1]),
        raised,
        tuple(notes),
        correlation,
        records,
    )


def _barycentric(observation: Observation, velocity_kms: float) -> float | None:
    if observation.frame == "barycentric":
        return velocity_kms
    if observation.frame == "topocentric" and observation.barycentric_kms is not None:
        return velocity_kms + observation.barycentric_kms
    return None
