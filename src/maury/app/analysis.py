"""From an uploaded file and the settings of the page to what the page shows."""

from __future__ import annotations

import re
import shlex
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.app.worker import read_bounded
from maury.errors import MauryError
from maury.inference import DEFAULT_MODEL, FLAGS, Result, model_flux, predict
from maury.labels import LABELS
from maury.preparation import FLAGS as PREPARATION_FLAGS
from maury.readers import WINDOW_AA
from maury.readers.summary import summarise

_ONE = threading.Lock()
"""Stars are worked on one after the other: each uses all cores, and limits of threads are those of the process."""

SEED = 1
"""Of the samples: the same file with the same settings gives the same numbers."""


@dataclass(frozen=True)
class Settings:
    """What the page lets one choose for all files.

    Attributes:
        resolution: R = lambda / FWHM, where the file does not tell it.
        velocity_kms: radial velocity in the file's wavelengths, when known.
        wavelength_file: safe name and bytes of a file with wavelengths, for files that hold none.
        sigma_file: the same with noise.
    """

    resolution: float | None = None
    velocity_kms: float | None = None
    wavelength_file: tuple[str, bytes] | None = field(default=None, repr=False)
    sigma_file: tuple[str, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: its safe name.
        summary: what the reader found, as `maury inspect` shows it; None when it could not be read.
        result: labels, posterior, flags; None after an error.
        model: the emulator's flux for the result on the network's pixels; None where there is none.
        error: why there is no result.
    """

    name: str
    summary: dict[str, Any] | None = None
    result: Result | None = None
    model: NDArray[np.float64] | None = field(default=None, repr=False)
    error: str | None = None


def analyse(name: str, content: bytes, settings: Settings) -> Outcome:
    """Read, prepare and predict; whatever goes wrong is told in the outcome.

    Args:
        name: a safe file name.
        content: the file.
        settings: of the page.
    """
    files = {"wavelength_file": settings.wavelength_file, "sigma_file": settings.sigma_file}
    beside = {key: file for key, file in files.items() if file is not None}
    try:
        hints = {"resolution": settings.resolution, "window_aa": None}
        observation = read_bounded(content, name, hints, beside)
    except MauryError as error:
        return Outcome(name, error=_without_options(str(error)))
    summary = summarise(observation, WINDOW_AA)
    try:
        with _ONE:
            result = predict(observation, velocity_kms=settings.velocity_kms, seed=SEED)
            model = model_flux(result)
    except MauryError as error:
        return Outcome(name, summary, error=_without_options(str(error)))
    return Outcome(name, summary, result, model)


def _without_options(text: str) -> str:
    """An error's words, which on the command line name options, for a page that has fields."""
    return text.replace("with --resolution", "in the field on the left")


def warm() -> None:
    """Load emulator and network and take one star through them, so that the first file does not have to wait."""
    from maury.doctor import simulated_star

    with _ONE:
        model_flux(predict(simulated_star()))


def command(name: str, settings: Settings) -> str:
    """The command line that gives the same numbers as the page.

    Args:
        name: safe name of the file.
        settings: of the page.
    """
    words = ["maury", "predict", name, "--model", DEFAULT_MODEL, "--seed", str(SEED)]
    for option, value in (("--resolution", settings.resolution), ("--velocity", settings.velocity_kms)):
        words += [] if value is None else [option, f"{value:g}"]
    for option, file in (("--wavelength-file", settings.wavelength_file), ("--sigma-file", settings.sigma_file)):
        words += [] if file is None else [option, file[0]]
    return shlex.join(words)


def in_words(flag: str) -> str:
    """What a flag means."""
    for name, text in {**PREPARATION_FLAGS, **FLAGS}.items():
        pattern = re.escape(name).replace("<label>", r"(?P<label>\w+)")
        if (found := re.fullmatch(pattern, flag)) is not None:
            label = found.groupdict().get("label")
            return text if label is None else f"{LABELS[label].description}: {text}"
    if flag.startswith("outside_"):
        return f"{LABELS[flag.removeprefix('outside_')].description}: outside the range that the network was made for"
    return flag.replace("_", " ")
