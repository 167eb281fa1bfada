"""The emulator: intrinsic spectrum as a differentiable function of labels, with its error per pixel."""

from maury.emulator.accuracy import measure_errors, rms_per_star
from maury.emulator.errormap import ErrorMap
from maury.emulator.model import MAX_RESOLUTION, PACKAGED, Emulator, LabelNetworks, features, file_of, load, load_cached
from maury.emulator.modes import grid_for, to_modes
from maury.emulator.network_pixels import REFERENCE_RESOLUTION, NetworkPixels
from maury.emulator.sampling import Sampler

__all__ = [
    "MAX_RESOLUTION",
    "PACKAGED",
    "REFERENCE_RESOLUTION",
    "Emulator",
    "ErrorMap",
    "LabelNetworks",
    "NetworkPixels",
    "Sampler",
    "features",
    "file_of",
    "grid_for",
    "load",
    "load_cached",
    "measure_errors",
    "rms_per_star",
    "to_modes",
]
