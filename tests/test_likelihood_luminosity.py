"""Parallax and magnitude: luminosities of known stars, what they do to log g, bad input."""

import math

import numpy as np
import pytest
import torch

from maury.errors import ConfigError, DomainError
from maury.likelihood import luminosity, luminosity_prior, parse_value
from maury.likelihood.luminosity import bolometric_correction, log_mass, zero_point
from maury.likelihood.systematics import with_systematics

STARS = [
    # Teff, log g, [M/H], parallax (mas, Hipparcos 2007 or Gaia DR3), G (or G of V and V - I), R/Rsun, L/Lsun
    ("Sun at 10 pc", 5772, 4.438, 0.0, 100.0, 4.68, 1.0, 1.0),
    ("Procyon", 6582, 3.98, -0.02, 284.56, 0.26, 2.05, 7.0),
    ("bet Hyi", 5873, 3.98, -0.04, 134.07, 2.65, 1.81, 3.5),
    ("eps Eri", 5130, 4.63, -0.08, 310.58, 3.47, 0.735, 0.34),
    ("61 Cyg B", 4044, 4.68, -0.38, 286.01, 5.45, 0.595, 0.085),
    ("gam Cep", 4806, 3.19, 0.20, 72.52, 2.94, 4.8, 11.2),
]
"""Interferometric radii and luminosities: Soubiran et al. 2024 (Gaia benchmark stars, third edition), Kervella et al.
2004 and 2008 (Procyon, 61 Cyg)."""


def columns(teff, logg, mh):
    return {name: torch.tensor([float(x)]).double() for name, x in (("teff", teff), ("logg", logg), ("mh", mh))}


@pytest.mark.parametrize(("name", "teff", "logg", "mh", "parallax", "gmag", "radius", "light"), STARS)
def test_known_stars(name, teff, logg, mh, parallax, gmag, radius, light):
    told = luminosity((parallax, parallax / 300), gmag, correct=False)
    star = columns(teff, logg, mh)
    mean, error = told.expected(star)
    assert float(mean) == pytest.approx(logg, abs=max(0.05, 2.2 * float(error)))
    many = {label: x.repeat(4000) for label, x in star.items()}
    derived = told.derived(many, torch.Generator().manual_seed(1))
    assert float(derived["radius"].median()) == pytest.approx(radius, rel=0.10)
    assert float(derived["luminosity"].median()) == pytest.approx(light, rel=0.20)


def test_relations_by_hand():
    """BC_G of the Sun is 0.06; Torres' relation gives the Sun 1.05 masses, and giants have 0.8 to 2."""
    assert float(bolometric_correction(torch.tensor([5772.0]))) == pytest.approx(0.06, abs=1e-4)
    cool = bolometric_correction(torch.tensor([3999.9, 4000.0]).double())
    assert float(cool[0] - cool[1]) == pytest.approx(0, abs=0.1)
    mass, scatter = log_mass(*columns(5772, 4.438, 0).values())
    assert 10 ** float(mass) == pytest.approx(1.05, abs=0.01)
    assert float(scatter) == pytest.approx(0.027)
    assert float(log_mass(*columns(4500, 2.0, 0).values())[1]) == pytest.approx(0.2)


def test_the_zero_point_of_gaia_is_taken_out():
    assert zero_point(15.9) == pytest.approx(-0.03833)
    assert luminosity((1.0, 0.02), 15.9).parallax_mas == pytest.approx(1.03833)
    assert luminosity((1.0, 0.02), 15.9).parallax_error_mas == pytest.approx(math.hypot(0.02, 0.013))


def test_log_g_is_narrowed_and_teff_moves_with_it():
    """Samples with Teff and log g correlated, 0.1 dex too large in log g: the parallax brings both back."""
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(8000, 2, generator=generator).double()
    logg = 4.54 + 0.1 * z[:, 0]
    teff = 5832 + 600 * (logg - 4.54) + 20 * z[:, 1]
    samples = torch.stack([teff, logg, torch.zeros_like(teff)], 1)
    told = luminosity((100.0, 0.2), 4.68, correct=False)
    true, share = with_systematics(samples, ("teff", "logg", "mh"), generator, [told], real=False)
    assert share > 0.1
    assert float(true[:, 1].std()) < 0.05
    assert float(true[:, 1].mean()) == pytest.approx(4.45, abs=0.03)
    assert float(true[:, 0].mean()) < 5832 - 30


