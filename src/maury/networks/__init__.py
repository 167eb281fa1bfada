"""The networks: spectrum -> labels. Presets, layers, files of trained weights, points, posteriors."""

from maury.networks.layers import Layer, layer_table
from maury.networks.posterior import Inputs, PosteriorNetwork
from maury.networks.prior import Prior
from maury.networks.starnet import StarNet
from maury.networks.store import (
    is_posterior,
    load,
    load_cached,
    load_posterior,
    packaged_networks,
    pixel_wavelengths,
    predict,
    preset_names,
    read_preset,
    save,
)

__all__ = [
    "Inputs",
    "Layer",
    "PosteriorNetwork",
    "Prior",
    "StarNet",
    "is_posterior",
    "layer_table",
    "load",
    "load_cached",
    "load_posterior",
    "packaged_networks",
    "pixel_wavelengths",
    "predict",
    "preset_names",
    "read_preset",
    "save",
]
