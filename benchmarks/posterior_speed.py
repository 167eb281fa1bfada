"""Speed of inference with the default network: quantiles without sampling, and posteriors of 1,000 samples.

    OMP_NUM_THREADS=2 python benchmarks/posterior_speed.py

Speed does not depend on the weights: without --model a network that is not trained is timed.
"""

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from smoke import parse

from maury.emulator import load
from maury.inference import predict_batch
from maury.networks import PosteriorNetwork, save
from maury.pixelspectra import PixelSpectra
from maury.simulation import Simulator
from maury.training.recipes import read_preset
from maury.training.simulated_source import transform_of


def untrained(path: Path, source: Simulator) -> str:
    """Write a network of the preset's settings as it starts."""
    config = read_preset("default").network.model_copy(update={"pixels": source.pixels.count})
    prior = transform_of(source, config.labels)
    wavelength = source.pixels.wavelength_aa
    header = {"pixels": asdict(source.pixels), "wavelength": [float(x) for x in wavelength[[0, -1]]], **prior.header()}
    save(path, PosteriorNetwork(config, prior), header, torch.float16)
    return str(path)


def rate(count: int, repeats: int, stars: PixelSpectra, model: str, **options) -> float:
    """Best stars per second of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        predict_batch(stars[:count], model, **options)
        times.append(time.perf_counter() - start)
    return count / min(times)


def main() -> None:
    """Time both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a run's folder or a network file")
    parser.add_argument("--stars", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parse(parser, lambda folder: ["--stars", 16, "--repeats", 1])
    source = Simulator(load())
    many = min(256, arguments.stars)
    stars = source.batch(arguments.stars, torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or untrained(Path(folder) / "default.safetensors", source)
        size = 0 if arguments.model else Path(model).stat().st_size / 1e6
        predict_batch(stars[:many], model)
        print(f"{torch.get_num_threads()} threads" + (f", file of {size:.1f} MB" if size else ""))
        print(f"quantiles: {rate(arguments.stars, arguments.repeats, stars, model):,.0f} stars a second")
        print(f"posteriors of 1,000 samples: {rate(many, arguments.repeats, stars, model, samples=1000):,.0f} a second")


if __name__ == "__main__":
    main()
