"""The Cramer-Rao bound: the smallest error that spectra allow, from the emulator's own derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maury.observations import Simulator

Floats = NDArray[np.float64]

_STEPS = {"teff": 20.0, "logg": 0.02, "mh": 0.01, "vmic": 0.02, "zeta": 0.1}
_ABUNDANCE_STEP = 0.02
_ALPHA = ("mg", "ca", "ti")


def derivatives(simulator: Simulator, labels: Tensor, resolution: float) -> Tensor:
    """Derivatives (n, k, p) of the flux with respect to the labels (n, k), by central differences.

    The mean [alpha/M], where it stands beside the single elements, has none of its own: its rows are 0.
    """
    r = torch.full((len(labels),), resolution)
    free = set(_free(simulator))
    rows = []
    for column, name in enumerate(simulator.labels):
        if column not in free:
            rows.append(torch.zeros(len(labels), simulator.pixels.count))
            continue
        step, least = _step(name, labels[:, column]), 0.0 if name in ("vsini", "zeta") else -torch.inf
        (below, low), (above, high) = (_moved(simulator, labels, column, sign * step, least, r) for sign in (-1, 1))
        rows.append((high - low) / (above - below)[:, None])
    return torch.stack(rows, 1)


def _free(simulator: Simulator) -> list[int]:
    """Columns of labels that may vary by themselves: not [alpha/M] as the mean of other labels."""
    mean = set(_ALPHA) <= set(simulator.labels)
    return [i for i, name in enumerate(simulator.labels) if not (name == "alpha" and mean)]


def _moved(
    simulator: Simulator, labels: Tensor, column: int, by: Tensor, least: float, resolution: Tensor
) -> tuple[Tensor, Tensor]:
    """Values (n,) of a label moved, but not below ``least``, and the flux (n, p)."""
    moved = labels.clone()
    moved[:, column] = (moved[:, column] + by).clamp_min(least)
    return moved[:, column], simulator.spectra(moved, resolution).cpu()


def _step(name: str, values: Tensor) -> Tensor:
    if name == "vsini":
        return 0.1 + 0.01 * values
    return torch.full_like(values, _STEPS.get(name, _ABUNDANCE_STEP))


def bound(
    simulator: Simulator, labels: Tensor, prior: Tensor, resolution: float, sigma: Sequence[float], names: Sequence[str]
) -> Floats:
    """Smallest standard deviations (len(sigma), n, len(names)) of labels when all of a star's labels are free.

    The inverse of J^T J / sigma^2 plus the inverse covariance of the prior (van Trees), so that labels on which a
    spectrum says nothing are as uncertain as the prior, and do not make the others infinitely so.

    Args:
        simulator: the physics and its labels.
        labels: stars (n, k).
        prior: labels (m, k) drawn from the prior, whose covariance counts.
        resolution: R = lambda / FWHM.
        sigma: standard deviations of white noise per pixel.
        names: labels wanted.
    """
    free = _free(simulator)
    slope = derivatives(simulator, labels, resolution)[:, free].double().numpy()
    information = slope @ slope.transpose(0, 2, 1)
    precision = np.linalg.inv(np.cov(prior[:, free].double().numpy(), rowvar=False))
    wanted = np.array([_weights(name, [simulator.labels[i] for i in free]) for name in names])
    result = []
    for noise in sigma:
        covariance = np.linalg.inv(information / noise**2 + precision)
        result.append(np.sqrt(np.einsum("wi,nij,wj->nw", wanted, covariance, wanted)))
    return np.array(result)


def _weights(name: str, names: Sequence[str]) -> list[float]:
    """A label as a sum of free labels: itself, or the mean of Mg, Ca and Ti."""
    if name == "alpha" and name not in names:
        return [1 / len(_ALPHA) if other in _ALPHA else 0.0 for other in names]
    return [float(other == name) for other in names]
