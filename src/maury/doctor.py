"""Check an installation: versions, backends, weights, folders, extras, and a self-test."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import Requirement

from maury.errors import FormatError, MauryError
from maury.files import check_writable, sha256

if TYPE_CHECKING:
    from maury.spectra import Observation

Status = Literal["ok", "note", "broken"]

SUMS = "SHA256SUMS"
"""List of the packaged models' checksums, in their folder, as ``sha256sum`` writes it."""

STAR = {"teff": 5772.0, "logg": 4.44, "mh": 0.0, "vsini": 10.0}
"""Labels of the star of the self-test."""

TOLERANCE = {"teff": 200.0, "logg": 0.4, "mh": 0.2, "vsini": 4.0}
"""Largest allowed difference of the result from `STAR`: several times the scatter, well below the effect of a bug."""

_VELOCITY_KMS, _VELOCITY_TOLERANCE_KMS = 20.0, 0.5
_RESOLUTION, _SNR, _STEP_AA, _SEED = 60_000.0, 100.0, 0.02, 1
_DEVELOPER = ("dev", "docs", "test")
_LEAST_FREE_GB = 1.0


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        group: of checks, such as "weights".
        name: the package, file or folder that was checked.
        status: "ok", "note" (works, but worth knowing) or "broken".
        text: the finding, and how to mend it.
    """

    group: str
    name: str
    status: Status
    text: str

    def record(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


def examine() -> Iterator[Check]:
    """Run all checks; a failure is a broken `Check`, never an exception."""
    looks = {"versions": versions, "backends": backends, "weights": weights, "folders": folders, "extras": extras}
    for group, look in (looks | {"self-test": self_test}).items():
        yield from _guarded(group, look)


def _guarded(group: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except Exception as error:  # a broken library may raise any exception, also on import
        text = " ".join(str(error).split())[:300]
        kind = "" if isinstance(error, MauryError) else f"{type(error).__name__}: "
        yield Check(group, group, "broken", kind + text)


def versions() -> Iterator[Check]:
    """Python and every dependency against the range that maury declares."""
    metadata = importlib.metadata.metadata("maury")
    yield Check("versions", "maury", "ok", f"{metadata['Version']}, {Path(__file__).parent}")
    allowed = Requirement(f"python{metadata['Requires-Python']}").specifier
    python, inside = platform.python_version(), platform.python_version() in allowed
    text = f"{python}, {platform.system()} {platform.machine()}, {sys.executable}"
    yield Check("versions", "python", "ok" if inside else "broken", text if inside else f"{python}: needs {allowed}")
    for need in _requirements():
        if need.marker is None:
            yield _version(need)


def _requirements() -> list[Requirement]:
    return [Requirement(line) for line in importlib.metadata.requires("maury") or ()]


def _installed(need: Requirement) -> str | None:
    try:
        return importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(need: Requirement) -> Check:
    found = _installed(need)
    advice = f'pip install "{need.name}{need.specifier}"'
    if found is not None and need.specifier.contains(found, prereleases=True):
        return Check("versions", need.name, "ok", found)
    wrong = "not installed" if found is None else f"{found}: maury needs {need.specifier}"
    return Check("versions", need.name, "broken", f"{wrong}: {advice}")


def backends() -> Iterator[Check]:
    """The devices on which torch can compute."""
    import torch

    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    yield Check("backends", "cpu", "ok", f"{threads} threads of {os.cpu_count()} cores, {capability}")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Check("backends", "cuda", "ok", f"CUDA {torch.version.cuda}: {names}")
    else:
        yield Check("backends", "cuda", "note", "none: the CPU is used")
    if sys.platform == "darwin":
        there = torch.backends.mps.is_available()
        yield Check("backends", "mps", *(("ok", "present") if there else ("note", "none: the CPU is used")))


def weights(folder: Path | None = None) -> Iterator[Check]:
    """Packaged models against their checksums; a damaged or missing file is named.

    Args:
        folder: of the models and the list of checksums; by default that of the package.
    """
    from maury.checkpoints import MODELS, read_header

    folder = MODELS if folder is None else folder
    for name, expected in read_sums(folder / SUMS).items():
        path = folder / name
        if not path.is_file():
            yield Check("weights", name, "broken", f"{path}: missing; install maury again")
            continue
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        if sha256(path) == expected:
            yield Check("weights", name, "ok", f"{read_header(path)['kind']}, {size}, intact")
            continue
        try:
            read_header(path)
            reason = "its checksum differs from that of the packaged file"
        except FormatError as error:
            reason = f"truncated or damaged ({error})"
        yield Check("weights", name, "broken", f"{path}: {size}: {reason}; install maury again")


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by file name, from a list in the format of ``sha256sum``.

    Raises:
        FormatError: there is no list, or a line is not a checksum.
    """
    if not path.is_file():
        raise FormatError(f"{path}: missing; install maury again")
    sums = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        found = re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line)
        if found is None:
            raise FormatError(f"{path}: line {number} is not a checksum: {line[:80]!r}")
        sums[found[2]] = found[1]
    return sums


