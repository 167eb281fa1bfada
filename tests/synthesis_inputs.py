"""Inputs of a synthesis for tests: grey model atmospheres in the formats of ATLAS9 and MARCS, extracts of VALD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maury.synthesis.modelfiles import BOLTZMANN

LAYERS = 24
_SCALE = {0.5: "3.16228", 0.0: "1.00000", -0.5: "0.31623", -1.0: "0.10000", -2.0: "0.01000", -2.5: "0.00316"}


def grey(teff: float, logg: float, mh: float = 0.0) -> np.ndarray:
    """Layers (n, 4) of a grey atmosphere of constant opacity: column mass, T, gas pressure, electron density."""
    tau = np.logspace(-5, 2, LAYERS)
    mass = tau / 0.3
    temperature = (0.75 * teff**4 * (tau + 2 / 3)) ** 0.25
    pressure = 10**logg * mass
    electrons = pressure / (BOLTZMANN * temperature) * (1e-4 * 10**mh + np.exp(-7e4 / temperature))
    return np.column_stack([mass, temperature, pressure, electrons])


def atlas(teff: float, logg: float, mh: float = 0.0, vturb: float = 2.0, layers: np.ndarray | None = None) -> str:
    """A file in Kurucz's format."""
    table = grey(teff, logg, mh) if layers is None else layers
    rows = "".join(
        f"{m:.8E} {t:8.1f} {p:.3E} {n:.3E} 1.0E-03 1.0E-02 {vturb * 1e5:.3E} 0 0 0\n" for m, t, p, n in table
    )
    return (
        f"TEFF   {teff:.0f}.  GRAVITY {logg:.5f} LTE\nTITLE  [{mh:+.1f}] VTURB={vturb:.1f}  L/H=1.25 NOVER NEW ODF\n"
        f"OPACITY IFOP 1 1 1\nABUNDANCE SCALE   {_SCALE[mh]} ABUNDANCE CHANGE 1 0.92040 2 0.07834\n"
        f"READ DECK6 {len(table)} RHOX,T,P,XNE,ABROSS,ACCRAD,VTURB, FLXCNV,VCONV,VELSND\n{rows}PRADK 1.0\nBEGIN\n"
    )


def marcs(teff: float, logg: float, mh: float = 0.0, vturb: float = 2.0) -> str:
    """A file in the format of MARCS."""
    table = grey(teff, logg, mh)
    electrons = table[:, 3] * BOLTZMANN * table[:, 1]
    first = "".join(
        f"{k + 1:3d} -5.00 -4.7 {0.0:.3E} {t:8.1f} {e:.4E} {p:.4E} 1.0E+00 0.0E+00\n"
        for k, ((_, t, p, _), e) in enumerate(zip(table, electrons, strict=True))
    )
    second = "".join(
        f"{k + 1:3d} -5.00 1.0E-03 1.0E-09 1.28 0.0E+00 0.00000 {m:.6E}\n" for k, m in enumerate(table[:, 0])
    )
    return (
        f"p{teff:.0f}_g{logg:+.1f}_m0.0_t02_st_z{mh:+.2f}\n  {teff:.0f}.      Teff [K].         Last iteration\n"
        f"  6.3E+10 Flux [erg/cm2/s]\n  {10**logg:.4E} Surface gravity [cm/s2]\n"
        f"  {vturb:.1f}        Microturbulence parameter [km/s]\n  0.0        No mass for plane-parallel models\n"
        f" {mh:+.2f} +0.00 Metallicity [Fe/H] and [alpha/Fe]\n  1.0000E+00 1 cm radius for plane-parallel models\n"
        f"  1.0E-33 Luminosity [Lsun]\n  1.50 8.00 0.076 0.00 are the convection parameters\n"
        f"  0.73826 0.24954 1.22E-02 are X, Y and Z\n  {len(table)} Number of depth points\nModel structure\n"
        f" k lgTauR  lgTau5    Depth     T        Pe          Pg         Prad       Pturb\n{first}"
        f" k lgTauR    KappaRoss   Density   Mu      Vconv   Fconv/F      RHOX\n{second}"
        "Assorted logarithmic partial pressures\n"
    )


