"""Speed of training the founding network, beside the same network in Keras on TensorFlow, on the CPU.

    python benchmarks/founding_training.py [--json] [--keras-python PATH/TO/python]

Keras needs an environment with `tensorflow-cpu` (measured with tensorflow-cpu==2.21.0); when it is not this one, name
its interpreter with --keras-python:

    python -m venv tf-env && tf-env/bin/pip install tensorflow-cpu==2.21.0

Each contestant runs in a process of its own, with as many threads as there are cores, and trains on the same kind of
data in memory: batches of 64 spectra of 7,447 pixels, Adam, mean squared error and mean absolute error at every step.
maury trains as `maury train` does (Lightning, its loader, 16-bit counts turned into normalised flux, losses logged);
Keras as `fit` does on a prefetched tf.data pipeline of float32 batches, compiled. They take turns, a few steps each;
the others wait meanwhile. Times are medians over the rounds, `ratio` is that of the throughputs in float32. bfloat16 is
left out on processors whose matrix products are slower in it than in float32: they emulate it.

The fraction of the peak is the multiplications and additions that the layers need (forward, gradients of weights, of
inputs where they are needed), over those that the machine does in the same time in its fastest square matrix product.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

BATCH, PIXELS, LABELS = 64, 7447, 4
EPOCH = 38_519
SPECTRA = 1024
LAYERS = ((PIXELS * 32 * 4, 2), (PIXELS * 128 * 16, 3), (29_776 * 256, 3), (256 * 128, 3), (128 * 4, 3))
FLOPS = sum(2 * products * passes for products, passes in LAYERS)
"""Of a training step, per spectrum: products of each layer, times forward and backward passes over it."""

CONTESTANTS = {"maury": "32-true", "maury_bf16": "bf16-mixed", "keras": "float32", "keras_bf16": "mixed_bfloat16"}

RATIOS = {
    "ratio": ("maury", "keras"),
    "ratio_bf16": ("maury_bf16", "keras_bf16"),
    "ratio_best": ("maury_bf16", "keras"),
}


class Pace:
    """Run so many steps for every line read from the parent, and answer with the seconds they took."""

    def __init__(self) -> None:
        self.left, self.start = 0, 0.0
        print("ready", flush=True)
        self.wait()

    def wait(self) -> None:
        """Read how many steps come next; leave when there are no more."""
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self.left, self.start = int(line), time.perf_counter()

    def step(self) -> None:
        """Count a step that is done."""
        self.left -= 1
        if self.left == 0:
            print(time.perf_counter() - self.start, flush=True)
            self.wait()


def run_maury(precision: str, threads: int) -> None:
    """Train with maury for ever, at the parent's pace."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command does
    import lightning
    import torch
    from lightning.pytorch.callbacks import Callback

    from maury.grids.spc import SPACE
    from maury.memory import keep_freed_memory
    from maury.training.grid_source import GridSource
    from maury.training.lightning_tools import CurveLogger, quiet_lightning
    from maury.training.recipes import TrainConfig
    from maury.training.task import Task

    torch.set_num_threads(threads)
    keep_freed_memory()
    generator = np.random.default_rng(1)
    grid: Any = SimpleNamespace(
        path="random",
        wavelength_aa=range(PIXELS),
        space=SPACE,
        scale=1 / 20_000,
        column=dict(zip(SPACE.names, SPACE.denormalise(generator.random((SPECTRA, LABELS))).T, strict=True)).get,
        split=lambda name: np.arange(SPECTRA) >= SPECTRA - BATCH,
        read_flux=lambda rows, progress: generator.integers(2_000, 20_000, (SPECTRA, PIXELS), dtype=np.uint16),
    )
    config = TrainConfig()
    source = GridSource(config, grid)
    batches, _ = source.loaders(0, 1, 0, False)

    class Paced(Callback):
        """Wait for the parent after the steps it asked for."""

        def on_train_start(self, *_: Any) -> None:
            self.pace = Pace()

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.pace.step()

    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=-1,
            precision=precision,
            logger=[CurveLogger(Path(os.devnull))],
            callbacks=[Paced()],
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(Task(source.network(False), source, config), batches)


