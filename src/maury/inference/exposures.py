"""Exposures of one star that are fitted together: which were used, their velocities, and which does not fit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from maury.errors import DomainError, MauryError, in_one_line
from maury.inference.columns import PREPARED
from maury.inference.ready import Ready
from maury.likelihood.together import Details
from maury.networks import PosteriorNetwork
from maury.pixelspectra import PixelSpectra
from maury.readers.barycentric import bjd_tdb, zero_point_kms
from maury.spectra import Observation, Spectrum
from maury.wavelengths import Floats

if TYPE_CHECKING:
    from astropy.table import QTable

Star = Spectrum | Observation | str | os.PathLike[str]

_LABELS = ("teff", "logg", "mh", "vsini")
_FAR = 24.5
"""Largest chi-square (4 labels) of an exposure that agrees with the others: by chance 1 in 16,000 exceeds it."""
_APART = 2.0
_SAMPLES = 512
_PASSES = 10


@dataclass(frozen=True)
class Exposure:
    """One exposure of a star.

    Attributes:
        file: where it came from.
        status: ``ok``, ``disagrees`` (with the others), or ``failed`` (skipped).
        error: reason why it was skipped.
        ready: its spectrum, or None where it was skipped.
        noise_scale: fitted noise relative to the sigma of the spectrum.
        apart: rms difference from the mean of all exposures, relative to its noise and the usual errors of the physics.
        labels_chi2: chi-square (4 degrees of freedom) of Teff, log g, [M/H] and v sin i from this exposure alone about
            those of all exposures.
    """

    file: str
    status: Literal["ok", "disagrees", "failed"] = "ok"
    error: str = ""
    ready: Ready | None = field(default=None, repr=False)
    noise_scale: float = np.nan
    apart: float = np.nan
    labels_chi2: float = np.nan

    @cached_property
    def bjd_tdb(self) -> float | None:
        """Barycentric Julian date (TDB, days) of its middle; None where the header lacks something for it."""
        return None if self.ready is None else date_of(self.ready.observation.provenance)

    def record(self) -> dict[str, Any]:
        """Plain values for JSON and tables."""
        done = None if self.ready is None else self.ready.preparation
        known = {} if self.ready is None else self.ready.observation.provenance
        own = None if done is None else done.record()
        r = None if self.ready is None else self.ready.spectrum.resolution
        return {
            "file": self.file,
            "status": self.status,
            "date": known.get("date"),
            "bjd_tdb": self.bjd_tdb,
            "rv_kms": None if own is None else own["velocity_kms"],
            "rv_err": None if own is None else own["velocity_error_kms"],
            "rv_zero_err": None if own is None else zero_point_kms(str(known.get("instrument", ""))),
            "rv_frame": None if own is None else own["frame"],
            "rv_barycentric_kms": None if own is None else own["barycentric_velocity_kms"],
            "snr": None if own is None else own["snr"],
            "resolution": None if r is None else round(float(r)),
            "noise_scale": _plain(self.noise_scale),
            "apart": _plain(self.apart),
            "labels_chi2": _plain(self.labels_chi2),
            "flags": [] if self.ready is None else list(self.ready.flags),
            "error": self.error or None,
        }


def date_of(provenance: Mapping[str, Any]) -> float | None:
    """Barycentric Julian date (TDB, days) of an observation; None where its header lacks something for it."""
    date = bjd_tdb(provenance.get("when_and_where", {}))
    return None if date is None else round(date, 6)


_COLUMNS = {column.name: column for column in PREPARED}
_TEXT = ("file", "status", "date", "rv_frame", "flags", "error")


def prepare_exposures(
    stars: Sequence[Star], prepare: Callable[[Star], Ready], check: Callable[[Spectrum, str], None]
) -> tuple[Exposure, ...]:
    """Prepare exposures; those that fail are skipped, and the reason is recorded.

    Args:
        stars: the exposures.
        prepare: normalises one and shifts it to rest.
        check: raises a `MauryError` for a spectrum that the network cannot take.

    Raises:
        DomainError: no exposure, none that can be used, or the same file twice.
    """
    names = [str(star) for star in stars if isinstance(star, str | os.PathLike)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DomainError(f"{twice[0]}: the same file twice among the exposures of one star")
    found = []
    for number, star in enumerate(stars, 1):
        own = str(star) if isinstance(star, str | os.PathLike) else str(star.provenance.get("file", ""))
        name = own or f"exposure {number}"
        try:
            done = prepare(star)
            check(done.spectrum, done.file)
            found.append(Exposure(done.file, ready=done))
        except (MauryError, OSError) as error:
            found.append(Exposure(name, "failed", in_one_line(error, name)))
    if all(exposure.status == "failed" for exposure in found):
        reason = f": {found[0].error}" if found else ""
        raise DomainError(f"none of {len(found)} exposures can be used{reason}")
    return tuple(found)


def label_distances(network: PosteriorNetwork, data: PixelSpectra) -> Floats:
    """Chi-square (n,) of the labels that the network infers from each exposure (n, p) alone, about those of all.

    The centre is the mean weighted by inverse covariances; outlying exposures get less weight (Huber). The
    uncertainties include errors of the physics, which all exposures share, so that the test is conservative.
    """
    names = [name for name in _LABELS if name in network.transform.space.names]
    columns = [network.transform.space.names.index(name) for name in names]
    with torch.inference_mode():
        features = network(data.to(dtype=torch.float32))
        drawn = network.sample(features, _SAMPLES, torch.Generator().manual_seed(1))[..., columns].double().numpy()
    means = drawn.mean(1)
    inverse = np.linalg.inv(np.stack([np.cov(one, rowvar=False) for one in drawn]))
    weight, distance = np.ones(len(means)), np.zeros(len(means))
    for _ in range(_PASSES):
        total = np.einsum("n,nij->ij", weight, inverse)
        centre = np.linalg.solve(total, np.einsum("n,nij,nj->i", weight, inverse, means))
        off = means - centre
        distance = np.einsum("ni,nij,nj->n", off, inverse, off)
        weight = np.sqrt(len(names) / np.maximum(distance, len(names)))
    return distance


def with_joint_fit(exposures: tuple[Exposure, ...], details: Details | None, distances: Floats) -> tuple[Exposure, ...]:
    """Add status, noise and residuals from the joint fit to the exposures that were used."""
    used = iter(range(len(distances)))
    result = []
    for exposure in exposures:
        if exposure.status == "failed":
            result.append(exposure)
            continue
        i = next(used)
        apart = np.nan if details is None else float(details.apart[i])
        scale = np.nan if details is None else float(details.noise_scales[i])
        far = len(distances) > 1 and (distances[i] > _FAR or apart > _APART)
        status: Literal["ok", "disagrees"] = "disagrees" if far else "ok"
        result.append(replace(exposure, status=status, noise_scale=scale, apart=apart, labels_chi2=float(distances[i])))
    return tuple(result)


def common_flags(exposures: Sequence[Exposure]) -> tuple[str, ...]:
    """Flags that more than half of the used exposures have, ``exposures_disagree`` and ``exposures_skipped``."""
    used = [exposure.ready for exposure in exposures if exposure.ready is not None]
    counts = Counter(flag for one in used for flag in one.flags)
    flags = [flag for flag, count in counts.items() if 2 * count > len(used)]
    states = {exposure.status for exposure in exposures}
    flags += ["exposures_disagree"] if "disagrees" in states else []
    return (*flags, *(["exposures_skipped"] if "failed" in states else []))


def velocity_of(exposures: Sequence[Exposure]) -> dict[str, Any]:
    """Number of exposures that were used, and mean, errors and scatter of their velocities, km/s.

    Velocities are barycentric if known for all exposures, otherwise in the frame of the files if all have the same. The
    mean is weighted by 1 / error^2; the scatter is the standard deviation about it; the error of the zero point is the
    largest of the instruments. Unknown values are None.
    """
    rows = [exposure.record() for exposure in exposures if exposure.status != "failed"]
    frames = {row["rv_frame"] for row in rows}
    barycentric = all(row["rv_barycentric_kms"] is not None for row in rows)
    key = "rv_barycentric_kms" if barycentric else "rv_kms"
    result: dict[str, Any] = {"n_exposures": len(rows), "rv_kms": None, "rv_err": None, "rv_scatter_kms": None}
    known = [row for row in rows if row["snr"] is not None]
    result["snr"] = round(float(np.sqrt(sum(row["snr"] ** 2 for row in known))), 1) if known else None
    if len(known) < len(rows) or not (barycentric or len(frames) == 1):
        return result
    values = np.array([row[key] for row in rows])
    weight = np.maximum([row["rv_err"] for row in rows], 1e-3) ** -2.0
    mean = float(weight @ values / weight.sum())
    scatter = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return result | {
        "rv_kms": round(mean, 4),
        "rv_err": round(float(weight.sum() ** -0.5), 4),
        "rv_zero_err": max(row["rv_zero_err"] for row in rows),
        "rv_frame": "barycentric" if barycentric else frames.pop(),
        "rv_scatter_kms": None if scatter is None else round(scatter, 4),
    }


def exposures_table(exposures: Sequence[Exposure]) -> QTable:
    """One row per exposure: date, BJD, velocity and its error, signal-to-noise, how well it fits the others."""
    from astropy.table import QTable

    rows = [exposure.record() for exposure in exposures]
    table = QTable()
    for key in rows[0]:
        values = [row[key] for row in rows]
        if key in _TEXT:
            table[key] = [",".join(value) if isinstance(value, list) else value or "" for value in values]
        else:
            table[key] = np.array([np.nan if value is None else value for value in values], float)
            table[key].unit = (_COLUMNS[key].unit or None) if key in _COLUMNS else None
        table[key].info.description = _COLUMNS[key].description if key in _COLUMNS else None
    return table


def _plain(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
