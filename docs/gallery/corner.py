"""All pairs of labels of a posterior, before and after log g became known from elsewhere."""

import numpy as np
import sunlike

from maury.plots import plot_corner

samples = sunlike.samples()
weights = np.exp(-0.5 * ((samples[:, 1] - 4.44) / 0.02) ** 2)
chosen = np.random.default_rng(2).choice(len(samples), len(samples), p=weights / weights.sum())
posteriors = {"spectrum alone": samples, "log g = 4.44 ± 0.02": samples[chosen]}
figure = plot_corner(posteriors, sunlike.NAMES, truth=sunlike.TRUTH)
