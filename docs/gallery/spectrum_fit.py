"""A star's spectrum, the model of its parameters, and the strong lines by name."""

import maury
from maury.doctor import simulated_star
from maury.inference import model_flux
from maury.plots import plot_spectrum_fit

result = maury.predict(simulated_star())
prepared = result.prepared
figure = plot_spectrum_fit(prepared.wavelength_aa, prepared.flux, model_flux(result), mask=~prepared.covered)
