"""From arcs as a file has them to an `Observation`: increasing air wavelengths, one frame, everything recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError
from maury.readers.source import Arc, Floats, Job, Raw
from maury.spectra import Observation, Spectrum
from maury.wavelengths import vacuum_to_air

MAX_ORDERS = 2000
_MAX_DUPLICATES = 0.01
_SHORTEST_ORDER = 20


def _take(arc: Arc, index: NDArray[np.intp] | NDArray[np.bool_] | slice, name: str | None = None) -> Arc:
    return Arc(
        arc.wavelength_aa[index],
        arc.flux[index],
        None if arc.sigma is None else arc.sigma[index],
        None if arc.mask is None else arc.mask[index],
        arc.name if name is None else name,
    )


def _label(arc: Arc) -> str:
    return f"order {arc.name}: " if arc.name else ""


def ascending(arc: Arc, job: Job) -> list[Arc]:
    """Cut an arc into runs of increasing wavelength.

    Pixels without a wavelength (NaN, zero: padding) are left out; a decreasing run is reversed; at steps back the
    arc is cut, as orders written one after another have them; of pixels with the same wavelength the first is kept,
    if they are at most 1 %.

    Raises:
        FormatError: so many steps back, or so many equal wavelengths, that the order of the pixels means nothing.
    """
    good = np.isfinite(arc.wavelength_aa) & (arc.wavelength_aa > 0)
    if not good.all():
        if good.sum() < 2:
            return []
        job.rule("pixels without a wavelength (not finite, zero or negative) left out")
        arc = _take(arc, good)
    steps = np.diff(arc.wavelength_aa)
    if steps.size == 0:
        return []
    if (steps < 0).sum() > (steps > 0).sum():
        job.rule("decreasing wavelengths reversed")
        arc = _take(arc, slice(None, None, -1))
        steps = np.diff(arc.wavelength_aa)
    cuts = np.flatnonzero(steps < 0) + 1
    if cuts.size:
        if cuts.size > MAX_ORDERS or arc.wavelength_aa.size / (cuts.size + 1) < _SHORTEST_ORDER:
            raise job.fail(
                f"{_label(arc)}wavelengths are in no order: {cuts.size} steps back in {arc.wavelength_aa.size} pixels, "
                f"the first at {arc.wavelength_aa[cuts[0] - 1]:.4f} Å"
            )
        job.rule("wavelengths that step back: cut there into orders")
    parts = np.split(np.arange(arc.wavelength_aa.size), cuts)
    names = [f"{arc.name}.{i + 1}".lstrip(".") for i in range(len(parts))] if cuts.size else [arc.name]
    return [_distinct(_take(arc, part, name), job) for part, name in zip(parts, names, strict=True)]


def _distinct(arc: Arc, job: Job) -> Arc:
    """Keep the first of pixels with one and the same wavelength; an error if they are more than 1 %."""
    same = np.flatnonzero(np.diff(arc.wavelength_aa) == 0) + 1
    if not same.size:
        return arc
    if same.size > max(1, _MAX_DUPLICATES * arc.wavelength_aa.size):
        raise job.fail(
            f"{_label(arc)}{same.size} of {arc.wavelength_aa.size} pixels have the wavelength of the pixel before, "
            f"the first at {arc.wavelength_aa[same[0]]:.4f} Å"
        )
    job.rule("of pixels with the same wavelength the first is kept")
    job.warn(f"{same.size} pixels with the wavelength of the pixel before left out")
    return _take(arc, np.setdiff1d(np.arange(arc.wavelength_aa.size), same))


def _empty(arc: Arc) -> str | None:
    """Why an arc holds no signal, or None."""
    usable = np.isfinite(arc.flux) if arc.mask is None else np.isfinite(arc.flux) & ~arc.mask
    if arc.flux.size < 2:
        return "fewer than 2 pixels"
    if not np.isfinite(arc.flux).any():
        return "all flux NaN"
    if not usable.any():
        return "every pixel masked"
    if not arc.flux[usable].any():
        return "all flux zero"
    return None


def _is_normalised(arcs: list[Arc]) -> bool:
    """Whether the flux looks divided by its continuum: its upper envelope is flat at 1.

    In pieces of 25 Å, the 90th percentile of the flux has to lie between 0.85 and 1.1 in nine of ten, over all
    orders. Strong, wide lines make the tenth.
    """
    tops: list[float] = []
    for arc in arcs:
        good = np.isfinite(arc.flux)
        wavelength, flux = arc.wavelength_aa[good], arc.flux[good]
        edges = np.arange(wavelength[0], wavelength[-1] + 25, 25.0) if wavelength.size else np.array([])
        pieces = np.split(flux, np.searchsorted(wavelength, edges[1:-1]))
        tops += [float(np.percentile(piece, 90)) for piece in pieces if piece.size >= 20 and np.any(piece != 0)]
    values: Floats = np.array(tops)
    return bool(values.size and ((values > 0.85) & (values < 1.1)).mean() >= 0.9)


def _sigma(arc: Arc, job: Job) -> Floats | None:
    """Sigma with only positive numbers or NaN; None when it holds no number at all."""
    if arc.sigma is None:
        return None
    sigma = arc.sigma.copy()
    sigma[~np.isfinite(sigma) | (sigma <= 0)] = np.nan
    if np.isnan(sigma).all():
        job.warn(f"{_label(arc)}sigma holds no positive number: none for this order")
        return None
    if np.isnan(sigma).any():
        job.rule("pixels whose sigma is zero, negative or not finite are masked")
    return sigma


def _arcs(raw: Raw, job: Job) -> list[Arc]:
    """All arcs, cut, tested for signal, in air, by increasing wavelength."""
    arcs = []
    for whole in raw.arcs:
        for arc in ascending(whole, job):
            reason = _empty(arc)
            if reason:
                job.warn(f"{_label(arc)}{reason}: left out")
            else:
                arcs.append(arc)
    if not arcs:
        raise job.fail("no pixel has a wavelength and a finite flux other than zero")
    if len(arcs) > MAX_ORDERS:
        raise job.fail(f"{len(arcs)} orders, more than the {MAX_ORDERS} that any spectrograph has")
    if job.medium is not None:
        raw.medium = job.medium
        job.rule(f"{job.medium} wavelengths: given by the user")
    if raw.medium is None:
        raw.medium = "air"
        job.rule("air wavelengths assumed: the file does not say")
        job.warn("the file does not say whether its wavelengths are in air or vacuum: air assumed")
    if raw.medium == "vacuum":
        job.rule("vacuum wavelengths converted to air (Ciddor 1996)")
        arcs = [Arc(vacuum_to_air(a.wavelength_aa), a.flux, a.sigma, a.mask, a.name) for a in arcs]
    return sorted(arcs, key=lambda arc: float(arc.wavelength_aa[0]))


def finish(raw: Raw, job: Job) -> Observation:
    """Make the `Observation`: order, medium, masks, resolution, normalisation, provenance.

    Raises:
        FormatError: no order holds any signal, or the wavelengths are in no order.
    """
    arcs = _arcs(raw, job)
    if raw.normalised is None:
        raw.normalised = _is_normalised(arcs)
        text = (
            "at 1 throughout: taken as normalised" if raw.normalised else "not at 1 throughout: taken as not normalised"
        )
        job.rule(f"upper envelope of the flux (90th percentile in pieces of 25 Å) {text}")
    if job.resolution is not None:
        raw.resolution = job.resolution
        job.rule(f"resolution {job.resolution:.0f}: given by the user")
    if raw.frame == "unknown":
        job.warn("frame of the wavelengths (rest, barycentric, topocentric) unknown")
    orders = []
    for arc in arcs:
        provenance = {"file": str(job.path), "reader": raw.reader, "order": arc.name}
        sigma = _sigma(arc, job)
        usable = np.isfinite(arc.flux) & (True if sigma is None else np.isfinite(sigma))
        if sigma is not None and not (usable & (True if arc.mask is None else ~arc.mask)).any():
            job.warn(f"{_label(arc)}no pixel has both flux and sigma: left out")
            continue
        try:
            orders.append(
                Spectrum(
                    arc.wavelength_aa,
                    arc.flux,
                    sigma=sigma,
                    mask=arc.mask,
                    frame=raw.frame,
                    normalised=raw.normalised,
                    resolution=raw.resolution,
                    provenance=provenance,
                )
            )
        except FormatError as error:
            raise job.fail(str(error).removeprefix(f"{job.path}: ")) from error
    if not orders:
        raise job.fail("no pixel has a wavelength, a flux and a sigma")
    has_sigma = any(order.sigma is not None for order in orders)
    summary: dict[str, Any] = {
        "file": str(job.path),
        "reader": raw.reader,
        "medium": raw.medium,
        "sigma": raw.sigma if has_sigma else raw.sigma if raw.sigma.startswith("none") else "none",
        "rules": tuple(job.rules),
        "warnings": tuple(job.warnings),
        **raw.info,
    }
    return Observation(tuple(orders), raw.barycentric_kms, summary)
