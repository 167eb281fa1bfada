"""Analyse an uploaded file with the settings of the page."""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maury.app.worker import make_ready, read_bounded
from maury.errors import DomainError, MauryError, in_one_line
from maury.inference import DEFAULT_MODEL, Exposure, Result, model_flux, predict
from maury.inference.exposures import common_flags
from maury.likelihood import parse_prior
from maury.preparation import parse_range
from maury.readers import WINDOW_AA, ReadOptions
from maury.readers.summary import summarise
from maury.spectra import Observation

_ONE = threading.Lock()
"""Lock: stars are analysed one at a time, as each uses all cores and thread limits hold for the whole process."""

SEED = 1
"""Of the samples: the same file with the same settings gives the same numbers."""


@dataclass(frozen=True)
class Settings:
    """Settings of the page, for all files.

    Attributes:
        resolution: nominal R = lambda / FWHM; None for that of the file.
        auto: estimate R from the width of the lines, assuming slow rotation.
        velocity_kms: radial velocity in the file's wavelengths; None to measure it.
        labels: the set of labels to show (`maury.inference.LABELS_OF`).
        priors: priors on labels in the form "logg=4.29+-0.03".
        reading: further attributes of `maury.readers.ReadOptions` and their values.
        velocity_range_kms: where the velocity is searched; None for -500 to 500 km/s.
        masks: wavelengths to ignore, Å in air at rest, in the form "5183-5184.2".
        wavelength_file: safe name and bytes of a file with wavelengths, for files that hold none.
        sigma_file: the same with noise.
        parallax: Gaia's parallax and its error, mas.
        gmag: Gaia's G, mag.
        ebv: reddening E(B-V) and its error, mag.
        components: 2 also fits two stars; None: only where the lines of a second star are found.
    """

    resolution: float | None = None
    auto: bool = False
    velocity_kms: float | None = None
    labels: str = "default"
    priors: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    reading: tuple[tuple[str, Any], ...] = ()
    velocity_range_kms: tuple[float, float] | None = None
    wavelength_file: tuple[str, bytes] | None = field(default=None, repr=False)
    sigma_file: tuple[str, bytes] | None = field(default=None, repr=False)
    parallax: tuple[float, float] | None = None
    gmag: float | None = None
    ebv: tuple[float, float] = (0.0, 0.0)
    components: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file, or of several that are exposures of one star.

    Attributes:
        name: its safe name; of exposures that of the first, and their number.
        summary: what the reader found, as `maury inspect` shows it; None when it could not be read, and of exposures.
        result: labels, posterior, flags; None after an error.
        model: flux of the fit on the network's pixels; None where there is none.
        error: why there is no result.
    """

    name: str
    summary: dict[str, Any] | None = None
    result: Result | None = None
    model: NDArray[np.float64] | None = field(default=None, repr=False)
    error: str | None = None


Files = Sequence[tuple[str, bytes]]
"""Safe names and bytes of files."""

Store = dict[Any, Observation]
"""Observations read before, by name, digest and settings of the reader."""


def analyse(name: str, content: bytes, settings: Settings, read: Store | None = None) -> Outcome:
    """Read, prepare and predict; an error is part of the outcome.

    Args:
        name: a safe file name.
        content: the file.
        settings: of the page.
        read: observations read before; new ones are added.
    """
    try:
        observation = _read(name, content, settings, {} if read is None else read)
        summary = summarise(observation, WINDOW_AA)
    except Exception as error:  # one file must not end the page
        return Outcome(name, error=worded(error, name))
    return _predicted(name, observation, settings, summary)


def analyse_together(files: Files, settings: Settings, read: Store | None = None) -> Outcome:
    """Fit files as exposures of one star; one that cannot be read is left out by name (`Result.exposures`).

    Args:
        files: names and contents.
        settings: of the page.
        read: observations read before; new ones are added.
    """
    read = {} if read is None else read
    name = f"{files[0][0]} (+{len(files) - 1})"
    found, failed, contents = [], [], set[bytes]()
    for file, content in files:
        try:
            if content in contents:
                raise DomainError(f"{file}: the same content as another exposure")
            contents.add(content)
            found.append(_read(file, content, settings, read))
        except Exception as error:  # one file must not end the page
            failed.append(Exposure(file, "failed", worded(error, file)))
    if not found:
        return Outcome(name, error=failed[0].error)
    outcome = _predicted(name, found, settings)
    if outcome.result is None or not failed:
        return outcome
    flags = dict.fromkeys((*outcome.result.flags, *common_flags(failed)))
    exposures = (*outcome.result.exposures, *failed)
    return replace(outcome, result=replace(outcome.result, exposures=exposures, flags=tuple(flags)))


def _read(name: str, content: bytes, settings: Settings, read: Store) -> Observation:
    """The observation in a file, read once per session."""
    resolution = None if settings.auto else settings.resolution
    beside = (settings.wavelength_file, settings.sigma_file)
    key = (name, (hashlib.sha256(content).hexdigest(),), resolution, settings.reading, *beside)
    if key not in read:
        ReadOptions(**dict(settings.reading))  # names the field; the process that reads returns text alone
        files = {"wavelength_file": settings.wavelength_file, "sigma_file": settings.sigma_file}
        others = {key: file for key, file in files.items() if file is not None}
        read[key] = read_bounded(content, name, {"resolution": resolution, **dict(settings.reading)}, others)
    return read[key]


def _predicted(
    name: str, star: Observation | list[Observation], settings: Settings, summary: dict[str, Any] | None = None
) -> Outcome:
    """The outcome of one spectrum, or of exposures of one star."""
    try:
        priors = [parse_prior(text) for text in settings.priors]
        mask = [parse_range(text) for text in settings.masks]
        with _ONE:
            result = predict(
                star, DEFAULT_MODEL, resolution="auto" if settings.auto else None,
                velocity_kms=settings.velocity_kms, velocity_range_kms=settings.velocity_range_kms, mask=mask,
                labels=settings.labels, priors=priors, seed=SEED,
                parallax=settings.parallax, gmag=settings.gmag, ebv=settings.ebv,
                components=settings.components,
            )  # fmt: skip
            model = model_flux(result)
    except Exception as error:  # one file must not end the page
        return Outcome(name, summary, error=worded(error, name))
    return Outcome(name, summary, result, model)


_FIELDS = {
    "resolution": "Resolution",
    "velocity_kms": "Radial velocity",
    "velocity_range_kms": "Velocities to search",
    "medium": "Medium",
    "wavelength_unit": "Unit of the wavelengths",
    "extension": "Extension",
    "row": "Row",
    "fibre": "Fibre",
    "order": "Order",
    "ignore_sigma": "Ignore the noise",
    "mask": "Masked wavelengths",
    "priors": "Priors",
    "parallax": "Parallax (mas)",
    "gmag": "G (mag)",
    "ebv": "E(B-V) (mag)",
    "components": "Fit two stars",
    "wavelength_file": "Wavelengths",
    "sigma_file": "Noise",
}
"""Titles of the page's fields, by the parameter that they set."""


