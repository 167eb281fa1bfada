"""Models on disk: one safetensors file with a header that gives kind, labels and settings; no pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from maury.config import with_new_names
from maury.errors import FormatError, OutputError, SchemaError
from maury.files import atomic_path

SCHEMA = 1
"""Version of the layout of headers. A file of another version is refused, not guessed at."""

MODELS = Path(__file__).parent / "models"
"""Folder of the trained models that ship with maury."""

_KEY = "maury"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of a model and its header.

    Attributes:
        kind: "emulator", "network" or "physics-errors".
        tensors: named tensors.
        header: labels, domain, settings, hashes of the training data, figures reached; plain JSON values.
    """

    kind: str
    tensors: dict[str, torch.Tensor]
    header: dict[str, Any] = field(default_factory=dict)


def save(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any]
) -> None:
    """Write a model through a temporary name.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps({**header, "schema": SCHEMA, "kind": kind}, sort_keys=True, allow_nan=False)
    arrays = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        mode = (
            temporary.stat().st_mode
        )  # permissions by the umask: safetensors writes a file that only its owner can read
        try:
            save_file(arrays, temporary, {_KEY: text})
        except SafetensorError as error:
            raise OutputError(f"{path}: cannot be written: {error}") from error
        temporary.chmod(mode)


def read_header(path: str | os.PathLike[str], kind: str | None = None) -> dict[str, Any]:
    """Read and check the header alone.

    Raises:
        FormatError: no such file, or not a safetensors file, or not one of maury's.
        SchemaError: written with another schema, or another kind than ``kind``.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a readable safetensors file ({error})") from error
    if _KEY not in metadata:
        raise FormatError(f"{path}: a safetensors file, but not one of maury's (no '{_KEY}' header)")
    try:
        header = json.loads(metadata[_KEY])
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise FormatError(f"{path}: its header is not a JSON object but {type(header).__name__}")
    if header.get("schema") != SCHEMA:
        raise SchemaError(
            f"{path}: checkpoint schema {header.get('schema')!r}; this version of maury reads schema {SCHEMA}"
        )
    if kind is not None and header.get("kind") != kind:
        raise SchemaError(f"{path}: holds a {header.get('kind')!r}, not a {kind!r}")
    return dict(with_new_names(header))


def load(path: str | os.PathLike[str], kind: str) -> Checkpoint:
    """Read a model of a given kind onto the CPU.

    Raises:
        FormatError: not a readable file of maury's.
        SchemaError: another schema or kind.
    """
    header = read_header(path, kind)
    with safe_open(path, framework="pt") as file:
        tensors = {_tensor_name(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return Checkpoint(kind, tensors, header)


def _tensor_name(name: str) -> str:
    first, dot, rest = name.partition(".")
    return with_new_names(first) + dot + rest
