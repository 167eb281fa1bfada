"""Calibration of a posterior network on new simulated stars, and its scatter relative to the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maury import __version__
from maury.emulator import file_of
from maury.evaluation.bound import STEP_KMS, bound, pixel_sigma
from maury.evaluation.calibration import LEVELS, coverage, ranks, uniformity
from maury.evaluation.metrics import error_summary
from maury.files import sha256
from maury.labels import LABELS
from maury.networks import PosteriorNetwork
from maury.pixelspectra import PixelSpectra
from maury.progress import Advance, silent
from maury.simulation import Simulator

SCHEMA = 1
"""Version of the layout of posterior.json."""

TEFF_EDGES = (3500.0, 4500.0, 5500.0, 6500.0, 8000.0, 9750.0)
SNR_EDGES = (5.0, 15.0, 30.0, 60.0, 120.0, 250.0, 1000.0)
FEWEST = 20

BOUND_RESOLUTION = 42_000.0
BOUND_SNR = (20.0, 50.0, 100.0, 200.0)
INNER = (0.05, 0.95)
"""Range of unit coordinates (0..1 over the prior) of the stars that are compared with the bound."""

_BATCH = 128


@dataclass(frozen=True)
class Recovered:
    """True labels of simulated stars beside those that a network recovers."""

    truth: NDArray[np.float64]  # labels (n, k)
    median: NDArray[np.float64]  # medians of the posteriors (n, k)
    rank: NDArray[np.float64]  # fraction of the samples below the truth (n, k)
    density: NDArray[np.float64]  # log posterior density at the truth, in unconstrained coordinates (n,)
    snr: NDArray[np.float64]  # median S/N per pixel of the network (n,)


@torch.inference_mode()
def recover(
    network: PosteriorNetwork,
    simulator: Simulator,
    count: int,
    samples: int,
    seed: int,
    advance: Advance = silent,
) -> Recovered:
    """Simulate ``count`` new stars and infer their labels with a network."""
    generator = torch.Generator().manual_seed(seed)
    columns = [simulator.labels.index(name) for name in network.config.labels]
    parts = []
    for first in range(0, count, _BATCH):
        stars = simulator.batch(min(_BATCH, count - first), generator)
        labels = stars.labels[:, columns]
        features = network(stars)
        drawn = network.sample(features, samples, generator)
        snr = torch.where(stars.mask, torch.nan, 1 / stars.sigma).nanmedian(1).values
        rank = ranks(drawn.numpy(), labels.numpy())
        median, density = drawn.median(1).values, network.log_prob_unconstrained(features, labels)
        parts.append([part.double().numpy() for part in (labels, median, torch.from_numpy(rank), density, snr)])
        advance(len(labels))
    return Recovered(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def calibration_report(recovered: Recovered, names: tuple[str, ...]) -> dict[str, Any]:
    """Errors, coverage and ranks by label; errors and coverage also by Teff and S/N.

    Returns:
        ``n``, ``nll`` (nats per star, in unconstrained coordinates), ``labels.<label>`` with the figures of
        `maury.evaluation.metrics.error_summary`, ``coverage``, ``sbc``, and the tables ``cells`` (Teff and S/N) and
        ``by_snr``.
    """
    error = recovered.median - recovered.truth
    teff = recovered.truth[:, names.index("teff")] if "teff" in names else np.zeros(len(error))
    labels = {}
    for k, name in enumerate(names):
        labels[name] = {
            "unit": "dex" if name == "logg" else LABELS[name].unit,
            **error_summary(error[:, k]),
            "coverage": coverage(recovered.rank[:, k]),
            "sbc": uniformity(recovered.rank[:, k]),
            "cells": _cells(error[:, k], teff, recovered.snr),
            "by_snr": [
                {**row, "coverage": coverage(recovered.rank[inside, k])}
                for inside, row in _by_snr(error[:, k], recovered.snr)
            ],
        }
    return {"n": len(error), "nll": float(-recovered.density.mean()), "levels": list(LEVELS), "labels": labels}


def _cells(error: NDArray[np.float64], teff: NDArray[np.float64], snr: NDArray[np.float64]) -> list[dict[str, Any]]:
    rows = []
    for low, high in pairwise(TEFF_EDGES):
        inside = (teff >= low) & (teff < high)
        rows += [{"teff": [low, high], **row} for _, row in _by_snr(error, snr, inside)]
    return rows


def _by_snr(
    error: NDArray[np.float64], snr: NDArray[np.float64], among: NDArray[np.bool_] | bool = True
) -> Iterator[tuple[NDArray[np.bool_], dict[str, Any]]]:
    """Mask and errors of the stars in each bin of S/N, where there are enough."""
    for least, most in pairwise(SNR_EDGES):
        inside = among & (snr >= least) & (snr < most)
        if inside.sum() >= FEWEST:
            yield inside, {"snr": [least, most], "n": int(inside.sum()), **error_summary(error[inside])}


@torch.inference_mode()
def bound_report(
    network: PosteriorNetwork,
    simulator: Simulator,
    count: int,
    samples: int,
    seed: int,
    advance: Advance = silent,
) -> dict[str, Any]:
    """Scatter of spectra with white noise and no other error as a ratio to the Cramer-Rao bound.

    Labels lie between 5 % and 95 % of every range of the network's prior (in unit coordinates); R = 42,000.

    Returns:
        ``resolution``, ``step_kms``, ``n`` and, by label, rows of ``snr``, ``bound`` (median, label's unit),
        ``scatter_ratio`` (1.4826 times the median of |error - median error| / bound) and ``error_ratio`` (median of the
        posterior's standard deviation / bound).
    """
    generator = torch.Generator().manual_seed(seed)
    prior = torch.cat([simulator.batch(_BATCH, generator).labels for _ in range(-(-8 * count // _BATCH))])
    names = network.config.labels
    columns = [simulator.labels.index(name) for name in names]
    unit = network.transform.unit(prior[:, columns])
    labels = prior[((unit > INNER[0]) & (unit < INNER[1])).all(1)][:count]
    sigma = [pixel_sigma(simulator, snr) for snr in BOUND_SNR]
    least = np.concatenate(
        [bound(simulator, part, prior, BOUND_RESOLUTION, sigma, names) for part in labels.split(_BATCH)], axis=1
    )
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    resolution = torch.full((len(labels),), BOUND_RESOLUTION)
    flux = simulator.spectra(labels, resolution)
    for i, snr in enumerate(BOUND_SNR):
        noisy = flux + sigma[i] * torch.randn(flux.shape, generator=generator)
        features = network(PixelSpectra(flux=noisy, sigma=float(sigma[i]), resolution=resolution))
        drawn = torch.cat([network.sample(part, samples, generator) for part in features.split(_BATCH)])
        error = (drawn.median(1).values - labels[:, columns]).double().numpy() / least[i]
        width = drawn.std(1).double().numpy() / least[i]
        for k, name in enumerate(names):
            rows[name].append(
                {
                    "snr": snr,
                    "bound": float(np.median(least[i][:, k])),
                    "scatter_ratio": error_summary(error[:, k])["robust_scatter"],
                    "error_ratio": float(np.median(width[:, k])),
                }
            )
        advance(1)
    return {"resolution": BOUND_RESOLUTION, "step_kms": STEP_KMS, "n": len(labels), "labels": rows}


def report(
    name: str,
    header: Mapping[str, Any],
    emulator: str,
    seed: int,
    calibration: Mapping[str, Any],
    least: Mapping[str, Any],
) -> dict[str, Any]:
    """All figures as plain JSON values, with what made them."""
    digest = sha256(file_of(emulator))
    return {
        "schema": SCHEMA,
        "maury": __version__,
        "model": name,
        "header": dict(header),
        "emulator": digest,
        "emulator_of_training": digest == header.get("emulator"),
        "seed": seed,
        "simulated": dict(calibration),
        "cramer_rao": dict(least),
    }
