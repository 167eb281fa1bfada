"""A summary of an `Observation` for people and programs: what `maury inspect` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from maury.readers.noise import der_snr
from maury.spectra import Observation, Spectrum


def _inside(order: Spectrum, window_aa: tuple[float, float]) -> Spectrum | None:
    """The pixels of an order in a window, or None if fewer than 20 of them or none is good."""
    keep = (order.wavelength_aa >= window_aa[0]) & (order.wavelength_aa <= window_aa[1])
    mask = np.asarray(order.mask, bool)[keep]
    if keep.sum() < 20 or mask.all():
        return None
    sigma = None if order.sigma is None else order.sigma[keep]
    return order.with_(wavelength_aa=order.wavelength_aa[keep], flux=order.flux[keep], sigma=sigma, mask=mask)


def _snr(orders: tuple[Spectrum, ...]) -> tuple[float | None, float | None]:
    """Median S/N per pixel over orders: by DER_SNR, and by sigma where there is one."""
    measured, stated = [], []
    for order in orders:
        good = ~np.asarray(order.mask, bool)
        flux = order.flux[good]
        noise = der_snr(flux)
        if np.isfinite(noise) and noise > 0:
            measured.append(float(np.median(flux)) / noise)
        if order.sigma is not None:
            stated.append(float(np.median(flux / order.sigma[good])))
    return (float(np.median(measured)) if measured else None, float(np.median(stated)) if stated else None)


def summarise(observation: Observation, window_aa: tuple[float, float]) -> dict[str, Any]:
    """What is known of an observation, ready for JSON.

    Args:
        observation: the observation.
        window_aa: range (Å air) in which step and S/N are taken, if any order reaches into it; else all of it.

    Returns:
        file, reader, object, instrument, date, orders, wavelength_aa (first, last), pixels, step_aa, medium (of the
        file), medium_assumed, frame, barycentric_kms, normalised, resolution, sigma (source), snr_measured (DER_SNR:
        lines lower it, resampling raises it), snr_sigma, masked (fraction), rules, warnings.
    """
    inside = (_inside(order, window_aa) for order in observation.overlapping(*window_aa))
    used = tuple(order for order in inside if order is not None) or observation.orders
    measured, stated = _snr(used)
    known = observation.provenance
    masks = np.concatenate([np.asarray(order.mask, bool) for order in observation.orders])
    return {
        "file": known.get("file"),
        "reader": known.get("reader"),
        "object": known.get("object"),
        "instrument": known.get("instrument"),
        "date": known.get("date"),
        "orders": len(observation.orders),
        "wavelength_aa": list(observation.span_aa),
        "pixels": int(masks.size),
        "step_aa": float(np.median(np.concatenate([np.diff(order.wavelength_aa) for order in used]))),
        "medium": known.get("medium"),
        "medium_assumed": bool(known.get("medium_assumed")),
        "frame": observation.frame,
        "barycentric_kms": observation.barycentric_kms,
        "normalised": bool(observation.normalised),
        "resolution": observation.resolution,
        "sigma": known.get("sigma", "none"),
        "snr_measured": measured,
        "snr_sigma": stated,
        "masked": float(masks.mean()),
        "rules": list(known.get("rules", ())),
        "warnings": list(known.get("warnings", ())),
    }


def in_words(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text of each line that tells a person what `summarise` found."""
    first, last = summary["wavelength_aa"]
    for key in ("object", "instrument", "date"):
        if summary[key]:
            yield key, str(summary[key])
    yield "reader", summary["reader"]
    yield "orders", f"{summary['orders']} ({summary['pixels']} pixels, {100 * summary['masked']:.2g} % masked)"
    yield "wavelengths", f"{first:.2f} to {last:.2f} Å air, step {summary['step_aa']:.4f} Å"
    yield "medium", f"{summary['medium']} in the file" + (" (assumed)" if summary["medium_assumed"] else "")
    velocity = summary["barycentric_kms"]
    yield "frame", summary["frame"] + ("" if velocity is None else f", barycentric velocity {velocity:+.3f} km/s")
    yield "continuum", "divided out" if summary["normalised"] else "not divided out"
    yield "resolution", "unknown" if summary["resolution"] is None else f"{summary['resolution']:.0f}"
    yield "sigma", summary["sigma"]
    measured, stated = summary["snr_measured"], summary["snr_sigma"]
    texts = ["not measurable" if measured is None else f"{measured:.0f} from pixel to pixel (lines lower it)"]
    texts += [] if stated is None else [f"{stated:.0f} by sigma"]
    yield "S/N", ", ".join(texts)
    for number, rule in enumerate(summary["rules"], start=1):
        yield f"rule {number}", rule
    for warning in summary["warnings"]:
        yield "warning", warning
