"""Options that describe a star, shared by the verbs that compute with the physics alone."""

from __future__ import annotations

from typing import Annotated

import typer

Teff = Annotated[float | None, typer.Option(help="K [default: 5772]", show_default=False)]
Logg = Annotated[float | None, typer.Option(help="dex, cgs [default: 4.44]", show_default=False)]
Metallicity = Annotated[float, typer.Option(help="[M/H], dex")]
Vmic = Annotated[
    float | None, typer.Option(help="microturbulence, km/s [default: usual for Teff and log g]", show_default=False)
]
Alpha = Annotated[float, typer.Option(help="[Mg/M] = [Ca/M] = [Ti/M], dex")]
Vsini = Annotated[float, typer.Option(help="km/s")]
Macroturbulence = Annotated[float, typer.Option(help="radial-tangential macroturbulence, km/s")]
Resolution = Annotated[float, typer.Option("--resolution", "-R", help="R = lambda / FWHM")]
Fixed = Annotated[
    list[str] | None,
    typer.Option("--fix", help="A label that is known, such as logg from a transit; may be repeated."),
]
ModelError = Annotated[
    bool,
    typer.Option(
        "--model-error/--no-model-error", help="Count the errors of the synthetic spectra, as the simulation has them."
    ),
]


def others(mh: float, vmic: float | None, alpha: float, vsini: float, vmac: float) -> dict[str, float]:
    """Labels by name, without Teff and log g."""
    given = {"mh": mh, "vsini": vsini, "vmac": vmac, **dict.fromkeys(("mg", "ca", "ti", "alpha"), alpha)}
    return given if vmic is None else given | {"vmic": vmic}


def place(teff: float | None, logg: float | None) -> dict[str, float]:
    """Those of Teff and log g that are given, by name."""
    return {name: value for name, value in (("teff", teff), ("logg", logg)) if value is not None}
