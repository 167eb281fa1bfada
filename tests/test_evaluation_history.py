"""The log of a run: means per epoch, steps in epochs, resumed runs, broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maury.errors import FormatError
from maury.evaluation.history import read_history

HEADER = "epoch,step,train_loss,train_mae,val_loss,val_mae\n"
LINES = (
    "0,0,0.8,0.6,,\n"
    "0,1,0.4,0.5,,\n"
    "0,1,,,0.5,0.4\n"
    "1,2,0.2,0.3,,\n"
    "1,3,0.1,0.2,,\n"
    "1,3,,,0.3,0.2\n"
)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + LINES)
    return path


def test_epochs_and_steps(log: Path) -> None:
    history = read_history(log)
    expected = {
        "epoch": [1, 2],
        "train_loss": [0.6, 0.15],
        "train_mae": [0.55, 0.25],
        "val_loss": [0.5, 0.3],
        "val_mae": [0.4, 0.2],
        "step_epoch": [0.5, 1, 1.5, 2],
        "step_loss": [0.8, 0.4, 0.2, 0.1],
        "step_mae": [0.6, 0.5, 0.3, 0.2],
    }
    assert history.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, err_msg=name)


def test_a_step_made_again_after_a_resume_counts_once_and_last(log: Path) -> None:
    log.write_text(HEADER + LINES.replace("1,3,,,0.3,0.2\n", "1,2,0.25,0.35,,\n1,3,0.05,0.1,,\n1,3,,,0.35,0.25\n"))
    history = read_history(log)
    np.testing.assert_allclose(history["step_loss"], [0.8, 0.4, 0.25, 0.05])
    np.testing.assert_allclose(history["train_loss"], [0.6, 0.15])
    np.testing.assert_allclose(history["val_loss"], [0.5, 0.35])


def test_an_epoch_without_validation_is_nan(log: Path) -> None:
    log.write_text(HEADER + LINES + "2,4,0.05,0.1,,\n")
    history = read_history(log)
    np.testing.assert_array_equal(history["epoch"], [1, 2, 3])
    np.testing.assert_allclose(history["val_loss"], [0.5, 0.3, np.nan])


def test_other_columns_and_their_order_do_not_matter(log: Path) -> None:
    before = read_history(log)
    log.write_text("lr,val_mae,val_loss,train_mae,train_loss,step,epoch\n" + "".join(
        ",".join(["0.1", *reversed(line.split(","))]) + "\n" for line in LINES.splitlines()
    ))  # fmt: skip
    for name, values in read_history(log).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "epoch,step,train_loss\n0,0,1\n",
            "missing column train_mae, val_loss, val_mae; found: epoch, step, train_loss",
        ),
        (HEADER, "no rows"),
        ("", "missing column"),
        (HEADER + "0,0,high,0.6,,\n", "line 2: column train_loss: 'high' is not a number"),
    ],
)
def test_broken_logs(log: Path, text: str, message: str) -> None:
    log.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_history(log)


def test_missing_and_binary_logs(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_history(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FormatError, match="not a readable CSV"):
        read_history(tmp_path / "metrics.csv")
