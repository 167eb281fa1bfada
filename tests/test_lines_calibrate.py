"""Calibration of log gf: errors put into a toy list come back out, label errors and missing lines do not go in."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from scipy import sparse

from linelists import row, write_list
from maury.broadening import transfer
from maury.cli.lines import _warn
from maury.errors import ConfigError, DomainError, SynthesisError
from maury.evaluation.calibrated_lines import absorbed_ranges, write_calibrated, write_verdicts
from maury.lines import change_of, read_changes, read_line_file
from maury.lines.calibrate import Calibration, calibrate
from maury.lines.calibration_settings import CalibrateConfig, load_calibration
from maury.lines.judge import cross_validate, judge
from maury.lines.kept import all_responses
from maury.lines.leastsquares import robust_steps
from maury.lines.parameters import group_components, line_parameters, qualities
from maury.lines.response import Response, count_jobs, isotope_shifts
from maury.lines.standard_star import (
    Broadening,
    broadening_matrix,
    continuum,
    continuum_basis,
    model_grid,
    read_standard,
)
from maury.lines.standards import Standard, elements_with_lines
from maury.lines.unexplained import candidates, find_unexplained, unexplained_mask, write_unexplained
from maury.synthesis import LineList
from maury.synthesis.changes import molecule_shift

WINDOW = (5100.0, 5130.0)
MISSING_AA = 5117.3


def settings(**changes):
    labels = {"file": "", "teff": 5800, "logg": 4.4, "mh": 0.0, "vmic": 1.0, "vsini": 2.0}
    values = {
        "list": "", "atmospheres": "", "observed": "", "window": WINDOW, "anchor": "Sun", "iterations": 3,
        "stars": [
            {"name": "warm", "resolution": 50_000, "sigma": 0.006, **labels},
            {"name": "Sun", "resolution": 80_000, "sigma": 0.004, **labels},
        ],
        "sources": [
            {"name": "laboratory", "pattern": "LM", "width": 0.06},
            {"name": "Kurucz", "pattern": "KUR", "width": 0.5},
        ],
        "molecules": {"MgH": {"offset": 0.3, "slope": 0.2, "line": 0.02}},
    }  # fmt: skip
    return CalibrateConfig.model_validate(values | changes)


def test_robust_least_squares_is_the_ridge_solution_without_outliers_and_shrugs_them_off():
    rng = np.random.default_rng(1)
    design = rng.normal(size=(400, 3))
    true, width = np.array([0.5, -1.0, 2.0]), np.array([10.0, 10.0, 0.1])
    data = design @ true + rng.normal(0, 1e-3, 400)
    plain = robust_steps(sparse.csc_array(design), data, np.full(400, 10.0), width, np.array([0, 0, 2.0]))
    normal = design.T @ design / 100 + np.diag(1 / width**2)
    ridge = np.linalg.solve(normal, design.T @ data / 100 + np.array([0, 0, 2.0]) / width**2)
    np.testing.assert_allclose(plain.step, ridge, atol=0.02)
    data[::20] += 50
    robust = robust_steps(sparse.csc_array(design), data, np.full(400, 0.1), np.full(3, 10.0), np.zeros(3))
    np.testing.assert_allclose(robust.step, true, atol=0.02)
    held = robust_steps(sparse.csc_array(design), data, np.full(400, 0.1), np.full(3, 10.0), np.zeros(3), exact=400)
    assert np.abs(held.step - true).max() > 0.1


def test_the_broadening_matrix_is_the_transfer_function():
    grid = model_grid(WINDOW)
    profile = 1 - 0.7 * np.exp(-(((grid.wavelength_aa - 5115) / 0.04) ** 2))
    wavelength = np.arange(5113, 5117, 0.013)
    got = broadening_matrix(wavelength, grid, Broadening(1.3, 4.0, 3.0, 60_000.0)) @ profile
    options = {"vsini_kms": 4.0, "vmac_kms": 3.0, "resolution": 60_000.0}
    kernel = transfer(torch.from_numpy(grid.frequency), **{k: torch.tensor([v]).double() for k, v in options.items()})
    smooth = np.fft.irfft(np.fft.rfft(profile) * kernel[0].numpy(), grid.size)
    expected = np.interp(wavelength * (1 - 1.3 / 299792.458), grid.wavelength_aa, smooth)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert 0.2 < 1 - got.min() < 0.6


def test_a_continuum_is_blind_to_what_the_model_lacks():
    wave = np.arange(5100, 5130, 0.01)
    model = 1 - 0.6 * np.exp(-(((wave - 5110) / 0.1) ** 2))
    curve = 3 + 0.05 * (wave - 5115) + 0.5 * np.sin(wave / 8)
    extra = 0.3 * np.exp(-(((wave - 5120) / 0.1) ** 2))
    found = continuum(curve * (model - extra), model, continuum_basis(wave, WINDOW, 10.0))
    np.testing.assert_allclose(found, curve, rtol=4e-3)


@pytest.fixture
def lines(tmp_path):
    rng = np.random.default_rng(2)
    rows = []
    for k in range(56):
        lab = k % 3 > 0
        source = {"reference": "LM"} if lab else {"reference": "KUR"}
        rows.append(row("Fe 1" if lab else "Ti 1", 5101 + 0.5 * k, 0.2 * (k % 7), rng.uniform(-1, 0.3), **source))
        if k % 4 == 0:
            molecule = {"damping": (0, 0, 0), "reference": "M112.00124"}
            rows.append(row("MgH 1", 5101.25 + 0.5 * k, 0.1 * (k % 12), -0.7, **molecule))
    return read_line_file(write_list(tmp_path / "toy.lin", *rows))


def test_components_of_a_transition_share_a_parameter(tmp_path):
    rows = [row("Co 1", 5110 + 0.02 * k, 2.0) for k in range(4)]
    rows += [row("Co 1", 5110.5, 2.0), row("Co 1", 5110.52, 2.1), row("Co 1", 5110.53, 2.1, reference="KUR")]
    lines = read_line_file(write_list(tmp_path / "a.lin", *rows))
    active = np.array([True] * 3 + [False] + [True] * 3)
    number = group_components(lines, active, np.array([0.06] * 6 + [0.5]))
    assert number.tolist() == [0, 0, 0, -1, 1, 2, 3]


def test_molecules_move_by_offset_and_slope(lines):
    config = settings()
    quality = qualities(lines, config)
    parameters = line_parameters(lines, group_components(lines, lines.loggf > -9, quality.width), quality.width, config)
    values = np.zeros(len(parameters.names))
    values[-2:] = 0.1, -0.2
    single, terms = parameters.rounded(values)
    assert terms == {"MgH:offset": 0.1, "MgH:slope": -0.2}
    assert not single.any()
    np.testing.assert_allclose(parameters.matrix @ values, molecule_shift(lines, terms), atol=1e-12)
    assert set(quality.name) == {"laboratory", "Kurucz", "molecule"}


def test_a_source_without_a_pattern_is_named(lines):
    config = settings(sources=[{"name": "laboratory", "pattern": "LM", "width": 0.06}])
    with pytest.raises(ConfigError, match=r"no pattern in sources matches the reference 'KUR'"):
        qualities(lines, config)


def test_any_species_moves_by_offset_and_slope(tmp_path):
    rows = [row("TiO 1", 5110, 0.3), row("TiO 2", 5110.5, 0.3), row("Fe 1", 5111, 2.0)]
    lines = read_line_file(write_list(tmp_path / "a.lin", *rows))
    terms = {"offset": 0.3, "slope": 0.2, "line": 0.02}
    config = settings(molecules={"TiO": terms, "TiO 2": terms | {"line": 0.01}})
    quality = qualities(lines, config)
    assert quality.name.tolist() == ["molecule", "molecule", "laboratory"]
    assert quality.width.tolist() == [0.02, 0.01, 0.06]
    number = np.full(3, -1)
    matrix = line_parameters(lines, number, quality.width, config).matrix.toarray()
    np.testing.assert_allclose(matrix, [[1, -0.2, 0, 0], [0, 0, 1, -0.2], [0, 0, 0, 0]])
    np.testing.assert_allclose(molecule_shift(lines, {"TiO:offset": 1, "TiO 2:slope": 1}), [1, -0.2, 0])


def test_elements_with_enough_lines_are_free(tmp_path):
    species = ["Fe 1"] * 4 + ["V 1"] * 3 + ["Ba 2"] * 3 + ["Si 1"] * 2 + ["TiO 1"] * 3 + ["MgH 1"] * 5
    lines = read_line_file(write_list(tmp_path / "a.lin", *(row(s, 6100 + k) for k, s in enumerate(species))))
    change = np.where(lines.species == "Ba 2", 0.01, 0.1)  # barium's lines are too weak
    by_line = sparse.csr_array(-np.diag(change))
    assert elements_with_lines(lines, by_line) == ["O", "Ti", "V"]


def test_the_figure_shows_where_another_window_absorbs():
    wave = np.arange(5985, 6270, 0.02)
    model = np.ones_like(wave)
    model[(wave > 6101) & (wave < 6129)] = 0.5
    model[(wave > 6200) & (wave < 6210)] = 0.4
    verdict = SimpleNamespace(wavelength_aa=wave, new=model)
    first, second = absorbed_ranges(verdict, (5985.0, 6270.0))
    assert first[0] <= 6101
    assert first[1] >= 6129
    assert second[0] <= 6200
    assert second[1] >= 6210
    assert [round(b - a) for a, b in (first, second)] == [30, 13]
    assert absorbed_ranges(verdict, (5985.0, 6000.0)) == ((5985.0, 6000.0),)


def test_transitions_at_their_bound_and_an_anchor_that_moves_are_warned_of(toy, tmp_path, capsys):
    off = Toy(settings(iterations=1, bound=1.0), toy.lines, toy.lines.loggf + 0.4 * (toy.lines.species == "Fe 1"))
    responses = {star.name: off.respond(star) for star in off.config.stars}
    outcome = calibrate(off, responses)
    moved = write_calibrated(off, outcome, responses, tmp_path)
    _warn(off.config, moved)
    shown = " ".join(capsys.readouterr().err.split())
    at_bound = np.sum(np.abs(outcome.values[: outcome.parameters.transitions]) >= 0.06 - 1e-6)
    assert at_bound > 20
    assert f"of {outcome.parameters.transitions} transitions are at their bound of 1 widths (" in shown
    assert "the labels of Sun, fitted back, are off after 1 iterations: teff " in shown


def test_candidates_for_what_is_unexplained(tmp_path):
    rows = [row("Fe 1", 5110.0, 2.0), row("Ti 1", 5110.05, 1.0), row("V 1", 5112.0, 2.0), row("Ni 1", 5114.0, 2.0)]
    more = [row("Ni 1", 5114.002, 2.001), row("Co 1", 5114.01, 3.0, -2), row("Ce 2", 5114.05, 0.3, -1)]
    lines = read_line_file(write_list(tmp_path / "a.lin", *rows))
    further = read_line_file(write_list(tmp_path / "b.lin", *more))
    ends = [(5109.9, 5110.1), (5111.9, 5112.1), (5113.9, 5114.1), (5115.0, 5115.2)]
    columns = ([a for a, _ in ends], [b for _, b in ends], [0.1, -0.1, -0.1, 0.1])
    ranges = Table(columns, names=("first", "last", "difference"))
    height = np.array([0.1, 0.4, 0.1, 0.1])
    at_bound = np.array([False, False, True, False])
    found = candidates(ranges, lines, height, at_bound, further)
    assert found == [
        "drop Ti 1 5110.050 (1.00 eV), Fe 1 5110.000 (2.00 eV)",
        "widen V 1 5112.000 (2.00 eV)",
        "look for Ce 2 5114.050 (0.30 eV), Co 1 5114.010 (3.00 eV)",
        "",
    ]
    assert candidates(ranges, lines, height)[1:3] == ["look for a line in another list"] * 2


def test_standards_with_wavelengths_in_a_second_file_and_masks(tmp_path):
    wave = np.arange(5095, 5135, 0.02)
    fits.PrimaryHDU(2 + 0 * wave).writeto(tmp_path / "flux.fits")
    np.savetxt(tmp_path / "wave.txt", wave / 10)
    reading = {"wavelength_file": "wave.txt", "wavelength_unit": "nm", "medium": "air"}
    star = settings().stars[0].model_copy(update={"file": "flux.fits", "reading": reading})
    found, flux = read_standard(star, str(tmp_path), WINDOW, [(5110.0, 5112.0)])
    np.testing.assert_allclose(found, wave[(wave > 5100) & (wave < 5130) & ((wave < 5110) | (wave > 5112))], atol=1e-6)
    np.testing.assert_allclose(flux, 1)
    with pytest.raises(ValueError, match="reading has no option colour; it has extension, fibre"):
        type(star).model_validate(star.model_dump() | {"reading": {"colour": 1}})


def test_a_window_beyond_the_list_is_refused_before_any_spectrum_is_made(lines):
    columns = {"wlcent": lines.wavelength_aa, "species": lines.species}
    table = LineList("toy.lin", "", columns, "short", (lines.wavelength_aa.min(), lines.wavelength_aa.max()))
    config = settings(window=(5100.0, 5160.0))
    with pytest.raises(DomainError, match=r"toy\.lin: lines from 5101\.00 to 5128\.50 Å do not cover the window"):
        Calibration(config, lines, table, None, None, None)


def test_lines_with_carbon_13_gain_what_the_others_lose():
    star = settings().stars[0].model_copy(update={"carbon13": 1.0})
    species = np.array(["C2 1", "C2 1", "CN 1", "CN 1", "MgH 1"])
    reference = np.array([f"1 M{x}" for x in ("606.01212 CAL", "606.01213", "607.01214", "607.01314", "112.00124")])
    light = np.log10((1 - 0.111) / (1 - 0.0111))
    expected = [2 * light, 1 + light, light, 1, 0]
    np.testing.assert_allclose(isotope_shifts(star, species, reference), expected, atol=1e-9)


@dataclass(frozen=True)
class Toy:
    """A run without PySME: optically thin lines whose strength goes with log gf and 5040 E / Teff."""

    config: CalibrateConfig
    lines: object
    true: np.ndarray

    def opacity(self, log_gf, teff):
        grid = model_grid(self.config.window).wavelength_aa
        shape = np.exp(-(((grid[:, None] - self.lines.wavelength_aa) / 0.05) ** 2))
        return shape * 10 ** (log_gf - self.lines.excitation_ev * 5040 / teff)

    def flux(self, log_gf, teff=5800.0):
        return np.exp(-self.opacity(log_gf, teff).sum(1))

    def log_gf(self, star, change, hydride=0.0):
        return self.lines.loggf + change + hydride * (self.lines.species == "MgH 1")

    def respond(self, star):
        opacity, flux = self.opacity(self.lines.loggf, star.teff), self.flux(self.lines.loggf, star.teff)
        lines = sparse.csc_array(-np.log(10) * flux[:, None] * opacity)
        teff = (self.flux(self.lines.loggf, star.teff + 20) - flux) / 20
        labels = {"teff": teff} | {
            name: 1e-4 * np.cos(k * np.arange(flux.size)) for k, name in enumerate(("logg", "mh", "vmic"))
        }
        return Response(flux, lines, labels, opacity.max(0))

    def observed(self, star):
        wave = np.arange(self.config.window[0] + 0.5, self.config.window[1] - 0.5, 0.02)
        grid = model_grid(self.config.window)
        flux = self.flux(self.true, star.teff) * (1 - 0.5 * np.exp(-(((grid.wavelength_aa - MISSING_AA) / 0.06) ** 2)))
        matrix = broadening_matrix(wave, grid, Broadening(0.4, star.vsini, 3.4, star.resolution))
        noise = np.random.default_rng(3).normal(0, 1e-3, wave.size)
        return wave, (matrix @ flux) * (2 + 0.02 * (wave - 5100)) + noise

    def standard(self, star, response):
        copy = Response(response.flux, response.lines, response.labels, response.strength)
        grid, window = model_grid(self.config.window), self.config.window
        return Standard(star, *self.observed(star), grid, copy, window, self.config.continuum_aa)

    def fluxes(self, stars, change):
        return [self.flux(self.log_gf(star, change, hydride), star.teff) for star, hydride in stars]


@pytest.fixture
def toy(lines):
    rng = np.random.default_rng(4)
    kurucz, hydride = lines.species == "Ti 1", lines.species == "MgH 1"
    error = np.where(kurucz, rng.normal(0, 0.3, len(lines)), rng.normal(0, 0.03, len(lines)))
    error = np.where(hydride, 0.2 - 0.1 * (lines.excitation_ev - 0.5), error)
    return Toy(settings(), lines, lines.loggf + error)


def test_errors_of_log_gf_come_back_and_missing_lines_do_not_go_in(toy, tmp_path):
    responses = {star.name: toy.respond(star) for star in toy.config.stars}
    outcome = calibrate(toy, responses)
    error = toy.true - toy.lines.loggf
    left = error - outcome.change
    for species, largest in (("Ti 1", 0.05), ("Fe 1", 0.02), ("MgH 1", 0.05)):
        member = toy.lines.species == species
        assert np.sqrt(np.mean(left[member] ** 2)) < largest < np.sqrt(np.mean(error[member] ** 2)) / 1.4
    limit = toy.config.bound * outcome.parameters.width
    assert (np.abs(outcome.values) <= limit + 1e-12).all()
    left_out = cross_validate(toy, responses)
    verdicts = {verdict.star: verdict for verdict in judge(toy, outcome.change, responses, left_out)}
    assert list(verdicts) == ["Sun", "warm"]
    for verdict in verdicts.values():
        assert verdict.after.robust < 0.5 * verdict.before.robust
    sun = verdicts["Sun"]
    assert abs(sun.after.offsets["teff"]) < 20
    assert sun.left_out is None
    assert verdicts["warm"].left_out.robust < 0.6 * verdicts["warm"].before.robust
    ranges = find_unexplained(list(verdicts.values()), {"Sun": 0.05, "warm": 0.08}, "Sun", toy.config.window)
    assert len(ranges) == 1
    assert ranges["first"][0] < MISSING_AA < ranges["last"][0]
    assert ranges["difference"][0] < -0.1
    write_unexplained(ranges, tmp_path / "u.ecsv", {"anchor": "Sun"})
    rows = [line.split(",") for line in (tmp_path / "u.ecsv").read_text().splitlines() if line[0].isdigit()]
    assert rows
    assert all(len(word.partition(".")[2]) <= 3 for words in rows for word in words[:3])
    mask = unexplained_mask([MISSING_AA - 1, MISSING_AA, MISSING_AA + 1], tmp_path / "u.ecsv")
    assert mask.tolist() == [False, True, False]


def test_results_are_written(toy, tmp_path):
    responses = {star.name: toy.respond(star) for star in toy.config.stars}
    outcome = calibrate(toy, responses)
    moved = write_calibrated(toy, outcome, responses, tmp_path)
    changes = read_changes(tmp_path / "changes.ecsv")
    np.testing.assert_allclose(change_of(toy.lines, changes), outcome.change, atol=1e-9)
    assert set(changes.table["stars"]) <= {"A", "B", "AB"}
    summary = write_verdicts(toy, judge(toy, outcome.change, responses), responses, tmp_path, moved, outcome.at_bound)
    assert json.loads((tmp_path / "stars.json").read_text()) == json.loads(json.dumps(summary))
    assert {row["source"]: row["at_bound"] for row in summary["moves"]}["Kurucz"] == 0
    (text,) = Table.read(tmp_path / "unexplained.ecsv")["candidates"]
    assert text == "look for a line in another list"
    assert summary["solved"]["warm"]["velocity"] == pytest.approx(0.0, abs=0.1)
    assert (tmp_path / "stars.png").stat().st_size > 10_000


def test_the_anchor_keeps_its_labels(toy):
    """A trend of log gf with energy looks like another temperature; the anchor forbids it whatever the widths are."""
    hot = toy.lines.loggf + 0.06 * (toy.lines.excitation_ev - 0.6)
    toy = Toy(toy.config, toy.lines, hot)
    responses = {star.name: toy.respond(star) for star in toy.config.stars}
    outcome = calibrate(toy, responses)
    verdict = judge(toy, outcome.change, responses)[0]
    assert abs(verdict.before.offsets["teff"]) > 100
    assert abs(verdict.after.offsets["teff"]) < 25


def test_an_interrupted_calibration_resumes(toy, tmp_path):
    table = SimpleNamespace(species=toy.lines.species, columns={"excit": toy.lines.excitation_ev})
    made, steps = [], []
    failing = {"Sun"}

    def respond(star):
        if star.name in failing:
            raise SynthesisError("the machine was switched off")
        made.append(star.name)
        return toy.respond(star)

    def run(**changes):
        atmospheres = SimpleNamespace(digest="models")
        config = settings(**changes)
        return SimpleNamespace(
            config=config, lines=toy.lines, table=table, cool=None, atmospheres=atmospheres,
            advance=steps.append, respond=respond,
        )  # fmt: skip

    with pytest.raises(SynthesisError):
        all_responses(run(), tmp_path)
    failing.clear()
    first = all_responses(run(), tmp_path)
    assert made == ["warm", "Sun"]
    assert steps == [count_jobs(table)]
    again = all_responses(run(bound=2.0), tmp_path)  # the bound of a line changes no spectrum
    assert made == ["warm", "Sun"]
    for name, response in first.items():
        np.testing.assert_array_equal(again[name].lines.toarray(), response.lines.toarray())
        np.testing.assert_array_equal(again[name].labels["teff"], toy.respond(response_star(name)).labels["teff"])
    next((tmp_path / "derivatives").glob("Sun-*.npz")).write_bytes(b"PK damaged")
    all_responses(run(), tmp_path)
    assert made == ["warm", "Sun", "Sun"]
    all_responses(run(window=(5101.0, 5130.0)), tmp_path)
    assert made == ["warm", "Sun", "Sun", "warm", "Sun"]


def response_star(name):
    return next(star for star in settings().stars if star.name == name)


def test_the_committed_settings_are_valid():
    config = load_calibration(Path(__file__).parents[1] / "docs" / "results" / "lines" / "calibrate.toml")
    assert config.calibrating[0].name == "Sun"
    assert not {star.name for star in config.calibrating} & {star.name for star in config.testing}


def test_a_standard_without_labels_is_refused(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "results" / "lines" / "calibrate.toml").read_text()
    (tmp_path / "c.toml").write_text(text.replace("teff = 5772\n", ""))
    with pytest.raises(ConfigError, match=r"stars\.0\.teff"):
        load_calibration(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchor": "Vega"}, "anchor 'Vega' must be the name of a star with role calibrate"),
        ({"window": [5130, 5100]}, "is empty"),
        ({"figure": [[5160, 5190]]}, "figure: 5160 to 5190 Å is empty or not in the window"),
        ({"sources": [{"name": "x", "pattern": "(", "width": 1}]}, "not a regular expression"),
    ],
)
def test_contradictory_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)
