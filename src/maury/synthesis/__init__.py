"""Synthesis: line list and model atmospheres to intrinsic spectra, with PySME in worker processes."""

from maury.synthesis.atmospheres import Atmosphere, AtmosphereGrid, read_atmospheres
from maury.synthesis.build import Failure, build_library, make_plan
from maury.synthesis.distributed import ClusterPool
from maury.synthesis.linelists import LineList, read_lines
from maury.synthesis.pool import Workers
from maury.synthesis.settings import PhysicsConfig, SynthesisConfig
from maury.synthesis.spectra import Spectra, Synthesizer, synthesize

__all__ = [
    "Atmosphere",
    "AtmosphereGrid",
    "ClusterPool",
    "Failure",
    "LineList",
    "PhysicsConfig",
    "Spectra",
    "SynthesisConfig",
    "Synthesizer",
    "Workers",
    "build_library",
    "make_plan",
    "read_atmospheres",
    "read_lines",
    "synthesize",
]
