"""The table of pipelines: what their documentation states and their files leave out. To add one, add an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from astropy.io import fits

from maury.readers.source import Medium
from maury.spectra import Frame

Header: TypeAlias = fits.Header

DRS_PREFIXES = ("ESO", "TNG", "OHP")
"""First words of the keywords of the Geneva DRS: HARPS and ESPRESSO, HARPS-N, SOPHIE."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline, or one product of it, whose documentation states what its files do not.

    Attributes:
        name: what notes call it.
        matches: whether a primary header is one of its; None if the layout of the file alone shows it.
        medium: air or vacuum; None where the file states it.
        frame: frame of the wavelengths; "unknown" where the file states it, or nothing does.
        raw_only: the frame holds only for files that no other program has changed since.
        traces: pattern of the names of extensions, one set for each trace, with groups ``trace`` and ``kind`` (FLUX,
            WAVE, VAR, ERR), or of tables, with groups ``trace`` and ``order``.
        star: pattern of the names of traces with the light of the star.
        fibres: from the primary header, the numbers of the fibres on stars.
        unit: unit of the wavelengths where their extensions state none; Å by default.
        assumed: whether the medium is that of similar pipelines, as no documentation states it.
        mask: what a number other than 0 in an array named mask marks.
        instruments: instruments, for the table of the documentation.
        usual_r: nominal resolving power, for the table.
        product: what is read, for the table.
        noise: noise and masks, for the table.
        seen: whether real files were read, or files that the tests write.
        source: where the knowledge is from.
    """

    name: str
    matches: Callable[[Header], bool] | None = None
    medium: Medium | None = None
    frame: Frame = "unknown"
    raw_only: bool = True
    traces: str | None = None
    star: str = r"(sci|science|targ|target|obj|object|star)\d*$"
    fibres: Callable[[Header], tuple[int, ...]] | None = None
    unit: str | None = None
    assumed: bool = False
    mask: Literal["bad", "good"] | None = None
    instruments: str
    usual_r: str = ""
    product: str
    noise: str = "measured"
    seen: Literal["real", "simulated"] = "simulated"
    source: str


def text_of(header: Header | Mapping[str, Any], *keys: str) -> str:
    """The values of some keywords, joined, in capitals."""
    return " ".join(str(header.get(key, "")) for key in keys).upper()


def _has(*keys: str) -> Callable[[Header], bool]:
    return lambda header: any(key in header for key in keys)


def _instrument(*names: str) -> Callable[[Header], bool]:
    return lambda header: any(name in text_of(header, "INSTRUME", "INSTRMNT") for name in names)


def _telescope(name: str) -> Callable[[Header], bool]:
    return lambda header: name in text_of(header, "TELESCOP")


def _product(kind: str) -> Callable[[Header], bool]:
    keys = [f"{prefix} PRO CATG" for prefix in DRS_PREFIXES]
    return lambda header: any(str(header.get(key, "")).startswith(kind) for key in keys)


def _drs_orders(header: Header) -> bool:
    return any(f"{prefix} DRS CAL TH COEFF LL0" in header for prefix in DRS_PREFIXES) and header.get("NAXIS") == 2


def _nres_fibres(header: Header) -> tuple[int, ...]:
    """NRES: OBJECTS names the light in fibres 0, 1 and 2, as ``HD1&thar&none``."""
    names = [name.strip().lower() for name in str(header.get("OBJECTS", "")).split("&")]
    return tuple(number for number, name in enumerate(names) if name not in ("", "none", "thar", "wmr", "tung", "sky"))


_RVDATA = "https://github.com/EPRV-RCN/RVData (FITS-extensions.rst)"
_HARPS = "HARPS DRS user manual (ESO)"

PIPELINES = (
    Pipeline(
        name="EPRV standard, level 2",
        medium="vacuum",
        frame="topocentric",
        traces=r"(?P<trace>TRACE\d+)_(?P<kind>FLUX|WAVE|VAR)",
        instruments="KPF, MAROON-X, NEID, EXPRES, HARPS, ESPRESSO in the common format",
        product="traces that the keywords TRACEn name as the star's; others by `--fibre`",
        noise="TRACEn_VAR",
        source=_RVDATA,
    ),
    Pipeline(
        name="EPRV standard, level 3",
        medium="vacuum",
        frame="barycentric",
        traces=r"(?P<trace>COADD|)_?STITCHED_CORR_(?P<number>TRACE\d+_|)(?P<kind>FLUX|WAVE|VAR)",
        star=r"(coadd|sci|science|targ|target|obj|object|star)\d*$",
        instruments="the same, orders merged",
        product="COADD_STITCHED_CORR, else the star's traces",
        noise="its VAR",
        source=_RVDATA,
    ),
    Pipeline(
        name="KPF DRP, level 1",
        matches=_instrument("KPF"),
        medium="vacuum",
        frame="topocentric",
        traces=r"(?P<chip>GREEN|RED)_(?P<trace>SCI|SKY|CAL)_(?P<kind>FLUX|WAVE|VAR)(?P<slice>\d?)",
        instruments="KPF",
        usual_r="98,000",
        product="slices SCI1 to SCI3 of both cameras",
        noise="their VAR",
        source="https://kpf-pipeline.readthedocs.io (Data Format)",
    ),
    Pipeline(
        name="MAROON-X (DRAGONS)",
        matches=_instrument("MAROON"),
        medium="vacuum",
        frame="topocentric",
        traces=r"(?P<kind>OPTIMAL_REDUCED_FIBER|OPTIMAL_REDUCED_VAR|OPTIMAL_REDUCED_ERR|BPM_FIBER|WLS\w*_FIBER|WAVELENGTHS?\w*_FIBER)"
        r"_(?P<trace>\d)",
        star=r"[234]$",
        unit="nm",
        assumed=True,
        instruments="MAROON-X",
        usual_r="85,000",
        product="fibres 2, 3 and 4, the slices of the star",
        noise="their VAR or ERR, BPM",
        source="https://github.com/GeminiDRSoftware/MAROONXDR (manual: names, nm, BERV in m/s); medium: stated nowhere",
    ),
    Pipeline(
        name="NRES (banzai-nres)",
        matches=lambda header: "NRES" in text_of(header, "INSTRUME", "TELESCOP"),  # the camera is named fa09
        medium="vacuum",
        frame="topocentric",
        fibres=_nres_fibres,
        mask="bad",
        instruments="NRES",
        usual_r="48,000",
        product="table SPECTRUM, the fibre that OBJECTS names as on the star",
        noise="`uncertainty`, `mask`",
        source="https://banzai-nres.readthedocs.io (Data Products)",
    ),
    Pipeline(
        name="PypeIt spec1d",
        matches=_has("PYP_SPEC", "PYPELINE"),
        medium="vacuum",
        traces=r"(?P<trace>(OBJ|SPAT|SLIT)\d+)-.*?(ORDER(?P<order>\d+))?",
        mask="good",
        instruments="HIRES and many more, by PypeIt",
        product="OPT columns, all orders of one object; frame by VEL_TYPE",
        noise="inverse variance, `OPT_MASK`",
        source="https://pypeit.readthedocs.io (spec1d output; Heliocentric Correction)",
    ),
    Pipeline(
        name="Geneva DRS, orders (e2ds)",
        matches=_drs_orders,
        medium="air",
        frame="topocentric",
        instruments="HARPS, HARPS-N, SOPHIE",
        usual_r="115,000; SOPHIE 75,000 (HR), 40,000 (HE)",
        product="`e2ds`, wavelengths from its polynomials",
        source=_HARPS,
    ),
    Pipeline(
        name="Geneva DRS, s1d",
        matches=_has(*(f"{p} DRS VERSION" for p in DRS_PREFIXES), *(f"{p} DRS BERV" for p in DRS_PREFIXES)),
        medium="air",
        frame="barycentric",
        instruments="HARPS, HARPS-N, SOPHIE",
        usual_r="115,000; SOPHIE 75,000 (HR), 40,000 (HE)",
        product="`s1d`",
        seen="real",
        source=_HARPS,
    ),
    Pipeline(
        name="ESPRESSO DRS, S1D",
        matches=_product("S1D"),
        frame="barycentric",
        instruments="ESPRESSO, HARPS (DRS 3)",
        usual_r="140,000; HARPS 115,000",
        product="`S1D`: wavelengths in air where it has both",
        noise="`error`, `quality`",
        source="ESPRESSO pipeline user manual (ESO)",
    ),
    Pipeline(
        name="ESPRESSO DRS, S2D",
        instruments="ESPRESSO, HARPS (DRS 3)",
        usual_r="140,000; HARPS 115,000",
        product="`S2D`: SCIDATA with WAVEDATA_AIR_BARY, each order twice",
        noise="ERRDATA, QUALDATA",
        source="ESPRESSO pipeline user manual (ESO)",
    ),
    Pipeline(
        name="ESO pipeline",
        matches=_instrument("XSHOOTER", "GIRAFFE"),
        medium="air",
        instruments="X-shooter, GIRAFFE",
        usual_r="by slit or setting",
        product="Phase 3 table",
        noise="`ERR`",
        source="ESO Science Data Products Standard",
    ),
    Pipeline(
        name="ESO Phase 3",
        instruments="UVES, FEROS, HARPS and all of ESO",
        usual_r="UVES 40,000 to 110,000 by slit; FEROS 48,000",
        product="table with WAVE, FLUX, ERR; medium by UCD, frame by SPECSYS, R by SPEC_RES",
        noise="`ERR`",
        seen="real",
        source="ESO Science Data Products Standard",
    ),
    Pipeline(
        name="MAKEE",
        matches=_has("WV_0_01"),
        medium="vacuum",
        frame="barycentric",
        instruments="HIRES",
        usual_r="45,000 to 70,000 by slit",
        product="orders with polynomials WV_0_nn",
        source="MAKEE manual (Barlow)",
    ),
    Pipeline(
        name="California Planet Search",
        instruments="HIRES, APF",
        usual_r="HIRES 45,000 to 70,000 by slit; APF 95,000",
        product="orders with wavelengths in an extension, or in a file of their own (`--wavelength-file`); air assumed",
        noise="extension 1",
        seen="real",
        source="https://github.com/petigura/specmatch-syn",
    ),
    Pipeline(
        name="LAMOST",
        matches=_telescope("LAMOST"),
        medium="vacuum",
        frame="barycentric",
        instruments="LAMOST",
        usual_r="7,500 (medium resolution)",
        product="table COADD, or image of rows",
        noise="inverse variance",
        source="https://www.lamost.org/dr8 (data description)",
    ),
    Pipeline(
        name="SDSS",
        matches=_telescope("SDSS"),
        medium="vacuum",
        frame="barycentric",
        instruments="SDSS",
        usual_r="2,000",
        product="table COADD, or image of rows",
        noise="inverse variance",
        source="https://data.sdss.org/datamodel (spec)",
    ),
    Pipeline(
        name="CARMENES (caracal)",
        matches=_instrument("CARMENES"),
        medium="vacuum",
        frame="topocentric",
        instruments="CARMENES",
        usual_r="94,600",
        product="SPEC with WAVE",
        noise="SIG",
        source="Zechmeister et al. 2014, A&A 561, A59; CARMENES data release 1 (Ribas et al. 2023)",
    ),
    Pipeline(
        name="NEID DRP, level 2",
        matches=_instrument("NEID"),
        medium="vacuum",
        frame="topocentric",
        traces=r"(?P<trace>SCI|SKY|CAL)(?P<kind>FLUX|WAVE|VAR)",
        instruments="NEID",
        usual_r="110,000 (HR), 60,000 (HE)",
        product="SCIFLUX with SCIWAVE",
        noise="SCIVAR",
        source="https://neid.ipac.caltech.edu/docs/NEID-DRP (names; no medium); "
        "https://github.com/TeHanHunter/neidspecmatch (NEID wavelengths are vacuum)",
    ),
    Pipeline(
        name="EXPRES",
        matches=_instrument("EXPRES"),
        medium="vacuum",
        mask="good",
        instruments="EXPRES",
        usual_r="137,500",
        product="table with `spectrum` and `bary_wavelength` = `wavelength` (1 + v/c)",
        noise="`uncertainty`, `pixel_mask`",
        source="Petersburg et al. 2020, AJ 159, 187; https://github.com/EPRV-RCN/RVData (instruments/expres)",
    ),
    Pipeline(
        name="Libre-ESpRIT",
        matches=_instrument("ESPADONS", "NARVAL"),
        medium="air",
        frame="barycentric",
        instruments="NARVAL, ESPaDOnS",
        usual_r="65,000 to 68,000",
        product="`i.fits`, `p.fits`, `.s`: normalised, telluric-corrected wavelengths",
        noise="its last column",
        seen="real",
        source="Donati et al. 1997, MNRAS 291, 658; CFHT, FITS format of reduced spectra",
    ),
    Pipeline(
        name="FIEStool",
        matches=_instrument("FIES"),
        frame="topocentric",
        raw_only=False,
        instruments="FIES",
        usual_r="67,000, 46,000, 25,000 by fibre",
        product="`*_wave`, IRAF multispec; air assumed",
        noise="band of the cube",
        seen="real",
        source="https://www.not.iac.es/instruments/fies/fiestool",
    ),
    Pipeline(
        name="HERMES (GALAH)",
        matches=lambda header: "HERMES-2DF" in text_of(header, "INSTRUME"),
        medium="air",
        frame="barycentric",
        instruments="HERMES at the AAT",
        usual_r="28,000",
        product="extensions by GALAH",
        noise="relative error",
        source="Buder et al. 2021, MNRAS 506, 150",
    ),
    Pipeline(
        name="TRES (Starfish)",
        instruments="TRES",
        usual_r="44,000",
        product="HDF5 with `wls`, `fls`, `sigmas`; IRAF multispec; air assumed",
        noise="`sigmas`",
        seen="real",
        source="https://starfish.readthedocs.io",
    ),
    Pipeline(
        name="CERES",
        instruments="FEROS and many more, by CERES",
        usual_r="FEROS 48,000",
        product="cube: vacuum, barycentric",
        noise="plane 9, signal-to-noise",
        source="Brahm et al. 2017, PASP 129, 034002",
    ),
    Pipeline(
        name="SONG",
        matches=lambda header: (
            "NODE" in text_of(header, "TELESCOP") or "SONG" in text_of(header, "INSTRUM", "TELESCOP")
        ),
        medium="air",
        frame="topocentric",
        instruments="SONG",
        usual_r="60,000 to 112,000 by slit",
        product="cube: plane 1 or 2 the flux, plane 4 the wavelengths",
        source="Heeren et al. 2023, A&A 674, A164; https://gitlab.com/Heeren/pyodine (utilities_song)",
    ),
    Pipeline(
        name="UVES_popler",
        instruments="UVES, by UVES_popler",
        usual_r="40,000 to 110,000 by slit",
        product="row named by ARRAYn: vacuum, heliocentric by its header",
        noise="its row",
        source="https://github.com/MTMurphy77/UVES_popler",
    ),
    Pipeline(
        name="PEPSI (SDS)",
        instruments="PEPSI",
        usual_r="50,000, 130,000, 250,000 by fibre",
        product="`.nor`, `.avr`: Arg, Fun; frame by SSBVEL and RADVEL",
        noise="`Var`",
        source="Strassmeier et al. 2018, A&A 612, A44",
    ),
)
"""Tried in this order; the first that matches is believed."""


def pipeline_of(header: Header, name: str = "") -> Pipeline | None:
    """The pipeline of a name, else the first whose primary header this is."""
    if name:
        return next(pipeline for pipeline in PIPELINES if pipeline.name == name)
    return next((p for p in PIPELINES if p.matches is not None and p.matches(header)), None)


def table_of_pipelines() -> list[str]:
    """The table of the documentation, one line of Markdown a pipeline."""
    lines = [
        "| pipeline | instruments | usual R | what is read | medium, frame | noise | looked at | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for p in PIPELINES:
        frame = {"topocentric": "observer's", "unknown": "as it says"}.get(p.frame, p.frame)
        medium = (p.medium or "as it says") + (" (assumed)" if p.assumed else "")
        cells = (p.name, p.instruments, p.usual_r, p.product, f"{medium}, {frame}", p.noise, p.seen)
        lines.append(f"| {' | '.join(cells)} | {p.source} |")
    return lines
