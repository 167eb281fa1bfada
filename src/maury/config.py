"""Base class of all settings (each stage defines its own), reading and writing them as TOML, and presets."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maury.errors import ConfigError
from maury.files import write_text

PRESETS = Path(__file__).parent / "presets"
"""Folder of the settings that ship with maury."""


_RENAMED = {"zeta": "vmac", "zeta_kms": "vmac_kms", "trunk": "embedding", "observations": "simulation"}
"""Old names, in files of earlier versions (settings, headers and tensors of models), and the current ones."""


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are checked, nothing changes after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Positive = Annotated[int, Field(gt=0)]


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


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Values of a TOML file, unchecked.

    Raises:
        ConfigError: the file is missing or is not TOML.
    """
    try:
        return dict(with_new_names(tomllib.loads(Path(path).read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def with_new_names(value: Any) -> Any:
    """Replace old names (`_RENAMED`) by current ones in the plain values of a file, in keys and in values."""
    if isinstance(value, dict):
        return {_RENAMED.get(key, key): with_new_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_new_names(item) for item in value]
    return _RENAMED.get(value, value) if isinstance(value, str) else value


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
    write_text(path, to_toml(config.model_dump(mode="json")))


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
