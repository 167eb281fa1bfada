"""A GPU against the CPU: training, simulation, prediction and refinement, the same numbers and how much faster.

    python benchmarks/gpu.py --out docs/results/gpu.json

Runs each part on both devices with the same spectra, points and weights and writes how far the numbers are apart beside
the times. A part that fails is reported and the next one runs. Without a GPU, `--smoke` runs the same code with the CPU
in place of it. Four minutes on one GPU and 16 cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from smoke import parse
from torch import Tensor

from maury.config import PRESETS
from maury.emulator import load_cached as load_emulator
from maury.evaluation.refined import refined_posterior
from maury.files import write_json
from maury.likelihood import Coordinates, ErrorModel, simulator_for, usable
from maury.likelihood.target import Target
from maury.networks import PosteriorNetwork, load_posterior
from maury.pixelspectra import PixelSpectra
from maury.training.recipes import load_training
from maury.training.simulated_source import Stream, principal_components, transform_of

SEED = 5


def seconds(device: torch.device, function: Callable[[], Any], repeats: int) -> float:
    """Shortest time of a call, all work on the device done."""
    times = []
    for _ in range(repeats + 1):
        before = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - before)
    return min(times[1:])


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference."""
    return float((a.detach().cpu().double() - b.detach().cpu().double()).abs().max())


