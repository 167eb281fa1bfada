"""A posterior without a network: the Cramér-Rao covariance of a star like the Sun at S/N 10, R = 60,000."""

import numpy as np
import torch

from maury.emulator import load_cached

NAMES = ("teff", "logg", "mh", "vsini", "mg")
TRUTH = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vsini": 5.0, "mg": 0.0}
STEPS = {"teff": 20.0, "logg": 0.02, "mh": 0.01, "vsini": 0.2, "mg": 0.02}
WAVELENGTH = np.arange(5050.5, 5349.5, 0.02)
RESOLUTION, SIGMA = 60_000.0, 0.1


def flux(labels):
    """The emulator's spectrum of a star."""
    emulator = load_cached()
    sampler = emulator.sampler(WAVELENGTH, RESOLUTION)
    row = torch.tensor([[{"vmic": 1.0, **labels}.get(name, 0.0) for name in emulator.space.names]])
    vsini, resolution = torch.tensor([labels["vsini"]]), torch.tensor([RESOLUTION])
    return emulator.flux(row, vsini, resolution, sampler)[0].double().numpy()


def samples(count=4000):
    """Samples of the normal distribution that the derivatives give."""
    slopes = [
        (flux(TRUTH | {k: TRUTH[k] + STEPS[k]}) - flux(TRUTH | {k: TRUTH[k] - STEPS[k]})) / (2 * STEPS[k])
        for k in NAMES
    ]
    covariance = np.linalg.inv(np.array(slopes) @ np.array(slopes).T / SIGMA**2)
    return np.random.default_rng(1).multivariate_normal([TRUTH[k] for k in NAMES], covariance, count)
