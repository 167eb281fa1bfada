"""Departures from LTE: networks, tables, what is relative to the Sun, and what PySME makes of them."""

import csv
import importlib.util
import itertools
import json

import numpy as np
import pytest

from maury.config import make_config, preset_path, read_toml
from maury.errors import ConfigError, FormatError
from maury.labels import SYNTHESISED
from maury.synthesis import PhysicsConfig, SynthesisConfig, make_plan, read_atmospheres, read_lines, synthesize
from maury.synthesis.departures import SOLAR_ABUNDANCE, CorrectionConfig, DeparturesConfig, read_departures
from synthesis_inputs import atmosphere_folder, synthesis_folder, vald_short

RANGES = {"teff": (5000, 6500), "logg": (4.0, 4.5), "abundance": (4.5, 7.5), "vmic": (0, 3)}
SUN = (5772.0, 4.44, 0.0, 1.0)
LINES = (
    np.array(["Fe 1", "Fe 1", "Ti 1", "Ni 1", "Mg 1"]),
    np.array([5060.0, 5070.0, 5080.0, 5090.0, 5172.684]),
    np.array([1.0, 3.0, 1.0, 3.5, 2.712]),
    np.array([-2.0, -1.0, -1.5, -1.2, -0.5]),
)


def network(path, seed=1, bias=0.0):
    rng = np.random.default_rng(seed)
    sizes = [7, 200, 200, 200, 1]
    arrays = {f"w{i}": rng.normal(0, a**-0.5, (a, b)) for i, (a, b) in enumerate(itertools.pairwise(sizes))}
    arrays |= {f"b{i}": rng.normal(0, 0.1, b) for i, b in enumerate(sizes[1:])}
    arrays["w3"] *= 0.2
    arrays["b3"] += bias
    mean = np.array([5750, 4.25, 6.0, 1.5, 2.5, 4.8, -1.5])
    scale = np.array([550, 0.25, 1.1, 1.1, 1.2, 1.2, 1.0])
    np.savez(path, mean=mean, scale=scale, **arrays)
    return arrays | {"mean": mean, "scale": scale}


def table(path, value=lambda teff, logg, abundance, vmic: 0.1 * (abundance - 7.6) + 1e-4 * (teff - 5750), skip=()):
    axes = ([5000, 5750, 6500], [4.0, 4.5], [5.0, 6.0, 7.6], [0, 1, 2])
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["teff", "logg", "A_Mg", "vmic", "line_nm", "d"])
        for number, node in enumerate(itertools.product(*axes)):
            if number not in skip:
                writer.writerow([*node, 517.0, value(*node)])


def settings(*corrections, **more):
    return DeparturesConfig(corrections=corrections, **more)


@pytest.fixture
def iron(tmp_path):
    network(tmp_path / "fe.npz")
    return {"species": ("Fe 1",), "file": str(tmp_path / "fe.npz"), "ranges": RANGES}


@pytest.fixture
def magnesium(tmp_path):
    table(tmp_path / "mg.csv")
    file = str(tmp_path / "mg.csv")
    return {"species": ("Mg 1",), "file": file, "column": "-d", "line_nm": 517.0, "wavelengths": (5172.684,)}


def shifts(config, *star, ratios=None):
    return read_departures(config).for_lines(*LINES)(*star, ratios)


def test_a_network_is_what_a_loop_over_its_layers_says(tmp_path, iron):
    arrays = network(tmp_path / "fe.npz")

    def naive(teff, logg, mh, vmic, lower, wavelength, log_gf):
        x = np.array([teff, logg, 7.5 + mh, vmic, lower, lower + 12398.42 / wavelength, log_gf])
        x = (x - arrays["mean"]) / arrays["scale"]
        for layer in range(3):
            y = np.empty(200)
            for k in range(200):
                y[k] = max(float(x @ arrays[f"w{layer}"][:, k]) + arrays[f"b{layer}"][k], 0.0)
            x = y
        return float(x @ arrays["w3"][:, 0]) + arrays["b3"][0]

    found = shifts(settings(CorrectionConfig(**iron), limit=2), 6100, 4.3, -1.2, 1.3)
    for i, line in enumerate(zip(*LINES[1:], strict=True)):
        wavelength, lower, log_gf = line
        expected = naive(6100, 4.3, -1.2, 1.3, lower, wavelength, log_gf) - naive(*SUN, lower, wavelength, log_gf)
        assert found[i] == pytest.approx(expected if LINES[0][i] == "Fe 1" else 0.0, abs=1e-10)
    assert np.abs(found[:2]).min() > 1e-3


def test_the_reference_star_has_none_unless_the_lines_are_not_relative(iron, magnesium):
    both = settings(CorrectionConfig(**iron), CorrectionConfig(**magnesium))
    np.testing.assert_allclose(shifts(both, *SUN), 0, atol=1e-12)
    absolute = settings(CorrectionConfig(**magnesium, relative=False))
    assert shifts(absolute, *SUN)[4] == pytest.approx(-1e-4 * 22)


