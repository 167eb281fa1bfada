"""LabelPrior information: how it is written, what it weighs, when it contradicts itself; systematic errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maury.errors import ConfigError
from maury.likelihood import contradictory, parse_prior, relation
from maury.likelihood.systematics import size_at, systematic, with_systematics

NAMES = ("teff", "logg", "mh", "vsini")


@pytest.mark.parametrize(
    ("text", "value", "below", "above"),
    [
        ("logg=4.29+-0.03", 4.29, 0.03, 0.03),
        ("logg = 4.29 +/- 0.03", 4.29, 0.03, 0.03),
        ("logg=4.29±0.03", 4.29, 0.03, 0.03),
        ("mh=-0.2+-.1", -0.2, 0.1, 0.1),
        ("teff=5800+50-80", 5800, 80, 50),
        ("teff=5.8e3+-1e2", 5800, 100, 100),
    ],
)
def test_values_with_errors(text, value, below, above):
    prior = parse_prior(text)
    assert (prior.value, prior.below, prior.above, prior.uniform) == (value, below, above, False)


def test_ranges():
    prior = parse_prior("mh=-0.3..0.1")
    density = prior.log_density({"mh": torch.tensor([-0.31, -0.3, 0.0, 0.1, 0.11])})
    assert density.exp().tolist() == pytest.approx([0, 2.5, 2.5, 2.5, 0])


@pytest.mark.parametrize("text", ["logg=4.29+-0.03", "teff=5800+50-80"])
def test_densities_are_normalised(text):
    prior = parse_prior(text)
    x = prior.value + torch.linspace(-10 * prior.below, 10 * prior.above, 100_001, dtype=torch.float64)
    total = prior.log_density({prior.label: x}).exp().sum() * (x[1] - x[0])
    assert float(total) == pytest.approx(1, abs=1e-4)


def test_alpha_is_the_mean_of_its_elements():
    density = parse_prior("alpha=0.2+-0.1").log_density(
        {"mg": torch.tensor([0.3]), "ca": torch.tensor([0.2]), "ti": torch.tensor([0.1])}
    )
    assert float(density) == pytest.approx(-math.log(0.1 * math.sqrt(2 * math.pi)), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logg", "write label=value"),
        ("gravity=4+-1", "no label 'gravity'; the labels are teff, logg"),
        ("logg=4.3+-", "'4.3\\+-' is not understood"),
        ("logg=4.3+-0", "its error 0 must be finite and above 0"),
        ("logg=4.3+-1e999", "its error inf must be finite"),
        ("logg=4.3+0.1", "is not understood"),
        ("mh=0.1..-0.1", "range is empty"),
        ("teff=58000+-100", "far from the range 3500 to 9750 K"),
    ],
)
def test_what_is_not_understood(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_prior(text)


def test_contradictions():
    apart = [parse_prior("logg=4.3+-0.03"), parse_prior("logg=3.5+-0.03")]
    assert "contradict" in (contradictory(apart) or "")
    assert "contradict" in (contradictory([parse_prior("mh=-1..-0.5"), parse_prior("mh=0..0.3")]) or "")
    assert contradictory([parse_prior("logg=4.3+-0.03"), parse_prior("logg=4.35+-0.03")]) is None
    assert contradictory([parse_prior("logg=4.3+-0.03"), parse_prior("teff=5000+-10")]) is None


def test_relations():
    """The Sun: 0.98 km/s (Bruntt et al. 2012) and 3.2 km/s (Doyle et al. 2014)."""
    sun = {"teff": torch.full((301,), 5777.0), "logg": torch.full((301,), 4.44)}
    x = torch.linspace(0.5, 6.5, 301)
    micro = x[relation("bruntt2012").log_density({**sun, "vmic": x}).argmax()]
    macro = x[relation("doyle2014").log_density({**sun, "vmac": x}).argmax()]
    assert float(micro) == pytest.approx(0.97, abs=0.03)
    assert float(macro) == pytest.approx(3.21, abs=0.03)
    giant = {"teff": torch.full((301,), 4700.0), "logg": torch.full((301,), 3.0)}
    dwarf, wide = (relation("doyle2014").log_density({**star, "vmac": x}) for star in (sun, giant))
    assert float((dwarf.max() - wide.max()).exp()) == pytest.approx(3, rel=1e-3)  # beyond the stars it is made from
    axes = relation("random-axes").log_density({"vsini": torch.tensor([0.0, 2.0, 1e6])}).exp()
    assert axes.tolist() == pytest.approx([0, 0.5, 1], abs=1e-4)
    with pytest.raises(ConfigError, match="no relation 'gray'; there are"):
        relation("gray")


def test_systematic_errors_grow_where_the_physics_fails():
    sun = systematic({"teff": 5772.0, "mh": 0.0})
    dwarf = systematic({"teff": 3700.0, "logg": 4.7, "mh": 0.0})
    assert dwarf["mh"] > 3 * sun["mh"]
    assert dwarf["logg"] > 1.5 * sun["logg"]
    assert systematic({"teff": 3700.0, "logg": 1.0, "mh": 0.0})["mh"] < 0.6 * dwarf["mh"]
    poor = systematic({"teff": 5772.0, "mh": -2.5})
    assert all(poor[name] >= sun[name] for name in ("teff", "logg", "mh", "alpha", "mg"))
    assert systematic({"teff": 5772.0, "mh": -3.0}) == poor  # it grows no further


def test_sizes_between_temperatures_and_metallicities():
    """The logarithm is linear in Teff; metal-poor stars have up to e^poor times the size."""
    nodes, sizes = (4000.0, 5000.0), (100.0, 25.0)
    assert size_at(4500.0, 0.0, nodes, sizes, 0.5) == pytest.approx(50.0)
    assert size_at(9000.0, 0.0, nodes, sizes, 0.5) == pytest.approx(25.0)
    assert size_at(5000.0, -1.6, nodes, sizes, 0.5) == pytest.approx(25.0 * np.exp(0.25))
    assert size_at(5000.0, -2.9, nodes, sizes, 0.5) == pytest.approx(25.0 * np.exp(0.5))
    assert size_at(4100.0, 0.0, nodes, sizes, 0.5, 0.3, 4.6) == pytest.approx(
        size_at(4100.0, 0, nodes, sizes, 0) * np.exp(0.3)
    )
    assert size_at(4350.0, 0.0, nodes, sizes, 0.5, 0.3, 3.5) == pytest.approx(
        size_at(4350.0, 0, nodes, sizes, 0) * np.exp(0.075)
    )
    assert size_at(4100.0, 0.0, nodes, sizes, 0.5, 0.3, 1.5) == size_at(4100.0, 0, nodes, sizes, 0)


def test_alpha_elements_have_the_error_of_their_mean_in_common():
    names = ("teff", "mg", "ca", "ti")
    fit = torch.tensor([[5800.0, 0.1, 0.1, 0.1]]).double().repeat(4000, 1)
    true, _ = with_systematics(fit, names, torch.Generator().manual_seed(4))
    size = systematic({"teff": 5800.0})
    assert float(true[:, 1:].mean(1).std()) == pytest.approx(np.hypot(size["alpha"], 0.03 / 3**0.5), rel=0.06)
    assert float(true[:, 1].std()) == pytest.approx(size["mg"], rel=0.06)
    correlation = np.corrcoef(true[:, 1].numpy(), true[:, 2].numpy())[0, 1]
    assert correlation == pytest.approx(size["alpha"] ** 2 / size["mg"] ** 2, abs=0.06)


def test_samples_are_widened_by_the_systematic_error():
    generator = torch.Generator().manual_seed(1)
    fit = torch.tensor([5800.0, 4.4, 0.0, 30.0]).double() + 1e-3 * torch.randn(4000, 4, generator=generator).double()
    true, share = with_systematics(fit, NAMES, generator)
    sizes = systematic({"teff": 5800.0, "mh": 0.0, "vsini": 30.0})
    assert share == pytest.approx(1, abs=1e-9)
    for k, name in enumerate(NAMES):
        assert float(true[:, k].std()) == pytest.approx(sizes[name], rel=0.06)
    assert torch.equal(with_systematics(fit, NAMES, generator, real=False)[0], fit)


def test_a_prior_is_on_the_true_label():
    """A prior on log g narrows log g to the product of both normals, and leaves Teff, which it says nothing on."""
    generator = torch.Generator().manual_seed(2)
    fit = torch.tensor([5800.0, 4.2, 0.0, 30.0]).double() + 1e-3 * torch.randn(4000, 4, generator=generator).double()
    prior = parse_prior("logg=4.35+-0.05")
    true, share = with_systematics(fit, NAMES, generator, [prior])
    own = systematic({"teff": 5800.0, "mh": 0.0})["logg"]
    variance = 1 / (1 / own**2 + 1 / 0.05**2)
    assert 0.1 < share < 0.9
    assert float(true[:, 1].mean()) == pytest.approx(variance * (4.2 / own**2 + 4.35 / 0.05**2), abs=0.01)
    assert float(true[:, 1].std()) == pytest.approx(variance**0.5, rel=0.1)
    assert float(true[:, 0].std()) == pytest.approx(systematic({"teff": 5800.0, "mh": 0.0})["teff"], rel=0.1)
    assert with_systematics(fit, NAMES, generator, [parse_prior("logg=0..0.5")])[1] == 0


def test_an_element_goes_by_the_name_of_its_column_too():
    assert parse_prior("mg_fe=0.2+-0.05").label == "mg"
    with pytest.raises(ConfigError, match="no label 'x_fe'"):
        parse_prior("x_fe=0.2+-0.05")
