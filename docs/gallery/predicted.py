"""Predicted against true labels: the founding network on 400 spectra that the emulator makes between the nodes."""

import numpy as np
import torch

from maury.emulator import load_cached
from maury.labels import FOUNDING, LabelSpace, lowest_logg
from maury.networks import load, pixel_wavelengths, predict
from maury.plots import plot_predicted

network, header = load("starnet-spc")
emulator = load_cached()
true = LabelSpace.of(FOUNDING).denormalise(np.random.default_rng(1).uniform(0.02, 0.98, (400, 4)))
true[:, 1] = np.maximum(true[:, 1], lowest_logg(true[:, 0]))
labels = torch.zeros(len(true), len(emulator.space))
labels[:, :3], labels[:, emulator.space.names.index("vmic")] = torch.from_numpy(true[:, :3]), 2.0
resolution = torch.full((len(true),), float(header["resolution"]))
sampler = emulator.sampler(pixel_wavelengths(header), float(header["resolution"]))
flux = emulator.flux(labels, torch.from_numpy(true[:, 3]).float(), resolution, sampler).numpy()
found = predict(network, header, flux)
figure = plot_predicted(true, found, FOUNDING, colour=true[:, 3])
