"""Mutated files of all layouts: no traceback, no warning of numpy, no result without a flag from damaged flux.

    python benchmarks/fuzz_readers.py --count 2000 --seed 1 --out docs/results/fuzz.json
    python benchmarks/fuzz_readers.py --count 1 --seed 1234

Input k is made from the seed ``seed`` + k alone, so each can be made again with ``--count 1``. A layout of the tests'
observatory (``tests/observatory.py``) is written with the spectrum of the Sun; then either the flux in 6 to 30 % of the
pixels is replaced by junk before it is written (constants, spikes, random values, negative, huge), or the file is
mutated: header cards, units, bytes, length, NaN, lines of text. It is read and predicted with the network alone. Faults
are an exception that is no `MauryError`, more than one line of message, a warning, and a result from replaced flux
whose flags do not limit the trust in it. Ends with code 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from smoke import parse

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import nights
import observatory
from maury.cli.console import out
from maury.errors import MauryError
from maury.files import write_json
from maury.flags import limits_trust
from maury.inference import predict
from maury.readers import read
from maury.spectra import Observation

Floats = NDArray[np.float64]
Junk = Callable[[Floats, Any, float, np.random.Generator], None]
RESOLUTION = 44_000.0
_EVERY = 50
"""Inputs after which the report is written, so that a run that is stopped has one."""


def constant(flux: Floats, at: Any, level: float, rng: np.random.Generator) -> None:
    """One value."""
    flux[at] = level * rng.choice([0.0, 0.5, 1.4, 5.0])


def spikes(flux: Floats, at: Any, level: float, rng: np.random.Generator) -> None:
    """Hot pixels of 0.3 to 30 times the continuum."""
    flux[at] += level * rng.uniform(0.3, 30, flux[at].shape)


def uniform(flux: Floats, at: Any, level: float, rng: np.random.Generator) -> None:
    """Values between 0 and the continuum."""
    flux[at] = level * rng.uniform(0, 1.2, flux[at].shape)


def negative(flux: Floats, at: Any, level: float, rng: np.random.Generator) -> None:
    """The other sign."""
    flux[at] *= -1


def huge(flux: Floats, at: Any, level: float, rng: np.random.Generator) -> None:
    """Values up to 1e30."""
    flux[at] = level * 10 ** rng.uniform(3, 30, flux[at].shape)


JUNK: tuple[Junk, ...] = (constant, spikes, uniform, negative, huge)


def card(content: bytes, rng: np.random.Generator) -> bytes:
    """Another value for a card of a FITS header, or no such card."""
    end = max(content.find(b"END" + b" " * 77), 80)
    cards = [start for start in range(80, end, 80) if content[start + 8 : start + 10] == b"= "]
    if not cards:
        return flipped(content, rng)
    start = int(rng.choice(cards))
    values = (b"NaN", b"-1", b"0", b"1E300", b"'text'", b"T", b"'", b"''", b"99999", b"3.7")
    words = content[start : start + 8] + b"= " + values[int(rng.integers(len(values)))].rjust(20)
    words = words if rng.random() < 0.8 else b"COMMENT"
    return content[:start] + words.ljust(80) + content[start + 80 :]


def unit(content: bytes, rng: np.random.Generator) -> bytes:
    """Another unit or name where one is written."""
    words = [b"Angstrom", b"angstrom", b"nm", b"micron", b"um", b"wave", b"flux", b"WAVE", b"FLUX", b"sigma", b"err"]
    found = [word for word in words if word in content[:20_000]]
    if not found:
        return flipped(content, rng)
    old, new = (group[int(rng.integers(len(group)))] for group in (found, [*words, b"km/s", b"K", b"cm-1"]))
    return content.replace(old, new[: len(old)].ljust(len(old)), int(rng.integers(1, 3)))


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Some other bytes."""
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), int(rng.integers(1, 200))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def shorter(content: bytes, rng: np.random.Generator) -> bytes:
    """The first part of the file."""
    return content[: int(rng.integers(0, len(content)))]


def doubled(content: bytes, rng: np.random.Generator) -> bytes:
    """A part of the file twice."""
    first, last = sorted(int(x) for x in rng.integers(0, len(content), 2))
    return content[:last] + content[first:last] + content[last:]


