"""Options that verbs share: the name, short form, unit and wording of each idea are defined here, once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

of_spectrum = partial(Option, rich_help_panel="The spectrum")
of_model = partial(Option, rich_help_panel="The model")
of_star = partial(Option, rich_help_panel="The star")
of_output = partial(Option, rich_help_panel="Output")
of_resources = partial(Option, rich_help_panel="Resources")

NETWORK = "A packaged network (default, starnet-spc), the folder of a training run, or a network file."
_NOMINAL = "Nominal resolving power R = λ/FWHM"


def out_file(what: str) -> Any:
    """``--out FILE``."""
    return of_output("--out", "-o", metavar="FILE", help=what)


def out_folder(what: str) -> Any:
    """``--out FOLDER``."""
    return of_output("--out", "-o", metavar="FOLDER", help=what)


def resolution(what: str) -> Any:
    """``--resolution R``."""
    return of_spectrum("--resolution", "-R", metavar="R", help=what)


Files = Annotated[list[Path], Argument(metavar="FILE...", help="Spectra in any supported format.")]
Resolution = Annotated[float | None, resolution(f"{_NOMINAL}; overrides the file.")]
ResolutionOrAuto = Annotated[
    str | None,
    of_spectrum(
        "--resolution",
        "-R",
        metavar="R|auto",
        help=f"{_NOMINAL}; overrides the file. auto: estimated from the width of the lines.",
    ),
]
ResolutionOfModel = Annotated[float, resolution(f"{_NOMINAL} of the instrument.")]
Velocity = Annotated[
    float | None,
    of_spectrum(
        metavar="KM/S", help="Radial velocity in the file's wavelengths [default: measured, from -500 to 500 km/s]."
    ),
]
Mask = Annotated[
    list[str] | None,
    of_spectrum(metavar="LOW-HIGH", help="Wavelengths to ignore, Å in air at rest, such as 5183-5184.2. Repeatable."),
]
WavelengthFile = Annotated[Path | None, of_spectrum(metavar="FILE", help="Wavelengths, if not in the spectrum's file.")]
SigmaFile = Annotated[
    Path | None,
    of_spectrum(metavar="FILE", help="Noise (sigma), if not in the spectrum's file."),
]
Medium = Annotated[
    str | None,
    of_spectrum(metavar="air|vacuum", help="Medium of the wavelengths; overrides the file."),
]

Model = Annotated[str, of_model(metavar="NETWORK", help=NETWORK)]
ModelArgument = Annotated[str, Argument(metavar="NETWORK", help=NETWORK)]
Emulator = Annotated[str, of_model(metavar="EMULATOR", help="An emulator file, or packaged.")]
EmulatorOfNetwork = Annotated[
    str | None,
    of_model(metavar="EMULATOR", help="An emulator file [default: that of the network]."),
]
LabelSet = Annotated[
    str,
    of_model(
        "--labels", metavar="SET", help="Labels to show: default, alpha, or abundances ([C, Mg, Ca, Ti, Cr, Ni / Fe])."
    ),
]
LabelTable = Annotated[
    Path | None,
    Option(
        "--labels", metavar="CSV", help="Table with a column file and one column per label; replaces names and headers."
    ),
]
Prior = Annotated[
    list[str] | None,
    of_model(
        metavar="LABEL=VALUE",
        help="External information: logg=4.29+-0.03, teff=5800+50-80 or mh=-0.2..0.1. Repeatable.",
    ),
]
Refine = Annotated[
    bool | None,
    of_model(
        "--refine/--no-refine", help="Refine the posterior with the likelihood of model spectra [default: if possible]."
    ),
]
Samples = Annotated[int | None, of_model(min=10, metavar="N", help="Samples of the posterior [default: 4000].")]
Seed = Annotated[int, of_resources(min=0, metavar="N", help="Seed of the random numbers.")]

AsJson = Annotated[bool, of_output("--json", help="Print JSON instead of tables.")]
Plot = Annotated[
    Path | None,
    of_output(metavar="FOLDER", help="Folder for one figure per spectrum (PNG, PDF)."),
]
Workers = Annotated[int, of_resources(min=1, metavar="N", help="Processes that share the work.")]
Ray = Annotated[
    str | None,
    of_resources(
        metavar="ADDRESS",
        help="Share the work over a Ray cluster: host:port or auto; local starts one on this machine.",
    ),
]
RayWorkers = Annotated[
    int | None,
    of_resources(
        "--workers", min=1, metavar="N", help="Processes that share the work [default: 1, or all of a cluster]."
    ),
]
Fresh = Annotated[bool, of_output("--fresh", help="Delete the results of an earlier run in the folder.")]
RequiredGrid = Annotated[Path, Option("--grid", "-g", metavar="FILE", help="A grid of spectra (HDF5).")]
Grid = Annotated[Path | None, Option("--grid", "-g", metavar="FILE", help="A grid of spectra (HDF5).")]
Libraries = Annotated[list[str], Argument(metavar="LIBRARY...", help="Library files (HDF5) or quoted glob patterns.")]
MoreLibraries = Annotated[
    list[str] | None, Option("--library", metavar="LIBRARY", help="Library file or quoted glob pattern. Repeatable.")
]
Window = Annotated[tuple[float, float], Option(metavar="LOW HIGH", help="First and last wavelength, Å in air.")]
Range = tuple[float, float]

Teff = Annotated[float | None, of_star(metavar="K", help="Effective temperature [default: 5772].")]
Logg = Annotated[float | None, of_star(metavar="DEX", help="Surface gravity log g, cgs [default: 4.44].")]
Metallicity = Annotated[float, of_star("--mh", metavar="DEX", help="Metallicity [M/H].")]
Vmic = Annotated[
    float | None,
    of_star(metavar="KM/S", help="Microturbulence [default: usual for Teff and log g]."),
]
Alpha = Annotated[float, of_star(metavar="DEX", help="[Mg/M] = [Ca/M] = [Ti/M].")]
Vsini = Annotated[float, of_star(metavar="KM/S", help="Projected rotation v sin i.")]
Vmac = Annotated[float, of_star("--vmac", metavar="KM/S", help="Radial-tangential macroturbulence.")]
SNR = "Signal-to-noise ratio of the continuum per 2.3 km/s"
Fixed = Annotated[
    list[str] | None,
    of_star("--fix", metavar="LABEL", help="A label known exactly, such as logg. Repeatable."),
]
ModelError = Annotated[
    bool,
    of_model(
        "--model-error/--no-model-error", help="Include the errors of the synthetic spectra, as in the simulation."
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
