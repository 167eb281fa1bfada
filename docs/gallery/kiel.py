"""The posterior where the model atmospheres are; grey is where there are none."""

import numpy as np
import sunlike

from maury.designs import LOGG, TEFF_K
from maury.labels import lowest_logg
from maury.plots import plot_kiel

samples = sunlike.samples()
teff, logg = (axis.ravel() for axis in np.meshgrid(TEFF_K, LOGG))
nodes = logg >= lowest_logg(teff)
figure = plot_kiel(
    samples[:, 0], samples[:, 1], literature=(5772.0, 0.8, 4.438, 0.01), nodes=(teff[nodes], logg[nodes])
)