def test_a_table_is_interpolated_with_its_sign_and_the_abundance_of_the_star(magnesium):
    found = shifts(settings(CorrectionConfig(**magnesium)), 6000, 4.3, -1.0, 1.5, ratios={"Mg": 0.3})
    assert found[4] == pytest.approx(-(0.1 * -0.7 + 1e-4 * (6000 - 5772)))
    np.testing.assert_array_equal(found[:4], 0)


def test_parameters_are_clamped_changes_limited_weights_faded(iron, magnesium):
    config = settings(CorrectionConfig(**iron), limit=2)
    np.testing.assert_array_equal(shifts(config, 4200, 1.5, -2.0, 5.0), shifts(config, 5000, 4.0, -2.0, 3.0))
    outside = read_departures(config).clamped(*np.array([[5500, 4.2, -1, 1], [4900, 4.2, -1, 1]]).T)
    np.testing.assert_array_equal(outside, [False, True])
    assert np.abs(shifts(settings(CorrectionConfig(**iron), limit=0.001), 6400, 4.0, -2.5, 2.0)).max() == 0.001
    faded = settings(CorrectionConfig(**magnesium), fade={"mh": (-0.5, -0.9)})
    full = settings(CorrectionConfig(**magnesium))
    for mh, weight in ((0.2, 0), (-0.5, 0), (-0.6, 0.25), (-0.9, 1), (-2, 1)):
        star = (6100, 4.3, mh, 1.0)
        np.testing.assert_allclose(shifts(faded, *star), weight * shifts(full, *star), atol=1e-12)


def test_lines_of_other_metals_are_as_lines_of_iron_of_their_strength(iron):
    config = settings(CorrectionConfig(**iron | {"species": ("Fe 1", "Ti 1")}), limit=2)
    _, wavelength, lower, log_gf = LINES
    as_iron = log_gf + (SOLAR_ABUNDANCE["Ti"] + 0.3 - SOLAR_ABUNDANCE["Fe"])
    star = (6000, 4.2, -1.5, 1.2)
    found = read_departures(config).for_lines(*LINES)(*star, {"Ti": 0.3})[2]
    network_of = read_departures(config).corrections[0]
    upper = lower + 12398.42 / wavelength
    stellar = network_of.evaluate(np.array([6000, 4.2, 6.0, 1.2]), lower, upper, as_iron)[2]
    solar = network_of.evaluate(np.array([5772, 4.44, 7.5, 1.0]), lower, upper, as_iron - 0.3)[2]
    assert found == pytest.approx(stellar - solar, abs=1e-12)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: table(folder / "mg.csv", skip=[7]), "lacks 1 combinations, first teff = 5000, logg = 4"),
        (lambda folder: table(folder / "mg.csv", value=lambda *node: np.nan), "column d of row 1 is not a finite"),
        (lambda folder: table(folder / "mg.csv", value=lambda *node: "x"), "column d is not a number in every row"),
        (lambda folder: (folder / "mg.csv").write_text("teff,logg\n5000,4\n"), "missing column A_Mg, vmic, line_nm, d"),
        (lambda folder: (folder / "mg.csv").unlink(), "mg.csv: no such file"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, magnesium, damage, message):
    damage(tmp_path)
    with pytest.raises(FormatError, match=message):
        read_departures(settings(CorrectionConfig(**magnesium)))


def test_networks_and_settings_that_cannot_be_used(tmp_path, iron, magnesium):
    arrays = network(tmp_path / "x.npz")
    np.savez(tmp_path / "fe.npz", **{name: value for name, value in arrays.items() if name != "w2"})
    with pytest.raises(FormatError, match="arrays missing: w2"):
        read_departures(settings(CorrectionConfig(**iron)))
    np.savez(tmp_path / "fe.npz", **arrays | {"b1": np.full(200, np.inf)})
    with pytest.raises(FormatError, match="not finite: b1"):
        read_departures(settings(CorrectionConfig(**iron)))
    (tmp_path / "fe.npz").write_text("no network")
    with pytest.raises(FormatError, match="cannot be read as a network"):
        read_departures(settings(CorrectionConfig(**iron)))
    with pytest.raises(ValueError, match="ranges must have teff, logg, abundance, vmic"):
        CorrectionConfig(species=("Fe 1",), file="fe.npz")
    with pytest.raises(ValueError, match="Og not known"):
        CorrectionConfig(**magnesium | {"species": ("Og 1",)})
    with pytest.raises(ValueError, match="two different values"):
        settings(CorrectionConfig(**magnesium), fade={"mh": (-1, -1)})
    departures = read_departures(settings(CorrectionConfig(**magnesium)))
    with pytest.raises(ConfigError, match="no lines of Mg 1"):
        departures.require(np.array(["Fe 1"]))


NEEDS_PYSME = pytest.mark.skipif(importlib.util.find_spec("pysme") is None, reason="needs the extra 'synthesis'")


