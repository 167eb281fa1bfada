"""The default network's embedding on the founding project's own task: the SPC grid, noise-free, points of four labels.

    maury grid build --preset spc --out spc.h5
    python benchmarks/embedding_on_grid.py spc.h5 --out docs/results/embedding-on-grid.json

A linear projection that starts from whitened principal components, residual blocks and a linear layer, trained with
AdamW on the mean absolute error of the normalised labels of the grid's training part (38,519 spectra of the random
split), the learning rate falling along a half cosine. Beside the validation part of the split: spectra between the
nodes by the packaged emulator. The processor time counts everything but reading the grid.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from pathlib import Path
from typing import Any

import torch
from smoke import parse, tiny_grid
from torch import Tensor, nn

from maury.cli.console import out, progress
from maury.emulator import load
from maury.evaluation.samples import emulated_flux, labels_between
from maury.files import write_json
from maury.grids import Grid, open_grid
from maury.networks.architectures import PosteriorConfig
from maury.networks.embeddings import ResidualEmbedding
from maury.training.grid_source import Batches, Spectra
from maury.training.recipes import TrainConfig

TINY = ("--minutes", 0.005, "--components", 8, "--between", 16, "--batch-size", 16)
"""Options of a smoke run."""


class Points(nn.Module):
    """Embedding network and a linear layer."""

    def __init__(self, pixels: int, labels: int, components: int, width: int, depth: int) -> None:
        super().__init__()
        config = PosteriorConfig(pixels=pixels, components=components, width=width, depth=depth)
        self.embedding = ResidualEmbedding(config, 0)
        self.output = nn.Linear(width, labels)

    def forward(self, flux: Tensor) -> Tensor:
        """Normalised labels (b, labels) of spectra (b, p), less their mean and in units of their scatter."""
        return self.output(self.embedding(flux, flux[:, :0])).float()


def components(spectra: Spectra, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean (p,) and whitened principal components (count, p) of a part of the training spectra."""
    generator = torch.Generator().manual_seed(seed)
    rows = spectra.training[torch.randperm(len(spectra.training), generator=generator)[:6000]]
    flux = spectra.normalise(spectra.counts[rows])
    mean = flux.mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, values, vectors = torch.svd_lowrank(flux - mean, count + 16, niter=3)
    scale = values[:count] / math.sqrt(len(rows))
    return mean, (vectors[:, :count] / scale.clamp_min(0.02)).T


def train(network: Points, mean: Tensor, spectra: Spectra, options: argparse.Namespace) -> None:
    """AdamW on the mean absolute error for ``minutes`` of processor time."""
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate, weight_decay=1e-4, fused=True)
    batches = Batches(spectra.training, options.batch_size, options.seed)
    start, limit, step, epoch = time.process_time(), 60 * options.minutes, 0, 0
    with progress() as bar:
        task = bar.add_task("training", total=limit)
        while True:
            batches.set_epoch(epoch)
            for rows in batches:
                done = (time.process_time() - start) / limit
                if done >= 1:
                    return
                rate = options.learning_rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                counts, targets = spectra[rows]
                with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                    predicted = network(spectra.normalise(counts) - mean)
                loss = (predicted - targets).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                step += 1
                bar.update(task, completed=done * limit, description=f"epoch {epoch + 1}, MAE {loss.item():.4f}")
            epoch += 1


@torch.inference_mode()
def errors(network: Points, mean: Tensor, flux: Tensor, targets: Tensor) -> dict[str, float]:
    """MSE and MAE of normalised labels for normalised spectra."""
    network.eval()
    off = torch.cat([network(part - mean) for part in flux.split(512)]) - targets
    return {"n": len(off), "mse": float(off.square().mean()), "mae": float(off.abs().mean())}


def between(network: Points, mean: Tensor, spectra: Spectra, grid: Grid, count: int, seed: int) -> dict[str, float]:
    """The same for spectra between the nodes."""
    labels = labels_between(grid, count, seed)
    flux = torch.from_numpy(emulated_flux(load(), grid, labels))
    columns = [grid.names.index(name) for name in spectra.space.names]
    targets = torch.from_numpy(spectra.space.normalise(labels[:, columns])).float()
    return errors(network, mean, (flux - spectra.mean) / spectra.std, targets)


def main() -> None:
    """Train on both splits, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0, help="of processor time, for each split")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--float32", dest="bf16", action="store_false", help="float32 products")
    parser.add_argument("--between", type=int, default=2048, help="spectra between the nodes")
    parser.add_argument("--splits", nargs="+", default=["random", "block"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parse(parser, lambda folder: [tiny_grid(folder), *TINY, "--out", folder / "out.json"])
    grid = open_grid(options.grid)
    report: dict[str, Any] = {key: value for key, value in vars(options).items() if key not in ("grid", "out")}
    report |= {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    for split in options.splits:
        spectra = Spectra(grid, TrainConfig(split=split))
        start = time.process_time()
        torch.manual_seed(options.seed)
        network = Points(len(grid.wavelength_aa), 4, options.components, options.width, options.depth)
        mean, directions = components(spectra, options.components, options.seed)
        network.embedding.start_from(directions)
        train(network, mean, spectra, options)
        spent = time.process_time() - start
        rows = spectra.validation
        held = torch.cat([spectra.normalise(spectra.counts[part]) for part in rows.split(1024)])
        report[split] = {
            "processor_minutes": round(spent / 60, 1),
            "validation": errors(network, mean, held, spectra.targets[rows]),
            "between": between(network, mean, spectra, grid, options.between, options.seed),
        }
        out.print(split, report[split])
    write_json(options.out, report)


if __name__ == "__main__":
    main()
