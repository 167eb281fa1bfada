"""An endless stream of simulated observations: the emulator's spectra as a spectrograph and its pipeline give them."""

from maury.observations.settings import ObservationSettings
from maury.observations.simulator import Batch, Simulator

__all__ = ["Batch", "ObservationSettings", "Simulator"]
