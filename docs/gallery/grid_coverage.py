"""The nodes of the founding grid."""

import numpy as np

from maury.designs import LOGG, TEFF_K
from maury.labels import lowest_logg
from maury.plots import plot_grid_coverage

teff, logg = (axis.ravel() for axis in np.meshgrid(TEFF_K, LOGG))
nodes = logg >= lowest_logg(teff)
figure = plot_grid_coverage(teff[nodes], logg[nodes])
