"""Astrophysical log gf from a regularised least-squares fit to all stars, iterated with recomputed spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from maury.lines.calibration_settings import CalibrateConfig, StandardStar
from maury.lines.fitback import ANCHOR, anchor_rows, fit_back
from maury.lines.leastsquares import robust_steps
from maury.lines.parameters import LineParameters, group_components, line_parameters, qualities
from maury.lines.response import Response, count_jobs, isotope_shifts, job_for, respond, spectra
from maury.lines.standard_star import model_grid, read_standard
from maury.lines.standards import Standard
from maury.progress import Advance
from maury.synthesis import AtmosphereGrid, LineList, Workers
from maury.synthesis.changes import molecule_shift
from maury.synthesis.departures import read_departures
from maury.synthesis.linefile import LineFile
from maury.wavelengths import Floats

_FEWEST_ITERATIONS = 3

LARGEST_STEP = 0.5
"""Largest change of log gf in one iteration, dex; derivatives are valid for about this much."""


@dataclass(frozen=True)
class Calibration:
    """Inputs of a calibration, and the spectra and derivatives computed from them.

    Raises:
        ConfigError: no source matches a reference, or departures are given for a species without lines.
        DomainError: the list does not cover the window.
        FormatError: an observed spectrum or a file of departures cannot be read.
    """

    config: CalibrateConfig  # settings
    lines: LineFile  # the line list as text
    table: LineList  # the same list as PySME's table
    atmospheres: AtmosphereGrid  # model atmospheres
    workers: Workers  # processes that compute spectra
    advance: Advance  # called with 1 after each spectrum
    cool: LineList | None = None  # additional lines of cool stars

    def __post_init__(self) -> None:
        """Check all inputs before the first spectrum is computed."""
        self.table.require(*self.config.window)
        qualities(self.lines, self.config)
        if self.config.physics.departures is not None:
            read_departures(self.config.physics.departures).require(self.lines.species)
        for star in self.config.stars:
            read_standard(star, self.config.observed, self.config.window, self.config.mask)

    def log_gf(self, star: StandardStar, change: Floats, hydride: float = 0.0) -> Floats:
        """Log gf of all lines (n,) in a star, with ``change``, its isotope ratios, and ``hydride`` added for MgH."""
        shift = isotope_shifts(star, self.lines.species, self.lines.reference)
        return self.lines.loggf + change + shift + hydride * (self.lines.species == "MgH 1")

    def respond(self, star: StandardStar) -> Response:
        """Compute flux and derivatives of a star with the original list, haze included."""
        grid = model_grid(self.config.window)
        none = np.zeros(len(self.lines))
        response = respond(
            star,
            self.log_gf(star, none),
            self.table,
            self.atmospheres,
            grid,
            self.workers,
            self.advance,
            self.config.physics,
            self.cool,
        )
        share = 1 - star.haze
        labels = {name: share * values for name, values in response.labels.items()}
        flux = 1 - share * (1 - response.flux)
        return Response(flux, sparse.csc_array(share * response.lines), labels, response.strength)

    def standard(self, star: StandardStar, response: Response) -> Standard:
        """Read the observed spectrum of a star and compare it with the model of ``response``."""
        config = self.config
        wavelength, flux = read_standard(star, config.observed, config.window, config.mask)
        copy = Response(response.flux, response.lines, response.labels, response.strength)
        window = self.config.window
        return Standard(star, wavelength, flux, model_grid(window), copy, window, self.config.continuum_aa)

    def fluxes(self, standards: list[tuple[StandardStar, float]], change: Floats) -> list[Floats]:
        """Compute intrinsic fluxes of stars, each given with its change of MgH, for a change of log gf (n,)."""
        jobs = [job_for(star, self.atmospheres, self.log_gf(star, change, mgh)) for star, mgh in standards]
        grid, physics = model_grid(self.config.window), self.config.physics
        done = spectra(jobs, self.table, grid, self.workers, self.advance, physics, self.cool)
        return [1 - (1 - star.haze) * (1 - flux) for (flux, _), (star, _) in zip(done, standards, strict=True)]


@dataclass
class Outcome:
    """Results of a calibration."""

    parameters: LineParameters  # the fitted parameters of the lines
    values: Floats  # their values (k,)
    change: Floats  # change of log gf of each line (n,), dex
    terms: dict[str, float]  # offset and slope of each molecule
    standards: list[Standard]  # the stars after the last iteration
    anchor: list[dict[str, float]]  # recovered minus literature labels of the anchor star, after each iteration
    holds: bool  # whether the last of them are within tolerance
    at_bound: NDArray[np.bool_]  # lines whose change reached its bound (n,)


def calibrate(run: Calibration, responses: dict[str, Response], without: str = "") -> Outcome:
    """Fit the lines; recompute spectra and repeat until the fit recovers the labels of the anchor star.

    ``responses`` are derivatives of each star with the unchanged list; the star ``without`` is left out.
    """
    config = run.config
    standards = [run.standard(star, responses[star.name]) for star in config.calibrating if star.name != without]
    quality = qualities(run.lines, config)
    number = group_components(run.lines, _active(standards, config), quality.width)
    parameters = line_parameters(run.lines, number, quality.width, config)
    values = np.zeros(len(parameters.names))
    first = {s.star.name: s.response.lines for s in standards}
    change, terms = np.zeros(len(run.lines)), dict[str, float]()
    anchor: list[dict[str, float]] = []
    for _ in range(config.iterations):
        values = _step(run, standards, parameters, values)
        single, terms = parameters.rounded(values)
        change = single + molecule_shift(run.lines, terms)
        fluxes = run.fluxes([(s.star, s.magnesium_hydride) for s in standards], change)
        for standard, flux in zip(standards, fluxes, strict=True):
            standard.response.flux = flux
            scale = _growth(standard.response.strength, change)
            standard.response.lines = sparse.csc_array(first[standard.star.name] @ sparse.diags_array(scale))
            standard.compare()
        back = fit_back(run.lines, standards[0], abundances=config.free).labels
        anchor.append({name: back[name] for name in ANCHOR})
        if len(anchor) >= _FEWEST_ITERATIONS and _holds(anchor[-1]):
            break
    count = parameters.transitions
    stopped = np.abs(values[:count]) > 0.999 * config.bound * parameters.width[:count]
    at_bound = np.asarray(parameters.matrix[:, :count] @ stopped.astype(float) > 0)
    return Outcome(parameters, values, change, terms, standards, anchor, _holds(anchor[-1]), at_bound)


def _holds(offsets: dict[str, float]) -> bool:
    """Whether the labels of the anchor star are recovered within twice the tolerances of `ANCHOR`."""
    return all(abs(offsets[name]) <= 2 * tolerance for name, tolerance in ANCHOR.items())


def _active(standards: list[Standard], config: CalibrateConfig) -> NDArray[np.bool_]:
    """Lines (n,) that change the flux of a star by more than ``threshold`` per dex, scaled by the star's weight."""
    anchor = standards[0].star.sigma
    shown = [np.abs(s.response.lines).max(0).toarray().ravel() * anchor / s.star.sigma for s in standards]
    return np.asarray(np.max(shown, 0) > config.threshold)


