"""Which pixels speak for log g of a star like the Sun, and the lines they belong to."""

from maury.emulator import load_cached
from maury.evaluation.explain import explain, marked_lines, title_of
from maury.evaluation.limits import Bound, simulator_at, star_labels
from maury.plots import plot_explanation

emulator = load_cached()
bound = Bound(simulator_at(emulator, 44_000.0), 44_000.0)
star = star_labels(emulator, bound.simulator, {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vsini": 3.0})
found = explain(bound, star, "logg", 100.0)
figure = plot_explanation(
    found.wavelength_aa, found.flux, {"physics": found.physics.weight}, "logg",
    lines=marked_lines(found, 15), title=title_of(found),
)  # fmt: skip
