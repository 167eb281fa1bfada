"""Figure of observed spectra on the default network's pixels beside simulated observations of like stars.

    python benchmarks/simulation_figure.py ../shared/data/observed --out docs/results/observations

The simulated ones have the labels of the template that fits the observed star, its resolution and its signal-to-noise;
everything else is drawn as for training, but that none is short. Writes spectra.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from observed import catalogue
from smoke import observed_stars, parse

from maury.emulator import Emulator, NetworkPixels, load
from maury.pixelspectra import PixelSpectra
from maury.plots import plot_observations, save_figure
from maury.preparation import Preparation, prepare
from maury.preparation.network_input import to_network
from maury.readers import read
from maury.simulation import SimulationSettings, Simulator

FILES = (
    "HARPS_Sun.fits",
    "HARPS.GBOG_alfTau.fits",
    "hd122563.fits",
    "UVES_ABDor_ADP.2020-06-19T10_12_40.152.fits",
    "WASP14-2009-12-24.hdf5",
)
WINDOW_AA = (5155.0, 5215.0)


def simulate(emulator: Emulator, star: Preparation, seen: PixelSpectra, seed: int) -> PixelSpectra:
    """One simulated observation like an observed one."""
    snr = float(1 / np.median(seen.sigma[seen.good].numpy()))
    resolution = float(np.clip(star.spectrum.resolution or 0, 10_000, 115_000))
    default = SimulationSettings()
    settings = default.model_copy(
        update={
            "noise": default.noise.model_copy(update={"snr": (snr, snr)}),
            "gaps": default.gaps.model_copy(update={"short_share": 0.0}),
            "resolution": (resolution, resolution),
        }
    )
    labels = [star.template[name] for name in (*emulator.space.names, "vsini")]
    rows = torch.tensor([[*labels, 0.0, 0.0]]).float()
    return Simulator(emulator, settings).observe(rows, torch.Generator().manual_seed(seed))[0]


def part(seen: PixelSpectra, chosen: np.ndarray) -> PixelSpectra:
    """The chosen pixels of a spectrum."""
    return seen.with_(**{name: getattr(seen, name)[chosen] for name in ("flux", "sigma", "mask")})


def main() -> None:
    """Prepare, simulate, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [observed_stars(folder, FILES[0]), "--out", folder / "out"])
    rows = {row["file"]: row for row in catalogue(options.folder)}
    emulator = load()
    pixels = NetworkPixels.of(emulator)
    wavelength = pixels.wavelength_aa
    chosen = (wavelength >= WINDOW_AA[0]) & (wavelength <= WINDOW_AA[1])
    observed, simulated, titles = [], [], []
    for seed, name in enumerate(FILES[:1] if options.smoke else FILES):
        row = rows[name]
        star = prepare(read(options.folder / name, resolution=float(row["resolution"])), emulator=emulator)
        seen = to_network(star, pixels)
        observed.append(part(seen, chosen))
        simulated.append(part(simulate(emulator, star, seen, seed), chosen))
        snr = 1 / np.median(seen.sigma[seen.good].numpy())
        titles.append(f"{row['star'].split(' (')[0]}, S/N {snr:.0f}")
    save_figure(plot_observations(wavelength[chosen], observed, simulated, titles), options.out / "spectra")


if __name__ == "__main__":
    main()
