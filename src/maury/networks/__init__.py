"""Networks that infer labels from a spectrum, as point estimates or posteriors, and files of their weights."""

from maury.networks.layers import Layer, layer_table
from maury.networks.posterior_network import PosteriorNetwork
from maury.networks.starnet import StarNet
from maury.networks.store import (
    find,
    is_posterior,
    load,
    load_cached,
    load_posterior,
    packaged_networks,
    pixel_wavelengths,
    predict,
    save,
)
from maury.networks.transform import LabelTransform

__all__ = [
    "LabelTransform",
    "Layer",
    "PosteriorNetwork",
    "StarNet",
    "find",
    "is_posterior",
    "layer_table",
    "load",
    "load_cached",
    "load_posterior",
    "packaged_networks",
    "pixel_wavelengths",
    "predict",
    "save",
]