def lost(content: bytes, rng: np.random.Generator) -> bytes:
    """Blocks of bytes that say NaN in most formats: 0xFF in binary, the word in text."""
    filler = b"nan" if b"\x00" not in content[:4000] else b"\xff" * 8
    changed = content
    for _ in range(int(rng.integers(1, 30))):
        place = int(rng.integers(min(2880, len(changed) // 2), len(changed)))
        changed = changed[:place] + filler + changed[place + len(filler) :]
    return changed


MUTATIONS = (card, unit, flipped, shorter, doubled, lost)


@cache
def sun() -> tuple[Floats, Floats]:
    """Air wavelengths (Å) and normalised flux of the Sun within the emulator's window."""
    wave = np.arange(5043.0, 5358.0, 0.01)
    return wave, nights.star_flux(nights.SUN, wave, RESOLUTION)


def truth(air_aa: Floats) -> Floats:
    """Normalised flux at air wavelengths; 1 outside of the emulator's window."""
    return np.interp(air_aa, *sun(), left=1.0, right=1.0)


def written(folder: Path, rng: np.random.Generator, junk: Junk | None) -> observatory.Expected:
    """A file of some layout, in part of whose pixels the flux is replaced if that is asked for."""
    plain = observatory.observe

    def spoiled(air_aa: Floats, scale: float = 1.0, seed: int = 1) -> tuple[Floats, Floats]:
        flux, sigma = plain(air_aa, scale, seed)
        if junk is not None:
            at = rng.random(flux.shape) < rng.uniform(0.06, 0.3)
            junk(flux, at, scale, rng)
        return flux, sigma

    before = observatory.truth
    observatory.truth, observatory.observe = truth, spoiled
    try:
        return observatory.FILES[int(rng.integers(len(observatory.FILES)))](folder)
    finally:
        observatory.truth, observatory.observe = before, plain


def outcome(path: Path, hints: dict[str, Any], spoiled: bool) -> tuple[str, str]:
    """What becomes of a file: refused or a result, else the fault; and the message."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # Python itself shows none
        try:
            star = read(path, **hints)
            whole = Observation(star.orders, star.barycentric_kms, star.provenance)
            fit = predict(whole, resolution=RESOLUTION, refine=False, samples=100)
            flags = [flag for flag in fit.flags if limits_trust(flag) and flag != "medium_assumed"]
            found = ("fault: no flag" if spoiled and not flags else "result", ", ".join(fit.flags))
        except MauryError as error:
            text = str(error)
            found = ("fault: several lines" if "\n" in text else "refused", text.replace(str(path), path.name))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            found = (f"fault: {type(error).__name__}", f"{error} ({Path(where.filename).name}:{where.lineno})")
    if caught and not found[0].startswith("fault"):
        first = caught[0]
        return "fault: warning", f"{first.message} ({Path(first.filename).name}:{first.lineno})"
    return found


def one(seed: int) -> dict[str, str]:
    """Make, mutate, read and predict one file."""
    rng = np.random.default_rng(seed)
    junk = JUNK[int(rng.integers(len(JUNK)))] if rng.random() < 0.35 else None
    with tempfile.TemporaryDirectory(prefix="maury-fuzz-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = written(Path(folder), rng, junk)
        kind = "junk: " + junk.__name__ if junk is not None else ""
        if junk is None:
            fitting = [m for m in MUTATIONS if m is not card or made.path.read_bytes()[:6] == b"SIMPLE"]
            mutate = fitting[int(rng.integers(len(fitting)))]
            made.path.write_bytes(mutate(made.path.read_bytes(), rng))
            kind = mutate.__name__
        state, message = outcome(made.path, made.hints or {}, junk is not None)
        return {"seed": str(seed), "file": made.path.name, "mutation": kind, "outcome": state, "message": message[:200]}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="inputs")
    parser.add_argument("--seed", type=int, default=1, help="of the first input; those after it count on")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parse(parser, lambda folder: ["--count", 6, "--out", folder / "out.json"])
    count = options.count
    tables: dict[str, Counter[str]] = {}
    faults: list[dict[str, str]] = []
    for done in range(1, count + 1):
        entry = one(options.seed + done - 1)
        tables.setdefault(entry["mutation"], Counter())[entry["outcome"]] += 1
        if count == 1 or entry["outcome"].startswith("fault"):
            out.print(json.dumps(entry, ensure_ascii=False), markup=False)
        if entry["outcome"].startswith("fault"):
            faults.append(entry)
        report = {
            "inputs": done,
            "seeds": [options.seed, options.seed + done - 1],
            "layouts": len(observatory.FILES),
            "outcomes": {kind: dict(sorted(table.items())) for kind, table in sorted(tables.items())},
            "faults": faults,
        }
        if options.out is not None and (done % _EVERY == 0 or done == count):
            write_json(options.out, report)
    out.print(json.dumps({key: report[key] for key in ("inputs", "seeds", "outcomes")}, indent=1), markup=False)
    out.print(f"{len(faults)} faults in {count} inputs")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
