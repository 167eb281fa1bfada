"""Options that verbs share: the name, short form, unit and wording of each idea are defined here, once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option


def of(metavar: str, what: str, *names: str, panel: str | None = None, **limits: Any) -> Any:
    """An option of a verb.

    Args:
        metavar: stands for its value; empty for a switch or the name of its type.
        what: its help, with the unit.
        names: its names, if they are not made from the parameter's.
        panel: heading under which the help lists it.
        limits: smallest and largest value, ``min`` and ``max``.
    """
    return Option(*names, metavar=metavar or None, help=what, rich_help_panel=panel, **limits)


of_spectrum = partial(of, panel="The spectrum")
of_model = partial(of, panel="The model")
of_star = partial(of, panel="The star")
of_output = partial(of, panel="Output")
of_resources = partial(of, panel="Resources")

NETWORK = "A packaged network (default, starnet-spc), the folder of a training run, or a network file."
_NOMINAL = "Nominal resolving power R = λ/FWHM"


def out_file(what: str) -> Any:
    """``--out FILE``."""
    return of_output("FILE", what, "--out", "-o")


def out_folder(what: str) -> Any:
    """``--out FOLDER``."""
    return of_output("FOLDER", what, "--out", "-o")


def resolution(what: str) -> Any:
    """``--resolution R``."""
    return of_spectrum("R", what, "--resolution", "-R")


Files = Annotated[list[Path], Argument(metavar="FILE...", help="Spectra in any supported format.")]
Resolution = Annotated[float | None, resolution(f"{_NOMINAL}; overrides the file.")]
ResolutionOrAuto = Annotated[
    str | None,
    of_spectrum(
        "R|auto", f"{_NOMINAL}; overrides the file. auto: estimated from the width of the lines.", "--resolution", "-R"
    ),
]
ResolutionOfModel = Annotated[float, resolution(f"{_NOMINAL} of the instrument.")]
Velocity = Annotated[
    float | None,
    of_spectrum("KM/S", "Radial velocity in the file's wavelengths [default: measured]."),
]
VelocityRange = Annotated[
    tuple[float, float] | None,
    of_spectrum("LOW HIGH", "Range in which the velocity is searched, km/s [default: -500 500]."),
]
Mask = Annotated[
    list[str] | None,
    of_spectrum("LOW-HIGH", "Wavelengths to ignore, Å in air at rest, such as 5183-5184.2. Repeatable."),
]
WavelengthFile = Annotated[Path | None, of_spectrum("FILE", "Wavelengths, if not in the spectrum's file.")]
SigmaFile = Annotated[Path | None, of_spectrum("FILE", "Noise (sigma), if not in the spectrum's file.")]
Medium = Annotated[str | None, of_spectrum("air|vacuum", "Medium of the wavelengths; overrides the file.")]
WavelengthUnit = Annotated[
    str | None, of_spectrum("UNIT", "Unit of the wavelengths: angstrom, nm, um, m, log10 or ln; overrides the file.")
]
IgnoreSigma = Annotated[bool, of_spectrum("", "Ignore the noise in the file and measure it.", "--ignore-sigma")]
Extension = Annotated[str | None, of_spectrum("NAME|N", "FITS extension or HDF5 group with the flux.")]
Row = Annotated[int | None, of_spectrum("N", "Row of the table or image with the spectrum; the first is 1.", min=1)]
Fibre = Annotated[str | None, of_spectrum("NAME|N", "Fibre, trace or aperture, of several in the file.")]
Order = Annotated[int | None, of_spectrum("N", "Echelle order, the only one to read.")]

READING: dict[str, tuple[Any, Any]] = {
    "wavelength_file": (WavelengthFile, None),
    "sigma_file": (SigmaFile, None),
    "ignore_sigma": (IgnoreSigma, False),
    "wavelength_unit": (WavelengthUnit, None),
    "medium": (Medium, None),
    "extension": (Extension, None),
    "row": (Row, None),
    "fibre": (Fibre, None),
    "order": (Order, None),
}
"""How a file is read: type and default of each option, by attribute of `maury.readers.ReadOptions`."""


def reads_files(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with the options of `READING`, which it gets as the dictionary ``reading``, one of its parameters."""
    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(verb, eval_str=True).parameters.values():
        if own.name != "reading":
            parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        for name, (annotation, default) in READING.items():
            made = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            parameters.append(made)

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        reading = {name: given.pop(name, default) for name, (_, default) in READING.items()}
        verb(**given, reading=reading)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


