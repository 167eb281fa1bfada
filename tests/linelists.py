"""Line lists for tests, in VALD's short format."""

from __future__ import annotations

from pathlib import Path

HEAD = (
    "                                             Damping parameters   Lande\n"
    "Elm Ion       WL_air(A) Excit(eV) log gf*   Rad.  Stark    Waals  factor   References\n"
)
TAIL = "* oscillator strengths were scaled by the solar isotopic ratios.\n References:\n  1. test\n"


def row(species, wavelength, energy=1.0, loggf=-1.0, damping=(8.0, -6.0, -7.5), reference="LM"):
    radiative, stark, waals = damping
    return (
        f"{repr(species) + ',':<13}{wavelength:>11.5f},{energy:9.4f},{loggf:8.3f},{radiative:6.3f},{stark:6.3f},"
        f"{waals:8.3f}, 99.000, '   1 {reference}'\n"
    )


def write_list(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "".join(rows) + TAIL)
    return path