@NEEDS_PYSME
def test_a_correction_is_a_change_of_log_gf(tmp_path, workers):
    lines = read_lines(vald_short(tmp_path / "a.lin"), workers)
    atmospheres = read_atmospheres(atmosphere_folder(tmp_path / "models"))
    network(tmp_path / "fe.npz", bias=0.3)
    correction = CorrectionConfig(species=("Fe 1",), file=str(tmp_path / "fe.npz"), ranges=RANGES, relative=False)
    config = settings(correction)
    star = [[5500.0, 4.5, -1.0, 1.0, *[0.0] * 6]]
    wavelength = np.arange(5060.0, 5082.0, 0.02)
    plain = PhysicsConfig(sampling="uniform")
    departed = PhysicsConfig(sampling="uniform", departures=config)
    energy = np.asarray(lines.columns["excit"], float)
    change = read_departures(config).for_lines(lines.species, lines.wavelength_aa, energy, lines.log_gf)
    by_hand = lines.with_log_gf(lines.log_gf + change(5500.0, 4.5, -1.0, 1.0))
    expected = synthesize(by_hand, atmospheres, star, wavelength, plain, workers).flux
    found = synthesize(lines, atmospheres, star, wavelength, departed, workers).flux
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(found - synthesize(lines, atmospheres, star, wavelength, plain, workers).flux).max() > 0.01


@NEEDS_PYSME
def test_lines_of_cool_stars_come_in_without_a_step(tmp_path, workers):
    lines = read_lines(vald_short(tmp_path / "a.lin"), workers)
    atmospheres = read_atmospheres(atmosphere_folder(tmp_path / "models"))
    keep = lines.species != "Fe 1"
    iron = {name: column[~keep] for name, column in lines.columns.items()}
    rest = {name: column[keep] for name, column in lines.columns.items()}
    cool, others = (type(lines)("x", "", columns, lines.layout, lines.span) for columns in (iron, rest))
    wavelength = np.arange(5060.0, 5082.0, 0.02)
    labels = [[teff, 4.5, -0.5, 1.0, *[0.0] * 6] for teff in (5100.0, 5249.0, 5299.99, 5300.0)]

    def spectra(*lists, physics):
        return synthesize(lists[0], atmospheres, labels, wavelength, physics, workers, cool=lists[1]).flux

    physics = PhysicsConfig(sampling="uniform", cool_teff=(5200.0, 5300.0))
    found, without = spectra(others, cool, physics=physics), spectra(others, None, physics=physics)
    full = spectra(lines, None, physics=physics)
    np.testing.assert_allclose(found[0], full[0], atol=1e-9)
    np.testing.assert_allclose(found[3], without[3], atol=1e-12)
    np.testing.assert_allclose(found[2], without[2], atol=2e-3)
    assert 0.3 < (1 - found[1]).sum() - (1 - without[1]).sum() < 0.95 * ((1 - full[1]) - (1 - without[1])).sum()


@NEEDS_PYSME
def test_a_library_holds_its_recipe_and_refuses_other_inputs(tmp_path, workers):
    folder = synthesis_folder(tmp_path)
    network(folder / "fe.npz")
    (folder / "labels.csv").write_text("teff,logg,mh,vmic,y\n5500,4.5,-0.5,1.0,0.3\n")
    departures = {"corrections": [{"species": ["Fe 1"], "file": "fe.npz", "ranges": RANGES}]}
    values = {
        "line_list": "a.lin",
        "atmospheres": "models",
        "design": {"kind": "table", "file": str(folder / "labels.csv")},
        "window": (5060.0, 5062.0),
        "physics": {"sampling": "uniform", "departures": departures},
    }
    config = SynthesisConfig(**values)
    plan = make_plan(config.located(folder), workers)
    assert plan.targets.names == SYNTHESISED
    assert plan.config.digests["fe.npz"] == read_departures(plan.config.physics.departures).digests["fe.npz"]
    assert set(plan.config.digests) == {"a.lin", "models", "fe.npz"}
    moved = config.located(folder).model_copy(update={"workers": 5, "digests": plan.config.digests})
    assert moved.recipe_digest == plan.config.recipe_digest != config.recipe_digest
    assert str(folder / "a.lin") not in json.dumps(plan.config.recipe())
    wrong = config.located(folder).model_copy(update={"digests": {"fe.npz": "0" * 64}})
    with pytest.raises(FormatError, match=r"fe\.npz: not the file of this recipe: SHA-256 "):
        make_plan(wrong, workers)


def test_the_packaged_recipe_is_whole():
    path = preset_path("synthesis", "packaged")
    config = make_config(read_toml(path), SynthesisConfig, str(path))
    assert {name for c in config.physics.departures.corrections for name in c.species} >= {"Fe 1", "Fe 2", "Mg 1"}
    needed = {"mgb_2_5035_5365_air.lin", "tio_5035_5365_air.lin", "ck04_odfnew.tar.xz", "changes.ecsv"}
    assert needed < set(config.digests)
    with pytest.raises(ConfigError, match="no preset 'x' for synthesis; there are packaged"):
        preset_path("synthesis", "x")
