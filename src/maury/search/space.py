"""Settings of a study: the space of hyper-parameters, number of trials, and training time of each."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from maury.config import Positive, Settings, load_config, make_config
from maury.errors import ConfigError
from maury.training.recipes import TrainConfig, load_training, read_preset

Value = float | int | str | tuple[int, ...]


class Choice(Settings):
    """One of some values."""

    choices: Annotated[list[Value], Field(min_length=2)]

    def ends(self) -> list[Value]:
        """All of them."""
        return self.choices


class Range(Settings):
    """A number between two others; ``log`` draws its logarithm, ``integer`` whole numbers."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low:g} must be positive for log")
        return self

    def ends(self) -> list[Value]:
        """The lowest and the highest."""
        return [int(self.low), int(self.high)] if self.integer else [self.low, self.high]


def _kind(part: Any) -> str:
    """The kind of a part, so that pydantic reports mistakes in it for that kind alone."""
    return "choice" if isinstance(part, Choice) or (isinstance(part, dict) and "choices" in part) else "range"


Part = Annotated[Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")], Discriminator(_kind)]


class StudyConfig(Settings):
    """A search for hyper-parameters of a network that is trained on a grid.

    Attributes:
        name: of the study.
        base: preset or file of settings (`maury train`) whose values the space replaces; they are the first trial,
            which is trained to the end, to compare with.
        space: by setting, as in ``learning_rate`` or ``network.filters``: values or a range.
        trials: configurations to try.
        seconds: training time of each; validation is not counted.
        clock: "wall", or "cpu": processor time, fair on a machine with other work to do.
        reduction: factor r of asynchronous successive halving (ASHA; Li et al. 2020, MLSys): at each rung the best
            1 / r of the trials continue; rungs are at ``seconds`` / r^i.
        rungs: number of rungs, including the end of the training.
        training: number of spectra from the grid's training part.
        validation: number of spectra to validate with.
        seed: of the sampler and the choice of spectra.
    """

    name: str
    base: str = "starnet-spc"
    space: Annotated[dict[str, Part], Field(min_length=1)]
    trials: Positive = 40
    seconds: Annotated[float, Field(gt=0)] = 25.0
    clock: Literal["wall", "cpu"] = "wall"
    reduction: Annotated[int, Field(ge=2)] = 3
    rungs: Annotated[int, Field(ge=1, le=6)] = 3
    training: Positive = 8192
    validation: Positive = 1024
    seed: Annotated[int, Field(ge=0)] = 1


def load_study(path: str | os.PathLike[str]) -> StudyConfig:
    """Read a study's settings.

    Raises:
        ConfigError: they cannot be read, or name a setting that the network's training does not have, or a value that
            is not allowed.
    """
    config = load_config(path, StudyConfig)
    base = base_of(config)
    for name, part in config.space.items():
        for value in part.ends():
            configure(base, {name: value}, f"{path}: space")
    return config


def base_of(config: StudyConfig) -> TrainConfig:
    """Settings that the space changes.

    Raises:
        ConfigError: they cannot be read, or are not of a network that is trained on a grid.
    """
    base = load_training(config.base) if os.path.exists(config.base) else read_preset(config.base)
    if not isinstance(base, TrainConfig):
        raise ConfigError(f"base = {config.base!r}: is trained on simulated observations; a study needs a grid")
    return base


def configure(base: TrainConfig, values: dict[str, Any], where: str = "trial") -> TrainConfig:
    """Settings with some values replaced.

    Nested values have names with a dot, such as ``network.filters``.

    Raises:
        ConfigError: unknown names, or values that are not allowed.
    """
    whole = base.model_dump(mode="json")
    for name, value in values.items():
        *tables, last = name.split(".")
        place = whole
        for table in tables:
            place = place.get(table) if isinstance(place, dict) else None  # type: ignore[assignment]
        if not isinstance(place, dict):
            raise ConfigError(f"{where}: unknown setting {name}")
        place[last] = list(value) if isinstance(value, tuple) else value
    return make_config(whole, TrainConfig, where)
