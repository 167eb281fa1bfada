"""What the atmosphere of the lowest [M/H] costs stars below it: the same, half a dex higher, where both are known.

    python benchmarks/metal_poor_atmospheres.py --line-list LIST --atmospheres FOLDER_OR_ARCHIVE

Spectra of [M/H] -2.5 in the structure of -2.0 beside those in their own, at R = 42,000. A quarter of a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

import numpy as np
import torch
from smoke import parse, synthesis_inputs

from maury.broadening import instrument
from maury.emulator import grid_for, to_modes
from maury.errors import MauryError
from maury.synthesis import PhysicsConfig, Workers, read_atmospheres, read_lines, synthesize

STARS = {
    "giant of 4600 K": (4600.0, 1.3),
    "giant of 5100 K": (5100.0, 2.2),
    "subgiant of 5750 K": (5750.0, 3.7),
    "dwarf of 6400 K": (6400.0, 4.2),
}
RESOLUTION = 42_000.0
LOW, HIGH = -2.5, -2.0
WINDOW_AA = (5050.0, 5350.0)
WAVELENGTH = 5050 + 300 / 29787 * (np.arange(29788 + 1000) - 500)


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--line-list", required=True)
    parser.add_argument("--atmospheres", required=True)
    nodes = {"teff": (4500.0, 5500.0, 6500.0), "logg": (1.0, 3.0, 4.5), "mh": (LOW, HIGH)}
    options = parse(parser, lambda folder: synthesis_inputs(folder, **nodes))
    own = read_atmospheres(options.atmospheres, extrapolate_logg=True)
    cut = replace(own, models={node: model for node, model in own.models.items() if node[2] >= HIGH})
    cut = replace(cut, extrapolate_mh=True)
    labels = np.array([[t, g, LOW, 1.8, 0, 0.3, 0.3, 0.3, 0, 0] for t, g in STARS.values()])
    with Workers(1) as workers:
        lines = read_lines(options.line_list, workers)
    config = PhysicsConfig(sampling="uniform")
    wavelength = WAVELENGTH[:3000] if options.smoke else WAVELENGTH
    grid = grid_for(wavelength)
    spectra = []
    for atmospheres in (own, cut):
        made = synthesize(lines, atmospheres, labels, wavelength, config)
        modes = torch.from_numpy(to_modes(made.flux, wavelength, grid))
        modes = modes * instrument(torch.from_numpy(grid.frequency).float(), torch.tensor(RESOLUTION))
        spectra.append(torch.fft.irfft(modes, n=grid.size).numpy())
    inside = (grid.wavelength_aa > WINDOW_AA[0]) & (grid.wavelength_aa < WINDOW_AA[1])
    difference = (spectra[1] - spectra[0])[:, inside]
    rows = {
        name: {"rms": float(np.sqrt(np.mean(d**2))), "largest": float(np.abs(d).max())}
        for name, d in zip(STARS, difference, strict=True)
    }
    print(json.dumps({"resolution": RESOLUTION, "stars": rows}, indent=1))


if __name__ == "__main__":
    try:
        main()
    except MauryError as error:
        sys.exit(f"error: {error}")