def test_posteriors_with_a_parallax_cover():
    """Simulated stars whose log g and mass obey the relations: 68 % of the intervals hold the true log g."""
    generator = torch.Generator().manual_seed(3)
    inside, before, after = [], [], []
    for _ in range(300):
        u = torch.rand(3, generator=generator).double()
        teff, logg, mh = 5000 + 1500 * u[0], 3.8 + 0.8 * u[1], -0.5 + 0.8 * u[2]
        star = {"teff": teff[None], "logg": logg[None], "mh": mh[None]}
        mean, scatter = log_mass(**star)
        mass = mean + scatter * torch.randn(1, generator=generator).double()
        light = mass + 4 * (teff / 5772).log10() - logg + 4.438  # log L
        bolometric = (
            4.74
            - 2.5 * float(light)
            - float(bolometric_correction(teff[None]))
            + 0.05 * float(torch.randn(1, generator=generator))
        )
        parallax = 10.0
        gmag = bolometric - 5 * math.log10(parallax / 100) + 0.01 * float(torch.randn(1, generator=generator))
        noisy = parallax + 0.03 * float(torch.randn(1, generator=generator))
        z = torch.randn(3, generator=generator).double()
        size = torch.tensor([60.0, 0.1, 0.05]).double()
        centre = torch.stack([teff, logg, mh]) + size * z
        samples = centre + size * torch.randn(4000, 3, generator=generator).double()
        told = luminosity((noisy, 0.03), gmag, correct=False)
        true, _ = with_systematics(samples, ("teff", "logg", "mh"), generator, [told], real=False)
        low, high = true[:, 1].quantile(torch.tensor([0.1587, 0.8413]).double())
        inside.append(bool(low <= logg <= high))
        before.append(abs(float(samples[:, 1].median() - logg)))
        after.append(abs(float(true[:, 1].median() - logg)))
    assert np.mean(inside) == pytest.approx(0.683, abs=0.08)
    assert np.median(after) < 0.5 * np.median(before)


def test_another_stars_parallax_is_in_conflict():
    samples = {"teff": 5772 + 40 * torch.randn(2000).double(), "logg": 4.44 + 0.1 * torch.randn(2000).double()}
    assert luminosity((100.0, 0.2), 4.68, correct=False).conflict(samples) < 1
    assert luminosity((10.0, 0.2), 4.68, correct=False).conflict(samples) > 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallax": (-3.0, 0.1), "gmag": 5.0}, r"parallax = -3 \+- 0.1 mas: at least 5 times its error is needed"),
        ({"parallax": (0.3, 0.1), "gmag": 5.0}, "at least 5 times its error"),
        ({"parallax": (3.0, 0.0), "gmag": 5.0}, "at least 5 times its error"),
        ({"parallax": (np.nan, 0.1), "gmag": 5.0}, "parallax = nan: not a finite number"),
        ({"parallax": (3.0, 0.1), "gmag": 40.0}, "gmag = 40 is outside the allowed range -5 to 22 mag"),
        ({"parallax": (3.0, 0.1), "gmag": 5.0, "ebv": (-0.1, 0.0)}, r"ebv = -0.1 \+- 0 mag: must not be negative"),
        ({"parallax": (3.0, 0.1), "gmag": None}, "parallax is given without gmag"),
        ({"parallax": None, "gmag": 5.0}, "gmag is given without parallax"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(DomainError, match=message):
        luminosity_prior(**options)


def test_values_as_they_are_written():
    assert parse_value("27.3+-0.1", "parallax") == (27.3, 0.1)
    assert parse_value("5.12", "gmag") == (5.12, 0.0)
    with pytest.raises(ConfigError, match="parallax 'bright' is not understood; write value"):
        parse_value("bright", "parallax")
