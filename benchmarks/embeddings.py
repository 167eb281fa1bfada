"""Embedding networks and recipes of the default network at equal training time: CPU seconds, one thread.

    python benchmarks/embeddings.py --seconds 120 --out embeddings.json

Simulating the spectra is not counted: it costs all of them the same. Every variant sees the same stars in the same
order, as many of them as it manages, and is judged on the same held-out stars.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from smoke import parse
from torch.optim.swa_utils import AveragedModel

from maury.emulator import load
from maury.files import write_json
from maury.networks.posterior_network import PosteriorNetwork
from maury.simulation import Simulator
from maury.training.recipes import PosteriorTrainConfig, read_preset
from maury.training.simulated_source import Stream, posterior_figures, principal_components, transform_of

EMBEDDINGS = {
    "residual": {},
    "residual, random projection, average": {"random": True, "averaged": True},
    "convolution, average": {"embedding": "convolution", "averaged": True},
    "attention, average": {"embedding": "attention", "averaged": True},
}
RECIPES = {
    "constant rate": {"constant": True},
    "constant rate, average": {"constant": True, "averaged": True},
    "half cosine, average": {"averaged": True},
    "rate 0.002": {"learning_rate": 0.002},
    "batches of 128": {"batch_size": 128},
    "128 components": {"components": 128},
    "width 256": {"width": 256},
}
TINY = ("--seconds", 0.2, "--only", "residual", "--validation", 32, "--components", 16, "--batch-size", 16)
"""Options of a smoke run."""


@torch.no_grad()
def averaging(average, current, count):
    """Running average of weights with a decay of 0.999, less at the start."""
    torch._foreach_lerp_(average, current, 1 - min(0.999, (1 + int(count)) / (10 + int(count))))


def train(
    config: PosteriorTrainConfig, stream: Stream, seconds: float, *, constant: bool, averaged: bool, random: bool
):
    """Train for so many CPU seconds; returns the network and the number of steps."""
    network = PosteriorNetwork(config.network, transform_of(stream.simulator, config.network.labels), config.seed)
    spectra, _ = stream.batch(0, 2 * config.network.components + 512)
    mean, directions = principal_components(spectra, config.network.components, config.seed)
    if random:
        directions = torch.randn_like(directions) * directions.square().mean(1, keepdim=True).sqrt()
    network.start_from(mean, directions)
    average = AveragedModel(network, multi_avg_fn=averaging).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    used, step = 0.0, 0
    while used < seconds:
        inputs, labels = stream.batch(step + 1, config.batch_size)
        rate = min(1.0, (step + 1) / config.warmup)
        rate *= 1.0 if constant else 0.5 * (1 + math.cos(math.pi * used / seconds))
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision != "32-true"):
            features = network(inputs)
            loss = network.quantile_loss(features, labels) - network.log_prob_unconstrained(features, labels).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        used += time.process_time() - start
        step += 1
    return (average.module if averaged else network).eval(), step


def main() -> None:
    """Train every variant and write what it reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--out", type=Path, default=Path("embeddings.json"))
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--validation", type=int, default=2048, help="held-out stars")
    parser.add_argument("--components", type=int, help="principal components, by default those of the preset")
    parser.add_argument("--batch-size", type=int, help="by default that of the preset")
    arguments = parse(parser, lambda folder: [*TINY, "--out", folder / "out.json"])
    torch.set_num_threads(1)
    base = read_preset("default").model_dump() | {"validation": arguments.validation}
    base["batch_size"] = arguments.batch_size or base["batch_size"]
    base["network"]["components"] = arguments.components or base["network"]["components"]
    source = Simulator(load())
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name, changes in {**EMBEDDINGS, **RECIPES}.items():
        if name in results or (arguments.only and name not in arguments.only):
            continue
        changes = dict(changes)
        flags = {flag: bool(changes.pop(flag, False)) for flag in ("constant", "averaged", "random")}
        inner = {key: changes.pop(key) for key in tuple(changes) if key in base["network"]}
        network = base["network"] | inner | {"pixels": source.pixels.count}
        config = PosteriorTrainConfig.model_validate(base | changes | {"network": network})
        stream = Stream(source, config.network.labels, config.seed)
        trained, steps = train(config, stream, arguments.seconds, **flags)
        reached = posterior_figures(trained, stream, config)
        results[name] = {
            "steps": steps,
            "spectra_per_second": steps * config.batch_size / arguments.seconds,
            "weights": sum(p.numel() for p in trained.parameters()),
            "nll": reached["validation"]["nll"],
            "mae": reached["validation"]["mae"],
            "typical_errors": reached["typical_errors"],
        }
        write_json(arguments.out, results)
        print(name, json.dumps(results[name]))


if __name__ == "__main__":
    main()
