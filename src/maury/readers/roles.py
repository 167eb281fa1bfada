"""What arrays are, by their names: wavelength, flux, noise, quality; in columns, extensions and datasets alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maury.readers.noise import NoiseKind
from maury.readers.source import Floats, Medium
from maury.readers.units import OTHER_AXES, parse_unit

Role = Literal[
    "wavelength",
    "flux",
    "sigma",
    "variance",
    "inverse variance",
    "relative error",
    "signal-to-noise",
    "quality",
    "order",
    "fibre",
]

_WORDS: dict[Role, str] = {
    "wavelength": "wave waves wavelength wavelengths wav wvl wvls wl wls ws lambda lambdas lam lams w arg waveobs "
    "wavelengthobs dispersion disp wavedata sciwave awav loglam loglambda logwave logwavelength lnlam lnwave spectral "
    "spectralaxis wavelengthcoord angstrom angstroms barywavelength barywave wavel llambda wavelen "
    "wavenumber wavenumbers wavn freq frequency frequencies nu energy velocity velocities vel velo vrad vopt",
    "flux": "flux fluxes fls fl f s sp spec spectrum spectra intensity int i fun counts count sci data scidata sciflux "
    "normflux fluxnorm normalizedflux normalisedflux spectrumflux signal y spc intens flambda fluxlambda fnu logflux "
    "lnflux mag mags magnitude magnitudes",
    "sigma": "err errs error errors sigma sigmas sig sigs serr uncertainty uncertainties uncert unc std stdev stddev "
    "eflux fluxerr errflux fluxerror errorflux fluxsigma sigmaflux efl noise errdata spectrumsigma fluxunc ferr "
    "normerr normsigma normuncertainty uncertaintyflux fluxuncertainty e",
    "variance": "var vars variance variances scivar fluxvar varflux fluxvariance stat",
    "inverse variance": "ivar ivars invvar inversevariance invvariance inversevar fluxivar ivarflux",
    "relative error": "relerr relativeerror fractionalerror fracerr relerror",
    "signal-to-noise": "snr sn s2n ston signaltonoise",
    "quality": "quality qual qualdata dq flag flags badpix badpixels badpixel badpixelmask badmask bad bpm andmask",
    "order": "order orders ord echelleorder specorder orderno",
    "fibre": "fibre fiber fibres fibers fibreid fiberid fibreno fibername fibrename aperture aper apid trace object "
    "group bundle fiberidx fibreidx "
    "objects objectid objid objname objectname target targets targetid targetname star stars starid starname source "
    "sourceid sourceids gaiaid name names id ids spectrumid specid",
}
_ROLE_OF = {word: role for role, words in _WORDS.items() for word in words.split()}
_OTHER_THINGS = """
sky sky1 bg bgflux background cal thar lamp flat blaze tell telluric model template fit best continuum cont contin
median rms residual res raw no nosky ccf mask dll weight weights nivar
"""
_IGNORED = frozenset(_OTHER_THINGS.split())
"""Words that make a name that of something else than the spectrum itself."""

_GREEK = str.maketrans({"λ": "lambda", "σ": "sigma"})
_PERCENT = re.compile(r"%|percent|(?<![a-z])pct(?![a-z])")
_NOT_LINEAR = re.compile(r"(?<![a-z])(log[a-z0-9]*|ln(flux)?|dex|[a-z]*mags?|magnitudes?)(?![a-z])")

_UNIT_WORDS = frozenset(
    ("aa", "ang", "angstrom", "angstroms", "nm", "um", "micron", "microns", "kms", "cm1", "hz", "ghz", "thz", "ev")
)
NOISE_KINDS: tuple[NoiseKind, ...] = ("sigma", "variance", "inverse variance", "relative error", "signal-to-noise")

_PRECEDENCE: tuple[Role, ...] = ("order", "quality", *NOISE_KINDS, "wavelength", "flux", "fibre")
"""Which role a name with words for several has: ``flux_err`` is a sigma."""


@dataclass
class Named:
    """An array with what its name tells.

    Attributes:
        name: the name in the file.
        values: the array.
        unit: unit stated beside it, or in its name.
        ucd: IVOA content descriptor, if stated.
        role: what it is.
        tags: the other words of its name, which pair a flux with its error: ``reduced`` in ERR_REDUCED.
    """

    name: str
    values: Floats
    unit: str | None = None
    ucd: str = ""
    role: Role | None = None
    tags: tuple[str, ...] = ()


def classify(name: str) -> tuple[Role | None, tuple[str, ...], str | None]:
    """Role, other words and unit of an array by its name.

    ``ERR_REDUCED`` is a sigma with the word ``reduced``; ``wavelength_nm`` and ``lambda [nm]`` are wavelengths in nm.
    A name with a word for a sky, background, model or the like has no role.
    """
    name = re.sub(r"(?i)[\s_]+(c?m)(\^|\*\*)?-1$", r" (\g<1>-1)", name.translate(_GREEK))  # nu_cm-1
    bracket = re.search(r"[\[(]([^\])]*)[\])]", name)
    unit = bracket.group(1) if bracket and parse_unit(bracket.group(1)) else None
    text = name if unit is None else name.replace(bracket.group(0), " ") if bracket else name
    whole = re.sub(r"[^a-z0-9]", "", text.lower())
    if whole in _ROLE_OF:
        return _ROLE_OF[whole], (), unit
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    words = [part for word in words for part in _parts(word)]
    if not words or _IGNORED.intersection(words):
        return None, (), unit
    if len(words) > 1 and words[-1] in _UNIT_WORDS | {"a", "m"} and any(_ROLE_OF.get(w) == "wavelength" for w in words):
        unit, words = unit or words[-1], words[:-1]
        if "".join(words) in _ROLE_OF:
            return _ROLE_OF["".join(words)], (), unit
    found = {_ROLE_OF[word]: word for word in words if word in _ROLE_OF}
    if "lambda" in words and {"f", "flux"} & {*words}:  # flux per unit of wavelength
        found.pop("wavelength", None)
    for role in _PRECEDENCE:
        if role in found:
            rest = tuple(
                sorted(w for w in words if w != found[role] and (role == "wavelength" or _ROLE_OF.get(w) != "flux"))
            )
            return role, rest, unit
    return None, (), unit


def _parts(word: str) -> tuple[str, ...]:
    """A word, cut before its number where what stands before it is known: ``wave1``, ``sky2``; not ``log10``."""
    stem = word.rstrip("0123456789")
    known = word not in _ROLE_OF and word not in _IGNORED and (stem in _ROLE_OF or stem in _IGNORED)
    return (stem, word[len(stem) :]) if known and stem != word else (word,)


def is_unknown(name: str) -> bool:
    """Whether a name has no word that is known here, as the name of a star."""
    lower = name.lower()
    words = {part for word in re.split(r"[^a-z0-9]+", lower) if word for part in _parts(word)}
    return bool(words) and not words & (_IGNORED | _ROLE_OF.keys()) and not re.search(r"mask|primary", lower)


def is_linear(name: str, unit: str | None = None) -> bool:
    """Whether a flux is linear, by its name and unit: neither magnitudes nor logarithms."""
    return _NOT_LINEAR.search(f"{name} {unit or ''}".lower()) is None


def unit_in(name: str) -> str | None:
    """Unit of an axis in a name whose words are not known, such as ``k (kayser)`` or ``v_kms``; None if it has none."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return classify(name)[2] or (words[-1] if len(words) > 1 and words[-1] in _UNIT_WORDS else None)


