"""The table of strong lines, and which of them a spectrum shows."""

import numpy as np
import pytest

from maury.lines import STRONG_LINES, deepest_lines, read_line_file
from nights import SUN, star_flux

WAVE = np.arange(5051, 5349, 0.01)


def test_the_sun_shows_what_is_known_of_it():
    """Deepest of all are the Mg b triplet and Fe I 5269.54 and 5328.04 (Moore et al. 1966)."""
    flux = star_flux(SUN, WAVE, 100_000.0)
    deepest = set(deepest_lines(WAVE, flux, least_depth=0.9))
    assert {("Mg I", 5172.684), ("Mg I", 5183.604), ("Fe I", 5269.537), ("Fe I", 5328.039)} <= deepest
    assert len(deepest) < 12


def test_hot_stars_show_ions():
    """At 9000 K the ions of iron and titanium outdo the neutral lines, which in the Sun they do not."""
    shares = []
    for labels in (SUN, {**SUN, "teff": 9000.0, "logg": 4.2}):
        found = deepest_lines(WAVE, star_flux(labels, WAVE, 100_000.0), least_depth=0.3)
        shares.append(np.mean([species.endswith(" II") for species, _ in found]))
    assert shares[0] < 0.25 < 0.4 < shares[1]


def test_of_neighbours_the_deepest_stays():
    flux = 1 - 0.5 * np.exp(-(((WAVE - 5172.68) / 0.1) ** 2)) - 0.3 * np.exp(-(((WAVE - 5173.74) / 0.1) ** 2))
    assert deepest_lines(WAVE, flux) == [("Mg I", 5172.684), ("Ti I", 5173.743)]
    assert deepest_lines(WAVE, flux, 2.0) == [("Mg I", 5172.684)]
    assert deepest_lines(WAVE, np.full(WAVE.size, np.nan)) == []
    assert deepest_lines(WAVE[:100] - 1000, np.zeros(100)) == []


@pytest.mark.shared
def test_every_line_is_in_the_line_list(shared):
    path = shared / "data" / "linelists" / "mgb_2_5035_5365_air.lin"
    lines = read_line_file(path)
    ions = {"I": "1", "II": "2"}
    for species, places in STRONG_LINES.items():
        if species in ("C2", "MgH"):
            continue
        element, ion = species.split()
        same = lines.species == f"{element} {ions[ion]}"
        for place in (aa for aa in places if aa < 5365):  # where the list ends
            assert np.abs(lines.wavelength_aa[same] - place).min() < 0.012, (species, place)
