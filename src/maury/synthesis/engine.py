"""Spectra computed by PySME, in worker processes only: importing PySME writes into the home directory.

All of this module runs in `maury.synthesis.worker`. PySME: Wehrhahn, Piskunov & Ryabchikova (2023, A&A 671, A171).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maury.errors import FormatError, SynthesisError
from maury.labels import SYNTHESISED
from maury.synthesis.departures import read_departures
from maury.wavelengths import C_KMS, Floats

if TYPE_CHECKING:
    from maury.synthesis.atmospheres import Atmosphere
    from maury.synthesis.linelists import LineList
    from maury.synthesis.settings import PhysicsConfig

SOLAR_SCALE = "asplund2009"
WITH_MAGNESIUM = ("Ne", "Si", "S")
"""Elements with the [X/M] of Mg. So has oxygen, but at least [C/M] - 0.05, so that C/O stays below 0.62."""

OPACITIES = np.array([1] * 13 + [0, 1, 0, 0, 0, 0, 0])
"""Switches of continuous opacities, those of ATLAS9 models (IFOP)."""

_EQUAL_AREAS = np.sqrt((np.arange(7) + 0.5) / 7)
"""PySME's angles: mu at the middles of seven rings of equal area on the stellar disc."""

_IRON_KMS2_PER_K = 2 * 1.380649e-16 / (55.845 * 1.66053907e-24) / 1e10
"""2 k / m of iron, (km/s)^2 per K."""

_LINE_TEMPERATURE = 0.8
"""Temperature where weak lines form, divided by Teff."""

_WIDEST_STEP_KMS = 1.0
"""Widest step of the uniform sampling: the wings of saturated lines are steep compared with their Doppler width."""

_PAD_STEPS = 8

_CONTINUUM_STEP_AA = 10.0
"""Spacing of the wavelengths of continuous opacities in uniform sampling, finer at edges; PySME's own is 1 Å."""

_NARROWEST_DOPPLER, _FULL_RATIO = 3.5, 0.1
"""Range of a line in uniform sampling: PySME's, times the root of (opacity / continuous opacity / `_FULL_RATIO`) where
that is below one (a damping wing falls with the square of the distance); at least `_NARROWEST_DOPPLER` widths."""

_DEEPEST = 67
"""Deepest layer of ATLAS9 kept in uniform sampling, counted from 0: log tau = 1.5."""

_FINE_LAYERS = 64
"""Uniform sampling leaves out layers of atmospheres with more than this many (ATLAS9: 72, MARCS: 56)."""


def version() -> str:
    """Version of PySME."""
    pysme = _import()
    return str(pysme.__version__)


def read_vald(path: str) -> tuple[dict[str, NDArray[Any]], str, int | None, tuple[float, float] | None]:
    """Parse an extract of VALD with PySME's reader.

    Returns:
        Columns of its table; "short" or "long"; number of lines and range of wavelengths of the heading, which only an
        "extract stellar" has.
    """
    _import()
    from pysme.linelist.vald import ValdFile

    lines = ValdFile(path)
    table = lines._lines
    columns = {name: _plain(table[name].to_numpy()) for name in table.columns}
    stellar = lines.valdtype == "extract_stellar"
    span = (lines._wavelo, lines._wavehi) if stellar else None
    return columns, lines.lineformat, lines.nlines if stellar else None, span


def absolute_abundances(labels: Floats) -> Any:
    """PySME's abundances for one row of labels; Ne, Si and S follow Mg, and so does O, but for C/O below 0.62."""
    values = dict(zip(SYNTHESISED, labels.tolist(), strict=False))
    ratios = element_ratios(labels) | dict.fromkeys(WITH_MAGNESIUM, values["mg"])
    return single_abundances(values["mh"], ratios | {"O": max(values["mg"], values["c"] - 0.05)})


def single_abundances(mh: float, ratios: dict[str, float]) -> Any:
    """PySME's abundances: A(X) = A(X, Sun) + [M/H] + [X/M] for all elements but H and He; [X/M] is 0 if not given.

    PySME stores the pattern A(X) - [M/H]: reading an element from its `Abund` adds [M/H], writing does not; a change in
    place would add [M/H] twice.
    """
    from pysme.abund import Abund

    sun = Abund(monh=0, pattern=SOLAR_SCALE, type="H=12").get_pattern("H=12")
    abundances = Abund(monh=mh, pattern=SOLAR_SCALE, type="H=12")
    abundances.update_pattern({element: sun[element] + ratio for element, ratio in ratios.items()})
    return abundances


def element_ratios(labels: Floats) -> dict[str, float]:
    """[X/M] by element, from one row of labels in the order of `maury.labels.SYNTHESISED`, which may end early."""
    return {name.capitalize(): float(value) for name, value in zip(SYNTHESISED[4:], labels[4:], strict=False)}


