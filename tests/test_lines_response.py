"""Derivatives by line against differences made with PySME, line by line."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from maury.labels import INTRINSIC
from maury.lines.calibration_settings import StandardStar
from maury.lines.response import DEX, class_of, count_jobs, job_for, respond, spectra
from maury.lines.standard_star import model_grid
from maury.lines.star_model import Job, StarSynthesizer
from maury.synthesis import PhysicsConfig, read_atmospheres, read_lines, synthesize
from synthesis_inputs import atmosphere_folder, vald_short

pytest.importorskip("pysme", reason="needs the extra 'synthesis'")

STAR = StandardStar(
    name="a", file="", resolution=50_000, teff=5500, logg=4.5, mh=-0.2, vmic=1.2, abundances={"Ti": 0.2, "Fe": 0.1}
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, workers):
    folder = tmp_path_factory.mktemp("inputs")
    lines = read_lines(vald_short(folder / "a.lin"), workers)
    return lines, read_atmospheres(atmosphere_folder(folder / "models")), model_grid((5070.0, 5082.0))


def test_single_abundances_are_those_of_the_labels(inputs, workers):
    lines, atmospheres, grid = inputs
    star = STAR.model_copy(update={"abundances": {"Ti": 0.2, "Cr": -0.1, "O": 0.0}})
    labels = dict.fromkeys(INTRINSIC, 0.0) | {
        "teff": 5500, "logg": 4.5, "mh": -0.2, "vmic": 1.2, "ti": 0.2, "cr": -0.1,
    }  # fmt: skip
    config = PhysicsConfig(sampling="uniform")
    expected = synthesize(lines, atmospheres, [list(labels.values())], grid.wavelength_aa, config, workers).flux[0]
    ((flux, _),) = spectra([job_for(star, atmospheres, lines.log_gf)], lines, grid, workers, lambda n: None)
    np.testing.assert_allclose(flux, expected, atol=1e-9)


def ratios_of_departures(lines, wavelength, atmosphere):
    """In a worker: the abundance ratios with which departures from LTE are computed."""
    seen = []
    synthesizer = StarSynthesizer(lines, wavelength, PhysicsConfig(sampling="uniform"))
    synthesizer._departures = lambda teff, logg, mh, vmic, ratios: seen.append(ratios) or 0.0
    synthesizer(Job(atmosphere, 1.2, lines.log_gf, {"Ti": 0.2}))
    return seen


def test_departures_are_those_of_the_abundances_of_the_star(inputs, workers):
    lines, atmospheres, grid = inputs
    arguments = (lines, grid.wavelength_aa, atmospheres(5500.0, 4.5, -0.2))
    assert workers.run(ratios_of_departures, *arguments) == [{"Ti": 0.2}]


def test_the_shares_of_the_lines_are_their_own_derivatives(inputs, workers):
    lines, atmospheres, grid = inputs
    done = []
    response = respond(STAR, lines.log_gf, lines, atmospheres, grid, workers, done.append)
    assert len(done) == count_jobs(lines)
    wanted = np.flatnonzero((lines.wavelength_aa > 5072) & (lines.wavelength_aa < 5081))
    jobs = [job_for(STAR, atmospheres, lines.log_gf + DEX * (np.arange(len(lines)) == i)) for i in wanted]
    changed = spectra(jobs, lines, grid, workers, lambda n: None)
    for i, (flux, _) in zip(wanted, changed, strict=True):
        true, got = (flux - response.flux) / DEX, response.lines[:, [i]].toarray().ravel()
        assert np.abs(true).max() > 1e-3
        np.testing.assert_allclose(got, true, atol=0.03 * np.abs(true).max() + 2e-3)
    warmer = job_for(STAR.model_copy(update={"teff": 5540.0}), atmospheres, lines.log_gf)
    ((flux, _),) = spectra([warmer], lines, grid, workers, lambda n: None)
    change, expected = (gaussian_filter1d(x, 4) for x in (flux - response.flux, 40 * response.labels["teff"]))
    assert np.abs(change).max() > 3e-3
    np.testing.assert_allclose(change, expected, atol=5e-4)


@pytest.mark.parametrize(
    ("species", "energy", "name"),
    [
        ("Fe 1", 0.9, "Fe 1 0"),
        ("Fe 1", 4.5, "Fe 1 3"),
        ("MgH 1", 0.5, "MgH 1 0"),
        ("TiO 1", 0.2, "TiO 1 0"),
        ("Zn 1", 4.0, "neutral 1"),
        ("Ti 2", 1.5, "ionised"),
        ("Nd 2", 0.5, "rare earths"),
        ("S 2", 14.0, "other"),
    ],
)
def test_lines_are_classed_by_where_they_form(species, energy, name):
    assert class_of(species, energy) == name
