"""`maury train`: train a network on a grid, with a progress bar for the run and the epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from rich.progress import Progress

    from maury.config import TrainConfig


def train(
    grid: Annotated[Path | None, typer.Option("--grid", "-g", help="Grid to train on (HDF5).")] = None,
    output: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run.")] = Path("runs/founding"),
    preset: Annotated[
        str | None, typer.Option(help="Network and recipe [default: starnet-spc]; see maury networks list.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings (TOML) in place of a preset.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels to learn, as in teff,logg,mh [default: the preset's]."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="What is held out: random or block (whole nodes).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs; early stopping usually ends the run before.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a lower validation loss before it stops.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Spectra per step and device.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true or bf16-mixed.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
    devices: Annotated[int | None, typer.Option(help="Number of devices; several train in parallel.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of first weights and order of spectra.")] = None,
    max_time: Annotated[float | None, typer.Option(help="Stop after so many minutes of training.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the trained weights in float16.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away an earlier run in the directory.")] = False,
) -> None:
    """Train a network. A killed run goes on where it was when the same command is given again.

    The directory then holds config.toml, metrics.csv, tensorboard/, checkpoints and model.safetensors.

    Example: `maury train --preset starnet-spc --grid spc.h5 --out runs/founding`
    """
    options = {
        name: value
        for name, value in locals().items()
        if value is not None and name not in ("grid", "output", "preset", "config", "half", "fresh")
    }
    # Before torch is loaded: a thread that waits for another sleeps. On a machine with other work to do, threads that
    # spin instead make a step take twice as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from maury.cli.console import out, progress
    from maury.training.network import open_run
    from maury.training.network import train as train_network

    settings, opened = _settings(grid, preset, config, options)
    first = (
        os.environ.get("LOCAL_RANK", "0") == "0"
    )  # with several devices Lightning starts this command again for each
    run = open_run(output, settings, fresh and first)
    header = run.finished()
    if header is not None:
        out.print(f"{output}: finished ({header['stopped']}); --fresh trains anew")
    else:
        if first:
            _announce(settings, opened, run.last.is_file())
        with progress() as bar:
            bar.disable = not first
            task = bar.add_task("reading the grid", total=len(opened))
            callbacks = [_bar_callback(bar, settings.epochs)] if first else []
            dtype = torch.float16 if half else torch.float32
            header = train_network(run, opened, callbacks, lambda n: bar.advance(task, n), dtype)
    if first:
        _summarise(header, run.model)


def _settings(
    grid: Path | None, preset: str | None, config: Path | None, options: dict[str, Any]
) -> tuple[TrainConfig, Any]:
    """Settings from a preset or a file, options on top; and the opened grid."""
    from maury.config import TrainConfig, load_config, make_config
    from maury.errors import ConfigError
    from maury.grids import open_grid
    from maury.networks import read_preset

    if preset is not None and config is not None:
        raise ConfigError("--preset and --config exclude each other")
    base = load_config(config, TrainConfig) if config is not None else read_preset(preset or "starnet-spc")
    if grid is None and not base.grid:
        raise ConfigError("no grid: name one with --grid (maury grid build makes one)")
    opened = open_grid(grid or base.grid)
    labels = options.pop("labels", None)
    values = base.model_dump() | options | {"grid": os.fspath(opened.path), "grid_digest": opened.digest}
    if config is None:
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


def _announce(settings: TrainConfig, grid: Any, resumed: bool) -> None:
    from maury.cli.console import out
    from maury.networks import layer_table

    held_out = int(grid.split(settings.split).sum())
    weights = sum(layer.weights for layer in layer_table(settings.network))
    out.print(f"{settings.preset}: {weights:,} weights, labels {', '.join(settings.network.labels)}")
    out.print(
        f"{grid.path}: {len(grid) - held_out:,} spectra to train on, {held_out:,} to validate with "
        f"({settings.split} split), {settings.network.pixels:,} pixels"
    )
    if resumed:
        out.print("going on from the last finished epoch")


def _summarise(header: dict[str, Any], model: Path) -> None:
    from maury.cli.console import out
    from maury.labels import LABELS

    figures = header["validation"]
    out.print(
        f"stopped by {header['stopped']} after {header['epochs']} epochs; best epoch {header['best_epoch']}: "
        f"validation MSE {figures['mse']:.5f}, MAE {figures['mae']:.5f}"
    )
    typical = header["typical_errors"]
    errors = [f"{name} {typical[name]:.3g} {LABELS[name].unit}" for name in header["labels"]["names"]]
    out.print(f"68 % of validation spectra within: {', '.join(errors)}")
    out.print(f"{model} written; next: maury evaluate {model.parent} --grid {header['training']['grid']}")


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