class PysmeSynthesizer:
    """Computes continuum-normalised intrinsic spectra (no rotation, no instrument) with PySME, in this process."""

    def __init__(
        self, lines: LineList, wavelength_aa: Floats, config: PhysicsConfig, cool: LineList | None = None
    ) -> None:
        """Pass the lines to PySME.

        ``cool`` are further lines for stars cooler than ``config.cool_teff``; wavelengths (p,) increase, Å in air.

        Raises:
            SynthesisError: PySME is not installed.
            FormatError: departures or departure coefficients cannot be read; or the latter with lines in short format.
        """
        _import()
        from pysme.synthesize import Synthesizer

        _check_nlte(config.nlte, lines)
        self.wavelength_aa, self.config = wavelength_aa, config
        self.log_gf = lines.log_gf.copy()
        self._lines, self._all_lines, self._own = _pysme_lines(lines), None, np.ones(len(lines), bool)
        if cool is not None and len(cool):
            self._cool_gf = cool.log_gf
            joined, order = lines.joined(cool)
            self._all_lines, self._own = _pysme_lines(joined), order < len(lines)
            self._order = order
        self._departures = None
        if config.departures is not None:
            energy = np.asarray(lines.columns["excit"], float)
            departures = read_departures(config.departures)
            self._departures = departures.for_lines(lines.species, lines.wavelength_aa, energy, lines.log_gf)
        self._library = _native_library()
        self._synthesizer = Synthesizer(lfs_nlte=_LocalFiles(), dll=self._library)

    def __call__(self, atmosphere: Atmosphere, labels: Floats) -> Floats:
        """Flux over continuum (p,) of a star.

        Args:
            atmosphere: its atmosphere.
            labels: the labels of `maury.labels.SYNTHESISED` (17,).

        Raises:
            SynthesisError: the flux is not finite.
        """
        if self.config.sampling == "adaptive":
            star = self._structure(atmosphere, labels)
            star.wave = self.wavelength_aa
            flux = np.asarray(self._synthesizer.synthesize_spectrum(star).synth[0], float)
        else:
            flux = self._uniform(self._structure(thinned(atmosphere), labels))
        if not np.isfinite(flux).all():
            raise SynthesisError("the flux is not finite")
        return flux

    def _structure(self, atmosphere: Atmosphere, labels: Floats) -> Any:
        from pysme.sme import SME_Structure

        star = SME_Structure()
        star.teff, star.logg, star.monh = atmosphere.teff, atmosphere.logg, atmosphere.mh
        star.vmic, star.vmac, star.vsini = float(labels[SYNTHESISED.index("vmic")]), 0, 0
        star.abund = absolute_abundances(labels)
        star.atmo = _pysme_atmosphere(atmosphere)
        star.linelist = self._linelist(atmosphere, star.vmic, self._ratios(labels))
        star.accrt, star.normalize_by_continuum = self.config.accrt, True
        star.line_select_recompute = "always"  # else PySME keeps the lines chosen for a star like this one
        for element, path in self.config.nlte.items():
            star.nlte.set_nlte(element, path)
        star.nlte.strict = True
        return star

    def _ratios(self, labels: Floats) -> dict[str, float]:
        """[X/M] by element, for departures from LTE."""
        return element_ratios(labels)

    def _linelist(self, atmosphere: Atmosphere, vmic: float, ratios: dict[str, float]) -> Any:
        """PySME's line list for a star: with departures from LTE, and for cool stars with their further lines."""
        teff, logg, mh = atmosphere.teff, atmosphere.logg, atmosphere.mh
        log_gf = self.log_gf
        if self._departures is not None:
            log_gf = log_gf + self._departures(teff, logg, mh, vmic, ratios)
        full, none = self.config.cool_teff
        if self._all_lines is None or teff >= none:
            self._lines._lines["gflog"] = log_gf
            self.used = self._lines
            return self._lines
        share = min((none - teff) / (none - full), 1.0)
        self._all_lines._lines["gflog"] = np.concatenate([log_gf, self._cool_gf + np.log10(share)])[self._order]
        self.used = self._all_lines
        return self._all_lines

    def strengths(self) -> Floats:
        """Largest ratio of line to continuous opacity of each line (n,) in the last spectrum."""
        values = np.asarray(self.used._lines["almax_ratio"], float)
        return values[self._own] if self.used is self._all_lines else values

    def _uniform(self, star: Any) -> Floats:
        """Flux from intensities at equal steps of ln(wavelength) and at the angles of `disc_quadrature`."""
        from scipy.interpolate import CubicSpline

        width = np.sqrt(_IRON_KMS2_PER_K * _LINE_TEMPERATURE * star.teff + star.vmic**2) / C_KMS
        step = min(self.config.doppler_step * width, _WIDEST_STEP_KMS / C_KMS)
        low, high = np.log(self.wavelength_aa[[0, -1]]) + np.array([-1, 1]) * _PAD_STEPS * step
        grid = np.exp(low + step * np.arange(int(np.ceil((high - low) / step)) + 1))
        star.mu, weights = disc_quadrature(3)
        star.wran, star.wint = [[grid[0], grid[-1]]], [grid]
        star.specific_intensities_only, star.normalize_by_continuum = True, False
        star.continuum_grid_base_step = _CONTINUUM_STEP_AA
        self._library.narrowest = _NARROWEST_DOPPLER * width
        done = self._synthesizer.synthesize_spectrum(star)
        flux = (weights @ np.asarray(done.sint[0])) / (weights @ np.asarray(done.cint[0]))
        return np.asarray(CubicSpline(np.log(done.wint[0]), flux)(np.log(self.wavelength_aa)), float)