Model = Annotated[str, of_model("NETWORK", NETWORK)]
ModelArgument = Annotated[str, Argument(metavar="NETWORK", help=NETWORK)]
Emulator = Annotated[str, of_model("EMULATOR", "An emulator file, or packaged.")]
EmulatorOfNetwork = Annotated[str | None, of_model("EMULATOR", "An emulator file [default: that of the network].")]
LabelSet = Annotated[
    str,
    of_model("SET", "Labels to show: default, alpha, abundances (13 elements) or abundances:mg,y.", "--labels"),
]
LabelTable = Annotated[
    Path | None, of("CSV", "Table with a column file and one column per label; replaces names and headers.", "--labels")
]
Prior = Annotated[
    list[str] | None,
    of_model("LABEL=VALUE", "Prior on a label: logg=4.29+-0.03, teff=5800+50-80 or mh=-0.2..0.1. Repeatable."),
]
Parallax = Annotated[
    str | None, of_star("MAS", "Gaia's parallax: 27.3+-0.1 mas. With --gmag gives radius, luminosity, mass and log g.")
]
Gmag = Annotated[float | None, of_star("MAG", "Gaia's G magnitude.")]
Reddening = Annotated[str, of_star("MAG", "Reddening E(B-V): 0.02+-0.01 mag.")]
Refine = Annotated[
    bool | None,
    of_model(
        "", "Refine the posterior with the likelihood of model spectra [default: if possible].", "--refine/--no-refine"
    ),
]
Components = Annotated[
    int | None,
    of_model(
        "N",
        "2: also fit two stars, with labels, velocities and light ratio; 1: never [default: where the lines of a "
        "second star are found].",
        min=1,
        max=2,
    ),
]
Samples = Annotated[int | None, of_model("N", "Samples of the posterior [default: 4000].", min=10)]
Seed = Annotated[int, of_resources("N", "Seed of the random numbers.", min=0)]

AsJson = Annotated[bool, of_output("", "Print JSON instead of tables.", "--json")]
Plot = Annotated[Path | None, of_output("FOLDER", "Folder for one figure per spectrum (PNG, PDF).")]
Workers = Annotated[int, of_resources("N", "Processes that share the work.", min=1)]
Ray = Annotated[
    str | None,
    of_resources("ADDRESS", "Share the work over a Ray cluster: host:port or auto; local starts one on this machine."),
]
RayWorkers = Annotated[
    int | None,
    of_resources("N", "Processes that share the work [default: 1, or all of a cluster].", "--workers"),
]
Fresh = Annotated[bool, of_output("", "Delete the results of an earlier run in the folder.", "--fresh")]
RequiredGrid = Annotated[Path, of("FILE", "A grid of spectra (HDF5).", "--grid", "-g")]
Grid = Annotated[Path | None, of("FILE", "A grid of spectra (HDF5).", "--grid", "-g")]
Libraries = Annotated[list[str], Argument(metavar="LIBRARY...", help="Library files (HDF5) or quoted glob patterns.")]
MoreLibraries = Annotated[
    list[str] | None, of("LIBRARY", "Library file or quoted glob pattern. Repeatable.", "--library")
]
Window = Annotated[tuple[float, float], of("LOW HIGH", "First and last wavelength, Å in air.")]
Range = tuple[float, float]

Teff = Annotated[float | None, of_star("K", "Effective temperature [default: 5772].")]
Logg = Annotated[float | None, of_star("DEX", "Surface gravity log g, cgs [default: 4.44].")]
Metallicity = Annotated[float, of_star("DEX", "Metallicity [M/H].", "--mh")]
Vmic = Annotated[float | None, of_star("KM/S", "Microturbulence [default: usual for Teff and log g].")]
Alpha = Annotated[float, of_star("DEX", "[Mg/M] = [Ca/M] = [Ti/M].")]
Vsini = Annotated[float, of_star("KM/S", "Projected rotation v sin i.")]
Vmac = Annotated[float, of_star("KM/S", "Radial-tangential macroturbulence.", "--vmac")]
SNR = "Signal-to-noise ratio of the continuum per 2.3 km/s"
Fixed = Annotated[list[str] | None, of_star("LABEL", "A label known exactly, such as logg. Repeatable.", "--fix")]
ModelError = Annotated[
    bool,
    of_model(
        "", "Include the errors of the synthetic spectra, as in the simulation.", "--model-error/--no-model-error"
    ),
]


def star(
    teff: float | None,
    logg: float | None,
    mh: float,
    vmic: float | None,
    alpha: float,
    vsini: float,
    vmac: float | None,
) -> dict[str, float]:
    """Labels by name; those that are None are left out."""
    given = {"teff": teff, "logg": logg, "mh": mh, "vmic": vmic, "vsini": vsini, "vmac": vmac}
    given |= dict.fromkeys(("mg", "ca", "ti", "alpha"), alpha)
    return {name: value for name, value in given.items() if value is not None}
