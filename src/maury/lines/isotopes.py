"""Species and isotopes in line lists: codes, names, isotopic fractions of the solar system, nuclear spins."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from maury.errors import FormatError

Fractions = Mapping[str, Mapping[int, float]]

# fmt: off
ELEMENTS = (
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar",
    "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr",
    "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe",
    "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf",
    "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th",
    "Pa", "U",
)
FRACTIONS: dict[str, dict[int, float]] = {
    "H": {1: 0.99998, 2: 2e-5}, "Li": {6: 0.0759, 7: 0.9241}, "B": {10: 0.199, 11: 0.801},
    "C": {12: 0.9889, 13: 0.0111}, "N": {14: 0.99771, 15: 0.00229}, "O": {16: 0.99762, 17: 0.00038, 18: 0.002},
    "F": {19: 1.0}, "Na": {23: 1.0}, "Mg": {24: 0.7899, 25: 0.1, 26: 0.1101}, "Al": {27: 1.0},
    "Si": {28: 0.9223, 29: 0.0468, 30: 0.0309}, "P": {31: 1.0}, "S": {32: 0.9493, 33: 0.0076, 34: 0.0429, 36: 2e-4},
    "K": {39: 0.93132, 40: 0.00147, 41: 0.06721},
    "Ca": {40: 0.96941, 42: 0.00647, 43: 0.00135, 44: 0.02086, 46: 4e-5, 48: 0.00187}, "Sc": {45: 1.0},
    "Ti": {46: 0.0825, 47: 0.0744, 48: 0.7372, 49: 0.0541, 50: 0.0518}, "V": {50: 0.0025, 51: 0.9975},
    "Cr": {50: 0.04345, 52: 0.83789, 53: 0.09501, 54: 0.02365}, "Mn": {55: 1.0},
    "Fe": {54: 0.05845, 56: 0.91754, 57: 0.02119, 58: 0.00282}, "Co": {59: 1.0},
    "Ni": {58: 0.68077, 60: 0.26223, 61: 0.0114, 62: 0.03635, 64: 0.00926}, "Cu": {63: 0.6917, 65: 0.3083},
    "Zn": {64: 0.4863, 66: 0.279, 67: 0.041, 68: 0.1875, 70: 0.0062}, "Rb": {85: 0.7084, 87: 0.2916},
    "Sr": {84: 0.0056, 86: 0.0986, 87: 0.07, 88: 0.8258}, "Y": {89: 1.0},
    "Zr": {90: 0.5145, 91: 0.1122, 92: 0.1715, 94: 0.1738, 96: 0.028}, "Nb": {93: 1.0},
    "Ba": {130: 0.00106, 132: 0.00101, 134: 0.02417, 135: 0.06592, 136: 0.07854, 137: 0.11232, 138: 0.71698},
    "La": {138: 9e-4, 139: 0.9991}, "Pr": {141: 1.0},
    "Nd": {142: 0.272, 143: 0.122, 144: 0.238, 145: 0.083, 146: 0.172, 148: 0.057, 150: 0.056},
    "Sm": {144: 0.0307, 147: 0.1499, 148: 0.1124, 149: 0.1382, 150: 0.0738, 152: 0.2675, 154: 0.2275},
    "Eu": {151: 0.4781, 153: 0.5219},
}
"""Fractions by number of each isotope in the solar system (Asplund et al. 2009, table 3; Berglund & Wieser 2011)."""

SPIN_WEIGHTS = {
    "H": {1: 2, 2: 3}, "C": {12: 1, 13: 2}, "N": {14: 3, 15: 2}, "O": {16: 1, 17: 6, 18: 1}, "F": {19: 2},
    "Na": {23: 4}, "Mg": {24: 1, 25: 6, 26: 1}, "Al": {27: 6}, "Si": {28: 1, 29: 2, 30: 1},
    "P": {31: 2}, "S": {32: 1, 33: 4, 34: 1},
    "Ca": {40: 1, 42: 1, 43: 8, 44: 1, 48: 1}, "Sc": {45: 8}, "Ti": {46: 1, 47: 6, 48: 1, 49: 8, 50: 1}, "V": {51: 8},
    "Cr": {50: 1, 52: 1, 53: 4, 54: 1}, "Fe": {54: 1, 56: 1, 57: 2, 58: 1}, "Y": {89: 2},
    "Zr": {90: 1, 91: 6, 92: 1, 94: 1, 96: 1},
}
"""2 I + 1 of the nuclei: a factor in ExoMol's statistical weights, but not in partition functions of stellar codes."""
# fmt: on

_LIGHTER_FIRST = {("C", "N"), ("C", "O"), ("C", "P"), ("C", "S"), ("N", "O"), ("N", "S")}