class Bench:
    """Both devices, and what the parts share."""

    def __init__(self, device: torch.device, smoke: bool) -> None:
        """Load the packaged models."""
        self.device, self.smoke, self.cpu = device, smoke, torch.device("cpu")
        self.network, self.header = load_posterior("default")
        self.network.eval()
        self.emulator = load_emulator("packaged")
        self.simulators = {d.type: simulator_for(self.header, self.emulator, d) for d in (self.cpu, device)}
        self.simulator = self.simulators["cpu"]

    def simulation(self) -> dict[str, Any]:
        """Spectra of the same labels, and batches a second."""
        labels = self.simulator.draw_labels(64 if self.smoke else 1024, torch.Generator().manual_seed(SEED))
        resolution = torch.full((len(labels),), 42_000.0)
        spectra = {kind: s.spectra(labels, resolution) for kind, s in self.simulators.items()}
        report: dict[str, Any] = {"largest_difference_of_flux": apart(spectra["cpu"], spectra[self.device.type])}
        for kind, s in self.simulators.items():
            count = 64 if self.smoke else (512 if kind == "cpu" else 8192)
            generator = torch.Generator(s.device).manual_seed(SEED)
            time_s = seconds(s.device, lambda s=s, c=count, g=generator: s.batch(c, g), 1 if self.smoke else 3)  # type: ignore[misc]
            report[f"{kind}_spectra_per_second"] = round(count / time_s)
        return report

    def prediction(self) -> dict[str, Any]:
        """Features and quantiles of the same spectra, and spectra a second."""
        batch = self.simulator.batch(64 if self.smoke else 2048, torch.Generator().manual_seed(SEED))
        report: dict[str, Any] = {}
        found = {}
        for device in (self.cpu, self.device):
            network, there = self.network.to(device), batch.to(device)
            with torch.inference_mode():
                features = network(there)
                found[device.type] = (features.cpu(), network.quantiles(features).cpu())
                time_s = seconds(device, lambda n=network, x=there: n(x), 1 if self.smoke else 3)  # type: ignore[misc]
            report[f"{device.type}_spectra_per_second"] = round(len(batch.flux) / time_s)
        self.network.to(self.cpu)
        width = torch.tensor(self.network.transform.space.upper) - torch.tensor(self.network.transform.space.lower)
        (f, q), (g, r) = found["cpu"], found[self.device.type]
        return report | {
            "largest_difference_of_features": apart(f, g),
            "largest_difference_of_quantiles_in_ranges": apart(q / width, r / width),
        }

    def training(self) -> dict[str, Any]:
        """Losses of the same steps on both devices; then many steps on the GPU, simulating there."""
        config = load_training(PRESETS / "networks" / "default.toml")
        batch, same, many = (16, 3, 3) if self.smoke else (config.batch_size, 8, 2000)
        components = 64 if self.smoke else 1024
        stream = Stream(self.simulator, config.network.labels, SEED)  # type: ignore[arg-type, union-attr]
        batches = [stream.batch(number, batch) for number in range(same)]
        size = config.network.model_copy(update={"components": 16} if self.smoke else {})  # type: ignore[union-attr]
        start = principal_components(stream.batch(10**6, components)[0], size.components, SEED)  # type: ignore[union-attr]
        report: dict[str, Any] = {"batch": batch, "same_steps": same, "steps": many}
        losses = {}
        for device in (self.cpu, self.device):
            there = [(x.to(device), y.to(device)) for x, y in batches]
            task = _Trained(PosteriorNetwork(size, transform_of(self.simulator, size.labels), SEED), start, device)  # type: ignore[arg-type, union-attr]
            times = []
            for inputs, labels in there:
                before = time.perf_counter()
                task.step(inputs, labels)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - before)
            losses[device.type] = [float(x) for x in task.losses]
            report[f"{device.type}_seconds_per_step"] = min(times)
        pairs = zip(losses["cpu"], losses[self.device.type], strict=True)
        report["largest_difference_of_loss"] = max(abs(a - b) for a, b in pairs)
        task = _Trained(PosteriorNetwork(size, transform_of(self.simulator, size.labels), SEED), start, self.device)  # type: ignore[arg-type, union-attr]
        own = Stream(self.simulators[self.device.type], size.labels, SEED)  # type: ignore[arg-type, union-attr]
        before = time.perf_counter()
        for number in range(many):
            with torch.autocast(self.device.type, torch.bfloat16):
                task.step(*own.batch(number, batch))
        losses_of_gpu = torch.stack(task.losses).cpu()
        report["simulated_seconds_per_step"] = (time.perf_counter() - before) / many
        tenth = max(many // 10, 1)
        report["first_losses"] = float(losses_of_gpu[:tenth].mean())
        report["last_losses"] = float(losses_of_gpu[-tenth:].mean())
        return report

    def likelihood(self) -> dict[str, Any]:
        """Log densities of the same points of the same stars."""
        worst, spread = 0.0, 0.0
        coordinates = {kind: Coordinates(s, self.network.config.labels) for kind, s in self.simulators.items()}
        for star, generator in self._stars(2 if self.smoke else 8):
            densities = {}
            real = 0.3 * torch.randn(32, len(coordinates["cpu"].names), generator=generator).double()
            for kind, c in coordinates.items():
                labels = c.full(c.transform.constrained(real[0]))
                target = Target(c, star, ErrorModel(c.simulator).whiten(star, labels, False))
                densities[kind] = target.log_density(real)
            worst = max(worst, apart(densities["cpu"], densities[self.device.type]))
            spread = max(spread, float(densities["cpu"].max() - densities["cpu"].min()))
        return {"largest_difference_of_log_density": worst, "range_of_log_density": spread}

    def refinement(self) -> dict[str, Any]:
        """Medians of refined posteriors, in units of their standard deviation, and seconds a star."""
        stars = list(self._stars(1 if self.smoke else 12))
        report: dict[str, Any] = {"stars": len(stars)}
        medians = {}
        for kind, simulator in self.simulators.items():
            coordinates = Coordinates(simulator, self.network.config.labels)
            errors = ErrorModel(simulator)
            before = time.perf_counter()
            done = [refined_posterior(self.network, coordinates, errors, star, 4000, SEED, 400.0) for star, _ in stars]
            report[f"{kind}_seconds_a_star"] = (time.perf_counter() - before) / len(stars)
            medians[kind] = torch.stack([d.samples.median(0).values for d in done])
            width = torch.stack([d.samples.std(0) for d in done])
        off = ((medians["cpu"] - medians[self.device.type]) / width).abs()
        return report | {"median_difference_in_sigma": float(off.median()), "largest": float(off.max())}

    def _stars(self, count: int) -> Any:
        generator = torch.Generator().manual_seed(SEED)
        batch = self.simulator.batch(count, generator)
        return ((usable(batch[row]), generator) for row in range(count))


class _Trained:
    """A network, its optimiser and the losses so far."""

    def __init__(self, network: PosteriorNetwork, start: tuple[Tensor, Tensor], device: torch.device) -> None:
        network.start_from(*start)
        self.network = network.to(device).train()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, weight_decay=0.01, fused=True)
        self.losses: list[Tensor] = []

    def step(self, inputs: PixelSpectra, labels: Tensor) -> None:
        features = self.network(inputs)
        density = self.network.log_prob_unconstrained(features, labels)
        loss = self.network.quantile_loss(features, labels) - density.mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.losses.append(loss.detach())


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="JSON to write")
    options = parse(parser, lambda folder: ["--out", folder / "gpu.json"])
    if not (options.smoke or torch.cuda.is_available()):
        parser.error("no GPU here; --smoke runs the same code on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    report: dict[str, Any] = {
        "command": "python benchmarks/gpu.py" + (" --smoke" if options.smoke else ""),
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "machine": f"{torch.get_num_threads()} threads, {platform.machine()}",
        "torch": torch.__version__,
        "seed": SEED,
        "failed": [],
    }
    bench = Bench(device, options.smoke)
    for part in (bench.simulation, bench.prediction, bench.likelihood, bench.refinement, bench.training):
        before = time.perf_counter()
        try:
            report[part.__name__] = part()
        except Exception as error:  # reported, and the next part runs
            traceback.print_exc()
            report["failed"].append(f"{part.__name__}: {type(error).__name__}: {error}")
        report.setdefault("seconds", {})[part.__name__] = round(time.perf_counter() - before, 1)
        print(part.__name__, json.dumps(report.get(part.__name__), indent=1), flush=True)
        write_json(options.out, report)
    if report["failed"]:
        raise SystemExit("failed: " + "; ".join(report["failed"]))


if __name__ == "__main__":
    main()
