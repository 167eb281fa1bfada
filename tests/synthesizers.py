"""Stand-ins for PySME that fail in every way; worker processes import them from here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from maury.errors import FormatError


class Slope:
    """Spectra that are known functions of the labels; some labels bring disaster."""

    def __init__(self, wavelength: np.ndarray, marks: str | None = None) -> None:
        self.wavelength, self.marks = wavelength, marks

    def __call__(self, atmosphere: object, labels: np.ndarray) -> np.ndarray:
        teff = round(float(labels[0]))
        time.sleep(float(os.environ.get("SLOW", 0)))
        if self.marks:
            with open(Path(self.marks) / f"{teff}", "a") as file:
                file.write("x")
        if teff == 5001:
            os.kill(os.getpid(), signal.SIGSEGV)
        if teff == 5002:
            time.sleep(60)
        if teff == 5003:
            return np.full(len(self.wavelength), np.nan)
        if teff == 5004:
            raise ArithmeticError("no convergence")
        if teff == 5005 and self.marks and len((Path(self.marks) / "5005").read_text()) == 1:
            os._exit(3)
        if teff == 5006:
            os.write(1, b"this must not get between the replies")
        return 0.5 + 1e-5 * (labels[0] - 5000) * np.ones(len(self.wavelength))


def refuse(*_: object) -> None:
    """A synthesizer that cannot be made."""
    raise FormatError("no such file of departure coefficients")


def crash(*_: object) -> None:
    """A synthesizer that crashes when made."""
    os.kill(os.getpid(), signal.SIGSEGV)


def home() -> str:
    """Where a worker process lives."""
    return os.environ["HOME"]