def run_keras(policy: str, threads: int) -> None:
    """Train with Keras for ever, at the parent's pace."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.mixed_precision.set_global_policy(policy)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((PIXELS,)),
            layers.Reshape((PIXELS, 1)),
            layers.Conv1D(4, 32, padding="same", activation="relu"),
            layers.Conv1D(16, 32, padding="same", activation="relu"),
            layers.MaxPooling1D(4),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(LABELS, dtype="float32"),
        ]
    )
    if model.count_params() != 7_658_520:
        raise SystemExit(f"Keras counts {model.count_params()} weights")
    model.compile(keras.optimizers.Adam(0.0007), loss="mse", metrics=["mae"])
    generator = np.random.default_rng(1)
    flux = generator.standard_normal((SPECTRA, PIXELS)).astype(np.float32)
    labels = generator.random((SPECTRA, LABELS)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((flux, labels)).shuffle(SPECTRA).repeat().batch(BATCH).prefetch(2)

    class Paced(keras.callbacks.Callback):
        """Wait for the parent after the steps it asked for."""

        def on_train_begin(self, logs: Any = None) -> None:
            self.pace = Pace()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.pace.step()

    model.fit(data, steps_per_epoch=10**9, verbose=0, callbacks=[Paced()])


def matrix_peak(
    threads: int, precisions: Sequence[str] = ("float32", "bfloat16"), sizes: Sequence[int] = (1024, 2048, 4096)
) -> dict[str, float]:
    """Highest rate (GFLOP/s) of square matrix products in each precision."""
    import torch

    torch.set_num_threads(threads)
    peak = {}
    for name in precisions:
        rates = []
        for size in sizes:
            a, b = (torch.randn(size, size).to(getattr(torch, name)) for _ in range(2))
            for _ in range(6):
                start = time.perf_counter()
                torch.mm(a, b)
                rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
        peak[name] = max(rates)
    return peak


class Contestant:
    """A training process that makes steps when asked."""

    def __init__(self, python: str, name: str, threads: int) -> None:
        command = [python, __file__, "--worker", name, "--threads", str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.name = name
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended:\n{self.process.communicate()[1]}")
        return line

    def seconds(self, steps: int) -> float:
        """Seconds per step."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        return float(self._answer()) / steps

    def end(self) -> None:
        """Let it go."""
        self.process.communicate()


def measure(python: str, threads: int, rounds: int, steps: int, names: Sequence[str]) -> dict[str, Any]:
    """Let the contestants take turns; seconds per step of each round, and the machine's peak before and after."""
    sizes = (256,) if steps == 1 else (1024, 2048, 4096)
    small = matrix_peak(threads, sizes=(256,))
    precisions = [name for name, rate in small.items() if rate >= small["float32"]]
    if "bfloat16" not in precisions:
        print("bfloat16 left out: this processor emulates it", file=sys.stderr)
        names = [name for name in names if not name.endswith("bf16")]
    before = matrix_peak(threads, precisions, sizes)
    contestants = [Contestant(sys.executable if name.startswith("maury") else python, name, threads) for name in names]
    for contestant in contestants:
        contestant.seconds(min(3, steps))  # the first steps build graphs and buffers
    times: dict[str, list[float]] = {name: [] for name in names}
    for _, contestant in itertools.product(range(rounds), contestants):
        times[contestant.name].append(contestant.seconds(steps))
    for contestant in contestants:
        contestant.end()
    after = matrix_peak(threads, precisions, sizes)
    return {"times": times, "peak": {key: max(before[key], after[key]) for key in before}}


def summarise(measured: dict[str, Any], threads: int) -> dict[str, Any]:
    """Medians, throughputs, ratios and fractions of the peak."""
    result: dict[str, Any] = {"threads": threads, "peak_gflops": measured["peak"]}
    for name, seconds in measured["times"].items():
        step = statistics.median(seconds)
        peak = measured["peak"]["bfloat16" if name.endswith("bf16") else "float32"]
        result[name] = {
            "milliseconds_per_step": 1e3 * step,
            "range": [1e3 * min(seconds), 1e3 * max(seconds)],
            "spectra_per_second": BATCH / step,
            "seconds_per_epoch": EPOCH / BATCH * step,
            "fraction_of_peak": FLOPS * BATCH / step / 1e9 / peak,
        }
    for ratio, (name, other) in RATIOS.items():
        if name in measured["times"] and other in measured["times"]:
            result[ratio] = result[name]["spectra_per_second"] / result[other]["spectra_per_second"]
    return result


def show(result: dict[str, Any]) -> None:
    """Print the summary as a table."""
    peaks = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in result["peak_gflops"].items())
    print(f"{result['threads']} threads; matrix products reach {peaks}")
    print(f"{'':12}{'ms/step':>9}{'(range)':>16}{'spectra/s':>11}{'s/epoch':>9}{'of peak':>9}")
    for name in filter(result.__contains__, CONTESTANTS):
        row = result[name]
        low, high = row["range"]
        print(f"{name:12}{row['milliseconds_per_step']:9.1f}{f'({low:.0f}-{high:.0f})':>16}", end="")
        print(f"{row['spectra_per_second']:11.0f}{row['seconds_per_epoch']:9.1f}{row['fraction_of_peak']:9.1%}")
    for ratio, (name, other) in RATIOS.items():
        if ratio in result:
            print(f"{name} / {other}: {result[ratio]:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras-python", default=sys.executable, help="interpreter that has tensorflow")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=6, help="steps of a contestant in a round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--smoke", action="store_true", help="one step of maury alone: does it still run")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        runner: Callable[[str, int], None] = run_maury if options.worker.startswith("maury") else run_keras
        return runner(CONTESTANTS[options.worker], options.threads)
    names, rounds, steps = list(CONTESTANTS), options.rounds, options.steps
    if options.smoke:
        names, rounds, steps = ["maury"], 1, 1
    result = summarise(measure(options.keras_python, options.threads, rounds, steps, names), options.threads)
    result |= {"date": datetime.date.today().isoformat(), "machine": f"{options.threads} threads, {platform.machine()}"}
    print(json.dumps(result, indent=2)) if options.json or options.smoke else show(result)


if __name__ == "__main__":
    main()
