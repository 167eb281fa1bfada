"""Fitted parameters of a line list: log gf of each transition, and corrections common to all lines of a molecule."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from maury.errors import ConfigError
from maury.lines.calibration_settings import CalibrateConfig
from maury.synthesis.changes import ENERGY_ZERO_EV, is_molecule
from maury.synthesis.linefile import LineFile, Strings
from maury.wavelengths import Floats

_SAME_AA, _SAME_EV = 0.12, 0.004
_SAME_MOLECULE_AA, _SAME_MOLECULE_EV = 0.03, 0.015


@dataclass(frozen=True)
class Qualities:
    """Name of the source of each line (n,), and standard deviation of the prior of its log gf (n,), dex."""

    name: Strings
    width: Floats


def qualities(lines: LineFile, config: CalibrateConfig) -> Qualities:
    """Find the source of each line from its reference; lines of a molecule in the settings have its width.

    Raises:
        ConfigError: no pattern matches a reference.
    """
    names, widths = [], []
    for species, reference in zip(lines.species, lines.reference, strict=True):
        molecule = config.molecules.get(str(species), config.molecules.get(str(species).removesuffix(" 1")))
        if molecule:
            names.append("molecule")
            widths.append(molecule.line)
            continue
        text = re.sub(r"^\d+\s+", "", str(reference))
        source = next((source for source in config.sources if re.match(source.pattern, text)), None)
        if source is None:
            raise ConfigError(f"{lines.path}: no pattern in sources matches the reference {text!r}")
        names.append(source.name)
        widths.append(source.width)
    return Qualities(np.array(names), np.array(widths))


def group_components(lines: LineFile, active: NDArray[np.bool_], width: Floats) -> NDArray[np.int64]:
    """Index of the parameter of each line (n,), -1 for lines that are not fitted.

    Components of one transition (isotopes, hyperfine structure: same species, lower energy and source, less than 0.12 Å
    apart) have one parameter.
    """
    number = np.full(len(lines), -1)
    molecule = np.array([not re.match(r"[A-Z][a-z]? \d", species) for species in lines.species])
    previous, count = None, -1
    for i in np.lexsort((lines.wavelength_aa, np.round(lines.excitation_ev, 2), lines.species)):
        if not active[i]:
            continue
        near_aa, near_ev = (_SAME_MOLECULE_AA, _SAME_MOLECULE_EV) if molecule[i] else (_SAME_AA, _SAME_EV)
        same = (
            previous is not None
            and lines.species[previous] == lines.species[i]
            and abs(lines.excitation_ev[previous] - lines.excitation_ev[i]) < near_ev
            and 0 <= lines.wavelength_aa[i] - lines.wavelength_aa[previous] < near_aa
            and width[previous] == width[i]
        )
        count += not same
        number[i] = count
        previous = i
    return number


@dataclass(frozen=True)
class LineParameters:
    """Parameters of the lines: first one per transition, then offset and slope of each molecule."""

    names: tuple[str, ...]  # names of all parameters (k,)
    width: Floats  # standard deviation of the priors (k,)
    matrix: sparse.csc_array  # change of log gf per unit of each parameter (lines, k)
    transitions: int  # number of parameters that are single transitions

    def rounded(self, values: Floats) -> tuple[Floats, dict[str, float]]:
        """Changes of lines (lines,) rounded to 0.01 dex, and terms of molecules rounded to 0.001, as written."""
        single = np.round(values[: self.transitions], 2)
        terms = {name: round(float(v), 3) for name, v in zip(self.names, values, strict=True) if ":" in name}
        return self.matrix[:, : self.transitions] @ single, terms


def line_parameters(
    lines: LineFile, number: NDArray[np.int64], width: Floats, config: CalibrateConfig
) -> LineParameters:
    """Parameters for numbered transitions and the molecules of the settings."""
    count = int(number.max(initial=-1)) + 1
    moved = np.flatnonzero(number >= 0)
    widths = np.zeros(count)
    np.maximum.at(widths, number[moved], width[moved])
    blocks = [sparse.csc_array((np.ones(moved.size), (moved, number[moved])), shape=(len(lines), count))]
    names = [f"line {k}" for k in range(count)]
    for molecule, terms in config.molecules.items():
        member = is_molecule(lines.species, molecule).astype(float)
        slope = member * (lines.excitation_ev - ENERGY_ZERO_EV)
        blocks.append(sparse.csc_array(np.column_stack([member, slope])))
        names += [f"{molecule}:offset", f"{molecule}:slope"]
        widths = np.r_[widths, terms.offset, terms.slope]
    return LineParameters(tuple(names), widths, sparse.csc_array(sparse.hstack(blocks)), count)