def thinned(atmosphere: Atmosphere) -> Atmosphere:
    """Remove layers of an atmosphere that do not change its spectrum.

    The 72 layers of ATLAS9 are 0.125 dex of optical depth apart. Removed are every other layer between the fifth and
    log tau = -2.9, and all layers deeper than log tau = 1.5: they emit no light that escapes, and PySME's equation of
    state does not converge there in some metal-poor stars.
    """
    count = len(atmosphere.column_mass)
    if count <= _FINE_LAYERS:
        return atmosphere
    keep = np.ones(count, bool)
    keep[5:32:2] = keep[65] = keep[_DEEPEST + 1 :] = False
    columns = ("column_mass", "temperature", "atoms", "electrons", "density")
    return dataclasses.replace(atmosphere, **{name: getattr(atmosphere, name)[keep] for name in columns})


def disc_quadrature(count: int) -> tuple[Floats, Floats]:
    """Angles and weights of a sum over the disc that replaces PySME's sum over seven rings of equal area.

    Gauss quadrature (Golub & Welsch 1969) for weights of 1/7 at the seven mu of the rings: exact for intensities that
    are polynomials in mu of degree up to 2 count - 1.

    Args:
        count: number of angles, up to 7.

    Returns:
        mu (count,), decreasing as PySME keeps them, and weights (count,), of sum one.
    """
    x, size = _EQUAL_AREAS, len(_EQUAL_AREAS)
    diagonal, off = [], []
    before, now, scale = np.zeros(size), np.full(size, size**-0.5), 0.0
    for _ in range(count):
        diagonal.append(float(x @ now**2))
        rest = (x - diagonal[-1]) * now - scale * before
        scale = float(np.linalg.norm(rest))
        off.append(scale)
        before, now = now, rest / scale
    mu, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
    return mu[::-1], vectors[0, ::-1] ** 2


def _pysme_lines(lines: LineList) -> Any:
    from pandas import DataFrame
    from pysme.linelist.linelist import LineList as PysmeLines

    return PysmeLines(DataFrame(lines.columns), lineformat=lines.layout, medium="air")


def _native_library() -> Any:
    """PySME's native library, with a shorter range of weak lines if ``narrowest`` is positive."""
    from pysme.sme_synth import SME_DLL

    class Library(SME_DLL):
        narrowest = 0.0  # least range of a line over its wavelength; 0 keeps PySME's range

        def ALMAXRange(self, accrt: float = 1e-4) -> tuple[Floats, Floats]:  # noqa: N802
            ratio, ends = super().ALMAXRange(accrt=accrt)
            if not self.narrowest:
                return ratio, ends
            centre, half = ends.mean(1), np.diff(ends, axis=1)[:, 0] / 2
            least = np.minimum(self.narrowest * centre, half)
            half = np.clip(half * np.sqrt(ratio / _FULL_RATIO), least, half)
            return ratio, np.stack([centre - half, centre + half], axis=1)

    return Library()


class _LocalFiles:
    """Gives PySME the paths of departure coefficients from the settings, so that it downloads nothing."""

    def get(self, path: str) -> str:
        return path


def _check_nlte(files: dict[str, str], lines: LineList) -> None:
    for element, path in files.items():
        if not os.path.isfile(path):
            raise FormatError(f"{path}: no such file of departure coefficients (nlte.{element})")
    if files and lines.layout != "long":
        raise FormatError(f"{lines.source}: departure coefficients (nlte) need a line list in VALD's long format")


def _pysme_atmosphere(atmosphere: Atmosphere) -> Any:
    from pysme.abund import Abund
    from pysme.atmosphere.atmosphere import Atmosphere as PysmeAtmosphere

    a = PysmeAtmosphere()
    a.teff, a.logg, a.vturb, a.wlstd = atmosphere.teff, atmosphere.logg, 2.0, 5000.0
    a.abund = Abund(monh=atmosphere.mh, pattern=SOLAR_SCALE, type="H=12")
    a.method, a.geom, a.depth, a.interp, a.opflag = "embedded", "PP", "RHOX", "RHOX", OPACITIES
    a.rhox, a.temp = atmosphere.column_mass, atmosphere.temperature
    a.xna, a.xne, a.rho = atmosphere.atoms, atmosphere.electrons, atmosphere.density
    return a


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    return column.astype(str) if column.dtype.kind not in "fiub" else column


def _import() -> Any:
    """Import PySME without its messages.

    Raises:
        SynthesisError: it is not installed.
    """
    try:
        import pysme
    except ImportError as error:
        raise SynthesisError("synthesis needs PySME; install it with: pip install 'maury[synthesis]'") from error
    from pysme.smelib.libtools import get_full_libfile

    if not os.path.exists(get_full_libfile()):  # PySME would download it
        raise SynthesisError(f"PySME's native library is missing: {get_full_libfile()}; reinstall pysme-astro")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    return pysme
