"""A star's spectrum, the model of its parameters, and the strong lines by name."""

import maury
from maury.doctor import simulated_star
from maury.inference import model_flux
from maury.plots import plot_spectrum_fit

result = maury.predict(simulated_star())
figure = plot_spectrum_fit(result.wavelength_aa, result.spectrum.flux, model_flux(result), mask=result.spectrum.mask)