def worded(error: Exception, name: str) -> str:
    """Text of an error, with the name of the page's field that sets the parameter in question."""
    text = in_one_line(error, name)
    field_ = _FIELDS.get(error.parameter or "") if isinstance(error, MauryError) else None
    return text if field_ is None else f"{text} (field {field_} on the left)"


def warm() -> None:
    """Load readers, emulator and network and predict one star, so that the first file does not have to wait."""
    from maury.doctor import simulated_star

    make_ready()
    with _ONE:
        model_flux(predict(simulated_star(), DEFAULT_MODEL))


def written(value: tuple[float, float]) -> str:
    """A value and its error as the command line takes them."""
    return f"{value[0]:.10g}+-{value[1]:.10g}"


def command(names: Sequence[str], settings: Settings) -> str:
    """The command line that gives the same numbers as the page.

    Args:
        names: safe name of the file; of several, which are exposures of one star.
        settings: of the page.
    """
    together = ["--together"] if len(names) > 1 else []
    words = ["maury", "predict", *names, *together, "--model", DEFAULT_MODEL, "--seed", str(SEED)]
    resolution = "auto" if settings.auto else None if settings.resolution is None else f"{settings.resolution:.10g}"
    velocity = None if settings.velocity_kms is None else f"{settings.velocity_kms:.10g}"
    labels = None if settings.labels == "default" else settings.labels
    for option, value in (("--resolution", resolution), ("--velocity", velocity), ("--labels", labels)):
        words += [] if value is None else [option, value]
    if settings.velocity_range_kms is not None:
        words += ["--velocity-range", *(f"{end:.10g}" for end in settings.velocity_range_kms)]
    for parameter, value in settings.reading:
        option = "--" + parameter.replace("_", "-")
        words += [option] if value is True else [option, str(value)]
    for text in settings.priors:
        words += ["--prior", text]
    for text in settings.masks:
        words += ["--mask", text]
    if settings.parallax is not None:
        words += ["--parallax", written(settings.parallax)]
    words += [] if settings.gmag is None else ["--gmag", f"{settings.gmag:.10g}"]
    words += [] if settings.ebv == (0.0, 0.0) else ["--ebv", written(settings.ebv)]
    words += [] if settings.components is None else ["--components", str(settings.components)]
    for option, file in (("--wavelength-file", settings.wavelength_file), ("--sigma-file", settings.sigma_file)):
        words += [] if file is None else [option, file[0]]
    return shlex.join(words)
