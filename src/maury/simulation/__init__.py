"""An endless stream of simulated observations: the emulator's spectra as a spectrograph and its pipeline give them."""

from maury.simulation.conditions import SimulationSettings
from maury.simulation.simulator import Simulator

__all__ = ["SimulationSettings", "Simulator"]
