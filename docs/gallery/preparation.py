"""What was done to a file's spectrum before a network saw it."""

import maury
from maury.doctor import simulated_star
from maury.plots import plot_preparation

figure = plot_preparation(maury.prepare(simulated_star()), rows=2)
