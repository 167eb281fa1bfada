"""`maury train`: train a network on a grid or on simulated observations, with progress of the run and the epoch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from maury.cli import options
from maury.progress import counted

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from rich.progress import Progress

    from maury.emulator import Emulator
    from maury.training.recipes import PosteriorTrainConfig, TrainConfig
    from maury.training.sources import Source


def train(
    grid: options.Grid = None,
    output: Annotated[Path, options.out_folder("Folder of the run.")] = Path("runs/founding"),
    preset: Annotated[
        str | None, options.of("PRESET", "Network and recipe [default: starnet-spc]; see maury networks list.")
    ] = None,
    config: Annotated[Path | None, options.of("TOML", "Settings; replaces a preset.")] = None,
    labels: Annotated[
        str | None, options.of("LABEL,...", "Labels to learn, as in teff,logg,mh [default: the preset's].")
    ] = None,
    emulator: Annotated[
        str | None, options.of("EMULATOR", "An emulator file, for the simulation [default: that of the preset].")
    ] = None,
    model_error: Annotated[
        Path | None, options.of("TOML", "Errors of model spectra, for the simulation, of maury model-error.")
    ] = None,
    split: Annotated[
        str | None, options.of("random|block", "Spectra held out for validation; block: whole nodes.")
    ] = None,
    epochs: Annotated[int | None, options.of("N", "Most epochs.")] = None,
    patience: Annotated[
        int | None, options.of("N", "Epochs without a lower validation loss before training stops.")
    ] = None,
    batch_size: Annotated[int | None, options.of("N", "Spectra per step and device.")] = None,
    learning_rate: Annotated[float | None, options.of("", "Learning rate of Adam.")] = None,
    precision: Annotated[str | None, options.of("32-true|bf16-mixed", "Floating-point precision.")] = None,
    max_time: Annotated[float | None, options.of("MINUTES", "Stop after this time of training.")] = None,
    half: Annotated[bool, options.of_output("", "Store the trained weights in float16.", "--half")] = False,
    fresh: options.Fresh = False,
    accelerator: Annotated[str | None, options.of_resources("auto|cpu|gpu", "Where to train.")] = None,
    devices: Annotated[int | None, options.of_resources("N", "Devices that train in parallel.")] = None,
    seed: Annotated[int | None, options.of_resources("N", "Seed of the random numbers.")] = None,
    ray: options.Ray = None,
) -> None:
    """Train a network on a grid or on simulated observations. An interrupted run resumes with the same command.

    Options not given have the values of the preset. The folder then holds config.toml, metrics.csv, tensorboard/,
    checkpoints and model.safetensors. With --ray, --devices processes of a cluster train.

    Examples: `maury train --preset starnet-spc --grid spc.h5 --out runs/founding`

    `maury train --preset default --out runs/default --max-time 120`, on observations simulated as it goes
    """
    given = {
        name: value
        for name, value in locals().items()
        if value is not None and name not in ("grid", "output", "preset", "config", "half", "fresh", "ray")
    }
    # Before torch is loaded: a thread that waits for another sleeps. On a machine with other work to do, threads that
    # spin instead make a step take twice as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from maury.errors import ConfigError
    from maury.training.recipes import PosteriorTrainConfig

    base = _base(preset, config)
    settings: TrainConfig | PosteriorTrainConfig
    if isinstance(base, PosteriorTrainConfig):
        if grid is not None or half:
            raise ConfigError(f"{base.preset} is trained on simulated observations: --grid and --half are not for it")
        settings, data, source = _simulated(base, config is None, given)
    else:
        settings, data, source = _on_grid(base, config is None, given, grid)
    _run(settings, data, source, output, fresh, half, ray)


def _base(preset: str | None, config: Path | None) -> TrainConfig | PosteriorTrainConfig:
    """Settings of a preset or a file."""
    from maury.errors import ConfigError
    from maury.training.recipes import load_training, read_preset

    if preset is not None and config is not None:
        raise ConfigError("--preset and --config exclude each other")
    return load_training(config) if config is not None else read_preset(preset or "starnet-spc")


def _run(
    settings: TrainConfig | PosteriorTrainConfig,
    data: str,
    source: Callable[[Progress], Source],
    output: Path,
    fresh: bool,
    half: bool,
    ray: str | None,
) -> None:
    """Train in a directory, here or on a cluster, unless it is finished, and print what was reached."""
    import torch

    from maury.cli.console import out, progress
    from maury.training.loop import train as train_network
    from maury.training.run_folder import open_run

    # with several devices Lightning starts this command again for each
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    run = open_run(output, settings, fresh and first)
    header = run.finished()
    if header is not None:
        out.print(f"{output}: finished ({header['stopped']}); --fresh trains anew")
    else:
        if first:
            _announce(settings, data, run.last.is_file())
        if ray is not None:
            _summarise(_train_on_cluster(run, ray, half), run.model)
            return
        with progress() as bar:
            bar.disable = not first
            spectra = source(bar)
            callbacks = [_bar_callback(bar, settings.epochs)] if first else []
            header = train_network(run, spectra, callbacks, torch.float16 if half else None)
    if first:
        _summarise(header, run.model)


def _on_grid(
    base: TrainConfig, of_preset: bool, options: dict[str, Any], grid: Path | None
) -> tuple[TrainConfig, str, Callable[[Progress], Source]]:
    """Settings, data in words and the source of a training on a grid."""
    from maury.training.grid_source import GridSource

    settings, opened = _grid_settings(base, of_preset, grid, options)

    def source(bar: Progress) -> Source:
        return GridSource(settings, opened, counted(bar, "reading the grid", len(opened)))

    held_out = int(opened.split(settings.split).sum())
    data = (
        f"{opened.path}: {len(opened) - held_out:,} spectra to train on, {held_out:,} to validate with "
        f"({settings.split} split)"
    )
    return settings, data, source


def _simulated(
    base: PosteriorTrainConfig, of_preset: bool, options: dict[str, Any]
) -> tuple[PosteriorTrainConfig, str, Callable[[Progress], Source]]:
    """Settings, data in words and the source of a training on simulated observations."""
    from maury.config import make_config
    from maury.emulator import file_of
    from maury.emulator import load as load_emulator
    from maury.files import sha256
    from maury.simulation import SimulationSettings, Simulator
    from maury.training.simulated_source import SimulatedSource

    emulator = load_emulator(options.get("emulator", base.emulator))
    settings = _posterior_settings(base, of_preset, options, emulator)
    settings = settings.model_copy(update={"emulator_digest": sha256(file_of(settings.emulator))})
    simulation = make_config(settings.simulation, SimulationSettings, "simulation")
    make = lambda device: Simulator(emulator, simulation, device)  # noqa: E731
    data = (
        f"{settings.epochs} epochs of {settings.steps * settings.batch_size:,} observations, simulated with the "
        f"emulator ({settings.emulator})"
    )
    return settings, data, lambda _: SimulatedSource(settings, make)


def _train_on_cluster(run: Any, ray: str, half: bool = False) -> dict[str, Any]:
    """Train in processes of a Ray cluster, with finished epochs on the screen."""
    from maury.cli.console import progress
    from maury.cluster import RayWorkers
    from maury.training.distributed import train_on_cluster

    gpus = 1.0 if run.config.accelerator == "gpu" else 0.0
    with RayWorkers(ray, run.config.devices, gpus=gpus) as cluster, progress() as bar:
        task = bar.add_task(f"epochs (at most {run.config.epochs})", total=run.config.epochs)

        def epochs(done: int, loss: float) -> None:
            bar.print(f"epoch {done}: validation {loss:.5f}")
            bar.update(task, completed=done)

        return train_on_cluster(run, cluster, half, epochs)


def _posterior_settings(
    base: PosteriorTrainConfig, of_preset: bool, options: dict[str, Any], emulator: Emulator
) -> PosteriorTrainConfig:
    """Settings with options on top; those of a preset with the pixels and labels that the emulator has.

    Raises:
        ConfigError: an option that is not for this network, or out of range.
    """
    from maury.config import load_config, make_config
    from maury.emulator import NetworkPixels
    from maury.errors import ConfigError
    from maury.labels import FURTHER_ELEMENTS
    from maury.simulation.conditions import ModelErrorSettings
    from maury.training.recipes import PosteriorTrainConfig

    options = dict(options)
    labels, model_error = options.pop("labels", None), options.pop("model_error", None)
    for name in options:
        if name not in PosteriorTrainConfig.model_fields:
            raise ConfigError(f"--{name.replace('_', '-')} is not for {base.preset}, which needs no grid")
    values = base.model_dump() | options
    if of_preset:
        values["network"]["pixels"] = NetworkPixels.of(emulator).count
        have = (*emulator.space.names, "vsini", "vmac")
        usual = [name for name in values["network"]["labels"] if name in have]
        more = [name for name in emulator.space.names if name not in (*usual, *FURTHER_ELEMENTS)]
        values["network"]["labels"] = [*usual, *more]
    if model_error is not None:
        measured = load_config(model_error, ModelErrorSettings).model_dump(mode="json")
        values["simulation"] = values["simulation"] | {"model_error": measured}
    if labels is not None:
        values["network"]["labels"] = [name.strip() for name in labels.split(",")]
    return make_config(values, PosteriorTrainConfig, "options")


def _grid_settings(
    base: TrainConfig, of_preset: bool, grid: Path | None, options: dict[str, Any]
) -> tuple[TrainConfig, Any]:
    """Settings with options on top, and the opened grid."""
    from maury.config import make_config
    from maury.errors import ConfigError
    from maury.grids import open_grid
    from maury.training.recipes import TrainConfig

    for name in {"emulator", "model_error"} & options.keys():
        option = name.replace("_", "-")
        raise ConfigError(f"--{option} is for networks trained on simulated observations; name a grid with --grid")
    if grid is None and not base.grid:
        raise ConfigError("no grid: name one with --grid (maury grid build makes one)")
    opened = open_grid(grid or base.grid)
    labels = options.pop("labels", None)
    values = base.model_dump() | options | {"grid": os.fspath(opened.path), "grid_digest": opened.digest}
    if of_preset:
        values["network"]["pixels"] = len(opened.wavelength_aa)
    if labels is not None:
        values["network"]["labels"] = [name.strip() for name in labels.split(",")]
    settings = make_config(values, TrainConfig, "options")
    absent = [name for name in settings.network.labels if name not in opened.names]
    if absent:
        why = ", ".join(f"{name} (always {opened.fixed[name]:g})" if name in opened.fixed else name for name in absent)
        names = ",".join(opened.names)
        raise ConfigError(f"{opened.path}: nothing to learn {why} from; choose some of --labels {names}")
    return settings, opened


def _announce(settings: TrainConfig | PosteriorTrainConfig, data: str, resumed: bool) -> None:
    """Say what is trained, on which data, and whether an earlier run is resumed."""
    from maury.cli.console import out
    from maury.networks import layer_table

    weights = sum(layer.weights for layer in layer_table(settings.network))
    out.print(f"{settings.preset}: {weights:,} weights, labels {', '.join(settings.network.labels)}")
    out.print(f"{data}, {settings.network.pixels:,} pixels")
    if resumed:
        out.print("resuming from the last finished epoch")


def _summarise(header: dict[str, Any], model: Path) -> None:
    from maury.cli.console import out
    from maury.labels import LABELS

    figures = header["validation"]
    first = f"MSE {figures['mse']:.5f}" if "mse" in figures else f"negative log density {figures['nll']:.4f}"
    out.print(
        f"stopped by {header['stopped']} after {header['epochs']} epochs; best epoch {header['best_epoch']}: "
        f"validation {first}, MAE {figures['mae']:.5f}"
    )
    typical = header["typical_errors"]
    errors = [f"{name} {typical[name]:.3g} {LABELS[name].unit}" for name in header["labels"]["names"]]
    out.print(f"68 % of validation spectra within: {', '.join(errors)}")
    grid = header["training"].get("grid")
    judge = f"maury evaluate {model.parent} --grid {grid}" if grid else f"maury evaluate {model.parent} --out report"
    out.print(f"{model} written; next: {judge}")


def _bar_callback(bar: Progress, epochs: int) -> Callback:
    """Show time left for the run and the epoch, and the losses."""
    import lightning
    from lightning.pytorch.callbacks import Callback

    class Bar(Callback):
        """Two lines: the run, counted in steps up to the most epochs, and the epoch."""

        def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            self.steps = int(trainer.num_training_batches)
            done = trainer.current_epoch * self.steps
            self.run = bar.add_task("run", total=epochs * self.steps, completed=done)
            self.epoch = bar.add_task("epoch", total=self.steps)
            self.validation = ""

        def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            bar.reset(self.epoch, total=self.steps)
            bar.update(self.run, description=f"run (at most {epochs} epochs){self.validation}")

        def on_train_batch_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
        ) -> None:
            seen = trainer.callback_metrics
            text = f"epoch {trainer.current_epoch + 1}: loss {seen['train_loss']:.5f} MAE {seen['train_mae']:.4f}"
            bar.update(self.epoch, advance=1, description=text)
            bar.advance(self.run)

        def on_validation_batch_end(
            self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *rest: Any, **__: Any
        ) -> None:
            _, _, batch, *_ = rest
            text = f"epoch {trainer.current_epoch + 1}: validating, batch {batch + 1} of {trainer.num_val_batches[0]}"
            bar.update(self.epoch, description=text)

        def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            seen = trainer.callback_metrics
            self.validation = f", validation {seen['val_loss']:.5f} MAE {seen['val_mae']:.4f}"
            bar.print(
                f"epoch {trainer.current_epoch + 1}: last batch {seen['train_loss']:.5f}, MAE {seen['train_mae']:.4f}"
                + self.validation
            )

    return Bar()