def atmosphere_folder(
    folder: Path,
    teff: tuple[float, ...] = (5000.0, 5500.0, 6000.0),
    logg: tuple[float, ...] = (4.0, 4.5, 5.0),
    mh: tuple[float, ...] = (-2.0, -1.0, 0.0),
) -> Path:
    """A folder of grey models in Kurucz's format."""
    folder.mkdir(parents=True, exist_ok=True)
    for t in teff:
        for g in logg:
            for m in mh:
                (folder / f"t{t:.0f}g{g}m{m}.krz").write_text(atlas(t, g, m))
    return folder


LINES = (
    ("Fe 1", 5079.2230, 2.198, -2.067),
    ("Fe 1", 5079.7400, 0.990, -3.220),
    ("Ti 1", 5064.6530, 0.048, -0.940),
    ("Ti 2", 5072.2870, 3.124, -1.060),
    ("Fe 1", 5074.7480, 4.220, -0.230),
    ("Mg 1", 5172.6840, 2.712, -0.393),
    ("Ni 1", 5080.5280, 3.655, 0.330),
    ("Cr 1", 5072.9200, 0.941, -2.740),
    ("Ca 1", 5188.8440, 2.933, -0.115),
    ("C2 1", 5075.0000, 0.500, -1.500),
    ("Fe 1", 5055.0000, 3.500, -2.000),
    ("Fe 1", 5195.0000, 3.500, -2.000),
)


def vald_short(
    path: Path,
    heading: str = "Elm Ion       WL_air(A) Excit(eV) log gf*   Rad.  Stark    Waals  factor",
    lines: Sequence[tuple[str, float, float, float]] = LINES,
) -> Path:
    """An "extract all" in the short format."""
    rows = "".join(
        f"'{name}',{' ' * 6}{wave:.5f}, {excitation:8.4f}, {gf:7.3f}, 8.000,-6.000,  -7.500, 99.000, '  1 test'\n"
        for name, wave, excitation, gf in sorted(lines, key=lambda line: line[1])
    )
    top = f"{' ' * 45}Damping parameters   Lande\n{heading}   References\n"
    path.write_text(
        f"{top}{rows}* oscillator strengths were scaled by the solar isotopic ratios.\n References:\n  1. x\n"
    )
    return path


_ELEMENTS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se
Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er
Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es
"""


def vald_stellar(path: Path, layout: str) -> Path:
    """An "extract stellar" of 5050 to 5200 Å, with depths, a model and its abundances, "short" or "long"."""
    rows = ""
    for name, wave, excitation, gf in sorted(LINES, key=lambda line: line[1]):
        if layout == "short":
            rows += (
                f"'{name}', {wave:.4f}, {excitation:.4f}, 1.0, {gf:.3f}, 8.000,-6.000,-7.500, 1.250, 0.700, "
                "'  1 wl:K14   1 K14'\n"
            )
        else:
            rows += (
                f"'{name}', {wave:.4f}, {gf:.3f}, {excitation:.4f}, 2.0, {excitation + 12398.4 / wave:.4f}, 3.0, "
                "1.820, 1.340, 1.100, 8.000,-6.000,-7.500, 0.700,\n"
                "'  LS                                     3d6.4s2 a5P'\n"
                "'  LS                        3d6.(5D).4s.4p.(3P*) y5P*'\n"
                "'K14       Kurucz obs. energy level   1 wl:K14   1 K14  '\n"
            )
    headings = {
        "short": "Damping parameters   Lande  Central\nSpec Ion       WL_air(A)  Excit(eV) Vmic log gf*  Rad.\n",
        "long": "Lande factors        Damping parameters\nElm Ion       WL_air(A)  log gf* E_low(eV) J lo  E_up(eV)\n",
    }
    abundances = [*(f"'{name}: -5.00'" for name in _ELEMENTS.split()), "'END'"]
    tail = ",\n".join(", ".join(abundances[max(i, 0) : i + 6]) for i in range(-4, 100, 6))  # 18 lines
    path.write_text(
        f" 5050.00000, 5200.00000, {len(LINES)}, 999, 1.0 Wavelength region, lines selected, lines processed, Vmicro\n"
        f"{' ' * 60}{headings[layout]}{rows}'models/t5500.krz',\n{tail}\n References:\n"
    )
    return path


def synthesis_folder(folder: Path) -> Path:
    """Put a line list ``a.lin`` and atmospheres ``models`` into a folder."""
    vald_short(folder / "a.lin")
    atmosphere_folder(folder / "models")
    return folder