def folders() -> Iterator[Check]:
    """Whether the usual folders can be written, and their free space."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for name, folder, needed in (
        ("temporary files", Path(tempfile.gettempdir()), True),
        ("cache", cache, False),
        ("current folder", Path.cwd(), False),
    ):
        try:
            check_writable(folder / "maury-doctor.txt")
        except MauryError as error:
            yield Check("folders", name, "broken" if needed else "note", str(error))
            continue
        free = shutil.disk_usage(folder if folder.exists() else folder.anchor).free / 1e9
        low = free < _LEAST_FREE_GB
        text = f"{folder}, {free:.1f} GB free"
        yield Check("folders", name, "note" if low else "ok", f"{text}: little free space" if low else text)


def extras() -> Iterator[Check]:
    """Optional dependencies, and how to install missing ones."""
    names = importlib.metadata.metadata("maury").get_all("Provides-Extra") or []
    for extra in sorted(set(names) - set(_DEVELOPER)):
        needs = [n for n in _requirements() if n.marker is not None and n.marker.evaluate({"extra": extra})]
        missing = [n.name for n in needs if _version(n).status == "broken"]
        if missing:
            yield Check("extras", extra, "note", f'{", ".join(missing)} missing: pip install "maury[{extra}]"')
        else:
            yield Check("extras", extra, "ok", ", ".join(f"{n.name} {_installed(n)}" for n in needs))


def self_test() -> Iterator[Check]:
    """A star of known labels, velocity and noise from pixels to parameters."""
    from maury.inference import DEFAULT_MODEL, predict

    start = time.perf_counter()
    result = predict(simulated_star())
    seconds = time.perf_counter() - start
    found = {name: result.values[name] for name in STAR}
    done = result.preparation
    wrong = [
        f"{name} {found[name]:.6g} instead of {truth:g} within {TOLERANCE[name]:g}"
        for name, truth in STAR.items()
        if not abs(found[name] - truth) <= TOLERANCE[name]
    ]
    if done is None or not abs(done.velocity_kms - _VELOCITY_KMS) <= _VELOCITY_TOLERANCE_KMS:
        wrong.append(
            f"velocity {None if done is None else round(done.velocity_kms, 2)} instead of {_VELOCITY_KMS} km/s"
        )
    text = ", ".join(f"{name} {value:.5g} (true {STAR[name]:g})" for name, value in found.items())
    name = f"a simulated star, {DEFAULT_MODEL}"
    yield Check("self-test", name, "broken" if wrong else "ok", f"{'; '.join(wrong) or text}; {seconds:.1f} s")


def simulated_star() -> Observation:
    """The star of the self-test as a spectrograph sees it: moving, on a sloping continuum, with noise."""
    import numpy as np
    import torch

    from maury.designs import VMIC_KMS
    from maury.emulator import load_cached
    from maury.spectra import Observation, Spectrum
    from maury.wavelengths import C_KMS

    emulator = load_cached()
    low, high = emulator.window_aa
    wavelength: Any = np.arange(low, high, _STEP_AA)
    labels = [{"vmic": VMIC_KMS, **STAR}.get(name, 0.0) for name in emulator.space.names]
    sampler = emulator.sampler(wavelength / (1 + _VELOCITY_KMS / C_KMS), _RESOLUTION)
    vsini, resolution = torch.tensor([STAR["vsini"]]), torch.tensor([_RESOLUTION])
    flux = emulator.flux(torch.tensor([labels]), vsini, resolution, sampler)[0].double().numpy()
    continuum = 1000 * (1 + (wavelength - low) / (high - low))
    sigma = continuum / _SNR
    counts = continuum * flux + sigma * np.random.default_rng(_SEED).standard_normal(flux.shape)
    known = {"file": "self-test"}
    star = Spectrum(wavelength, counts, sigma=sigma, frame="barycentric", resolution=_RESOLUTION, provenance=known)
    return Observation((star,), None, known)
