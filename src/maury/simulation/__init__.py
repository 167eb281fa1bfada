"""Simulated observations: spectra of the emulator with the effects of instrument, night and data reduction."""

from maury.simulation.conditions import SimulationSettings
from maury.simulation.simulator import Simulator

__all__ = ["SimulationSettings", "Simulator"]
