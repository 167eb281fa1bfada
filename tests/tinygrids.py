"""A grid of few pixels whose lines follow the labels, for tests that train."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maury.config import save_config
from maury.grids import GridConfig, encode, quantise, spc, write_grid
from maury.networks.architectures import StarNetConfig
from maury.training.recipes import TrainConfig

PIXELS, COUNT = 64, 600


def write_tiny_grid(path: Path) -> Path:
    """Write spectra of a few lines whose depths and widths follow the labels."""
    labels = spc.labels(GridConfig())
    labels = labels[np.sort(np.random.default_rng(3).choice(len(labels), COUNT, replace=False))]
    unit = spc.SPACE.normalise(labels)
    pixel = np.arange(PIXELS)
    flux = np.ones((COUNT, PIXELS), np.float32)
    for k, centre in enumerate((8, 20, 32, 44, 56)):
        depth = 0.1 + 0.7 * unit[:, [k % 3]]
        width = 1.5 + 3 * unit[:, [3]] * (k > 2)
        flux -= (depth * np.exp(-0.5 * ((pixel - centre) / width) ** 2)).astype(np.float32)
    splits = {"random": spc.random_split(COUNT, 1), "block": spc.block_split(labels, 1)}
    attributes = {"preset": "spc", "resolution": 44_000.0, "settings": "{}", "emulator_digest": "0" * 64}
    wavelength = np.linspace(5050, 5350, PIXELS)
    write_grid(path, wavelength, labels, encode(quantise(flux.clip(0))), splits, 1, attributes)
    return path


def write_study(folder: Path, rest: str) -> Path:
    """Write the settings of a study of eight trials on that grid; ``rest`` are times and the space."""
    base = TrainConfig(network=StarNetConfig(pixels=PIXELS, dense=(32, 16)), batch_size=32, learning_rate=1e-5)
    save_config(folder / "base.toml", base)
    head = f'name = "tiny"\nbase = "{folder / "base.toml"}"\ntrials = 8\ntraining = 400\nvalidation = 100\n'
    (folder / "study.toml").write_text(head + rest)
    return folder / "study.toml"
