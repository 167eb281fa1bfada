"""The networks: spectrum -> labels. Founding presets, their layers, files of trained weights, point predictions."""

from maury.networks.starnet import Layer, StarNet, layer_table
from maury.networks.store import load, packaged_networks, pixel_wavelengths, predict, preset_names, read_preset, save

__all__ = [
    "Layer",
    "StarNet",
    "layer_table",
    "load",
    "packaged_networks",
    "pixel_wavelengths",
    "predict",
    "preset_names",
    "read_preset",
    "save",
]
