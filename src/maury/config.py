"""Settings: one validated class per stage, read from TOML and saved inside every output."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maury.errors import ConfigError

Accelerator = Literal["auto", "cpu", "gpu"]
Settings = TypeVar("Settings", bound="StageConfig")


class StageConfig(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EmulatorConfig(StageConfig):
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
    accelerator: Accelerator = "auto"
    seed: int = 1


def load_config(path: str | os.PathLike[str], settings: type[Settings]) -> Settings:
    """Read and validate a TOML file.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value that is not allowed; names file and key.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, settings)}") from error


def explain(error: ValidationError, settings: type[StageConfig]) -> str:
    """One line for a validation error: each key, what is wrong, what was given."""
    parts = []
    for item in error.errors():
        key = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key}; allowed: {', '.join(settings.model_fields)}")
        else:
            parts.append(f"{key}: {item['msg'].lower()}, got {item['input']!r}")
    return "; ".join(parts)
