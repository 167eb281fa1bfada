"""Synthesis: line list and model atmospheres to intrinsic spectra, with PySME in worker processes."""

from maury.synthesis.atmospheres import Atmosphere, AtmosphereGrid, read_atmospheres
from maury.synthesis.linelists import LineList, read_lines
from maury.synthesis.pool import Workers
from maury.synthesis.settings import PhysicsConfig
from maury.synthesis.spectra import Spectra, Synthesizer, synthesize

__all__ = [
    "Atmosphere",
    "AtmosphereGrid",
    "LineList",
    "PhysicsConfig",
    "Spectra",
    "Synthesizer",
    "Workers",
    "read_atmospheres",
    "read_lines",
    "synthesize",
]
