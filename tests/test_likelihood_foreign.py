"""Foreign light that the continuum and the labels of the template follow is found by the likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maury import predict
from maury.inference.words import fit_phrases
from maury.likelihood import ErrorModel, find_mode
from maury.likelihood.foreign import _amplitudes, _stretches, foreign_light
from maury.likelihood.together import Together, exposures_of
from maury.preparation import prepare
from maury.spectra import Observation
from nights import Instrument, observe
from test_likelihood import labels_of, observed

STRETCH = (5190.0, 5230.0)


def diluted(simulator, star, labels, part):
    """A spectrum (p,) whose lines are shallower by a part in the middle of the stretch."""
    low, high = STRETCH
    x = torch.from_numpy(np.clip((simulator.pixels.wavelength_aa - low) / (high - low), 0, 1))
    flux = simulator.spectra(labels[None].float(), star.resolution[None])[0].double()
    return star.with_(flux=star.flux + part * torch.sin(torch.pi * x).square() * (1 - flux))


def mode_of(coordinates, errors, star, labels):
    return find_mode(coordinates, errors, star, coordinates.transform.unconstrained(labels[coordinates.columns]))


@pytest.mark.parametrize("part", [0.25, -0.35])
def test_a_single_spectrum_and_exposures_show_the_stretch_and_the_change(simulator, coordinates, part):
    """The change is that of the lines, whatever the labels make up for, within its uncertainty."""
    errors, labels = ErrorModel(simulator), labels_of(simulator, teff=6400.0, mh=-0.6)
    blanks = [observed(simulator, labels, snr=60.0, resolution=r, seed=i) for i, r in enumerate((45_000.0, 30_000.0))]
    spoiled = [diluted(simulator, star, labels, part) for star in blanks]
    single, several = (spoiled[0], errors), (exposures_of(spoiled), Together(errors))
    for star, model in (single, several):
        found = foreign_light(coordinates, mode_of(coordinates, model, star, labels))
        assert found is not None
        assert abs((found.low_aa + found.high_aa) / 2 - 5210) < 10
        assert abs(found.change + part) < 3 * found.error
        assert ("shallower" if part > 0 else "deeper") in str(found)
    for star, model in ((blanks[0], errors), (exposures_of(blanks), Together(errors))):
        assert foreign_light(coordinates, mode_of(coordinates, model, star, labels)) is None


def test_amplitudes_of_usual_stars_scatter_by_less_than_their_errors(simulator, coordinates):
    """With errors of the physics as the likelihood expects them; in their measured part, and none is significant."""
    errors, labels = ErrorModel(simulator, spread=False), labels_of(simulator)
    generator = torch.Generator().manual_seed(5)
    _, shapes = _stretches(*simulator.pixels.wavelength_aa[[0, -1]], simulator.pixels.count)
    scores = []
    for seed in range(8):
        star = errors.draw(observed(simulator, labels, snr=80.0, seed=seed), labels, generator)
        mode = mode_of(coordinates, errors, star, labels)
        amplitude, error, measured = _amplitudes(coordinates, mode, shapes)
        assert measured.double().mean() > 0.8
        scores.append((amplitude / error)[measured])
        assert foreign_light(coordinates, mode) is None
    rms = float(torch.cat(scores).square().mean().sqrt())
    assert 0.3 < rms < 1.1


def test_a_gap_is_no_stretch(simulator, coordinates):
    """Next to unobserved pixels nothing constrains a shape that lies mostly in the gap."""
    errors, labels = ErrorModel(simulator), labels_of(simulator)
    star = diluted(simulator, observed(simulator, labels), labels, 0.3)
    wave = torch.from_numpy(simulator.pixels.wavelength_aa)
    star = star.with_(mask=(wave > STRETCH[0]) & (wave < STRETCH[1]))
    assert foreign_light(coordinates, mode_of(coordinates, errors, star, labels)) is None


def test_a_short_window_has_no_stretches():
    ends, shapes = _stretches(5150.0, 5190.0, 500)
    assert ends == []
    assert shapes.shape == (0, 500)
    ends, shapes = _stretches(5050.0, 5350.0, 500)
    assert {round(high - low) for low, high in ends} == {15, 25, 40, 60, 90}
    assert float(shapes.max()) <= 1
    assert min(low for low, _ in ends) == 5050


@pytest.mark.parametrize("part", [0.0, 0.3, -0.2])
def test_light_that_the_preparation_misses_is_flagged_after_the_fit(part):
    """A hot metal-poor star has few lines: those of its template are not precise enough for the preparation."""
    labels = {"teff": 7330.8, "logg": 1.6, "mh": -1.72, "vmic": 1.43, "mg": 0.33, "ca": 0.33, "ti": 0.33, "vsini": 1.0}
    star = observe(labels, Instrument(67_000.0, 0.02, wave=0.05), velocity_kms=20.0, snr=150.0, seed=1029)
    x = np.clip((star.orders[0].wavelength_aa - 5257) / 26, 0, 1)
    order = star.orders[0]
    light = part * np.sin(np.pi * x) ** 2 * np.median(order.flux)
    done = prepare(Observation((order.with_(flux=order.flux + light),), None, star.provenance), resolution=67_000.0)
    assert "damaged_pixels" not in done.flags
    fit = predict(done.spectrum)
    assert fit.status == ("ok" if part == 0 else "flagged")
    assert ("damaged_pixels" in fit.flags) is (part != 0)
    phrases = [phrase for phrase in fit_phrases(fit) if "than in the fit: a ghost" in phrase]
    assert len(phrases) == (part != 0)
    places = [float(word) for phrase in phrases for word in phrase.split() if word.isdigit() and len(word) == 4]
    assert all(5240 < place < 5300 for place in places)
