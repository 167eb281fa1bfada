"""An endless stream of simulated observations: the emulator's spectra as a spectrograph and its pipeline give them."""

from maury.simulation.conditions import SimulationSettings
from maury.simulation.simulator import Batch, Simulator

__all__ = ["Batch", "SimulationSettings", "Simulator"]
