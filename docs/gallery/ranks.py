"""The same two posteriors as ranks of the truth among their samples: flat, and heaped up at both ends."""

import numpy as np
from scipy.stats import norm

from maury.plots import plot_ranks

pull = np.random.default_rng(1).standard_normal(2000)
ranks = {"teff": norm.cdf(pull), "logg": norm.cdf(1.5 * pull)}
figure = plot_ranks({name: np.histogram(rank, 20, (0, 1))[0].tolist() for name, rank in ranks.items()})