def named(name: str, values: Floats, unit: str | None = None, ucd: str = "") -> Named:
    """A `Named` array, classified."""
    role, tags, unit_in_name = classify(name)
    logarithm = re.match(r"(log|ln)", name.lower()) if role == "wavelength" else None
    if logarithm and (not unit or parse_unit(unit) == "angstrom"):
        unit = "log10" if logarithm.group(1) == "log" else "ln"
    if role == "wavelength" and not unit and not unit_in_name:
        words = re.split(r"[^a-z0-9]+", name.lower())
        unit = next((word for word in words if parse_unit(word) in OTHER_AXES), None)
    if role == "sigma" and _PERCENT.search(f"{name} {unit or ''}".lower()):
        role, values, tags = "relative error", values / 100, tuple(t for t in tags if not _PERCENT.search(t))
    return Named(name, values, unit or unit_in_name, ucd, role, tags)


def medium_of(array: Named) -> Medium | None:
    """Air or vacuum by the name or the content descriptor of a wavelength array.

    IVOA and ESO: ``em.wl`` is a vacuum, ``em.wl;obs.atmos`` an air wavelength (ESO Science Data Products Standard).
    """
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", array.name).lower())
    if {"air", "awav", "airwave", "waveair"} & set(words):
        return "air"
    if {"vac", "vacuum", "vacwave", "wavevac"} & set(words):
        return "vacuum"
    if parse_unit(array.unit) in ("wavenumber", "frequency", "energy"):
        return "vacuum"
    if array.ucd.startswith("em.wl"):
        return "air" if "obs.atmos" in array.ucd else "vacuum"
    return None


