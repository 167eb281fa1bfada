"""Spectrographs with several traces: each trace in extensions of its own, the star's found by their names."""

from __future__ import annotations

import re

import numpy as np

from maury.readers.arrays import bad_pixels, build
from maury.readers.choice import same_name
from maury.readers.fitsfile import Part
from maury.readers.headers import describe
from maury.readers.noise import named_noise
from maury.readers.pipelines import PIPELINES, Header, Pipeline
from maury.readers.source import Log, Raw
from maury.readers.units import to_angstrom

Trace = dict[str, Part]
"""The extensions of one trace by kind: flux, wave, var, err, bad."""

_KINDS = {"bad": r"^(BPM|DQ|QUAL)", "wave": r"^W(AVE|LS)", "var": r"VAR", "err": r"ERR", "flux": r"FLUX|FIBER"}


def _kind(text: str) -> str:
    return next(kind for kind, pattern in _KINDS.items() if re.search(pattern, text))


def _traces(parts: list[Part], pattern: str) -> dict[tuple[str, ...], Trace]:
    """Extensions by trace: those with flux and wavelengths of one shape."""
    found: dict[tuple[str, ...], Trace] = {}
    for part in parts:
        match = re.fullmatch(pattern, part.name.upper())
        if match is None or not part.shape:
            continue
        groups = match.groupdict()
        kind = _kind(groups.pop("kind"))
        version = str(part.header.get("EXTVER", 1))
        found.setdefault((*(text or "" for text in groups.values()), version), {}).setdefault(kind, part)
    whole = {key: t for key, t in found.items() if "flux" in t and "wave" in t}
    return {key: trace for key, trace in whole.items() if trace["flux"].shape == trace["wave"].shape}


def _label(key: tuple[str, ...], header: Header) -> tuple[str, str]:
    """The trace by its extensions, and the name of its light by the keyword TRACEn of the primary header."""
    text = "".join(word for word in key[:-1] if word not in ("GREEN", "RED")).strip("_")
    return text, str(header.get(text, "") if re.fullmatch(r"TRACE\d+", text) else text).strip()


def _chosen(names: dict[tuple[str, ...], tuple[str, str]], pipeline: Pipeline, header: Header, log: Log) -> list[tuple]:
    """The traces that the user names, else those of the star."""
    wanted = log.options.fibre
    if wanted is not None:
        known = {key: (text, name, text.removeprefix("TRACE")) for key, (text, name) in names.items()}
        return [key for key, texts in known.items() if any(same_name(text, wanted) for text in texts if text)]
    star = str(header.get("OBJECT", "")).strip()
    found = [
        key for key, (_, name) in names.items()
        if name and (re.match(pipeline.star, name, re.IGNORECASE) or (star and same_name(name, star)))
    ]  # fmt: skip
    merged = [key for key in found if key[0] == "COADD"]
    return merged or found


def read_traces(parts: list[Part], log: Log) -> Raw | None:
    """Read the traces of the star, or those that the user names.

    Raises:
        FormatError: no trace is named as the star's; it lists them.
    """
    if log.options.extension is not None:
        return None
    header = parts[0].header
    for pipeline in PIPELINES:
        if pipeline.traces is None or not (pipeline.matches is None or pipeline.matches(header)):
            continue
        traces = _traces(parts, pipeline.traces)
        if not traces:
            continue
        names = {key: _label(key, header) for key in traces}
        keys = _chosen(names, pipeline, header, log)
        if not keys and log.options.fibre is None and [name for _, name in names.values()] == [""]:
            keys = list(names)
            log.rule("its only trace is taken as the star's")
        if not keys:
            listed = ", ".join(dict.fromkeys(text + (f" ({n})" if n != text else "") for text, n in names.values()))
            which = "named as the star's" if log.options.fibre is None else str(log.options.fibre)
            raise log.fail(f"{pipeline.name}: no trace is {which}; choose one by fibre: {listed}", "fibre")
        log.rule(f"{pipeline.name}: traces {', '.join(dict.fromkeys(names[key][0] for key in keys))} read")
        raw = Raw(pipeline.name, [], one_star=True, pipeline=pipeline.name)
        for key in keys:
            _add(raw, traces[key], names[key][0], pipeline.unit, log)
        return describe([header, *(traces[key]["flux"].header for key in keys)], raw, log)
    return None


def _add(raw: Raw, trace: Trace, name: str, unit: str | None, log: Log) -> None:
    """Add the orders of one trace, whose wavelengths are in ``unit`` if they do not state theirs."""
    flux = trace["flux"].image()
    if not np.nan_to_num(flux).any():
        log.warn(f"trace {name} holds no flux: left out")
        return
    wave_part = trace["wave"]
    stated = wave_part.header.get("BUNIT") or unit
    wave = to_angstrom(wave_part.image(), stated, log, f"wavelengths ({wave_part.title})")
    sigma, source = None, "none"
    for kind, reading in (("var", "variance"), ("err", "sigma")):
        if kind in trace and trace[kind].shape == trace["flux"].shape:
            what = trace[kind].title
            sigma, source = named_noise(trace[kind].image(), reading, flux, log, what)  # type: ignore[arg-type]
            break
    bad = trace.get("bad")
    mask = None if bad is None or bad.shape != flux.shape else bad_pixels(bad.image(), log, bad.title)
    orders = build(raw.reader, wave, flux, sigma, mask, None, source).orders
    for order in orders:
        order.fibre = name if log.options.fibre is None else str(log.options.fibre)
    raw.orders += orders
    raw.sigma = source
