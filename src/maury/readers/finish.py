"""From orders as a file has them to an `Observation`: increasing air wavelengths, one frame, everything recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from maury.errors import FormatError
from maury.readers.choice import of_order, of_row_and_fibre, require_one_star
from maury.readers.source import Floats, Log, Raw, RawOrder
from maury.spectra import Observation, Spectrum
from maury.wavelengths import vacuum_to_air

MAX_ORDERS = 2000
_MAX_DUPLICATES = 0.01
_SHORTEST_ORDER = 20


def _label(run: RawOrder) -> str:
    return f"order {run.name}: " if run.name else ""


def ascending(run: RawOrder, log: Log) -> list[RawOrder]:
    """Cut an order into runs of increasing wavelength.

    Pixels without a wavelength (NaN, zero: padding) are left out; a decreasing run is reversed; at steps back the
    run is cut, as orders written one after another have them; of pixels with the same wavelength the first is kept,
    if they are at most 1 %.

    Raises:
        FormatError: so many steps back, or so many equal wavelengths, that the order of the pixels means nothing.
    """
    good = np.isfinite(run.wavelength_aa) & (run.wavelength_aa > 0)
    if not good.all():
        if good.sum() < 2:
            return []
        log.rule("pixels without a wavelength (not finite, zero or negative) left out")
        run = run.take(good)
    steps = np.diff(run.wavelength_aa)
    if steps.size == 0:
        return []
    if (steps < 0).sum() > (steps > 0).sum():
        log.rule("decreasing wavelengths reversed")
        run = run.take(slice(None, None, -1))
        steps = np.diff(run.wavelength_aa)
    cuts = np.flatnonzero(steps < 0) + 1
    if cuts.size:
        if cuts.size > MAX_ORDERS or run.wavelength_aa.size / (cuts.size + 1) < _SHORTEST_ORDER:
            raise log.fail(
                f"{_label(run)}wavelengths are in no order: {cuts.size} steps back in {run.wavelength_aa.size} pixels, "
                f"the first at {run.wavelength_aa[cuts[0] - 1]:.4f} Å"
            )
        log.rule("wavelengths that step back: cut there into orders")
    parts = np.split(np.arange(run.wavelength_aa.size), cuts)
    names = [f"{run.name}.{i + 1}".lstrip(".") for i in range(len(parts))] if cuts.size else [run.name]
    return [_distinct(run.take(part, name), log) for part, name in zip(parts, names, strict=True)]


def _distinct(run: RawOrder, log: Log) -> RawOrder:
    """Keep the first of pixels with one and the same wavelength; an error if they are more than 1 %."""
    same = np.flatnonzero(np.diff(run.wavelength_aa) == 0) + 1
    if not same.size:
        return run
    if same.size > max(1, _MAX_DUPLICATES * run.wavelength_aa.size):
        raise log.fail(
            f"{_label(run)}{same.size} of {run.wavelength_aa.size} pixels have the wavelength of the pixel before, "
            f"the first at {run.wavelength_aa[same[0]]:.4f} Å"
        )
    log.rule("of pixels with the same wavelength the first is kept")
    log.warn(f"{same.size} pixels with the wavelength of the pixel before left out")
    return run.take(np.setdiff1d(np.arange(run.wavelength_aa.size), same))


def _empty(run: RawOrder) -> str | None:
    """Why a run holds no signal, or None."""
    usable = np.isfinite(run.flux) if run.mask is None else np.isfinite(run.flux) & ~run.mask
    if run.flux.size < 2:
        return "fewer than 2 pixels"
    if not np.isfinite(run.flux).any():
        return "all flux NaN"
    if not usable.any():
        return "every pixel masked"
    if not run.flux[usable].any():
        return "all flux zero"
    return None


def _is_normalised(runs: list[RawOrder]) -> bool:
    """Whether the flux looks divided by its continuum: its upper envelope is flat at 1.

    In pieces of 25 Å, the 90th percentile of the flux has to lie between 0.85 and 1.1 in nine of ten, over all
    orders. Strong, wide lines make the tenth.
    """
    tops: list[float] = []
    for run in runs:
        good = np.isfinite(run.flux)
        wavelength, flux = run.wavelength_aa[good], run.flux[good]
        edges = np.arange(wavelength[0], wavelength[-1] + 25, 25.0) if wavelength.size else np.array([])
        pieces = np.split(flux, np.searchsorted(wavelength, edges[1:-1]))
        tops += [float(np.percentile(piece, 90)) for piece in pieces if piece.size >= 20 and np.any(piece != 0)]
    values: Floats = np.array(tops)
    return bool(values.size and ((values > 0.85) & (values < 1.1)).mean() >= 0.9)


def _sigma(run: RawOrder, log: Log) -> Floats | None:
    """Sigma with only positive numbers or NaN; None when it holds no number at all."""
    if run.sigma is None or log.options.ignore_sigma:
        return None
    sigma = run.sigma.copy()
    sigma[~np.isfinite(sigma) | (sigma <= 0)] = np.nan
    if np.isnan(sigma).all():
        log.warn(f"{_label(run)}sigma holds no positive number: none for this order")
        return None
    if np.isnan(sigma).any():
        log.rule("pixels whose sigma is zero, negative or not finite are masked")
    return sigma


def _runs(raw: Raw, log: Log) -> list[RawOrder]:
    """All runs, cut, tested for signal, in air, by increasing wavelength."""
    runs = []
    for whole in of_row_and_fibre(raw.orders, log):
        for run in ascending(whole, log):
            reason = _empty(run)
            if reason:
                log.warn(f"{_label(run)}{reason}: left out")
            else:
                runs.append(run)
    runs = of_order(runs, log)
    if not runs:
        raise log.fail("no pixel has a wavelength and a finite flux other than zero")
    if len(runs) > MAX_ORDERS:
        raise log.fail(f"{len(runs)} orders, more than the {MAX_ORDERS} that any spectrograph has")
    if not raw.one_star:
        require_one_star(runs, log)
    if log.options.medium is not None:
        raw.medium_assumed = False
        raw.medium = log.options.medium
        log.rule(f"{log.options.medium} wavelengths: given by the user")
    if raw.medium is None:
        raw.medium, raw.medium_assumed = "air", True
        log.rule("air wavelengths assumed: the file does not say")
        log.warn("the file does not say whether its wavelengths are in air or vacuum: air assumed")
    if raw.medium == "vacuum":
        log.rule("vacuum wavelengths converted to air (Ciddor 1996)")
        runs = [replace(run, wavelength_aa=vacuum_to_air(run.wavelength_aa)) for run in runs]
    return sorted(runs, key=lambda run: float(run.wavelength_aa[0]))


def finish(raw: Raw, log: Log) -> Observation:
    """Make the `Observation`: order, medium, masks, resolution, normalisation, provenance.

    Raises:
        FormatError: no order holds any signal, or the wavelengths are in no order.
    """
    runs = _runs(raw, log)
    if raw.normalised is None:
        raw.normalised = _is_normalised(runs)
        text = (
            "at 1 throughout: taken as normalised" if raw.normalised else "not at 1 throughout: taken as not normalised"
        )
        log.rule(f"upper envelope of the flux (90th percentile in pieces of 25 Å) {text}")
    if log.options.resolution is not None:
        raw.resolution = log.options.resolution
        log.rule(f"resolution {log.options.resolution:.0f}: given by the user")
    if raw.frame == "unknown":
        log.warn("frame of the wavelengths (rest, barycentric, topocentric) unknown")
    orders = []
    for run in runs:
        provenance = {"file": str(log.path), "reader": raw.reader, "order": run.name}
        sigma = _sigma(run, log)
        usable = np.isfinite(run.flux) & (True if sigma is None else np.isfinite(sigma))
        if sigma is not None and not (usable & (True if run.mask is None else ~run.mask)).any():
            log.warn(f"{_label(run)}no pixel has both flux and sigma: left out")
            continue
        try:
            orders.append(
                Spectrum(
                    run.wavelength_aa,
                    run.flux,
                    sigma=sigma,
                    mask=run.mask,
                    frame=raw.frame,
                    normalised=raw.normalised,
                    resolution=raw.resolution,
                    provenance=provenance,
                )
            )
        except FormatError as error:
            raise log.fail(str(error).removeprefix(f"{log.path}: ")) from error
    if not orders:
        raise log.fail("no pixel has a wavelength, a flux and a sigma")
    if log.options.ignore_sigma and raw.sigma != "none":
        log.rule(f"noise of the file ignored, as the user asks: {raw.sigma}")
        raw.sigma = "none (ignored)"
    has_sigma = any(order.sigma is not None for order in orders)
    summary: dict[str, Any] = {
        "file": str(log.path),
        "reader": raw.reader,
        "medium": raw.medium,
        "medium_assumed": raw.medium_assumed,
        "sigma": raw.sigma if has_sigma else raw.sigma if raw.sigma.startswith("none") else "none",
        "rules": tuple(log.rules),
        "warnings": tuple(log.warnings),
        **raw.info,
    }
    return Observation(tuple(orders), raw.barycentric_kms, summary)
