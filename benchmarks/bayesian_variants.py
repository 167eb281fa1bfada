"""Bayesian neural networks? Posteriors of several heads on the same frozen embedding, the same simulated stars.

    python benchmarks/bayesian_variants.py --model default --work bayesian-work --out docs/results/bayesian

The features of the embedding network are computed once; every head is trained on them with the same number of steps
of the same stars and chosen by the same held-out ones, then judged on new stars, also on such whose synthetic spectra
are three times as wrong as those it was trained on. What is in --work already, of the same network and settings, is not
made again. Writes bayesian.json, bayesian.png, bayesian.pdf and table.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bayesian_heads import BATCH, Data, GaussianHead, Variant
from smoke import parse
from torch import Tensor

from maury.cli.console import out, progress
from maury.emulator import Emulator
from maury.emulator import load as load_emulator
from maury.evaluation.calibration import coverage, ranks
from maury.files import atomic_path, write_text
from maury.likelihood import simulator_for
from maury.networks import PosteriorNetwork, load_posterior
from maury.networks.flow import PosteriorFlow
from maury.plots import plot_heads, save_figure
from maury.simulation import Simulator

SAMPLES = 499
DROPPED, MEMBERS = 0.1, 5
WORSE = 3.0
"""Factor of the errors of the synthetic spectra in the second test."""


def part(simulator: Simulator, network: PosteriorNetwork, path: Path, count: int, seed: int) -> None:
    """Simulate stars and write their features, labels' real coordinates and labels."""
    columns = [simulator.labels.index(name) for name in network.config.labels]
    generator, rows = torch.Generator().manual_seed(seed), []
    with torch.inference_mode():
        for _ in range(-(-count // BATCH)):
            stars = simulator.batch(min(BATCH, count), generator)
            labels = stars.labels[:, columns]
            features = network(stars)
            rows.append((features.numpy(), network.transform.unconstrained(labels).numpy()))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, features=np.concatenate([r[0] for r in rows]), real=np.concatenate([r[1] for r in rows]))


def read(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Features (n, f) and real coordinates (n, k)."""
    parts = [np.load(path) for path in paths]
    return tuple(torch.from_numpy(np.concatenate([p[key] for p in parts])) for key in ("features", "real"))  # type: ignore[return-value]


def variants(network: PosteriorNetwork, seed: int) -> dict[str, Variant]:
    """Heads by name; the first is the network's own flow, which is not trained again."""
    c = network.config
    k = len(c.labels)

    def gaussian(number: int = 0, **kind: Any) -> GaussianHead:
        return GaussianHead(c.width, k, seed + number, **kind)

    flow = PosteriorFlow(k, c.width, c.context, c.transforms, c.knots, c.hidden, seed)
    return {
        "flow, as trained with the embedding": Variant([network.flow], True),
        "flow": Variant([flow], True),
        "ensemble of 5 Gaussians": Variant([gaussian(i) for i in range(MEMBERS)], False),
        "Gaussian": Variant([gaussian()], False),
        "Gaussian, MC dropout": Variant([gaussian(dropout=DROPPED)], False),
        "Gaussian, Bayesian last layer": Variant([gaussian(bayesian=True)], False),
        "Gaussian without correlations": Variant([gaussian(diagonal=True)], False),
    }


@torch.no_grad()
def judged(variant: Variant, data: tuple[Tensor, Tensor], names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Density, coverage and width on test stars, and the density of each for comparisons (under ``density``)."""
    torch.manual_seed(seed)
    generator, rows = torch.Generator().manual_seed(seed), []
    for features, real in zip(data[0].split(256), data[1].split(256), strict=True):
        drawn = variant.sample(features, SAMPLES, generator)
        low, high = torch.quantile(drawn, torch.tensor([0.1587, 0.8413]), 1)
        share = variant.mixture(features).disagreement() if not variant.flow else 0.0
        rows.append(
            (
                variant.log_prob(features, real).numpy(),
                ranks(drawn.numpy(), real.numpy()),
                (high - low).numpy() / 2,
                share,
            )
        )
    density, rank, width = (np.concatenate([row[i] for row in rows]) for i in range(3))
    shares = {level: float(np.mean(np.abs(rank - 0.5) <= level / 2)) for level in (0.68, 0.95)}
    return {
        "nll": -float(density.mean()),
        "coverage": {f"{level:g}": share for level, share in shares.items()},
        "coverage_by_label": {name: coverage(rank[:, i]) for i, name in enumerate(names)},
        "width": {name: float(np.median(width[:, i])) for i, name in enumerate(names)},
        "disagreement": float(np.mean([row[3] for row in rows])),
        "density": density,
    }


@torch.no_grad()
def sampling_ms(variant: Variant, features: Tensor) -> float:
    """CPU milliseconds for 1,000 samples of a star, the best of three times 64 stars."""
    generator, times = torch.Generator().manual_seed(1), []
    for _ in range(3):
        start = time.process_time()
        variant.sample(features[:64], 1000, generator)
        times.append(time.process_time() - start)
    return 1000 * min(times) / 64


def relative(results: dict[str, Any]) -> None:
    """Add differences of density and ratios of width to the flow of the same training; drop the densities of stars."""
    for test in ("usual", "worse"):
        base = {key: results["flow"][test][key] for key in ("density", "width")}
        for result in results.values():
            one = result[test]
            difference = base["density"] - one["density"]
            one["nll_difference"] = float(difference.mean())
            one["nll_difference_error"] = float(difference.std() / math.sqrt(len(difference)))
            logs = [math.log(one["width"][name] / base["width"][name]) for name in base["width"]]
            one["width_ratio"] = math.exp(sum(logs) / len(logs))
    for result in results.values():
        for test in ("usual", "worse"):
            del result[test]["density"]


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown."""
    titles = ("head", "nats a star", "against the flow", "in 68 %", "in 95 %", "width", "members disagree")
    titles += ("1,000 samples (ms)", "worse physics: nats", "in 68 %", "in 95 %")
    rows = [titles, ["---"] * len(titles)]
    for name, result in results.items():
        usual, worse = result["usual"], result["worse"]
        difference = f"{usual['nll_difference']:+.2f} ± {usual['nll_difference_error']:.2f}"
        inside = [[f"{100 * share:.1f}" for share in test["coverage"].values()] for test in (usual, worse)]
        row = [name, f"{usual['nll']:.2f}", "0" if name == "flow" else difference, *inside[0]]
        row += [f"{usual['width_ratio']:.2f}", f"{100 * usual['disagreement']:.1f} %" if usual["disagreement"] else ""]
        rows.append([*row, f"{result['sampling_ms']:.2f}", f"{worse['nll']:.2f}", *inside[1]])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def worse_physics(simulator: Simulator, emulator: Emulator) -> Simulator:
    """A simulator whose spectra are `WORSE` times as wrong."""
    error = simulator.settings.model_error
    raised = {name: WORSE * getattr(error, name) for name in ("floor", "line", "emulator")}
    raised["level"] = tuple(WORSE * level for level in error.level)
    changed = simulator.settings.model_copy(update={"model_error": error.model_copy(update=raised)})
    return Simulator(emulator, changed, pixels=simulator.pixels)


def fingerprint(network: PosteriorNetwork, *settings: int) -> str:
    """Eight digits that stand for weights and settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:8]


def features(options: argparse.Namespace, network: PosteriorNetwork, header: dict[str, Any]) -> Data:
    """Features and real coordinates by set; files are made where they are missing."""
    emulator = load_emulator(header["training"]["emulator"])
    simulator = simulator_for(header, emulator)
    key, counts = fingerprint(network, options.stars, options.seed), {"train": options.parts}
    counts |= dict.fromkeys(("held_out", "usual", "worse"), 1)
    files = {name: [options.work / f"{key}-{name}-{i}.npz" for i in range(count)] for name, count in counts.items()}
    todo = [(name, i, path) for name, paths in files.items() for i, path in enumerate(paths) if not path.exists()]
    with progress(bool(todo)) as bar:
        for name, i, path in bar.track(todo, description="features"):
            source = worse_physics(simulator, emulator) if name == "worse" else simulator
            seed = int(np.random.SeedSequence((options.seed, list(counts).index(name), i)).generate_state(1)[0])
            part(source, network, path, options.stars if name == "train" else options.stars // 2, seed)
    return {name: read(paths) for name, paths in files.items()}


def run(options: argparse.Namespace, network: PosteriorNetwork, data: Data) -> dict[str, dict[str, Any]]:
    """Train and judge every head that is not in --work; results by name."""
    heads, results = variants(network, options.seed), {}
    key = fingerprint(network, options.stars, options.seed, options.parts, options.steps)
    with progress() as bar:
        steps = sum(options.steps * len(h.heads) for h in heads.values()) - options.steps
        task = bar.add_task("steps", total=steps)
        for number, (name, variant) in enumerate(heads.items()):
            path = options.work / f"{key}-head-{number}.npz"
            if path.exists():
                saved = np.load(path)
                results[name] = json.loads(str(saved["result"]))
                bar.advance(task, options.steps * len(variant.heads) * bool(number))
            else:
                torch.manual_seed(options.seed)
                if number:
                    variant.train(data, options.steps, options.seed, lambda n: bar.advance(task, n))
                saved, results[name] = measure(variant, data, network.config.labels, options.seed)
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, result=json.dumps(results[name]), **saved)
            for test in ("usual", "worse"):
                results[name][test]["density"] = saved[test]
    return results


def measure(variant: Variant, data: Data, names: tuple[str, ...], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Densities of the stars by test, and all else that is known of a head."""
    result: dict[str, Any] = {
        "weights": sum(p.numel() for head in variant.heads for p in head.parameters()),
        "training_seconds": round(variant.seconds, 1),
        "sampling_ms": round(sampling_ms(variant, data["usual"][0]), 2),
        **{test: judged(variant, data[test], names, seed) for test in ("usual", "worse")},
    }
    return {test: result[test].pop("density") for test in ("usual", "worse")}, result


def main() -> None:
    """Make features, train and judge every head, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--work", type=Path, required=True, help="folder for features and results of heads")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=6, help="sets of stars to train on")
    parser.add_argument("--stars", type=int, default=8192, help="stars of a set, a multiple of 1024; others: half")
    parser.add_argument("--steps", type=int, default=2000, help="of training, for each head")
    parser.add_argument("--seed", type=int, default=1)
    options = parse(
        parser,
        lambda folder: ["--stars", 64, "--parts", 1, "--steps", 2, "--work", folder / "work", "--out", folder / "out"],
    )
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    network, header = load_posterior(options.model)
    data = features(options, network, header)
    results = run(options, network, data)
    relative(results)
    report = {
        "model": options.model,
        "emulator": header["emulator"],
        "labels": network.config.labels,
        "trained_on": len(data["train"][0]),
        "judged_on": len(data["usual"][0]),
        "steps": options.steps,
        "seed": options.seed,
        "heads": results,
    }
    write_text(options.out / "bayesian.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    write_text(options.out / "table.md", table(results))
    save_figure(plot_heads(results), options.out / "bayesian")
    out.print(table(results), markup=False)


if __name__ == "__main__":
    main()
