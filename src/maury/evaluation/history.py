"""The log of a training run: losses per step and per epoch."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError

COLUMNS = ("epoch", "step", "train_loss", "train_mae", "val_loss", "val_mae")


def read_history(path: str | os.PathLike[str]) -> dict[str, NDArray[np.float64]]:
    """Read a run's metrics.csv: one line per logged step and one per validation, cells that do not apply left blank.

    A run that was resumed may hold a step twice; the later line counts.

    Returns:
        ``epoch`` (epochs finished, from 1), ``train_loss``, ``train_mae`` (means over the logged steps of the epoch),
        ``val_loss``, ``val_mae`` per epoch, NaN where nothing was logged; ``step_epoch`` (in epochs), ``step_loss``,
        ``step_mae`` per logged step.

    Raises:
        FormatError: no such file, a missing column, no rows, or a cell that is not a number.
    """
    path = Path(path)
    table = _read(path)
    epoch, step = table[:, 0], table[:, 1]
    trained, validated = np.isfinite(table[:, 2]), np.isfinite(table[:, 4])
    epochs = np.unique(epoch[trained | validated])
    history = {"epoch": epochs + 1}
    for column, name in enumerate(COLUMNS[2:], start=2):
        seen = np.isfinite(table[:, column])
        means = [table[seen & (epoch == e), column] for e in epochs]
        history[name] = np.array([part.mean() if part.size else np.nan for part in means])
    per_epoch = float(np.median((step[validated] + 1) / (epoch[validated] + 1))) if validated.any() else 0.0
    history["step_epoch"] = (step[trained] + 1) / per_epoch if per_epoch else np.empty(0)
    for name, column in (("step_loss", 2), ("step_mae", 3)):
        history[name] = table[trained, column] if per_epoch else np.empty(0)
    return history


def _read(path: Path) -> NDArray[np.float64]:
    """Rows (n, 6) in the order of `COLUMNS`, blanks as NaN, without repeated steps."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "none"
                raise FormatError(f"{path}: missing column {', '.join(missing)}; found: {found}")
            rows = {}
            for number, row in enumerate(reader, start=2):
                values = [_number(path, number, name, row[name]) for name in COLUMNS]
                rows[values[0], values[1], np.isfinite(values[4])] = values
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path}: not a readable CSV table ({error})") from error
    if not rows:
        raise FormatError(f"{path}: no rows: nothing was logged")
    return np.array(list(rows.values()))


def _number(path: Path, line: int, name: str, cell: str | None) -> float:
    try:
        return float(cell) if cell else float("nan")
    except ValueError as error:
        raise FormatError(f"{path}: line {line}: column {name}: {cell!r} is not a number") from error
