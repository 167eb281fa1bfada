"""How far the exported point estimate is from the median of the network's posterior, on simulated stars.

    maury export default --onnx default.onnx
    OMP_NUM_THREADS=1 python benchmarks/onnx_points.py default.onnx

Prints a table in Markdown: differences in the labels' units and in errors (half of the central 68 % of each star's
samples), and how far either is from the truth.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from smoke import parse

from maury.emulator import load
from maury.inference import predict_batch
from maury.labels import LABELS
from maury.likelihood import simulator_for
from maury.networks import load_posterior
from maury.networks.exported import export_onnx
from maury.pixelspectra import PixelSpectra

BATCH = 256


def exported_file(folder: Path) -> Path:
    """Export the default network."""
    export_onnx("default", folder / "default.onnx")
    return folder / "default.onnx"


def exported(path: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Labels (n, k) by the ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rows = range(0, len(arrays["flux"]), BATCH)
    parts = [session.run(["labels"], {k: v[i : i + BATCH] for k, v in arrays.items()})[0] for i in rows]
    return np.concatenate(parts)


def main() -> None:
    """Simulate, predict twice, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of maury export")
    parser.add_argument("--model", default="default", help="the network it was exported from")
    parser.add_argument("--stars", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parse(parser, lambda folder: [exported_file(folder), "--stars", 32, "--samples", 100])
    network, header = load_posterior(arguments.model)
    simulator = simulator_for(header, load())
    parts = [simulator.batch(BATCH, torch.Generator().manual_seed(i)) for i in range(-(-arguments.stars // BATCH))]
    stars = PixelSpectra.cat(parts)
    arrays = {name: getattr(stars, name).numpy() for name in ("flux", "sigma", "mask", "resolution")}
    names = list(network.transform.space.names)
    true = stars.labels.numpy()[:, [simulator.labels.index(name) for name in names]]
    points = exported(arguments.file, arrays)
    drawn = predict_batch(stars, arguments.model, samples=arguments.samples)
    error = (drawn.upper - drawn.lower) / 2
    off = points - drawn.median
    print(f"{len(stars)} stars, {arguments.samples} samples of each\n")
    print("| label | median difference | median \\|difference\\| | 95 % | in errors: median | 95 % | "
          "off the truth, median: ONNX | posterior |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for k, name in enumerate(names):
        digits = 1 if name == "teff" else 3
        numbers = [np.median(off[:, k]), *np.quantile(np.abs(off[:, k]), (0.5, 0.95))]
        errors = np.quantile(np.abs(off[:, k]) / error[:, k], (0.5, 0.95))
        truth = [np.median(np.abs(x[:, k] - true[:, k])) for x in (points, drawn.median)]
        cells = [f"{x:.{digits}f}" for x in numbers]
        cells += [f"{x:.2f}" for x in errors] + [f"{x:.{digits}f}" for x in truth]
        print(f"| `{name}` ({LABELS[name].unit}) | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
