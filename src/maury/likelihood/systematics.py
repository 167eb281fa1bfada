"""Systematic errors of labels: scatter of real stars about the literature that statistical errors do not explain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maury.checkpoints import MODELS
from maury.errors import FormatError
from maury.labels import ALPHA, FURTHER_ELEMENTS
from maury.likelihood.priors import LabelPrior

PACKAGED = MODELS / "systematic-errors.json"
"""Fitted by `maury systematic-errors`: ``teff_k``, ``size`` (by label, at these temperatures), ``poor`` and ``dwarf``
(`size_at`).

Another network has its own file.
"""

METAL_POOR = (-0.7, -2.5)
"""[M/H] from which systematic errors grow with falling [M/H], and where they reach their largest size."""

COOL_K, DWARF_LOGG = (4500.0, 4200.0), (3.0, 4.0)
"""Teff and log g from which systematic errors of cool dwarfs differ from those of giants, and where they do in full."""

_OTHERS = {"vmic": 0.15, "c": 0.06}
"""Standard deviations of labels for which stars have no values in the literature, km/s and dex."""

_ELEMENT = 0.03
"""Scatter (dex) of each element in addition to the error of [alpha/M], which they share."""

_VSINI_KMS, _VSINI_SHARE = 1.5, 0.03
"""Systematic error of v sin i, nearly degenerate with macroturbulence: a constant (km/s) and a fraction of v sin i."""

_REPEATS = 8
"""Systematic errors drawn for each sample of the fit where priors weight them."""


@lru_cache(maxsize=4)
def _fitted(source: Path) -> tuple[list[float], dict[str, list[float]], dict[str, float], dict[str, float]]:
    try:
        stored = json.loads(source.read_text(encoding="utf-8"))
        return stored["teff_k"], stored["size"], stored["poor"], stored.get("dwarf", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{source}: not a file of systematic errors ({error}); maury systematic-errors writes one"
        ) from error


def size_at(
    teff: float,
    mh: float,
    nodes: Sequence[float],
    sizes: Sequence[float],
    poor: float,
    dwarf: float = 0.0,
    logg: float = 0.0,
) -> float:
    """Standard deviation at Teff (K), [M/H] and log g: ln of it linear between nodes in Teff.

    It grows by ``poor`` with -[M/H], and by ``dwarf`` below `COOL_K` with log g.

    Args:
        teff: K.
        mh: [M/H].
        nodes: temperatures (k,), increasing.
        sizes: standard deviations there (k,).
        poor: increase of ln(standard deviation) from the higher to the lower [M/H] of `METAL_POOR`.
        dwarf: increase of it from warmer stars and giants to cool dwarfs.
        logg: log g.
    """
    growth = poor * float(np.interp(-mh, np.negative(METAL_POOR), (0.0, 1.0)))
    growth += dwarf * float(np.interp(-teff, np.negative(COOL_K), (0, 1)) * np.interp(logg, DWARF_LOGG, (0, 1)))
    return float(np.exp(np.interp(teff, nodes, np.log(sizes)) + growth))


def systematic(labels: Mapping[str, float], source: Path = PACKAGED) -> dict[str, float]:
    """Standard deviation by label, in its unit, of the systematic error of a star.

    That of Teff, log g, [M/H] and [alpha/M] is the scatter of fit minus literature of benchmark stars in excess of the
    errors of both, as a function of Teff, [M/H] and, of cool stars, log g. Single elements share that of [alpha/M].

    Args:
        labels: of the fit by name; ``teff``, ``mh``, ``logg`` and ``vsini`` count.
        source: file of the sizes.

    Raises:
        FormatError: not such a file.
    """
    teff, mh = labels.get("teff", 5750.0), labels.get("mh", 0.0)
    nodes, sizes, poor, dwarf = _fitted(source)
    logg = labels.get("logg", 0.0)
    found = {
        name: size_at(teff, mh, nodes, values, poor[name], dwarf.get(name, 0.0), logg) for name, values in sizes.items()
    }
    elements = (*ALPHA, "cr", "ni", *FURTHER_ELEMENTS)
    found |= _OTHERS | dict.fromkeys(elements, float(np.hypot(found["alpha"], _ELEMENT)))
    return found | {"vsini": float(np.hypot(_VSINI_KMS, _VSINI_SHARE * labels.get("vsini", 0.0)))}


def _errors(sizes: Mapping[str, float], names: Sequence[str], count: int, generator: torch.Generator) -> Tensor:
    """Systematic errors (count, k); those of Mg, Ca and Ti have that of [alpha/M] in common."""
    errors = torch.randn(count, len(names), generator=generator, dtype=torch.float64)
    common = torch.randn(count, generator=generator, dtype=torch.float64)
    for column, name in enumerate(names):
        if name in ALPHA and "alpha" not in names:
            errors[:, column] = sizes["alpha"] * common + _ELEMENT * errors[:, column]
        else:
            errors[:, column] *= sizes.get(name, 0.0)
    return errors


def with_systematics(
    samples: Tensor,
    names: Sequence[str],
    generator: torch.Generator,
    priors: Sequence[LabelPrior] = (),
    real: bool = True,
    source: Path = PACKAGED,
) -> tuple[Tensor, float]:
    """Samples of the true labels: fitted labels plus random systematic errors, weighted by priors.

    Priors are on the true labels, and so constrain statistical and systematic errors jointly. True labels may lie
    outside the ranges of the model.

    Args:
        samples: labels of the fit (n, k), of equal weight.
        names: the k labels.
        generator: of random numbers.
        priors: priors on the true labels.
        real: whether a star is real; simulated ones have no systematic error.
        source: file of the sizes of systematic errors.

    Returns:
        Samples (n, k) of equal weight, and the effective fraction of the samples that were weighted by the priors.
    """
    count = len(samples)
    if not real and not priors:
        return samples, 1.0
    many = samples.repeat(_REPEATS if priors else 1, 1)
    if real:
        sizes = systematic(dict(zip(names, samples.median(0).values.tolist(), strict=True)), source)
        many = many + _errors(sizes, names, len(many), generator).to(many)
        if "vsini" in names:
            many[:, names.index("vsini")].abs_()
    columns = dict(zip(names, many.unbind(1), strict=True))
    log = torch.zeros(len(many), dtype=many.dtype)
    for prior in priors:
        log = log + prior.log_density(columns)
    if not bool(torch.isfinite(log).any()):
        return many[:count], 0.0
    weights = (log - log.logsumexp(0)).exp()
    positions = (torch.arange(count, dtype=many.dtype) + torch.rand(1, generator=generator, dtype=many.dtype)) / count
    rows = torch.searchsorted(weights.cumsum(0), positions).clamp_max(len(many) - 1)
    chosen = many[rows[torch.randperm(count, generator=generator)]]
    return chosen, float(1 / weights.square().sum() / len(weights))
