"""The smallest errors that spectra allow, on a coarse grid over the Kiel diagram; `maury limits --map` is finer."""

import numpy as np

from maury.emulator import load_cached
from maury.evaluation.limits import Bound, limits_map, simulator_at
from maury.labels import lowest_logg
from maury.plots import plot_limits_map

emulator = load_cached()
bound = Bound(simulator_at(emulator, 44_000.0), 44_000.0)
teff, logg = (axis.ravel() for axis in np.meshgrid(np.arange(4000.0, 9000.0, 1000.0), np.arange(1.0, 5.1, 1.0)))
inside = logg >= lowest_logg(teff)
nodes = np.stack([teff[inside], logg[inside]], -1)
table = limits_map(bound, emulator, {"mh": 0.0, "vsini": 5.0}, 100.0, nodes)
errors = {name: table[f"{name}_err"] for name in ("teff", "logg", "mh", "vsini")}
figure = plot_limits_map(nodes[:, 0], nodes[:, 1], errors)
