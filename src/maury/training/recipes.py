"""Recipes: settings of the training of networks and emulators, and the presets that ship with maury."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from maury.config import PRESETS, Positive, Settings, make_config, read_toml
from maury.errors import ConfigError
from maury.networks.architectures import NetworkConfig, PosteriorConfig, StarNetConfig


class Recipe(Settings):
    """Settings that all trainings share.

    Attributes:
        epochs: largest number of epochs.
        batch_size: spectra (or stars of a library) per step, on each device.
        learning_rate: highest learning rate of the optimiser.
        weight_decay: weight decay of AdamW.
        accelerator: device to train on.
        seed: seed of the initial weights, and of the order or the simulation of the spectra.
    """

    epochs: Positive
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class NetworkRecipe(Recipe):
    """Settings that trainings of all networks share.

    Attributes:
        preset: name of the preset on which the settings are based.
        network: settings of the network's architecture.
        optimiser: Adam, or AdamW with ``weight_decay``.
        schedule: a constant learning rate, or one that falls along a half cosine to 0 at the end of the run, after
            ``epochs`` or ``max_time``, whichever comes first.
        warmup: number of steps over which the learning rate rises from 0.
        precision: float32, or bfloat16 products with float32 weights; flows are always in float32.
        devices: number of devices; more than one trains with distributed data parallel.
        max_time: minutes of training after which the run stops, None for no limit.
    """

    preset: str
    network: NetworkConfig
    optimiser: Literal["adam", "adamw"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Annotated[int, Field(ge=0)] = 0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    devices: Positive = 1
    max_time: Annotated[float, Field(gt=0)] | None = None


class TrainConfig(NetworkRecipe):
    """Settings of the training of a network on a grid; the defaults are those of the founding project.

    Attributes:
        split: the split of the grid that defines the validation spectra.
        patience: epochs without a lower validation loss after which training stops.
        noise: standard deviation, in units of the continuum, of white noise added to the spectra of each step.
        grid: file of the grid.
        grid_digest: SHA-256 of the grid; maury sets it.
    """

    preset: str = "starnet-spc"
    network: StarNetConfig = StarNetConfig()
    split: Literal["random", "block"] = "random"
    epochs: Positive = 60
    patience: Positive = 5
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.0007
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    grid: str = ""
    grid_digest: str = ""


class PosteriorTrainConfig(NetworkRecipe):
    """Settings of the training of the default network, on observations simulated during training.

    Attributes:
        kind: "posterior", which distinguishes these settings from those of a network trained on a grid.
        simulation: settings of the simulation (`maury.simulation`) that differ from its defaults.
        steps: number of steps per epoch, each with new spectra; after each epoch the network is validated and saved.
        components_from: number of simulated spectra from which principal components are computed.
        validation: number of simulated spectra in the validation set, which chooses the best epoch.
        emulator: "packaged" or the file of an emulator.
        emulator_digest: SHA-256 of the emulator; maury sets it.
        start: trained network of the same architecture (a packaged name, a run's folder or a file) whose weights
            initialise the training; None for random weights and principal components.
    """

    kind: Literal["posterior"] = "posterior"
    preset: str = "default"
    network: PosteriorConfig = PosteriorConfig()
    simulation: dict[str, Any] = Field(default_factory=dict)
    epochs: Positive = 100
    steps: Positive = 400
    batch_size: Positive = 256
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    optimiser: Literal["adam", "adamw"] = "adamw"
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 200
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    components_from: Annotated[int, Field(ge=2)] = 4096
    validation: Positive = 4096
    emulator: str = "packaged"
    emulator_digest: str = ""
    start: str | None = None

    @model_validator(mode="after")
    def _enough(self) -> PosteriorTrainConfig:
        least = 2 * self.network.components
        if self.components_from < least:
            raise ValueError(f"components_from must be at least {least}, twice network.components")
        return self


class EmulatorConfig(Recipe):
    """Settings of `maury emulator fit`; the learning rate is the peak of a one-cycle schedule.

    Attributes:
        libraries: library files or glob patterns.
        components: number of principal components in the basis.
        metric_resolution: R of the instrument whose transfer function weights frequencies in basis and loss.
        members: number of networks in the ensemble.
        width: units of each hidden layer.
        depth: number of hidden layers.
        loss_floor: rms flux error below which a star hardly contributes to the gradient.
        validation_fraction: fraction of stars for validation and the error map.
        test_fraction: fraction of stars not used in the fit at all.
        training_limit: largest number of training stars (to measure how the error falls with library size).
        checkpoint_every: epochs between checkpoints.
        start: emulator whose weights initialise the networks, "packaged" or a file with the same labels, wavelengths
            and network sizes; for a library of better physics that is still small. None for random weights.
        ranges: range of the emulator by label; by default those that `maury.training.emulator_range.find_domain` finds.
    """

    libraries: list[str] = Field(default_factory=list)
    components: int = Field(320, ge=1, le=2000)
    metric_resolution: float = Field(100_000.0, ge=5_000, le=115_000)
    members: int = Field(4, ge=1, le=32)
    width: int = Field(300, ge=8, le=4096)
    depth: int = Field(4, ge=1, le=16)
    epochs: Positive = 800
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    loss_floor: float = Field(1e-3, ge=0)
    validation_fraction: float = Field(0.08, gt=0, lt=0.5)
    test_fraction: float = Field(0.10, gt=0, lt=0.5)
    training_limit: int | None = Field(None, ge=2)
    checkpoint_every: int = Field(10, ge=1)
    start: str | None = None
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)


AnyTrainConfig = TrainConfig | PosteriorTrainConfig


def preset_names() -> list[str]:
    """Names of the network presets that ship with maury, with or without trained weights."""
    return sorted(path.stem for path in (PRESETS / "networks").glob("*.toml"))


def read_preset(name: str) -> AnyTrainConfig:
    """Settings of a preset: the network and how it is trained.

    Raises:
        ConfigError: no preset of that name.
    """
    if name not in preset_names():
        raise ConfigError(f"preset {name!r} is unknown; allowed: {', '.join(preset_names())}")
    return load_training(PRESETS / "networks" / f"{name}.toml")


def load_training(path: str | os.PathLike[str]) -> AnyTrainConfig:
    """Read settings of a training from TOML, for either kind of network.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or not allowed.
    """
    values = read_toml(path)
    if "kind" in values:
        return make_config(values, PosteriorTrainConfig, str(path))
    return make_config(values, TrainConfig, str(path))