@dataclass
class Selection:
    """The arrays chosen out of those that a file holds."""

    wavelength: Named | None
    flux: Named | None
    noise: Named | None
    quality: Named | None
    order: Named | None
    fibre: Named | None


def _flux_rank(array: Named) -> tuple[int, int, int]:
    main = 0 if "meta.main" in array.ucd else 1
    preferred = 0 if not array.tags else 1 if {"sci", "input", "data", "opt"} & set(array.tags) else 2
    return (main, preferred, len(array.name))


def _wavelength_rank(array: Named, flux: Named | None) -> tuple[int, ...]:
    own = 0 if flux is None or not flux.tags else -len({*array.tags} & {*flux.tags})
    air = 0 if medium_of(array) == "air" else 1
    bary = 0 if {"bary", "barycentric", "helio"} & set(array.tags) or "bary" in array.name.lower() else 1
    other = 1 if parse_unit(array.unit) in OTHER_AXES else 0
    return (other, own, air, bary, len(array.name))


def _fibre_rank(array: Named) -> int:
    name = array.name.lower()
    if len(np.unique(array.values)) < 2:
        return 3
    return 0 if re.search(r"fib|aper|apid|trace", name) else 1 if re.search(r"obj|targ|star|name", name) else 2


def select(arrays: list[Named]) -> Selection:
    """Choose wavelength, flux, its own noise and quality among named arrays.

    Of several fluxes, the one marked ``meta.main``, else the one with the plainest name, and one that is all zero or
    NaN, or no linear flux, only if there is no other; of several wavelengths, those named like the flux, then air
    before vacuum and barycentric before topocentric. Noise belongs to a flux if the other words of their names agree.
    """
    by_role: dict[str, list[Named]] = {}
    for array in arrays:
        if array.role is not None and array.values.size:
            by_role.setdefault(array.role, []).append(array)
    fluxes = by_role.get("flux", [])
    fluxes = [array for array in fluxes if np.any(np.nan_to_num(array.values))] or fluxes
    fluxes = [array for array in fluxes if is_linear(array.name, array.unit)] or fluxes
    flux = min(fluxes, key=_flux_rank, default=None)
    wavelength = min(by_role.get("wavelength", []), key=lambda array: _wavelength_rank(array, flux), default=None)
    noise = None
    if flux is not None:
        for kind in NOISE_KINDS:
            same = [n for n in by_role.get(kind, []) if n.tags == flux.tags]
            if same:
                noise = same[0]
                break
        else:
            every = [n for kind in NOISE_KINDS for n in by_role.get(kind, [])]
            if len(every) == 1 and len(by_role["flux"]) == 1:
                noise = every[0]
    first = {role: by_role.get(role, [None])[0] for role in ("quality", "order")}
    first["fibre"] = min(by_role.get("fibre", []), key=_fibre_rank, default=None)
    if flux is not None:
        first["quality"] = next((a for a in by_role.get("quality", []) if a.tags == flux.tags), first["quality"])
    return Selection(wavelength, flux, noise, first["quality"], first["order"], first["fibre"])
