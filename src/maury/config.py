"""Settings: one validated class per stage, read from TOML and written as TOML beside every output."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from maury.errors import ConfigError
from maury.files import atomic_path
from maury.labels import FOUNDING, LABELS

PRESETS = Path(__file__).parent / "presets"
"""Folder of the settings that ship with maury."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are checked, nothing changes after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Positive = Annotated[int, Field(gt=0)]


def known_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels to predict, if they are distinct and known.

    Raises:
        ValueError: they are not; pydantic names the setting.
    """
    unknown = [name for name in labels if name not in LABELS]
    if unknown or len(set(labels)) < len(labels):
        raise ValueError(f"must be distinct names among {', '.join(LABELS)}")
    return labels


class NetworkConfig(Settings):
    """The founding convolutional network (after StarNet, Fabbro et al. 2018).

    Attributes:
        pixels: pixels of the input spectrum.
        labels: labels to predict, in the order of the outputs.
        filters: filters of the two convolutions.
        kernel: width of both convolutions in pixels.
        pool: pixels that the max-pooling joins.
        dense: units of the two hidden dense layers.
    """

    pixels: Positive = 7447
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = FOUNDING
    filters: tuple[Positive, Positive] = (4, 16)
    kernel: Positive = 32
    pool: Positive = 4
    dense: tuple[Positive, Positive] = (256, 128)

    _known = field_validator("labels")(known_labels)


class TrainConfig(Settings):
    """How a network is trained; the defaults are the founding recipe.

    Attributes:
        preset: name of the preset it started from.
        network: the network.
        split: which of the grid's splits says what is held out for validation.
        epochs: most epochs to train; early stopping usually ends the run before.
        patience: epochs without a lower validation loss after which training stops.
        batch_size: spectra per step, on each device.
        learning_rate: of the optimiser.
        optimiser: Adam, or AdamW with ``weight_decay``.
        weight_decay: of AdamW.
        schedule: a constant learning rate, or one that falls along a half cosine to 0 at the end of the run, given by
            ``epochs`` or ``max_time``, whichever comes first.
        warmup: steps over which the learning rate rises from 0.
        noise: standard deviation, in units of the continuum, of white noise added to the spectra of each step.
        precision: float32, or bfloat16 products with float32 weights.
        accelerator: where to train.
        devices: number of devices; more than one trains with distributed data parallel.
        seed: of the first weights, of the order of the spectra and of the noise.
        max_time: minutes of training after which the run stops, None for no limit.
        grid: file of the grid.
        grid_digest: its SHA-256, which maury fills in.
    """

    preset: str = "starnet-spc"
    network: NetworkConfig = NetworkConfig()
    split: Literal["random", "block"] = "random"
    epochs: Positive = 60
    patience: Positive = 5
    batch_size: Positive = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.0007
    optimiser: Literal["adam", "adamw"] = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: Annotated[int, Field(ge=0)] = 0
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Positive = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    max_time: Annotated[float, Field(gt=0)] | None = None
    grid: str = ""
    grid_digest: str = ""


class PosteriorConfig(Settings):
    """The default network: spectrum, noise, mask and resolution -> posterior of the labels.

    Attributes:
        pixels: pixels of the input spectrum.
        labels: labels of the posterior, in the order of its columns.
        embedding: what makes features of a spectrum.
        components: rows of the linear projection, started from principal components.
        width: features, and units of each hidden layer.
        depth: residual blocks.
        bins: parts of the window for which mean noise and share of good pixels are told to the embedding.
        context: numbers that tell the flow of the spectrum.
        transforms: spline transformations of the flow.
        knots: bins of each spline.
        hidden: units of the hidden layers that give the splines.
    """

    pixels: Annotated[int, Field(ge=16)] = 8650
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = (*FOUNDING, "vmic", "alpha")
    embedding: Literal["residual", "convolution", "attention"] = "residual"
    components: Positive = 256
    width: Positive = 512
    depth: Positive = 4
    bins: Positive = 32
    context: Positive = 64
    transforms: Positive = 4
    knots: Annotated[int, Field(ge=2)] = 8
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 64)

    _known = field_validator("labels")(known_labels)


class PosteriorTrainConfig(Settings):
    """How the default network is trained, on observations simulated as it goes.

    Attributes:
        kind: "posterior", which tells these settings from those of a network trained on a grid.
        preset: name of the preset it started from.
        network: the network.
        observations: settings of the simulation (`maury.simulation`) that differ from its defaults.
        epochs: epochs to train.
        steps: steps in an epoch, each with new spectra; after each epoch the network is validated and saved.
        batch_size: spectra per step, on each device.
        learning_rate: of AdamW after the first `warmup` steps; from there it falls along a half cosine to 0 at the end
            of the run, given by ``epochs`` or ``max_time``, whichever comes first.
        warmup: steps over which the learning rate rises from 0.
        weight_decay: of AdamW.
        components_from: simulated spectra of which the principal components are taken.
        validation: spectra of the held-out simulated set that chooses the weights.
        precision: float32, or bfloat16 products with float32 weights; the flow is in float32.
        accelerator: where to train.
        devices: number of devices; more than one trains with distributed data parallel.
        seed: of the first weights and of the simulated spectra.
        max_time: minutes of training after which the run stops, None for no limit.
        emulator: "packaged" or the file of an emulator.
        emulator_digest: its SHA-256, which maury fills in.
        start: a trained network of the same settings (a packaged one's name, a run's folder, a file) to go on from, or
            None to start from principal components.
    """

    kind: Literal["posterior"] = "posterior"
    preset: str = "default"
    network: PosteriorConfig = PosteriorConfig()
    observations: dict[str, Any] = {}
    epochs: Positive = 100
    steps: Positive = 400
    batch_size: Positive = 256
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    warmup: Annotated[int, Field(ge=0)] = 200
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    components_from: Annotated[int, Field(ge=2)] = 4096
    validation: Positive = 4096
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Positive = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    max_time: Annotated[float, Field(gt=0)] | None = None
    emulator: str = "packaged"
    emulator_digest: str = ""
    start: str | None = None

    @model_validator(mode="after")
    def _enough(self) -> PosteriorTrainConfig:
        least = 2 * self.network.components
        if self.components_from < least:
            raise ValueError(f"components_from must be at least {least}, twice network.components")
        return self


class EmulatorConfig(Settings):
    """Settings of `maury emulator fit`.

    Attributes:
        libraries: library files or glob patterns.
        components: principal components of the basis.
        metric_resolution: R of the instrument whose passband weights frequencies in basis and loss.
        members: networks in the ensemble.
        width: units of each hidden layer.
        depth: hidden layers.
        epochs: passes over the training stars.
        batch_size: stars in a step, for each member.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        loss_floor: rms flux error below which a star no longer counts.
        validation_fraction: of stars, for the error map.
        test_fraction: of stars, never touched.
        training_limit: use at most so many training stars (for the curve of error against library size).
        checkpoint_every: epochs between checkpoints.
        accelerator: where to train.
        seed: of weights and shuffles.
        start: emulator from which the networks start instead of from random weights: "packaged" or a file, of the same
            labels, wavelengths and network sizes. For a library of better physics that is still small.
        ranges: for a label, the range to promise; without it as `maury.training.domain.find_domain` says.
    """

    libraries: list[str] = []
    components: int = Field(320, ge=1, le=2000)
    metric_resolution: float = Field(100_000.0, ge=5_000, le=115_000)
    members: int = Field(4, ge=1, le=32)
    width: int = Field(300, ge=8, le=4096)
    depth: int = Field(4, ge=1, le=16)
    epochs: int = Field(800, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-2, gt=0, le=1)
    weight_decay: float = Field(1e-2, ge=0)
    loss_floor: float = Field(1e-3, ge=0)
    validation_fraction: float = Field(0.08, gt=0, lt=0.5)
    test_fraction: float = Field(0.10, gt=0, lt=0.5)
    training_limit: int | None = Field(None, ge=2)
    checkpoint_every: int = Field(10, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    seed: int = 1
    start: str | None = None
    ranges: dict[str, tuple[float, float]] = {}


Config = TypeVar("Config", bound=Settings)


def load_config(path: str | os.PathLike[str], cls: type[Config]) -> Config:
    """Read settings from a TOML file.

    Raises:
        ConfigError: the file is missing or is not TOML, or a setting is unknown or out of range; the message names
            the file, the setting, its value and what is allowed.
    """
    return make_config(read_toml(path), cls, str(path))


def preset_path(kind: str, name: str) -> Path:
    """File of the preset ``name`` of a kind: networks, studies or synthesis.

    Raises:
        ConfigError: there is none of this name; the message lists those there are.
    """
    path = PRESETS / kind / f"{name}.toml"
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in (PRESETS / kind).glob("*.toml")))
        raise ConfigError(f"no preset {name!r} for {kind}; there are {have}")
    return path


def load_training(path: str | os.PathLike[str]) -> TrainConfig | PosteriorTrainConfig:
    """Read settings of a training, of whichever kind of network the file says.

    Raises:
        ConfigError: as `load_config`.
    """
    values = read_toml(path)
    if "kind" in values:
        return make_config(values, PosteriorTrainConfig, str(path))
    return make_config(values, TrainConfig, str(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Values of a TOML file, unchecked.

    Raises:
        ConfigError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def make_config(values: Mapping[str, Any], cls: type[Config], where: str) -> Config:
    """Check plain values and make settings of them.

    Args:
        values: settings by name; tables are mappings.
        cls: class of the settings.
        where: what to call the origin in errors (a file's name, "options").

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{where}: unknown setting {key}; allowed: {', '.join(_keys(cls))}") from error
        if first["type"] == "missing":
            raise ConfigError(f"{where}: setting {key} is missing") from error
        raise ConfigError(f"{where}: {key} = {first['input']!r}: {first['msg']}") from error


def _keys(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """All settings of a class; those of a table with the table's name before a dot."""
    keys: list[str] = []
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += _keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def save_config(path: str | os.PathLike[str], config: Settings) -> None:
    """Write settings as TOML that `load_config` reads back.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(to_toml(config.model_dump(mode="json")), encoding="utf-8")


def to_toml(values: Mapping[str, Any], table: str = "") -> str:
    """Plain values as TOML text; settings that are None are left out, mappings become tables."""
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, Mapping)}
    lines = [f"{key} = {_toml_value(value)}\n" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"\n[{table}{key}]\n{to_toml(value, f'{table}{key}.')}")
    return "".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
