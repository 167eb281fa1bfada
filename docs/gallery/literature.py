"""The founding network on emulator spectra made with the literature's labels of well-known stars."""

import numpy as np
import torch

from maury.emulator import load_cached
from maury.networks import load, pixel_wavelengths, predict
from maury.plots import plot_literature

STARS = {
    "Sun": (5772, 4.44, 0.0, 2.0),
    "Arcturus": (4286, 1.60, -0.52, 3.8),
    "Procyon": (6554, 4.00, 0.0, 2.8),
    "HD 122563": (4587, 1.61, -2.4, 4.0),
    "tau Cet": (5414, 4.49, -0.49, 1.0),
    "HD 140283": (5792, 3.65, -2.3, 4.0),
}
ERRORS = (20.0, 0.05, 0.05, 0.5)
NAMES = ("teff", "logg", "mh", "vsini")

network, header = load("starnet-spc")
emulator, wavelength = load_cached(), pixel_wavelengths(header)
known = np.array(list(STARS.values()), float)
labels = torch.zeros(len(known), len(emulator.space))
labels[:, :3], labels[:, emulator.space.names.index("vmic")] = torch.from_numpy(known[:, :3]), 2.0
resolution = torch.full((len(known),), float(header["resolution"]))
sampler = emulator.sampler(wavelength, float(header["resolution"]))
flux = emulator.flux(labels, torch.from_numpy(known[:, 3]).float(), resolution, sampler).numpy()
flux = flux + np.random.default_rng(1).normal(0, 0.01, flux.shape)
found = predict(network, header, flux)
columns = ("star", "label", "literature", "literature_error", "maury", "maury_error")
rows = [
    (star, name, known[i, k], ERRORS[k], found[i, k], header["typical_errors"][name])
    for i, star in enumerate(STARS)
    for k, name in enumerate(NAMES)
]
figure = plot_literature(dict(zip(columns, zip(*rows, strict=True), strict=True)))
