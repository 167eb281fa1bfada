"""Test refined posteriors on new simulated observations: calibration, and scatter relative to the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maury.emulator import Emulator
from maury.evaluation.bound import STEP_KMS, bound, pixel_sigma
from maury.evaluation.calibration import coverage, ranks, tarp, tarp_curve
from maury.evaluation.metrics import error_summary
from maury.evaluation.recovery import BOUND_RESOLUTION, BOUND_SNR, INNER, Recovered
from maury.inference.refinement import FlowProposal
from maury.likelihood import Coordinates, ErrorModel, Refined, refine, usable
from maury.likelihood.target import Target, with_alpha
from maury.networks import PosteriorNetwork
from maury.pixelspectra import PixelSpectra
from maury.progress import Advance, silent
from maury.simulation import SimulationSettings, Simulator
from maury.wavelengths import Floats

_EDGES = {
    "snr": (3.0, 15.0, 40.0, 100.0, 250.0, 2000.0),
    "teff": (3500.0, 4500.0, 5500.0, 7000.0, 9750.0),
    "vsini": (0.0, 5.0, 20.0, 60.0, 201.0),
    "resolution": (9000.0, 20_000.0, 35_000.0, 50_100.0),
}


def refined_posterior(
    network: PosteriorNetwork, coordinates: Coordinates, errors: ErrorModel, star: PixelSpectra, samples: int,
    seed: int, target_ess: float, fit_errors: bool = True,
) -> Refined:  # fmt: skip
    """Refined posterior of one star on the network's pixels, from the network's own."""
    with torch.inference_mode():
        features = network(star[None].to(dtype=torch.float32))
        proposal = FlowProposal(network, features)
        first = proposal.sample(256, torch.Generator().manual_seed(seed)).median(0).values
    return refine(
        coordinates, errors, star, coordinates.start(first.clone())[None],
        network=FlowProposal(network, features.clone()), count=samples, seed=seed, target_ess=target_ess,
        fit_errors=fit_errors,
    )  # fmt: skip


def recover_refined(
    network: PosteriorNetwork,
    simulator: Simulator,
    count: int,
    samples: int,
    seed: int,
    target_ess: float,
    advance: Advance = silent,
    labels: Tensor | None = None,
    own_errors: bool = False,
) -> tuple[tuple[str, ...], Recovered, dict[str, Any]]:
    """Refine ``count`` new simulated stars.

    ``labels`` (count, all) are drawn from the prior by default. With ``own_errors``, noise, errors of the physics and
    nuisances are drawn from the likelihood, as strict simulation-based calibration requires; else from the simulation,
    whose errors of lines are correlated between pixels.

    Returns:
        Names of the labels, true and recovered labels, and ``by`` (coverage by S/N, Teff, v sin i and R), ``tarp``,
        ``effective``, ``efficiency``, ``pareto_k`` (medians and shares).
    """
    coordinates = Coordinates(simulator, network.config.labels)
    errors = ErrorModel(simulator, spread=not own_errors)
    generator = torch.Generator().manual_seed(seed)
    batch = simulator.batch(count, generator) if labels is None else simulator.observe(labels, generator)
    kept: dict[str, list[Any]] = {
        key: [] for key in ("truth", "median", "rank", "density", "snr", "r", "eff", "ess", "k", "t", "err")
    }
    names: tuple[str, ...] = ()
    for i in range(count):
        star = usable(batch[i])
        if own_errors:
            star = errors.draw(star, batch.labels[i], generator)
        truth = batch.labels[i, coordinates.columns].double()
        done = refined_posterior(network, coordinates, errors, star, samples, seed + i, target_ess)
        names, drawn = with_alpha(coordinates.names, done.samples)
        all_true = with_alpha(coordinates.names, truth)[1]
        theta = coordinates.transform.unconstrained(truth[None])
        density = Target(coordinates, star, done.mode.noise).log_density(theta)[0] - done.weighted.log_evidence
        row = {
            "truth": all_true.numpy(), "median": drawn.median(0).values.numpy(),
            "rank": ranks(drawn[None].numpy(), all_true[None].numpy())[0], "density": float(density),
            "snr": float(1 / star.sigma[star.good].median()), "r": float(star.resolution),
            "eff": done.weighted.efficiency, "ess": done.weighted.effective, "k": done.weighted.pareto_k,
            "err": (drawn.quantile(0.8413, 0) - drawn.quantile(0.1587, 0)).numpy() / 2,
            "t": tarp(coordinates.transform.unconstrained(done.samples).numpy(), theta[0].numpy(), seed + i),
        }  # fmt: skip
        for key, value in row.items():
            kept[key].append(value)
        advance(1)
    arrays = {key: np.array(value, float) for key, value in kept.items()}
    recovered = Recovered(*(arrays[key] for key in ("truth", "median", "rank", "density", "snr")))
    return names, recovered, _extra(names, recovered, arrays, target_ess)


def _extra(
    names: tuple[str, ...], recovered: Recovered, arrays: dict[str, Floats], target_ess: float
) -> dict[str, Any]:
    """Coverage by parts of the sample, TARP and the efficiency of the sampling."""
    by = {"snr": recovered.snr, "resolution": arrays["r"]}
    by |= {name: recovered.truth[:, names.index(name)] for name in ("teff", "vsini") if name in names}
    return {
        "by": {name: _by(values, _EDGES[name], names, recovered.rank) for name, values in by.items()},
        "tarp": tarp_curve(arrays["t"]),
        "conformal": {name: conformal(recovered, arrays["err"], k) for k, name in enumerate(names)},
        "efficiency": float(np.median(arrays["eff"])),
        "effective": float(np.median(arrays["ess"])),
        "below_target_ess": float((arrays["ess"] < target_ess).mean()),
        "unreliable_weights": float((arrays["k"] >= 0.7).mean()),
    }


def conformal(recovered: Recovered, error: Floats, column: int) -> dict[str, float]:
    """Factors by which the error bars of a label must be multiplied to contain 68 % and 95 % of new stars.

    Split conformal prediction (Lei et al. 2018, JASA 113, 1094): quantiles of |median - truth| / error, corrected for
    the finite number of stars.
    """
    ratio = np.abs(recovered.median - recovered.truth)[:, column] / np.maximum(error[:, column], 1e-12)
    n = len(ratio)
    return {f"{level:g}": float(np.quantile(ratio, min(1.0, level * (n + 1) / n))) for level in (0.68, 0.95)}


def _by(values: Floats, edges: tuple[float, ...], names: tuple[str, ...], rank: Floats) -> list[dict[str, Any]]:
    rows = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.sum() >= 20:
            shares = {name: coverage(rank[inside, k]) for k, name in enumerate(names)}
            rows.append({"range": [low, high], "n": int(inside.sum()), "coverage": shares})
    return rows


def refined_bound(
    network: PosteriorNetwork,
    emulator: Emulator,
    count: int,
    samples: int,
    seed: int,
    advance: Advance = silent,
    keep: Callable[[dict[str, Tensor]], Tensor] | None = None,
    snrs: Sequence[float] = BOUND_SNR,
) -> dict[str, Any]:
    """Scatter of refined medians of spectra with white noise and no other error, as a ratio to the Cramer-Rao bound.

    As `maury.evaluation.recovery.bound_report`, with the likelihood of noise alone. ``keep`` selects stars (n,) by a
    function of the labels by name.
    """
    settings = SimulationSettings.without_errors()
    simulator = Simulator(emulator, settings)
    coordinates = Coordinates(simulator, network.config.labels)
    errors = ErrorModel(simulator, model_error=False)
    generator = torch.Generator().manual_seed(seed)
    prior = simulator.draw_labels(max(64 * count, 4096), generator)
    unit = coordinates.transform.unit(prior[:, coordinates.columns])
    chosen = ((unit > INNER[0]) & (unit < INNER[1])).all(1)
    if keep is not None:
        chosen &= keep(dict(zip(simulator.labels, prior.unbind(1), strict=True)))
    labels = prior[chosen][:count]
    names, truth = with_alpha(coordinates.names, labels[:, coordinates.columns].double())
    sigma = [pixel_sigma(simulator, snr) for snr in snrs]
    least = bound(simulator, labels, prior, BOUND_RESOLUTION, sigma, names)
    flux = simulator.spectra(labels, torch.full((len(labels),), BOUND_RESOLUTION)).double()
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for i, snr in enumerate(snrs):
        median, rank, width = [], [], []
        for k, spectrum in enumerate(flux):
            noisy = spectrum + sigma[i] * torch.randn(spectrum.shape, generator=generator, dtype=torch.float64)
            star = usable(PixelSpectra(flux=noisy, sigma=float(sigma[i]), resolution=BOUND_RESOLUTION))
            done = refined_posterior(network, coordinates, errors, star, samples, seed + k, 200.0, fit_errors=False)
            drawn = with_alpha(coordinates.names, done.samples)[1]
            median.append(drawn.median(0).values.numpy())
            width.append(drawn.std(0).numpy())
            rank.append(ranks(drawn[None].numpy(), truth[k][None].numpy())[0])
            advance(1)
        error = (np.array(median) - truth.numpy()) / least[i]
        for column, name in enumerate(names):
            rows[name].append(
                {
                    "snr": snr,
                    "bound": float(np.median(least[i][:, column])),
                    "scatter_ratio": error_summary(error[:, column])["robust_scatter"],
                    "error_ratio": float(np.median(np.array(width)[:, column] / least[i][:, column])),
                    "coverage": coverage(np.array(rank)[:, column])["0.68"],
                }
            )
    return {"resolution": BOUND_RESOLUTION, "step_kms": STEP_KMS, "n": len(labels), "labels": rows}
