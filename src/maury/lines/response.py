"""Derivatives of a star's intrinsic spectrum by log gf of each line and by the star's labels.

Lines are grouped into classes that form in the same layers (a species, or a range of excitation of one). The derivative
of a class is the difference of two spectra by PySME, one with all its lines strengthened. It is divided among the lines
in proportion to their opacity at each wavelength. About 30 spectra give derivatives by thousands of lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import wofz

from maury.errors import SynthesisError
from maury.lines.calibration_settings import SOLVED, StandardStar, atoms
from maury.lines.star_model import Job, StarSynthesizer
from maury.progress import Advance
from maury.synthesis import AtmosphereGrid, LineList, PhysicsConfig, Workers
from maury.synthesis.linefile import Strings
from maury.wavelengths import C_KMS, Floats, LogGrid

STEPS = {"teff": 20.0, "logg": 0.05, "mh": 0.05, "vmic": 0.1}
"""Steps of the labels for numerical derivatives: K, dex, dex, km/s."""

DEX = 0.1
"""Step of log gf for numerical derivatives, dex."""

WEAKEST = 1e-3
"""Lines with less opacity relative to the continuum than this are left out of the derivatives."""

MASSES = {
    "C": 12.0, "N": 14.0, "O": 16.0, "Na": 23.0, "Mg": 24.3, "Al": 27.0, "Si": 28.1, "S": 32.1, "Ca": 40.1,
    "Sc": 45.0, "Ti": 47.9, "V": 50.9, "Cr": 52.0, "Mn": 54.9, "Fe": 55.8, "Co": 58.9, "Ni": 58.7, "Cu": 63.5,
    "Zn": 65.4, "Y": 88.9, "Zr": 91.2, "H": 1.0,
}  # fmt: skip
"""Atomic masses for Doppler widths; heavier atoms, with 140, have narrow lines anyway."""

_SPLIT_EV = {
    "Fe 1": (1.6, 3.3, 4.15),
    **dict.fromkeys(("Ti 1", "V 1", "Cr 1", "Co 1", "Ni 1"), (1.8,)),
    **dict.fromkeys(("Mg 1", "Ca 1", "Sc 1", "Mn 1", "Fe 2", "C 1"), ()),
}
_IONISED_METALS = ("Sc", "Ti", "V", "Cr", "Mn", "Co", "Ni", "Y", "Zr")
_RARE_EARTHS = ("La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Er")
_BOLTZMANN_KMS2 = 2 * 8.314e7 / 1e10
_LINE_TEMPERATURE = 0.88
_RADIATIVE = 1e8
_UNSOELD = -7.6


@dataclass
class Response:
    """A star's intrinsic flux and its derivatives on a grid."""

    flux: Floats  # continuum-normalised (grid,)
    lines: sparse.csc_array  # derivatives by log gf (grid, lines), per dex
    labels: dict[str, Floats]  # derivatives by label (grid,)
    strength: Floats  # largest opacity of each line relative to the continuum (lines,)


def class_of(species: str, excitation_ev: float) -> str:
    """Class of a line by species and excitation; each molecule is one class."""
    element, _, stage = species.partition(" ")
    if species in _SPLIT_EV or sum(atoms(element).values()) > 1:
        return f"{species} {np.searchsorted(_SPLIT_EV.get(species, ()), excitation_ev)}"
    if stage == "1":
        return f"neutral {int(excitation_ev >= 2)}"
    if element in _IONISED_METALS:
        return "ionised"
    return "rare earths" if element in _RARE_EARTHS else "other"


def isotope_shifts(star: StandardStar, species: Strings, reference: Strings) -> Floats:
    """Changes of log gf (n,) of C2 and CN for the star's 12C/13C; references name the isotopes ("M606.01213")."""
    share13 = 0.0111 * 10**star.carbon13
    shift12 = np.log10((1 - share13) / (1 - 0.0111))
    shifts = np.zeros(len(species))
    for i in np.flatnonzero(np.isin(species, ("C2 1", "CN 1"))):
        isotopes = reference[i].partition(".")[2].split(" ")[0][-4:]
        carbons = [isotopes[:2], isotopes[2:]] if species[i] == "C2 1" else [isotopes[:2]]
        shifts[i] = sum(star.carbon13 if carbon == "13" else shift12 for carbon in carbons)
    return shifts


def spectra(
    jobs: list[Job],
    lines: LineList,
    grid: LogGrid,
    workers: Workers,
    advance: Advance,
    physics: PhysicsConfig | None = None,
    cool: LineList | None = None,
) -> list[tuple]:
    """Compute the spectra of jobs, in the order of the jobs.

    ``cool`` are additional lines of cool stars; without ``physics``, LTE and uniform sampling.

    Raises:
        SynthesisError: a spectrum failed twice.
    """
    results: list[tuple] = [()] * len(jobs)
    physics = physics or PhysicsConfig(sampling="uniform")
    maker = (StarSynthesizer, (lines, grid.wavelength_aa, physics.absolute(), cool))
    for number, result in workers.map(maker, ((i, (job,)) for i, job in enumerate(jobs)), timeout_s=300.0):
        if isinstance(result, SynthesisError):
            raise SynthesisError(f"spectrum {number + 1} of {len(jobs)}: {result}")
        results[number] = result
        advance(1)
    return results


