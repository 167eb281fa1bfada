"""Calibration: a posterior that is right, and one whose errors are a third too small."""

import numpy as np
from scipy.stats import norm

from maury.plots import plot_coverage

pull = np.random.default_rng(1).standard_normal(2000)
figure = plot_coverage({"teff": norm.cdf(pull), "logg": norm.cdf(1.5 * pull)})