def _growth(strength: Floats, change: Floats) -> Floats:
    """Factor on the derivative by log gf after a change of log gf: as x / (1 + x), x line over continuum opacity."""
    old = np.maximum(strength, 1e-4)
    new = old * 10**change
    return np.clip(new / (1 + new) * (1 + old) / old, 0.03, 10)


def _step(run: Calibration, standards: list[Standard], parameters: LineParameters, values: Floats) -> Floats:
    """Solve one linear least-squares problem, update the stars, and return new values of the line parameters."""
    common, own, names, widths, centres = [], [], [], [parameters.width], [-values]
    for standard in standards:
        by_line = standard.line_derivatives()
        common.append(sparse.csc_array(by_line @ parameters.matrix))
        mine, width, derivatives = standard.own_parameters(run.lines, by_line)
        own.append(derivatives)
        names.append(mine)
        widths.append(width)
        steps = [0.0 if name.startswith("continuum") else -standard.moved.get(name, 0.0) for name in mine]
        centres.append(np.array(steps))
    rows, target, tight = anchor_rows(run.lines, standards[0], common[0], run.config.free)
    blocks = sparse.hstack([sparse.vstack(common), sparse.block_diag(own)])
    padding = sparse.csc_array((len(target), blocks.shape[1] - rows.shape[1]))
    design = sparse.csc_array(sparse.vstack([blocks, sparse.hstack([rows, padding])]))
    residual = np.concatenate([*[s.observed - s.model for s in standards], target])
    sigma = np.concatenate([*[s.sigma for s in standards], tight])
    solution = robust_steps(design, residual, sigma, np.concatenate(widths), np.concatenate(centres), exact=len(target))
    count = len(values)
    step = solution.step[:count].copy()
    single = slice(0, parameters.transitions)
    step[single] = np.clip(step[single], -LARGEST_STEP, LARGEST_STEP)
    limit = run.config.bound * parameters.width
    new = np.clip(values + step, -limit, limit)
    start = count
    for standard, mine in zip(standards, names, strict=True):
        standard.take(mine, solution.step[start : start + len(mine)])
        start += len(mine)
    return np.asarray(new)


def count_spectra(config: CalibrateConfig, table: LineList, solve: bool, cross_validate: bool) -> int:
    """Number of spectra to compute for a calibration (if ``solve``) and for the comparison of both lists."""
    stars, used = len(config.stars), len(config.calibrating)
    count = stars * count_jobs(table) + stars
    if solve:
        count += config.iterations * used
    if cross_validate:
        count += (used - 1) * (config.iterations * (used - 1) + 1)
    return count
