"""Lightning as maury uses it: checkpoints that survive a kill, and no advertisements on the screen."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from maury.files import atomic_path


class AtomicCheckpoints(TorchCheckpointIO):
    """Write checkpoints through a temporary name, so that a kill leaves the previous one whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Save as `TorchCheckpointIO` does, then rename."""
        with atomic_path(path) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on hardware, loaders and deprecations of its own while a block runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