@dataclass(frozen=True)
class Species:
    """An atom, ion or molecule, perhaps of certain isotopes."""

    atoms: tuple[str, ...]  # symbols in the order of its formula
    stage: int  # 1 for neutral
    masses: tuple[int, ...]  # mass number of each atom, 0 where it is not given

    @property
    def name(self) -> str:
        """Name in VALD's form: "Fe 1", "MgH 1", "C2 1"."""
        parts: list[list[str]] = []
        for atom in self.atoms:
            if parts and parts[-1][0] == atom:
                parts[-1].append(atom)
            else:
                parts.append([atom])
        formula = "".join(part[0] + (str(len(part)) if len(part) > 1 else "") for part in parts)
        return f"{formula} {self.stage}"

    @property
    def isotopes(self) -> str:
        """Isotopes for the field of references: "(63)Cu", "M607.01214" for two atoms; empty where none is given."""
        if not any(self.masses):
            return ""
        if len(self.atoms) == 2 and all(self.masses):
            pairs = sorted((ELEMENTS.index(a) + 1, mass) for a, mass in zip(self.atoms, self.masses, strict=True))
            (first, light), (second, heavy) = pairs
            return f"M{first}{second:02d}.0{light:02d}{heavy:02d}"
        return "".join(f"({mass}){a}" if mass else a for a, mass in zip(self.atoms, self.masses, strict=True))

    def log_fraction(self, fractions: Fractions) -> float | None:
        """log10 of the fraction of these isotopes; None if the fraction of one is not known."""
        total = 0.0
        for atom, mass in zip(self.atoms, self.masses, strict=True):
            share = fractions.get(atom, {}).get(mass) if mass else 1.0
            if share is None:
                return None
            total += math.log10(share)
        return total


def species_of(number: int, stage: int, masses: tuple[int, ...]) -> Species:
    """Species with a code number such as 26 (Fe) or 607 (CN).

    ``number`` is an atomic number, or for two atoms 100 times the lower one plus the higher one; ``masses`` are in this
    order, empty for none.

    Raises:
        FormatError: an unknown element, or more than two atoms.
    """
    charges = (number,) if number < 100 else divmod(number, 100)
    if not all(1 <= charge <= len(ELEMENTS) for charge in charges):
        raise FormatError(f"species {number} is not an atom or a molecule of two atoms")
    pairs = list(zip((ELEMENTS[charge - 1] for charge in charges), masses or (0,) * len(charges), strict=True))
    if len(pairs) == 2 and (pairs[0][0], pairs[1][0]) not in _LIGHTER_FIRST and pairs[0][0] != pairs[1][0]:
        pairs.reverse()
    return Species(tuple(a for a, _ in pairs), stage, tuple(mass for _, mass in pairs))


def exomol_species(name: str) -> tuple[Species, int]:
    """Species of the name of an isotopologue, "24Mg-1H", and the weight of its nuclear spins.

    Raises:
        FormatError: the name is not an isotopologue, or the spin weight of an isotope or pair of nuclei is not known.
    """
    found = re.findall(r"(\d+)([A-Z][a-z]?)(\d*)", name)
    if "-".join(mass + atom + count for mass, atom, count in found) != name.removesuffix("_p"):
        raise FormatError(f"{name}: not the name of an isotopologue, such as 24Mg-1H")
    atoms = [atom for _, atom, count in found for _ in range(int(count or 1))]
    masses = [int(mass) for mass, _, count in found for _ in range(int(count or 1))]
    weights = [SPIN_WEIGHTS.get(atom, {}).get(mass) for atom, mass in zip(atoms, masses, strict=True)]
    pairs = list(zip(atoms, masses, strict=True))
    if None in weights or any(pairs.count(pair) > 1 and SPIN_WEIGHTS[pair[0]][pair[1]] > 1 for pair in pairs):
        raise FormatError(f"{name}: weight of its nuclear spins is not known")
    return Species(tuple(atoms), 2 if name.endswith("_p") else 1, tuple(masses)), math.prod(w or 1 for w in weights)


def read_fractions(path: str | os.PathLike[str]) -> Fractions:
    """Fractions of isotopes from a CSV file with the columns element, mass and fraction; others stay solar.

    Raises:
        FormatError: the file is not such a CSV file, or a fraction is not above 0 and at most 1.
    """
    fractions = {element: dict(shares) for element, shares in FRACTIONS.items()}
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = [(row["element"], int(row["mass"]), float(row["fraction"])) for row in csv.DictReader(stream)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: not a CSV file with the columns element, mass, fraction: {error}") from error
    for element, mass, share in rows:
        if element not in ELEMENTS or not 0 < share <= 1:
            raise FormatError(
                f"{path}: {element} {mass}: fraction {share}: must be above 0 and at most 1, of an element"
            )
        fractions.setdefault(element, {})[mass] = share
    return fractions