def job_for(star: StandardStar, atmospheres: AtmosphereGrid, log_gf: Floats, **changes: float) -> Job:
    """Job for the spectrum of a star, with ``changes`` added to its labels or abundances (by element)."""
    labels = {name: getattr(star, name) + changes.get(name, 0.0) for name in SOLVED}
    ratios = dict(star.abundances)
    for element, change in changes.items():
        if element not in SOLVED:
            ratios[element] = ratios.get(element, 0.0) + change
    atmosphere = atmospheres(labels["teff"], labels["logg"], labels["mh"])
    return Job(atmosphere, labels["vmic"], log_gf, ratios)


def respond(
    star: StandardStar,
    log_gf: Floats,
    lines: LineList,
    atmospheres: AtmosphereGrid,
    grid: LogGrid,
    workers: Workers,
    advance: Advance,
    physics: PhysicsConfig | None = None,
    cool: LineList | None = None,
) -> Response:
    """Compute the spectrum of a star and its derivatives by log gf and labels.

    ``log_gf`` (n,) is that of all lines in this star; ``advance`` is called `count_jobs` times. Others as in `spectra`.
    """
    species, energy = lines.species, np.asarray(lines.columns["excit"], float)
    classes = np.array([class_of(s, e) for s, e in zip(species, energy, strict=True)])
    names = sorted(set(classes))
    base = job_for(star, atmospheres, log_gf)
    jobs = [Job(base.atmosphere, base.vmic, log_gf, base.abundances, strengths=True)]
    jobs += [Job(base.atmosphere, base.vmic, log_gf + DEX * (classes == name), base.abundances) for name in names]
    jobs += [job_for(star, atmospheres, log_gf, **{name: step}) for name, step in STEPS.items()]
    (flux, strength), *rest = spectra(jobs, lines, grid, workers, advance, physics, cool)
    of_class = [(other - flux) / DEX for other, _ in rest[: len(names)]]
    labels = {name: (other - flux) / STEPS[name] for name, (other, _) in zip(STEPS, rest[len(names) :], strict=True)}
    shares = _shares(star, lines, grid, strength, {n: (classes == n, d) for n, d in zip(names, of_class, strict=True)})
    return Response(flux, shares, labels, strength)


def count_jobs(lines: LineList) -> int:
    """Number of spectra that `respond` computes for a star."""
    energy = np.asarray(lines.columns["excit"], float)
    return 1 + len({class_of(s, e) for s, e in zip(lines.species, energy, strict=True)}) + len(STEPS)


def _shares(
    star: StandardStar,
    lines: LineList,
    grid: LogGrid,
    strength: Floats,
    classes: dict[str, tuple[NDArray[np.bool_], Floats]],
) -> sparse.csc_array:
    """Derivatives by single lines (grid, lines): that of the class times the line's fraction of the class's opacity."""
    rows, columns, values = [], [], []
    for member, derivative in classes.values():
        total = np.full(grid.size, 1e-12)
        profiles = []
        for i in np.flatnonzero(member & (strength > WEAKEST)):
            first, profile = _profile(star, lines, grid, int(i), float(strength[i]))
            if profile.size:
                total[first : first + profile.size] += profile
                profiles.append((i, first, profile))
        for i, first, profile in profiles:
            span = slice(first, first + profile.size)
            share = derivative[span] * profile / total[span]
            kept = np.flatnonzero(np.abs(share) > 3e-5)
            rows.append(kept + first)
            columns.append(np.full(kept.size, i))
            values.append(share[kept])
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csc_array((np.concatenate(values), where), shape=(grid.size, len(lines)))


def _profile(star: StandardStar, lines: LineList, grid: LogGrid, i: int, strength: float) -> tuple[int, Floats]:
    """First pixel and values of a line's opacity relative to the continuum, a Voigt function, where above 3e-4."""
    formula = lines.species[i].partition(" ")[0]
    mass = sum(count * MASSES.get(element, 140.0) for element, count in atoms(formula).items())
    temperature = _LINE_TEMPERATURE * star.teff
    doppler = np.sqrt(_BOLTZMANN_KMS2 * temperature / mass + star.vmic**2)
    waals = float(lines.columns["gamvw"][i])
    hydrogen = 17.0 - 0.45 * (5 - np.clip(star.logg, 0, 5))  # log10 of number density where lines form, roughly
    gamma = 10 ** ((waals if waals < 0 else _UNSOELD) + hydrogen) + _RADIATIVE
    centre = float(lines.wavelength_aa[i])
    damping = gamma / (4 * np.pi * doppler * 1e13 / centre)
    reach = doppler * (3.5 + np.sqrt(damping / np.sqrt(np.pi) * strength / 3e-4))
    position = grid.position([centre * (1 - reach / C_KMS), centre * (1 + reach / C_KMS)])
    first, last = np.clip(np.ceil(position), 0, grid.size).astype(int)
    if last - first < 3:
        return 0, np.empty(0)
    offset = (np.arange(first, last) - float(grid.position([centre])[0])) * grid.step_kms / doppler
    return int(first), strength * wofz(offset + 1j * damping).real / wofz(1j * damping).real
