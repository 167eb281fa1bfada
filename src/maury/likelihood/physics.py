"""The simulation that a network was trained with, rebuilt from the header of the network's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from maury.config import make_config
from maury.emulator import Emulator
from maury.errors import DomainError
from maury.simulation import SimulationSettings, Simulator


def simulator_for(header: Mapping[str, Any], emulator: Emulator, device: torch.device | str = "cpu") -> Simulator:
    """The simulation that a network was trained with, by its header, on a device.

    Raises:
        DomainError: the emulator makes other pixels than the network takes.
    """
    settings = make_config(header["training"].get("simulation", {}), SimulationSettings, "simulation")
    simulator = Simulator(emulator, settings, device)
    first, last = header["wavelength"]
    pixels = simulator.pixels.wavelength_aa
    count = int(header["pixels"]["count"])
    if simulator.pixels.count != count or not np.allclose(pixels[[0, -1]], [first, last], rtol=0, atol=1e-3):
        raise DomainError(
            f"the emulator makes {simulator.pixels.count} pixels of {pixels[0]:.2f} to {pixels[-1]:.2f} Å; the network "
            f"takes {count} of {first:.2f} to {last:.2f} Å; name its emulator",
            parameter="emulator",
        )
    return simulator
